import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecasting.demand.imputation import METHODS, fill

WEEK = 7
NAN = np.nan


def gappy(seed, series=4, days=130):
    """Values, with a few NaN that are not to be filled, and gaps of all lengths."""
    rng = np.random.default_rng(seed)
    week = np.tile([1, 1, 2, 2, 3, 5, 4], days)[:days]
    values = rng.poisson(2 * week, (series, days)).astype(np.float32)
    missing = rng.random(values.shape) < 0.1
    for row in range(series):
        start = rng.integers(0, days)
        missing[row, start : start + rng.integers(1, 75)] = True
    values[rng.random(values.shape) < 0.03] = NAN
    return values, missing


def slow_fill(values, known, t, method):
    """One value for period t of one series, by walking over its past."""
    past = [s for s in range(t) if known[s]]
    if method == "zero":
        return 0.0
    if not past:
        return NAN
    last = past[-1]
    window = [values[s] for s in past if s > last - 8 * WEEK]
    if method == "forward_fill":
        return values[last]
    if method == "mean":
        return np.mean(window)
    if method == "median":
        return np.median(window)
    if method == "linear":
        later = [s for s in range(t, len(values)) if known[s]]
        return np.interp(t, [last, later[0]], [values[last], values[later[0]]]) if later else values[last]
    position = t
    while position - WEEK > last:
        position -= WEEK
    same = [values[s] for s in range(position - WEEK, position - 9 * WEEK, -WEEK) if s >= 0 and known[s]]
    return np.mean(same) if same else np.mean(window)


@pytest.mark.parametrize("method", ["zero", "mean", "median", "forward_fill", "linear", "seasonal"])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_fills_are_what_the_slow_loop_finds(method, seed):
    values, missing = gappy(seed)
    filled = fill(values, missing, method, WEEK)
    expected = values.copy()
    known = ~missing & np.isfinite(values)
    for row, t in zip(*np.nonzero(missing), strict=True):
        expected[row, t] = slow_fill(values[row], known[row], t, method)
    np.testing.assert_allclose(filled, expected, rtol=1e-4, atol=1e-4)
    assert filled.dtype == np.float32


@pytest.mark.parametrize("method", [method for method in METHODS if method != "linear"])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), now=st.integers(0, 128))
def test_a_fill_does_not_depend_on_what_comes(method, seed, now):
    values, missing = gappy(seed)
    filled = fill(values, missing, method, WEEK)
    values[:, now + 1 :] = 999
    missing[:, now + 1 :] ^= True
    again = fill(values, missing, method, WEEK)
    np.testing.assert_allclose(again[:, : now + 1], filled[:, : now + 1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_not_missing_stays_and_what_stood_in_a_gap_is_not_read(method):
    values, missing = gappy(1)
    before = values.copy()
    filled = fill(values, missing, method, WEEK)
    np.testing.assert_array_equal(values, before)
    np.testing.assert_array_equal(filled[~missing], values[~missing])
    np.testing.assert_array_equal(fill(np.where(missing, 1e6, values), missing, method, WEEK), filled)
    np.testing.assert_array_equal(fill(values, missing & False, method, WEEK), values)


@pytest.mark.parametrize("method", METHODS)
def test_a_series_alone_is_filled_as_in_a_block(method):
    values, missing = gappy(2, series=8)
    together = fill(values, missing, method, WEEK)
    for row in range(8):
        alone = fill(values[row : row + 1], missing[row : row + 1], method, WEEK)
        np.testing.assert_allclose(alone[0], together[row], rtol=1e-5, atol=1e-5)


def test_nothing_is_known_before_the_first_value():
    values, missing = np.array([[9, 9, 4]], np.float32), np.array([[True, True, False]])
    for method in METHODS:
        expected = 0 if method == "zero" else NAN
        np.testing.assert_array_equal(fill(values, missing, method, WEEK), [[expected, expected, 4]])


def test_an_unknown_method_is_refused():
    with pytest.raises(ValueError, match=r"method is one of zero, .*, not 'average'"):
        fill(np.zeros((1, 3)), np.zeros((1, 3), bool), "average", WEEK)


@pytest.mark.parametrize("season", [7, 12, 52])
def test_the_model_learns_the_season_and_beats_the_mean(season):
    rng = np.random.default_rng(3)
    days = 104 if season == 7 else 4 * season
    profile = 1 + 0.6 * np.sin(2 * np.pi * np.arange(days) / season)
    mean = rng.uniform(5, 30, (30, 1)) * profile
    missing = np.zeros(mean.shape, bool)
    missing[:, -season:] = True
    error = {
        method: np.abs(fill(rng.poisson(mean), missing, method, season) - mean)[missing].mean()
        for method in ("mean", "model")
    }
    assert error["model"] < 0.6 * error["mean"]


def test_the_model_stays_within_what_was_seen():
    values = np.tile(np.arange(120, dtype=np.float32), (2, 1))
    values[1] = values[1, ::-1]
    missing = np.zeros(values.shape, bool)
    missing[:, 100:] = True
    filled = fill(values, missing, "model", WEEK)[missing].reshape(2, -1)
    assert filled.min() >= 0
    assert filled[0].max() <= 99
