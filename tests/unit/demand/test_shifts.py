import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_demand import plant

from forecasting.demand.shifts import detect_level_shifts
from forecasting.states import State, with_inferred

WEEK = 7


def block(quantity):
    quantity = np.atleast_2d(np.asarray(quantity, np.float32))
    return quantity, np.where(quantity == 0, State.ZERO, State.SOLD).astype(np.int8), np.ones(quantity.shape, bool)


def stepped(seed, levels, days=150, series=20):
    """Poisson demand with a week, at one level after the other for `days` each."""
    week = np.tile([0.6, 0.6, 0.8, 0.8, 1.2, 1.6, 1.4], days)[:days]
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.poisson(level * week, (series, days)) for level in levels], axis=1).astype(np.float32)


@pytest.mark.parametrize("levels", [(5, 12), (12, 5)])
def test_a_shift_is_confirmed_once_and_its_start_is_found(levels):
    confirmed, back = detect_level_shifts(*block(stepped(1, levels)), WEEK)
    np.testing.assert_array_equal(confirmed.sum(axis=1), 1)
    rows, columns = np.nonzero(confirmed)
    assert ((columns > 150) & (columns < 200)).all()
    # The first days of the new level may be outliers still, and a shift begins at random.
    assert np.median(np.abs(columns - back[rows, columns] - 150)) <= 3
    assert back.dtype == np.int32
    assert not back[~confirmed].any()


def test_a_shift_and_its_way_back_are_two():
    confirmed, _ = detect_level_shifts(*block(stepped(2, (5, 12, 5))), WEEK)
    np.testing.assert_array_equal(confirmed.sum(axis=1), 2)


def test_a_week_and_spikes_are_no_shift():
    quantity = stepped(3, (5, 5, 5), series=50)
    rng = np.random.default_rng(3)
    for row in range(50):
        quantity[row, 100 + rng.choice(300, 4, replace=False)] = 200
    confirmed, _ = detect_level_shifts(*block(quantity), WEEK)
    assert confirmed.sum() <= 2


def test_days_out_of_stock_are_no_shift():
    quantity, state, alive = block(stepped(4, (5, 5)))
    quantity[:, 150:180] = 0
    state[:, 150:180] = State.OUT_OF_STOCK
    assert not detect_level_shifts(quantity, state, alive, WEEK)[0].any()


def test_the_end_of_sales_is_a_shift():
    confirmed, _ = detect_level_shifts(*block(stepped(5, (5, 0))), WEEK)
    assert (confirmed.sum(axis=1) == 1).all()


def test_a_yearly_season_of_weeks_is_no_shift_and_a_shift_is_one():
    rng = np.random.default_rng(6)
    year = 1 + 0.6 * np.sin(2 * np.pi * np.arange(208) / 52)
    level = np.where(np.arange(208) >= 160, 3.0, 1.0)
    calm = detect_level_shifts(*block(rng.poisson(40 * year, (20, 208))), 52)[0]
    changed = detect_level_shifts(*block(rng.poisson(40 * year * level, (20, 208))), 52)[0]
    # The first year has no year before it to know its season by.
    assert not calm[:, 104:].any()
    assert changed[:, 160:175].any(axis=1).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(60, 298))
def test_what_is_confirmed_now_does_not_depend_on_what_comes(seed, now):
    quantity = stepped(seed, (5, 12), series=4)
    confirmed, back = detect_level_shifts(*block(quantity), WEEK)
    quantity[:, now + 1 :] = np.random.default_rng(seed).poisson(30, quantity[:, now + 1 :].shape)
    again, back_again = detect_level_shifts(*block(quantity), WEEK)
    np.testing.assert_array_equal(again[:, : now + 1], confirmed[:, : now + 1])
    np.testing.assert_array_equal(back_again[:, : now + 1], back[:, : now + 1])


def test_a_series_alone_gives_what_it_gives_in_a_block():
    parts = block(np.concatenate([stepped(7, (5, 12), series=5), stepped(7, (3, 1), series=5)]))
    together = detect_level_shifts(*parts, WEEK)
    for row in range(10):
        alone = detect_level_shifts(*(part[row : row + 1] for part in parts), WEEK)
        np.testing.assert_array_equal(alone[0][0], together[0][row])
        np.testing.assert_array_equal(alone[1][0], together[1][row])


def test_an_empty_block_has_no_shifts():
    confirmed, back = detect_level_shifts(*block(np.zeros((0, 100))), WEEK)
    assert confirmed.shape == back.shape == (0, 100)


def test_planted_shifts_are_found_and_little_else():
    planted = plant(seed=7, series=512)
    state = with_inferred(planted.state, planted.out_of_stock)
    confirmed, back = detect_level_shifts(planted.quantity, state, planted.alive, WEEK)
    day = np.arange(confirmed.shape[1])
    true = confirmed & (day - planted.changed[:, None] <= 60) & (day >= planted.changed[:, None])
    true &= planted.changed[:, None] >= 0
    fast = (planted.changed >= 0) & (planted.rate >= 5)
    middling = (planted.changed >= 0) & (planted.rate >= 1) & (planted.rate < 5)
    assert true[fast].any(axis=1).mean() > 0.85
    assert true[middling].any(axis=1).mean() > 0.4
    rows, columns = np.nonzero(true & fast[:, None])
    assert np.median(np.abs(columns - back[rows, columns] - planted.changed[rows])) <= 3
    years = confirmed.size / 365.25
    assert (confirmed & ~true).sum() / years < 0.08
