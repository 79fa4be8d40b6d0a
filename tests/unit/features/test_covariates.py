"""Weather and events of places: what was observed of each, and what was forecast of it and when."""

from datetime import date, timedelta

import numpy as np
import pytest

from forecasting.features.covariates import EVERY, LONG_KNOWN, build_covariates, measured
from forecasting.features.sequences import Axis

START = date(2024, 1, 1)
MEASURED = "date date, value double, issued_on date"
WEATHER = f"signal string, location_id string, {MEASURED}"
SIGNALS = f"signal string, item_id string, location_id string, {MEASURED}"
CALENDAR = "date date, event string, location_id string"
LOCATIONS = "location_id string, location_group string"


def day(number: int) -> date:
    return START + timedelta(number)


@pytest.fixture(scope="module")
def rows(spark):
    weather = [("warm", "s1", day(i), 10.0 + i, None) for i in (0, 1, 4)]
    weather += [
        ("warm", "s1", day(5), 90.0, day(3)),
        ("warm", "s1", day(5), 95.0, day(4)),
        ("warm", "s2", day(0), 0.0, None),
    ]
    signals = [("footfall", "a", None, day(2), 7.0, None), ("snap", None, "north", day(1), 1.0, date(1900, 1, 1))]
    calendar = [(day(3), "school holiday", "s1"), (day(3), "general", None)]
    locations = spark.createDataFrame([("s1", "north"), ("s2", "north"), ("s3", "south")], LOCATIONS)
    frames = (
        spark.createDataFrame(weather, WEATHER),
        spark.createDataFrame(signals, SIGNALS),
        spark.createDataFrame(calendar, CALENDAR),
    )
    return lambda level: measured(*frames, locations, level)


def test_values_go_to_the_places_that_they_hold_for(rows):
    found = {(r["signal"], r["item_id"], r["location_id"]) for r in rows("location").collect()}
    assert found == {
        ("warm", EVERY, "s1"), ("warm", EVERY, "s2"), ("footfall", "a", "ALL"), ("snap", EVERY, "s1"), ("snap", EVERY, "s2"),
        ("event school holiday", EVERY, "s1"),
    }  # fmt: skip
    chain = {
        (r["signal"], (r["date"] - START).days): r["value"] for r in rows("chain").where("issued_on IS NULL").collect()
    }
    assert chain["warm", 0] == 5.0  # the mean over locations


def test_a_covariate_keeps_what_came_and_what_was_said_before(rows):
    found = {
        (r["signal"], r["location_id"]): r
        for r in build_covariates(rows("location"), Axis("day", day(4), 3), {"default": "forward_fill"}).collect()
    }
    warm = found["warm", "s1"]
    assert (warm["first_period"], warm["observed"]) == (day(0), [10, 11, 11, 11, 14])
    assert [(f["issued_on"], f["period_start"], f["value"]) for f in warm["forecasts"]] == [
        (day(3), day(5), 90.0),
        (day(4), day(5), 95.0),
    ]
    holiday = found["event school holiday", "s1"]
    assert (holiday["observed"], str(holiday["forecasts"][0]["issued_on"])) == ([], LONG_KNOWN)


def test_gaps_are_filled_as_each_signal_asks(rows):
    missing = {"default": "none", "warm": "forward_fill"}
    found = {
        r["signal"]: r["observed"] for r in build_covariates(rows("chain"), Axis("day", day(4), 3), missing).collect()
    }
    assert found["warm"] == [5, 11, 11, 11, 14]
    assert np.isnan(found["footfall"][1])


def test_the_last_period_is_the_mean_of_all_its_days(rows):
    (warm,) = (
        build_covariates(rows("chain"), Axis("week", day(0), 3), {"default": "none"}).where("signal = 'warm'").collect()
    )
    assert warm["observed"] == [pytest.approx((5 + 11 + 14) / 3)]
