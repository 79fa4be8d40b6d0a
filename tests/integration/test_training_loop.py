"""The loop on one rank: it learns, repeats, resumes to the same weights, and stops with a clear word."""

import errno
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from functools import partial
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from small_sequences import ORIGIN, equal_sequences, small_config, small_sequences, small_shared, small_spec

from forecasting.errors import TrainingError
from forecasting.features.calendar import calendar_features
from forecasting.models import artifact
from forecasting.models.build import build_model
from forecasting.models.shared import SharedRows
from forecasting.models.spec import Inputs, model_spec
from forecasting.periods import SEASON, position, shift
from forecasting.training.loop import Ahead, Checkpoints, State, Trainer, fit, total_steps
from forecasting.training.ring import SingleRank
from forecasting.training.shard import Shard

SETTINGS = (
    "training.batch_size=8",
    "training.ranks=1",
    "training.epochs=4",
    "training.validate_every=4",
    "training.origins_per_series=4",
)


@pytest.fixture
def shard(tmp_path):
    folder = tmp_path / "shard"
    folder.mkdir()
    shard = Shard(folder, small_spec(), small_shared(), ORIGIN)
    shard.fill([small_sequences()])
    return shard


def training(*settings):
    return small_config(*SETTINGS, *settings).training


class Stopped(Exception):
    pass


@dataclass
class StopAt:
    """A report that breaks off training, as a crash would."""

    step: int
    seen: list

    def __call__(self, message):
        self.seen.append(message)
        if "validation_wql" in message and message["step"] > self.step:
            raise Stopped


def trained(shard, folder, *settings):
    """The model, and the state at the end of a training of 12 steps or as the settings say."""
    model = build_model(shard.spec, shard.shared, 1)
    return model, fit(model, shard, training(*settings), SingleRank(), Checkpoints(str(folder)), lambda message: None)


def test_training_lowers_the_validation_loss(shard, tmp_path):
    _, state = trained(shard, tmp_path / "c", "training.epochs=40")
    assert state.step == total_steps(24, training("training.epochs=40")) == 120
    assert state.best < 0.9 * state.history[0]["wql"]


def test_a_resumed_training_ends_with_the_same_weights(shard, tmp_path):
    config = training()
    whole = build_model(shard.spec, shard.shared, 1)
    fit(whole, shard, config, SingleRank(), Checkpoints(str(tmp_path / "whole")), lambda m: None)
    checkpoints, seen = Checkpoints(str(tmp_path / "cut")), []
    with pytest.raises(Stopped):
        fit(build_model(shard.spec, shard.shared, 1), shard, config, SingleRank(), checkpoints, StopAt(4, seen))
    resumed = build_model(shard.spec, shard.shared, 99)
    fit(resumed, shard, config, SingleRank(), checkpoints, seen.append)
    assert {"resumed": 4, "steps": 12} in seen
    for a, b in zip(whole.get_weights(), resumed.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


class Meeting:
    """A ring of threads, of which every one must make the same calls; that of a rank alone waits in vain."""

    def __init__(self, size: int) -> None:
        self.size, self._values = size, [None] * size
        self._all = threading.Barrier(size, timeout=60)

    def ring(self, rank: int):
        same = {"average": lambda gradients: gradients, "broadcast": lambda variables: None}
        return SimpleNamespace(rank=rank, size=self.size, sum=partial(self._sum, rank), **same)

    def _sum(self, rank: int, values) -> np.ndarray:
        self._values[rank] = np.asarray(values, np.float64)
        self._all.wait()
        total = np.sum(self._values, axis=0)
        self._all.wait()
        return total


def test_all_that_a_step_changes_can_lie_on_a_gpu(shard):
    """TensorFlow keeps variables of 32-bit integers on the host, and XLA refuses a step for a GPU that reads or changes one."""
    trainer = Trainer(build_model(shard.spec, shard.shared, 1), shard, training("training.xla=true"), SingleRank(), 24)
    counters = [each for each in vars(trainer).values() if isinstance(each, tf.Variable)]
    assert len(counters) == 2
    assert not [v for v in (*counters, *trainer.variables) if tf.as_dtype(v.dtype) == tf.int32]


def test_two_ranks_that_had_ended_but_for_the_artifact_end_again_together(shard, tmp_path):
    config, folder = training("training.batch_size=16", "training.ranks=2"), str(tmp_path / "checkpoints")
    steps = total_steps(2 * shard.rows, config)
    trainer = Trainer(build_model(shard.spec, shard.shared, 1), shard, config, SingleRank(), shard.rows)
    best = [np.asarray(w) + 1 for w in trainer.model.get_weights()]
    Checkpoints(folder).save(State(step=steps, best=0.5, best_weights=best), trainer.variables)
    meeting = Meeting(2)

    def end(rank: int) -> State:
        model = build_model(shard.spec, shard.shared, 1)
        return fit(model, shard, config, meeting.ring(rank), Checkpoints(folder), lambda message: None)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(end, range(2))
    assert first.step == second.step == steps
    for one, other in zip(first.best_weights, best, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    "changes",
    [
        {"head": "negative_binomial"},
        {"members": 2},
        pytest.param({"head": "quantiles"}, marks=pytest.mark.slow),
        pytest.param({"mean_power": 1.5}, marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_every_kind_of_network_learns(changes, tmp_path):
    shard = Shard(tmp_path, small_spec(**changes), small_shared(), ORIGIN)
    shard.fill([small_sequences()])
    _, state = trained(shard, tmp_path / "checkpoints", "training.epochs=40", "training.learning_rate=0.02")
    losses = [each["wql"] for each in state.history]
    assert np.isfinite(losses).all() and state.best < 0.95 * losses[0]


def test_a_compiled_step_learns_what_the_plain_one_does(shard, tmp_path):
    began = np.concatenate([w.ravel() for w in build_model(shard.spec, shard.shared, 1).get_weights()])
    plain, compiled = (
        np.concatenate([w.ravel() for w in trained(shard, tmp_path / xla, f"training.xla={xla}")[0].get_weights()])
        for xla in ("false", "true")
    )
    assert np.linalg.norm(compiled - plain) < 0.05 * np.linalg.norm(plain - began)


def test_a_checkpoint_cut_short_gives_way_to_the_one_before(shard, tmp_path):
    checkpoints = Checkpoints(str(tmp_path / "c"))
    fit(build_model(shard.spec, shard.shared, 1), shard, training(), SingleRank(), checkpoints, lambda m: None)
    newest = sorted((tmp_path / "c").iterdir())[-1]
    assert len(list((tmp_path / "c").iterdir())) == 2
    newest.write_bytes(newest.read_bytes()[:1000])
    trainer = Trainer(build_model(shard.spec, shard.shared, 2), shard, training(), SingleRank(), shard.rows)
    seen = []
    assert trainer.resume(checkpoints, seen.append).step == 8
    assert seen == [{"unreadable": newest.name}]


def test_a_checkpoint_that_cannot_be_read_gives_way_to_those_written_after_it(shard, tmp_path):
    folder = tmp_path / "c"
    artifact.write_bytes(f"{folder}/step-0000099.npz", b"garbage")
    trained(shard, folder)
    assert artifact.list_files(str(folder)) == ["step-0000008.npz", "step-0000012.npz"]


def test_no_series_is_a_clear_error(tmp_path):
    empty = Shard(tmp_path, small_spec(), small_shared(), ORIGIN)
    empty.fill([small_sequences().slice(0, 0)])
    with pytest.raises(TrainingError, match="at least one series on each"):
        fit(
            build_model(empty.spec, empty.shared, 1),
            empty,
            training(),
            SingleRank(),
            Checkpoints(str(tmp_path / "c")),
            lambda m: None,
        )


def with_demand_of(batch: pa.RecordBatch, series: int, value: float) -> pa.RecordBatch:
    """The same series, of which the first few sold that much in every period."""
    quantity = batch["quantity"].to_pylist()
    spoilt = [[value] * len(q) if i < series else q for i, q in enumerate(quantity)]
    place = batch.schema.get_field_index("quantity")
    return batch.set_column(place, "quantity", pa.array(spoilt, pa.list_(pa.float32())))


def test_gradients_that_are_never_numbers_stop_training_with_a_clear_word(tmp_path):
    shard = Shard(tmp_path, small_spec(), small_shared(), ORIGIN)
    shard.fill([with_demand_of(small_sequences(), 24, np.nan)])
    with pytest.raises(TrainingError, match="expected gradients that are numbers, came 10 steps in a row"):
        trained(shard, tmp_path / "c")


def test_a_step_whose_gradients_are_no_numbers_is_left_out(tmp_path):
    shard = Shard(tmp_path, small_spec(), small_shared(), ORIGIN)
    shard.fill([with_demand_of(small_sequences(), 1, np.nan)])
    model, seen = build_model(shard.spec, shard.shared, 1), []
    shard.hold_out = lambda count, seed, begin, series: setattr(shard, "validation", np.arange(1, 8))
    state = fit(model, shard, training(), SingleRank(), Checkpoints(str(tmp_path / "c")), seen.append)
    assert (
        0 < [message["left_out"] for message in seen if "left_out" in message][-1] <= 4
    )  # one of three steps an epoch
    assert all(np.isfinite(weights).all() for weights in [*model.get_weights(), *state.best_weights])


def test_training_on_values_that_are_no_numbers_keeps_no_model(shard, tmp_path, monkeypatch):
    monkeypatch.setattr(Trainer, "_validation_sums", lambda self, *batch: (np.nan, 1.0))
    with pytest.raises(TrainingError, match="expected a validation WQL that is a number"):
        trained(shard, tmp_path / "c")


@pytest.mark.slow
def test_a_checkpoint_that_finds_no_room_is_told_and_training_goes_on(shard, tmp_path, monkeypatch):
    seen, write = [], artifact.write_bytes

    def full(path, content):
        if "step-0000004" in path:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    monkeypatch.setattr(artifact, "write_bytes", full)
    model = build_model(shard.spec, shard.shared, 1)
    state = fit(model, shard, training(), SingleRank(), Checkpoints(str(tmp_path / "c")), seen.append)
    assert [m["unsaved"] for m in seen if "unsaved" in m] == [
        "checkpoint of step 4: [Errno 28] No space left on device"
    ]
    assert state.step == 12
    assert artifact.list_files(str(tmp_path / "c")) == ["step-0000008.npz", "step-0000012.npz"]


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], check=False)
    if mounted.returncode:
        pytest.skip("mounting a disk needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_checkpoint_that_finds_no_room_on_a_full_disk_leaves_no_piece_of_itself(shard, small_disk):
    other = small_disk / "other"
    other.write_bytes(bytes(4 * 2**20 - 8192))  # leaves two pages
    seen = []

    def report(message):
        seen.append(message)
        if "unsaved" in message and message["unsaved"].startswith("checkpoint of step 8"):
            other.unlink()

    model = build_model(shard.spec, shard.shared, 1)
    state = fit(model, shard, training(), SingleRank(), Checkpoints(str(small_disk / "c")), report)
    told = [m["unsaved"] for m in seen if "unsaved" in m]
    assert [each.split(":")[0] for each in told] == ["checkpoint of step 4", "checkpoint of step 8"]
    assert all("No space left on device" in each for each in told)
    assert state.step == 12
    assert artifact.list_files(str(small_disk / "c")) == ["step-0000012.npz"]  # and no piece of another


def test_checkpoints_come_by_minutes_too(shard, tmp_path, monkeypatch):
    steps, save = [], Checkpoints.save
    monkeypatch.setattr(
        Checkpoints, "save", lambda self, state, variables: (steps.append(state.step), save(self, state, variables))
    )
    trained(shard, tmp_path / "c", "training.validate_every=9", "training.checkpoint_minutes=0.0000001")
    assert steps == list(range(1, 13))


def test_ranks_that_cannot_share_a_batch_evenly_weigh_its_series_alike(shard):
    config = training("training.batch_size=8", "training.ranks=3")
    trainers = [
        Trainer(build_model(shard.spec, shard.shared, 1), shard, config, Meeting(3).ring(r), 3 * shard.rows)
        for r in range(3)
    ]
    assert [trainer.batch_size for trainer in trainers] == [2, 3, 3]
    # The mean over ranks of what each makes of its own batch counts every series of the whole batch once.
    assert [trainer.weight / trainer.batch_size for trainer in trainers] == pytest.approx([3 / 8] * 3)


def test_time_ends_training_at_the_best_weights_so_far(shard, tmp_path):
    state = fit(
        build_model(shard.spec, shard.shared, 1),
        shard,
        training("training.max_minutes=0.0001", "training.epochs=50"),
        SingleRank(),
        Checkpoints(str(tmp_path / "c")),
        lambda m: None,
    )
    assert state.step == 4 and state.best_weights  # the first look at the clock


def test_input_made_ahead_is_that_of_the_step_asked_for():
    made = []
    ahead = Ahead(lambda step: made.append(step) or (step,), 10)
    assert [ahead.of(step) for step in (0, 1, 2, 7, 8)] == [(0,), (1,), (2,), (7,), (8,)]
    ahead.of(9)
    assert set(made) >= {0, 1, 2, 7, 8, 9} and len(made) == len(set(made))
    assert 10 not in made  # there is no such step


def test_what_breaks_while_made_ahead_is_raised_at_its_step():
    def make(step):
        if step == 1:
            raise ValueError("broken")
        return (step,)

    ahead = Ahead(make, 2)
    assert ahead.of(0) == (0,)
    with pytest.raises(ValueError, match="broken"):
        ahead.of(1)


@pytest.mark.parametrize(("grain", "periods"), [("week", 160), pytest.param("month", 60, marks=pytest.mark.slow)])
def test_networks_of_weeks_and_months_learn_the_time_of_year(grain, periods, tmp_path):
    """Demand doubles in one half of each year: a forecast that knows it is better than the mean of the year before."""
    series, horizon, season = 32, 4, SEASON[grain]
    last = date(2023, 6, 26) if grain == "week" else date(2023, 6, 1)
    first = shift(last, 1 - periods, grain)
    origin = int(position(np.datetime64(last), grain))
    number = np.arange(origin - periods + 1, origin + 1)
    wave = 1 + 0.9 * np.sin(2 * np.pi * number / season)
    rng = np.random.default_rng(3)
    quantity = rng.poisson(rng.gamma(2.0, 10.0, (series, 1)) * wave)
    config = small_config(
        *SETTINGS, f"series.grain={grain}", f"forecast.horizon={horizon}", f"model.context={season // 12 * 24}",
        "training.epochs=60", "training.learning_rate=0.02", "training.validate_every=20",
    )  # fmt: skip
    calendar = calendar_features(first, periods + horizon, grain, "US", None, (), [], None).assign(calendar="US")
    inputs = Inputs(calendars=("US",), yearly=True, vocabularies={})
    shared = SharedRows(calendar, None, grain).of(inputs)
    spec = model_spec(config, inputs, last, "data")
    assert (spec.grain, spec.horizon) == (grain, horizon)
    shard = Shard(tmp_path, spec, shared, origin)
    shard.fill([equal_sequences(quantity, first, periods + horizon)])
    model = build_model(spec, shared, 1)
    state = fit(
        model, shard, config.training, SingleRank(), Checkpoints(str(tmp_path / "checkpoints")), lambda message: None
    )
    judged = quantity[shard.validation].astype(float)
    flat = judged[:, -horizon - season : -horizon].mean(axis=1, keepdims=True)
    assert state.best < 0.7 * np.abs(judged[:, -horizon:] - flat).sum() / judged[:, -horizon:].sum()
