from datetime import date

import numpy as np
import pytest

from forecasting.config import load_config
from forecasting.report.hard import course

ORIGIN = date(2018, 1, 5)


def sequence(first: date, units: list[float], **parts) -> dict:
    return {"first_period": first, "quantity": units, "observed": [1] * len(units), "promotion": None} | parts


def test_a_course_is_cut_at_the_origin():
    config = load_config(settings=["forecast.horizon=3"])
    whole = sequence(date(2018, 1, 3), [1, 2, 3, 4, 5, 6, 7], promotion=[0, 0, 1, 0, 0.5, 0, 1, 1, 1])
    found = course(whole | {"observed": [1, 0, 1, 1, 0, 1, 1]}, config, ORIGIN)
    np.testing.assert_array_equal(found.before, [1, np.nan, 3])
    np.testing.assert_array_equal(found.window, [4, np.nan, 6])
    assert found.promoted.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("first", "window"),
    [(date(2018, 1, 6), [1, 2, np.nan]), (date(2018, 1, 8), [np.nan, np.nan, 1]), (date(2018, 1, 20), [np.nan] * 3)],
)
def test_a_series_that_begins_after_the_origin_has_no_past(first, window):
    found = course(sequence(first, [1, 2]), load_config(settings=["forecast.horizon=3"]), ORIGIN)
    assert not len(found.before)
    np.testing.assert_array_equal(found.window, window)
    assert not found.promoted.any()


def test_weeks_are_counted_as_weeks():
    config = load_config(settings=["forecast.horizon=2", "series.grain=week"])
    found = course(sequence(date(2018, 1, 1), [1, 2, 3, 4]), config, date(2018, 1, 8))
    assert (found.before.tolist(), found.window.tolist()) == ([1, 2], [3, 4])
