from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasting.periods import DAYS, PATCH, SEASON, last_whole, position, shift, starts

DATES = st.dates(date(1971, 1, 1), date(2099, 12, 31))
GRAINS = st.sampled_from(["day", "week", "month"])


def first_of_period(day: date, grain: str) -> date:
    if grain == "week":
        return day - timedelta(day.weekday())
    return day.replace(day=1) if grain == "month" else day


def following(day: date, grain: str) -> date:
    """First day of the next period, found by walking."""
    now = first_of_period(day, grain)
    while first_of_period(now, grain) == first_of_period(day, grain):
        now += timedelta(1)
    return now


@given(DATES, GRAINS, st.integers(0, 15))
def test_starts_walk_from_period_to_period(day, grain, count):
    walked, now = [], first_of_period(day, grain)
    for _ in range(count):
        walked.append(now)
        now = following(now, grain)
    assert starts(day, count, grain) == walked


@given(DATES, GRAINS, st.integers(-30, 30))
def test_shift_moves_by_whole_periods_and_back(day, grain, periods):
    moved = shift(day, periods, grain)
    assert moved == first_of_period(moved, grain)
    assert shift(moved, -periods, grain) == first_of_period(day, grain)


@given(st.lists(DATES, min_size=1, max_size=20), GRAINS)
def test_position_counts_periods(days, grain):
    found = position(np.array(days, "datetime64[D]"), grain)
    for day, number in zip(days, found, strict=True):
        assert number == position(np.datetime64(first_of_period(day, grain)), grain)
        assert number + 1 == position(np.datetime64(following(day, grain)), grain)


@pytest.mark.parametrize("shape", [(), (0,), (2, 3)])
def test_position_keeps_the_shape(shape):
    days = np.full(shape, np.datetime64("2017-01-01"))
    assert position(days, "week").shape == shape
    assert position(days, "week").dtype == np.int64


def test_weeks_begin_on_monday():
    assert starts(date(2017, 1, 1), 2, "week") == [date(2016, 12, 26), date(2017, 1, 2)]
    assert starts(date(2024, 2, 29), 2, "month") == [date(2024, 2, 1), date(2024, 3, 1)]


def test_every_grain_has_its_constants():
    assert set(SEASON) == set(PATCH) == set(DAYS) == {"day", "week", "month"}


@pytest.mark.parametrize(
    ("grain", "last_day", "expected"),
    [
        ("day", date(2024, 2, 29), date(2024, 2, 29)),
        ("week", date(2024, 3, 3), date(2024, 2, 26)),  # a Sunday
        ("week", date(2024, 3, 4), date(2024, 2, 26)),
        ("week", date(2024, 3, 9), date(2024, 2, 26)),
        ("month", date(2024, 2, 29), date(2024, 2, 1)),
        ("month", date(2024, 2, 28), date(2024, 1, 1)),
    ],
)
def test_the_last_whole_period_is_one_that_the_data_cover_to_its_end(grain, last_day, expected):
    assert last_whole(last_day, grain) == expected
