import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_demand import plant

from forecasting.demand.detection import detect_outliers, infer_stock_outs, outlier_thresholds
from forecasting.states import State, with_inferred

WEEK = 7


def block(quantity, closed=()):
    """Quantity, state and alive of one or more series; `closed` are columns."""
    quantity = np.atleast_2d(np.asarray(quantity, np.float32))
    state = np.where(quantity == 0, State.ZERO, State.SOLD).astype(np.int8)
    state[:, list(closed)] = State.CLOSED
    return quantity, state, np.ones(quantity.shape, bool)


def random_block(seed, series=6, days=160):
    """Series of all rates with periods in every state and ragged starts."""
    rng = np.random.default_rng(seed)
    rate = np.exp(rng.uniform(np.log(0.1), np.log(30), (series, 1)))
    quantity = rng.negative_binomial(1.5, 1.5 / (1.5 + rate), (series, days)).astype(np.float32)
    start = rng.integers(60, 120, series)
    for row in range(series):
        quantity[row, start[row] : start[row] + rng.integers(1, 40)] = 0
        quantity[row, rng.integers(0, days, 2)] = 40 * (1 + rate[row])
    quantity[rng.random(quantity.shape) < 0.01] = -3
    state = np.where(quantity == 0, State.ZERO, State.SOLD).astype(np.int8)
    unknown = rng.random(state.shape) < 0.05
    state[unknown] = rng.integers(2, 5, unknown.sum())
    alive = np.arange(days) >= rng.integers(0, 40, series)[:, None]
    return quantity, state, alive


CAUSAL = {
    "stock-outs": lambda *block: infer_stock_outs(*block, WEEK, causal=True),
    "stock-outs, soon discontinued": lambda *block: infer_stock_outs(*block, WEEK, causal=True, discontinued_after=10),
    "outliers": lambda *block: detect_outliers(*block, WEEK),
    "thresholds": lambda *block: outlier_thresholds(*block, WEEK),
}


@pytest.mark.parametrize("detect", CAUSAL.values(), ids=CAUSAL)
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), now=st.integers(0, 158), other=st.integers(0, 10_000))
def test_what_is_found_now_does_not_depend_on_what_comes(detect, seed, now, other):
    quantity, state, alive = random_block(seed)
    found = detect(quantity, state, alive)
    future_quantity, future_state, _ = random_block(other)
    quantity[:, now + 1 :], state[:, now + 1 :] = future_quantity[:, now + 1 :], future_state[:, now + 1 :]
    alive[:, now + 1 :] = True
    np.testing.assert_array_equal(detect(quantity, state, alive)[:, : now + 1], found[:, : now + 1])


@pytest.mark.parametrize("causal", [False, True])
def test_a_series_alone_gives_what_it_gives_in_a_block(causal):
    blocks = random_block(8, series=20)
    together = infer_stock_outs(*blocks, WEEK, causal=causal), detect_outliers(*blocks, WEEK)
    assert together[0].any()
    assert together[1].any()
    for row in range(20):
        alone = [part[row : row + 1] for part in blocks]
        np.testing.assert_array_equal(infer_stock_outs(*alone, WEEK, causal=causal)[0], together[0][row])
        np.testing.assert_array_equal(detect_outliers(*alone, WEEK)[0], together[1][row])


def test_hindsight_flags_every_zero_of_a_run_that_is_flagged_in_its_time():
    quantity, state, alive = random_block(4, series=60)
    in_time = infer_stock_outs(quantity, state, alive, WEEK, causal=True)
    whole = infer_stock_outs(quantity, state, alive, WEEK)
    assert in_time.any()
    assert not (in_time & ~whole).any()
    assert whole.sum() > in_time.sum()


def test_hindsight_flags_a_run_as_a_whole_or_not_at_all():
    quantity, state, alive = random_block(4, series=60)
    found = infer_stock_outs(quantity, state, alive, WEEK)
    assert not found[(state != State.ZERO) | ~alive].any()
    for row in range(60):
        sales = np.flatnonzero((state[row] == State.SOLD) & alive[row])
        for start, stop in zip(np.r_[-1, sales], np.r_[sales, quantity.shape[1]], strict=True):
            zeros = (state[row, start + 1 : stop] == State.ZERO) & alive[row, start + 1 : stop]
            assert found[row, start + 1 : stop][zeros].mean() in (0, 1) if zeros.any() else True


def test_periods_without_demand_to_see_neither_break_nor_lengthen_a_run():
    steady = np.tile([2, 3, 1, 2, 4, 5, 3], 12).astype(np.float32)
    gap = np.r_[steady, np.zeros(6), steady]
    found = infer_stock_outs(*block(gap), WEEK)
    assert found[0, 84:90].all()
    assert found.sum() == 6
    # Seven closed days in the middle: the zeros around them are one run still.
    held = infer_stock_outs(*block(np.r_[steady, np.zeros(13), steady], closed=range(87, 94)), WEEK)
    assert held[0, [84, 85, 86, 94, 95, 96]].all()
    assert held.sum() == 6
    # A run of two is not improbable, and closed days do not make it so.
    assert not infer_stock_outs(*block(np.r_[steady, np.zeros(9), steady], closed=range(85, 92)), WEEK).any()


def test_one_sale_breaks_a_run():
    steady = np.tile([2, 3, 1, 2, 4, 5, 3], 12).astype(np.float32)
    assert not infer_stock_outs(*block(np.r_[steady, 0, 0, 1, 0, 0, steady]), WEEK).any()


@pytest.mark.parametrize("after", [[], [3.0] * 20])
def test_a_run_beyond_the_limit_is_an_item_off_the_range(after):
    steady = np.tile([2, 3, 1, 2, 4, 5, 3], 12).astype(np.float32)
    assert infer_stock_outs(*block(np.r_[steady, np.zeros(91), after]), WEEK).sum() == 91
    assert not infer_stock_outs(*block(np.r_[steady, np.zeros(92), after]), WEEK).any()
    assert infer_stock_outs(*block(np.r_[steady, np.zeros(20), after]), WEEK, discontinued_after=20).any()
    assert not infer_stock_outs(*block(np.r_[steady, np.zeros(20), after]), WEEK, discontinued_after=19).any()


def test_a_weekday_without_sales_is_no_stock_out():
    week = np.array([6, 6, 6, 6, 8, 0, 0], np.float32)
    assert not infer_stock_outs(*block(np.tile(week, 50)), WEEK).any()


def test_many_units_now_and_then_raise_no_false_alarm():
    rng = np.random.default_rng(11)
    now_and_then = rng.random((200, 731)) < 0.08
    units = np.where(now_and_then, rng.geometric(1 / 8, (200, 731)), 0)
    found = infer_stock_outs(*block(units), WEEK)
    assert found[units == 0].mean() < 0.002
    assert detect_outliers(*block(units), WEEK).mean() < 0.001


def test_a_short_history_is_not_judged():
    quantity = np.r_[np.full(13, 9.0), np.zeros(12), [500.0]]
    assert not infer_stock_outs(*block(quantity[:-1]), WEEK).any()
    assert not detect_outliers(*block(np.r_[np.full(13, 9.0), 500.0]), WEEK).any()


def test_a_spike_and_a_large_return_are_outliers_and_usual_days_are_not():
    rng = np.random.default_rng(5)
    quantity = rng.poisson(3.0, 200).astype(np.float32)
    quantity[150], quantity[170], quantity[180] = 90, -60, -2
    np.testing.assert_array_equal(np.flatnonzero(detect_outliers(*block(quantity), WEEK)[0]), [150, 170])


def test_a_weekly_peak_is_no_outlier_after_two_were_seen():
    rng = np.random.default_rng(6)
    quantity = rng.poisson(1.0, (50, 210)).astype(np.float32)
    quantity[:, 63::7] += 60
    found = detect_outliers(*block(quantity), WEEK)
    assert found[:, 63].all()
    assert not found[:, 77:].any()


def test_a_new_level_is_no_outlier_after_two_days():
    rng = np.random.default_rng(6)
    quantity = np.c_[rng.poisson(2.0, (50, 100)), rng.poisson(60.0, (50, 100))]
    found = detect_outliers(*block(quantity), WEEK)
    assert found[:, 100].all()
    assert not found[:, 103:].any()


def test_an_outlier_leaves_no_trace_in_the_thresholds_that_follow():
    rng = np.random.default_rng(7)
    quantity = rng.poisson(3.0, (1, 120)).astype(np.float32)
    usual = outlier_thresholds(*block(quantity), WEEK)
    quantity[0, 80] = 1000
    after = outlier_thresholds(*block(quantity), WEEK)
    np.testing.assert_array_equal(after[:, :81], usual[:, :81])
    assert (after[:, 81:] < 2 * usual[:, 81:]).all()


def test_unknown_periods_are_no_outliers():
    quantity, state, alive = block(np.r_[np.full(60, 2.0), 500.0])
    state[0, -1] = State.OUT_OF_STOCK
    assert not detect_outliers(quantity, state, alive, WEEK).any()


@pytest.mark.parametrize("season", [52, 12])
def test_longer_periods_are_judged_too(season):
    rng = np.random.default_rng(9)
    quantity = rng.poisson(40.0, (20, 3 * season)).astype(np.float32)
    quantity[:, -7:-1] = 0
    quantity[:, -1] = 900
    quantity, state, alive = block(quantity)
    out_of_stock = infer_stock_outs(quantity, state, alive, season)
    assert out_of_stock[:, -7:-1].all()
    assert not out_of_stock[:, :-7].any()
    found = detect_outliers(quantity, with_inferred(state, out_of_stock), alive, season)
    assert found[:, -1].all()
    assert not found[:, :-1].any()


@pytest.fixture(scope="module")
def planted():
    return plant(seed=7, series=512)


def test_planted_stock_outs_are_found_where_sales_can_tell(planted):
    found = infer_stock_outs(planted.quantity, planted.state, planted.alive, WEEK)
    rows = np.array([row for row, _, _ in planted.stock_outs])
    half = np.array([found[row, at : at + days].mean() >= 0.5 for row, at, days in planted.stock_outs])
    rate = planted.rate[rows]
    assert half[rate >= 5].mean() > 0.85
    assert half[(rate >= 1) & (rate < 5)].mean() > 0.7
    assert half[(rate >= 0.3) & (rate < 1)].mean() > 0.12
    true_zero = (planted.quantity == 0) & ~planted.out_of_stock
    assert found[true_zero].mean() < 0.01
    assert planted.out_of_stock[found].mean() > 0.9


def test_planted_spikes_are_found_and_little_else(planted):
    state = with_inferred(planted.state, planted.out_of_stock)
    found = detect_outliers(planted.quantity, state, planted.alive, WEEK)
    assert found[planted.spike].mean() > 0.95
    assert found[~planted.spike].mean() < 1e-4
