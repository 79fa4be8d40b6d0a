"""Shards: every series once an epoch, targets never past the end of training."""

import numpy as np
import pytest
from small_sequences import ORIGIN, changed, small_axis, small_sequences, small_spec

from forecasting.training.shard import Shard


def filled(folder, batch, origin=ORIGIN - 7):
    shard = Shard(folder, small_spec(), small_axis(), origin)
    shard.fill([batch.slice(0, 10), batch.slice(10)])
    return shard


def test_every_series_is_drawn_once_an_epoch(tmp_path):
    shard = filled(tmp_path, small_sequences())
    drawn = np.concatenate([shard.training_rows(step, 7, seed=1) for step in range(24)])
    for epoch in range(7):
        assert sorted(drawn[epoch * 24 : (epoch + 1) * 24]) == list(range(24))
    np.testing.assert_array_equal(shard.training_rows(5, 7, seed=1), drawn[35:42])


def test_training_never_sees_the_validation_window_nor_what_lies_behind_its_end(tmp_path):
    batch = small_sequences()
    late = changed(changed(batch, "quantity", after=14), "price", after=14)
    one, other = filled(make(tmp_path / "a"), batch), filled(make(tmp_path / "b"), late)
    for step in range(20):
        rows = np.arange(24)
        first, second = (s.training_batch(rows, np.random.default_rng(step), 4) for s in (one, other))
        for name in first.inputs:
            np.testing.assert_array_equal(first.inputs[name], second.inputs[name])
        np.testing.assert_array_equal(first.counts, second.counts)
        np.testing.assert_array_equal(first.actual * (first.counts > 0), second.actual * (second.counts > 0))


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
    drawn = shard.training_batch(np.array([row]), np.random.default_rng(0), 3)
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


@pytest.mark.parametrize("name", ["quantity", "known"])
def test_local_files_hold_the_rows(tmp_path, name):
    shard = filled(tmp_path, small_sequences())
    assert (tmp_path / name).stat().st_size == 4 * np.prod(getattr(shard._block, name).shape)
