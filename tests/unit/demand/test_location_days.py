"""Days without a single line: a small shop that sold nothing, a closed one, and one whose records are lost."""

from datetime import date, timedelta

import pytest

from forecasting.config import load_config
from forecasting.demand.location_days import build_location_days, idle_periods

START = date(2024, 1, 1)  # a Monday
DAYS = 60
SETTINGS = load_config(settings=["demand.open_lines=5", "demand.missing_after=3"]).demand
CALENDAR = "date date, event string, location_id string, closed boolean"
LOCATIONS = "location_id string, location_group string, closed_on date"


def day(number: int) -> date:
    return START + timedelta(number)


@pytest.fixture(scope="module")
def found(spark):
    """{(location, day number): (state, declared)}"""
    lines = [("busy", day(d), 20) for d in range(DAYS) if d % 7 != 6 and not 30 <= d < 40 and d not in (50, 51)]
    lines += [("busy", day(50), 2)]  # returns that were booked while it was closed
    lines += [("small", day(d), 2) for d in range(0, DAYS, 3)]
    lines += [("gone", day(d), 20) for d in range(20)]
    lines += [("late", day(d), 20) for d in range(45, DAYS)]
    calendar = [(day(50), "stocktaking", "busy", True), (day(51), "storm", None, True), (day(1), "fair", "busy", False)]
    frames = (
        spark.createDataFrame(lines, "location_id string, date date, lines bigint"),
        spark.createDataFrame([("busy", "g", None), ("gone", "g", day(25))], LOCATIONS),
        spark.createDataFrame(calendar, CALENDAR),
    )
    days = build_location_days(*frames, SETTINGS, day(DAYS - 1)).cache()
    return days, {(r["location_id"], (r["date"] - START).days): (r["state"], r["declared"]) for r in days.collect()}


@pytest.mark.parametrize(
    ("location", "number", "expected"),
    [
        ("busy", 1, ("open", False)),
        ("busy", 6, ("closed", False)),  # every Sunday
        ("busy", 30, ("missing", False)),  # ten days in a row
        ("busy", 39, ("missing", False)),
        ("busy", 34, ("closed", False)),  # a Sunday among them
        ("busy", 50, ("closed", True)),  # the calendar says so
        ("busy", 51, ("closed", True)),  # for every location
        ("small", 1, ("open", False)),  # too few lines a day to conclude anything
        ("small", 51, ("open", False)),  # sold on that very day, whatever the calendar says
        ("gone", 22, ("missing", False)),
        ("gone", 26, ("closed", True)),  # closed for good
        ("late", 45, ("open", False)),
    ],
)
def test_a_day_without_lines_is_told_what_it_is(found, location, number, expected):
    assert found[1][location, number] == expected


def test_every_location_has_every_day_from_its_first_line_on(found):
    begun = {"busy": 0, "small": 0, "gone": 0, "late": 45}
    assert set(found[1]) == {(location, d) for location, first in begun.items() for d in range(first, DAYS)}


def test_a_day_is_judged_by_what_came_before_it(spark, found):
    """The usual number of lines is one of the past: later growth does not close earlier days."""
    lines = [("a", day(0), 1), ("a", day(3), 1)] + [("a", day(d), 500) for d in range(10, 40)]
    frames = (
        spark.createDataFrame(lines, "location_id string, date date, lines bigint"),
        spark.createDataFrame([], LOCATIONS),
        spark.createDataFrame([], CALENDAR),
    )
    states = {r["date"]: r["state"] for r in build_location_days(*frames, SETTINGS, day(39)).collect()}
    assert states[day(1)] == states[day(5)] == "open"


@pytest.mark.parametrize(
    ("grain", "level", "expected"),
    [
        ("day", "location", {"busy": {6: "closed", 30: "missing"}, "gone": {21: "missing", 26: "closed"}, "late": {}}),
        ("day", "group", {"g": {33: "missing", 34: "closed", 27: "closed"}}),  # both are shut
        ("week", "location", {"busy": {}, "gone": {21: "missing", 28: "closed"}}),
    ],
)
def test_a_series_is_idle_when_all_its_locations_are(spark, found, grain, level, expected):
    locations = spark.createDataFrame([("busy", "g", None), ("gone", "g", None)], LOCATIONS)
    idle = {
        row["location_id"]: {(p["period_start"] - START).days: p["state"] for p in row["idle"]}
        for row in idle_periods(found[0], locations, grain, level, SETTINGS).collect()
    }
    for location, periods in expected.items():
        assert periods.items() <= idle.get(location, {}).items()
    if level == "location":
        assert "small" not in idle
        assert 1 not in idle.get("busy", {})


def test_many_small_locations_are_shut_together_on_a_day_without_a_line_at_any(spark):
    """Each of them alone may have been open and sold nothing."""
    lines = [
        (f"s{n}", day(d), 1) for n in range(20) for d in range(DAYS) if d not in (20, *range(40, 50)) and (d + n) % 3
    ]
    frames = (
        spark.createDataFrame(lines, "location_id string, date date, lines bigint"),
        spark.createDataFrame([], LOCATIONS),
        spark.createDataFrame([], CALENDAR),
    )
    days = build_location_days(*frames, SETTINGS, day(DAYS - 1)).cache()
    assert {row["state"] for row in days.collect()} == {"open"}
    assert idle_periods(days, frames[1], "day", "location", SETTINGS).count() == 0
    (chain,) = idle_periods(days, frames[1], "day", "chain", SETTINGS).collect()
    idle = {(p["period_start"] - START).days: p["state"] for p in chain["idle"]}
    assert idle == {20: "closed"} | dict.fromkeys(range(40, 50), "missing")
