"""What baselines know of series at an origin: their own history and regressors as announced, and nothing that came later."""

import numpy as np
import pyarrow as pa
import pytest

from forecasting.baselines import known as module
from forecasting.baselines.known import Known, known_series, regressor_names
from forecasting.periods import position
from forecasting.states import State
from tests.small_sequences import HORIZON, ORIGIN, changed, small_sequences, small_shared, small_spec

SPEC = small_spec()
SHARED = small_shared()
NAMES = regressor_names(SPEC)
BEFORE = ORIGIN - HORIZON  # an origin behind which the sequences still go on


def known_of(batch: pa.RecordBatch, origin: int) -> Known:
    """All series of a small batch."""
    [(start, known)] = known_series(batch, SPEC, SHARED, origin)
    assert start == 0
    return known


def column(known: Known, name: str) -> np.ndarray:
    return known.regressors[..., NAMES.index(name)]


def announced(batch: pa.RecordBatch, column: str, lead: int) -> pa.RecordBatch:
    """The same sequences, every period's plan announced `lead` periods before it."""
    at = batch.schema.get_field_index(column)
    leads = pa.array([np.full(len(values), lead) for values in batch[column].to_pylist()], pa.list_(pa.int16()))
    return batch.set_column(at, batch.schema.field(at), leads)


def assert_same(one: Known, other: Known) -> None:
    for name in ("history", "whole", "regressors"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@pytest.mark.parametrize("origin", [ORIGIN, BEFORE])
def test_history_and_whole_periods_agree_with_a_loop_over_series(origin):
    batch = small_sequences()
    known = known_of(batch, origin)
    width = known.history.shape[1]
    first = position(batch["first_period"].to_numpy(zero_copy_only=False), "day")
    assert len(known) == batch.num_rows
    assert width == origin + 1 - first.min()
    for row, begin in enumerate(first):
        count = max(0, origin + 1 - begin)
        quantity = batch["quantity"][row].as_py()[:count]
        sold = np.array(batch["state"][row].as_py()[:count]) != State.OUT_OF_STOCK
        np.testing.assert_array_equal(known.history[row, width - count :], quantity)
        np.testing.assert_array_equal(known.whole[row, width - count :], sold.astype(bool))
        assert np.isnan(known.history[row, : width - count]).all()
        assert not known.whole[row, : width - count].any()


def test_a_period_that_was_not_observed_tells_no_demand():
    batch = small_sequences()
    observed = [np.asarray(values) for values in batch["observed"].to_pylist()]
    observed[3][-2] = 0
    at = batch.schema.get_field_index("observed")
    closed = known_of(batch.set_column(at, "observed", pa.array(observed, pa.list_(pa.int8()))), ORIGIN)
    expected = known_of(batch, ORIGIN).whole.copy()
    expected[3, -2] = False
    np.testing.assert_array_equal(closed.whole, expected)


def test_a_series_that_begins_behind_the_origin_has_no_history():
    known = known_of(small_sequences(), BEFORE)  # the first one begins on the last day
    assert np.isnan(known.history[0]).all() and not known.whole[0].any()
    assert np.isfinite(known.regressors).all()


def test_only_series_of_the_future_still_give_one_column():
    known = known_of(small_sequences().slice(0, 1), BEFORE)
    assert known.history.shape == (1, 1) and known.regressors.shape == (1, 1 + HORIZON, len(NAMES))


def test_regressors_have_a_name_each_and_are_of_unit_size():
    known = known_of(small_sequences(), ORIGIN)
    assert known.regressors.shape == (len(known), known.history.shape[1] + HORIZON, len(NAMES))
    assert len(set(NAMES)) == len(NAMES)
    assert np.isfinite(known.regressors).all() and np.abs(known.regressors).max() < 10


def test_a_week_has_no_weekdays():
    assert not [name for name in regressor_names(small_spec(grain="week")) if name.startswith("weekday")]


def test_weekdays_are_those_of_the_periods():
    known = known_of(small_sequences(), ORIGIN)
    days = np.arange(known.regressors.shape[1]) + ORIGIN + 1 - known.history.shape[1]
    weekday = (days + 3) % 7 + 1  # 1 January 1970 was a Thursday
    for day in range(1, 8):
        np.testing.assert_array_equal(column(known, f"weekday_{day}")[1], weekday == day)


def test_promotions_are_those_of_the_sequences():
    batch = small_sequences()
    known = known_of(batch, ORIGIN)
    for name in ("display", "mailer"):
        for row, values in enumerate(batch[name].to_pylist()):
            np.testing.assert_array_equal(column(known, name)[row, -len(values) :], values)
            assert not column(known, name)[row, : -len(values)].any()


def test_price_change_is_against_the_mean_price_up_to_the_origin():
    batch = small_sequences()
    known = known_of(batch, ORIGIN)
    for row, planned in enumerate(batch["planned_price"].to_pylist()):
        usual = np.mean(planned[:-HORIZON])
        np.testing.assert_allclose(
            column(known, "price_change")[row, -len(planned) :], np.log(np.array(planned) / usual), atol=1e-5
        )


@pytest.mark.parametrize("name", ["quantity", "price", "discount", "views"])
def test_what_came_behind_the_origin_is_not_read(name):
    batch = small_sequences()
    assert_same(known_of(batch, BEFORE), known_of(changed(batch, name, HORIZON), BEFORE))


@pytest.mark.parametrize("name", ["observed", "state"])
def test_states_behind_the_origin_are_not_read(name):
    batch = small_sequences()
    assert_same(known_of(batch, BEFORE), known_of(changed(batch, name, HORIZON, add=1), BEFORE))


def test_what_came_up_to_the_origin_is_read():
    batch = small_sequences()
    before, after = (known_of(rows, ORIGIN) for rows in (batch, changed(batch, "quantity", HORIZON)))
    began = ~np.isnan(before.history)
    recent = np.zeros_like(began)
    recent[:, -HORIZON:] = True
    np.testing.assert_array_equal((before.history != after.history) & began, recent & began)


def test_promotions_announced_behind_the_origin_are_not_seen():
    known = known_of(announced(small_sequences(), "promotion_announced", lead=3), BEFORE)
    for name in ("display", "mailer", "coupon"):
        ahead = column(known, name)[:, -HORIZON:]
        assert ahead[:, :3].any()
        assert not ahead[:, 3:].any()


def test_a_price_announced_behind_the_origin_is_not_seen_and_that_of_the_origin_holds_on():
    known = known_of(announced(small_sequences(), "price_announced", lead=3), BEFORE)
    price = column(known, "price_change")
    origin, ahead = price[:, -HORIZON - 1 : -HORIZON], price[:, -HORIZON:]
    assert (ahead[:, :3] != origin).any()
    np.testing.assert_array_equal(ahead[:, 3:], np.broadcast_to(origin, ahead[:, 3:].shape))


def test_plans_of_the_past_are_seen_whenever_they_were_announced():
    batch = small_sequences()
    late = announced(batch, "promotion_announced", lead=-30)
    for name in ("display", "mailer", "coupon"):
        before, after = (column(known_of(rows, BEFORE), name)[:, :-HORIZON] for rows in (batch, late))
        np.testing.assert_array_equal(before, after)


def test_an_unseen_plan_can_change_without_being_noticed():
    batch = announced(small_sequences(), "promotion_announced", lead=0)
    assert_same(known_of(batch, BEFORE), known_of(changed(batch, "display", HORIZON), BEFORE))


def test_a_series_does_not_depend_on_how_many_are_laid_out_together(monkeypatch):
    batch = small_sequences()
    together = known_of(batch, ORIGIN)
    monkeypatch.setattr(module, "AT_ONCE", 5)
    parts = list(known_series(batch, SPEC, SHARED, ORIGIN))
    assert [start for start, _ in parts] == [0, 5, 10, 15, 20]
    assert sum(len(part) for _, part in parts) == batch.num_rows
    for start, part in parts:
        rows, width = slice(start, start + len(part)), part.history.shape[1]
        np.testing.assert_array_equal(part.history, together.history[rows, -width:])
        np.testing.assert_array_equal(part.whole, together.whole[rows, -width:])
        # The mean price is a sum of single precision over more or fewer zeros.
        np.testing.assert_allclose(part.regressors, together.regressors[rows, -width - HORIZON :], atol=1e-5)
