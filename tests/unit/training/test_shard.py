"""Shards: every series once an epoch, targets never past the end of training."""

import numpy as np
import pytest
from small_sequences import ORIGIN, changed, small_config, small_sequences, small_shared, small_spec, without

from forecasting.training.shard import Shard


def filled(folder, batch, origin=ORIGIN - 7):
    shard = Shard(folder, small_spec(), small_shared(), origin)
    shard.fill([batch.slice(0, 10), batch.slice(10)])
    return shard


def training(origins, hidden=0.5):
    return small_config(f"training.origins_per_series={origins}", f"training.history_hidden={hidden}").training


def test_every_series_is_drawn_once_an_epoch(tmp_path):
    shard = filled(tmp_path, small_sequences())
    drawn = np.concatenate([shard.training_rows(step, 7, seed=1) for step in range(24)])
    for epoch in range(7):
        assert sorted(drawn[epoch * 24 : (epoch + 1) * 24]) == list(range(24))
    np.testing.assert_array_equal(shard.training_rows(5, 7, seed=1), drawn[35:42])


def test_training_sees_nothing_behind_its_end_and_no_target_of_a_validation_window(tmp_path):
    batch = small_sequences()
    late = changed(changed(changed(batch, "quantity", after=7), "views", after=7), "observed", after=7, add=-1.0)
    window = changed(batch, "quantity", after=14)  # and all that lies behind it
    one, other, third = (filled(make(tmp_path / name), b) for name, b in zip("abc", (batch, late, window), strict=True))
    for shard in (one, other, third):
        shard.hold_out(6, seed=2)
    assert len(set(one.validation)) == 6
    rows, held = np.arange(24), np.isin(np.arange(24), one.validation)
    reached = 0.0
    for step in range(20):
        first, second, moved = (
            s.training_batch(rows, np.random.default_rng(step), training(4)) for s in (one, other, third)
        )
        for name in first.inputs:
            np.testing.assert_array_equal(first.inputs[name], second.inputs[name])
        for name in ("counts", "actual", "censored"):
            np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
        targets, others = (b.actual * (b.counts > 0) for b in (first, moved))
        np.testing.assert_array_equal(targets[held], others[held])
        reached += np.abs(targets[~held] - others[~held]).sum()
    assert reached > 0  # all other series are learnt from up to the end


def test_the_series_held_out_are_the_same_for_any_number_of_ranks(tmp_path):
    batch = small_sequences()
    whole = filled(make(tmp_path / "whole"), batch)
    whole.hold_out(6, seed=2)
    for ranks in (2, 3, 5):
        found = []
        for rank in range(ranks):
            begin, end = (24 * r // ranks for r in (rank, rank + 1))
            part = filled(make(tmp_path / f"{rank}-of-{ranks}"), batch.slice(begin, end - begin))
            part.hold_out(6, seed=2, begin=begin, series=24)
            found += [begin + row for row in part.validation]
        assert found == list(whole.validation)


def test_validation_is_the_last_horizon_before_the_end_of_training(tmp_path):
    shard, batch = filled(tmp_path, small_sequences()), small_sequences()
    validation = shard.validation_batch(np.arange(24))
    for row, record in enumerate(batch.to_pylist()):
        window = record["quantity"][-14:-7] if record["length"] >= 14 else None
        if window:
            np.testing.assert_array_equal(validation.actual[row, 0], window)
            assert np.all(validation.counts[row] > 0)


def test_targets_are_the_days_after_each_origin(tmp_path):
    shard, batch = filled(tmp_path, small_sequences(shortest=110)), small_sequences(shortest=110)
    row, spec = 5, shard.spec
    drawn = shard.training_batch(np.array([row]), np.random.default_rng(0), training(3, hidden=0.0))
    demand = np.asarray(batch["quantity"][row].as_py(), np.float32)
    seen = drawn.inputs["quantity"][0]
    start = next(s for s in range(len(demand)) if np.array_equal(demand[s : s + spec.context], seen))
    for place, origin in enumerate(drawn.origins):
        ahead = demand[start + (origin + 1) * 7 : start + (origin + 1) * 7 + spec.horizon]
        counts = drawn.counts[0, place] > 0
        np.testing.assert_array_equal(drawn.actual[0, place][counts], ahead[counts])


def test_a_shard_without_series_is_empty(tmp_path):
    assert filled(tmp_path, small_sequences().slice(0, 0)).rows == 0


def make(folder):
    folder.mkdir()
    return folder


@pytest.mark.parametrize("name", ["quantity", "planned", "lead"])
def test_local_files_hold_the_rows(tmp_path, name):
    shard = filled(tmp_path, small_sequences())
    assert (tmp_path / name).stat().st_size == getattr(shard._block, name).nbytes > 0


def test_of_some_series_the_history_is_hidden_up_to_a_day_and_not_its_targets(tmp_path):
    shard, rows = filled(tmp_path, small_sequences(shortest=110)), np.arange(1, 24)
    whole, hidden = (shard.training_batch(rows, np.random.default_rng(3), training(4, share)) for share in (0.0, 1.0))
    shown = [np.flatnonzero(row) for row in hidden.inputs["observed"]]
    assert len({len(days) for days in shown}) > 5
    for row, days in enumerate(shown):
        start = days[0] if len(days) else shard.spec.context
        np.testing.assert_array_equal(hidden.inputs["quantity"][row, start:], whole.inputs["quantity"][row, start:])
        assert not hidden.inputs["quantity"][row, :start].any() and not hidden.inputs["past"][row, :start].any()
    np.testing.assert_array_equal(hidden.actual, whole.actual)


def test_days_out_of_stock_are_told_to_the_loss(tmp_path):
    shard = filled(tmp_path, small_sequences(shortest=110))
    batch = shard.training_batch(np.arange(1, 24), np.random.default_rng(0), training(4))
    assert 0.02 < batch.censored[batch.counts > 0].mean() < 0.08


def test_hidden_history_hides_what_sales_told_of_prices(tmp_path):
    """A plan of prices tells that of a new item too; the price of its sales is known once it has some."""
    planned, batch = filled(make(tmp_path / "planned"), small_sequences()), without(small_sequences(), "planned_price")
    seen = filled(make(tmp_path / "seen"), batch)
    context = seen.spec.context
    for shard, plan in ((planned, True), (seen, False)):
        drawn = shard.training_batch(np.arange(24), np.random.default_rng(1), training(4, hidden=1.0))
        whole = shard.training_batch(np.arange(24), np.random.default_rng(1), training(4, hidden=0.0))
        price, shown = drawn.inputs["price"][:, :context], drawn.inputs["observed"] > 0
        hidden = ~shown & (whole.inputs["price"][:, :context] > 0)
        assert hidden.any() and (price[hidden] > 0).all() == plan and (price[hidden] > 0).any() == plan
