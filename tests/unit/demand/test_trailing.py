import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from forecasting.demand.trailing import (
    last_index,
    next_index,
    same_position,
    season_dispersion,
    seasonal_profile,
    strided_sum,
    trailing_sum,
    trailing_top_two,
    winsorised_moments,
)

COUNTS = arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 40)), elements=st.integers(0, 9).map(float))


@given(COUNTS, st.integers(1, 20), st.sampled_from([1, 3, 7]))
def test_sums_and_the_two_largest_are_what_the_slow_loop_finds(values, count, step):
    sums, first, second = np.zeros((3, *values.shape))
    for row, t in np.ndindex(values.shape):
        before = [values[row, t - k * step] for k in range(1, count + 1) if t - k * step >= 0]
        sums[row, t] = sum(before)
        first[row, t], second[row, t] = sorted([0, 0, *before])[:-3:-1]
    np.testing.assert_array_equal(strided_sum(values, step, count), sums)
    found = trailing_top_two(values, count, step)
    np.testing.assert_array_equal(found[0], first)
    np.testing.assert_array_equal(found[1], second)
    if step == 1:
        np.testing.assert_allclose(trailing_sum(values, count), sums)


@given(COUNTS, st.integers(2, 20), st.data())
def test_moments_are_those_of_a_window_whose_largest_value_is_cut_to_the_second(values, window, data):
    observed = data.draw(arrays(bool, values.shape))
    values = np.where(observed, values, 0).astype(np.float32)
    moments = winsorised_moments(values, observed, window)
    for row, t in np.ndindex(values.shape):
        inside = slice(max(t - window, 0), t)
        seen = np.sort(values[row, inside][observed[row, inside]])
        assert moments.count[row, t] == len(seen)
        if len(seen) > 1:
            seen[-1] = seen[-2]
            assert moments.mean[row, t] == pytest.approx(seen.mean(), abs=1e-6)
            assert moments.variance[row, t] == pytest.approx(seen.var(), abs=1e-5)


@given(arrays(bool, st.tuples(st.integers(1, 3), st.integers(1, 12))))
def test_the_neighbours_of_a_period_are_what_the_slow_loop_finds(mask):
    last, following = last_index(mask), next_index(mask)
    for row, t in np.ndindex(mask.shape):
        at = np.flatnonzero(mask[row])
        assert last[row, t] == max(at[at <= t], default=-1)
        assert following[row, t] == min(at[at >= t], default=mask.shape[1])


@given(st.integers(0, 50), st.integers(0, 50), st.sampled_from([7, 12, 52]))
def test_the_same_position_is_the_first_one_from_the_start_on(start, ahead, season):
    found = same_position(np.array(start), np.array(start + ahead), season)
    assert start <= found <= start + ahead
    assert found < start + season
    assert (start + ahead - found) % season == 0


def test_a_profile_follows_many_sales_and_ignores_few():
    week = np.array([0.5, 0.5, 0.5, 0.5, 1, 2, 2])
    profiles = []
    for rate in (50.0, 0.05):
        demand = np.tile(rate * week, 12)[None]
        level = np.full(demand.shape, rate)
        profiles.append(seasonal_profile(demand, np.ones(demand.shape), level, np.full(demand.shape, 1.2), 7)[0, -7:])
    np.testing.assert_allclose(profiles[0], week, atol=0.05)
    np.testing.assert_allclose(profiles[1], 1, atol=0.05)


def test_sales_in_bouts_are_more_dispersed_over_weeks_than_sales_at_random():
    rng = np.random.default_rng(3)
    even = rng.poisson(2.0, (50, 112))
    bouts = rng.poisson(2.0, (50, 112)) * np.repeat(rng.integers(0, 2, (50, 16)) * 2, 7, axis=1)
    observed = np.ones(even.shape)
    assert np.median(season_dispersion(even, observed, 7)[:, -1]) < 1.5
    assert np.median(season_dispersion(bouts, observed, 7)[:, -1]) > 5
