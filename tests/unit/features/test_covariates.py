"""Weather as it was known: what came up to the origin, what was forecast of it behind."""

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasting.features.covariates import EVERY, LONG_KNOWN, build_covariates, known_at, measured
from forecasting.features.sequences import Axis

START = date(2024, 1, 1)
MEASURED = "date date, value double, issued_on date"
WEATHER = f"signal string, location_id string, {MEASURED}"
SIGNALS = f"signal string, item_id string, location_id string, {MEASURED}"
CALENDAR = "date date, event string, location_id string"
LOCATIONS = "location_id string, location_group string"
TOLD = np.dtype([("issued_on", "datetime64[D]"), ("period", np.int64), ("value", np.float32)])


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


FORECAST = st.tuples(st.integers(-5, 12), st.integers(0, 20), st.integers(0, 50))
TODAY = np.datetime64(START)


def told(forecasts) -> np.ndarray:
    return np.array([(TODAY + np.timedelta64(issued, "D"), period, value) for issued, period, value in forecasts], TOLD)


@given(
    st.lists(st.one_of(st.integers(0, 9).map(float), st.just(float("nan"))), max_size=15),
    st.integers(0, 6),
    st.lists(FORECAST, max_size=12, unique_by=lambda f: f[:2]),
    st.integers(2, 10),
)
def test_as_of_an_origin_only_what_was_known_by_then_is_seen(observed, first, forecasts, origin):
    """The slow loop: walks over the periods; the future of observations and forecasts changes nothing."""
    width, horizon = 6, 5
    origin_day = TODAY + np.timedelta64(origin, "D")
    values, known = known_at(np.array(observed, np.float32), first, told(forecasts), origin, origin_day, width, horizon)
    for at, period in enumerate(range(origin - width + 1, origin + horizon + 1)):
        inside = period <= origin and 0 <= period - first < len(observed)
        expected = observed[period - first] if inside and not np.isnan(observed[period - first]) else None
        if expected is None:
            said = sorted((issued, value) for issued, p, value in forecasts if p == period and issued <= origin)
            expected = said[-1][1] if said else None
        assert (values[at], known[at]) == ((0, False) if expected is None else (expected, True))
    past = [value if first + i <= origin else 99.0 for i, value in enumerate(observed)]
    later = told([f for f in forecasts if f[0] <= origin] + [(origin + 1, origin + 1, 77)])
    again, known_again = known_at(np.array(past, np.float32), first, later, origin, origin_day, width, horizon)
    np.testing.assert_array_equal(values, again)
    np.testing.assert_array_equal(known, known_again)
