"""Ranks that die or hang while they train: training goes on from its last checkpoint, to the weights of one that nothing befell."""

import io
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from rich.console import Console
from small_sequences import small_config
from small_training import small_task, weights_of

from forecasting.errors import TrainingError
from forecasting.models import artifact
from forecasting.models.build import build_model
from forecasting.progress import Progress
from forecasting.training.horovod_ring import settings_of_ranks
from forecasting.training.launchers import launch
from forecasting.training.reports import Report, read_report
from forecasting.training.train import run_ranks
from forecasting.training.watch import TrainingWatch

LONG = (
    "training.ranks=2",
    "training.epochs=150",
    "training.validate_every=30",
    "training.rank_timeout=10",
    "training.start_timeout=20",
)


@pytest.fixture
def shown():
    """What a person would see."""
    return io.StringIO()


@pytest.fixture
def progress(spark, shown):
    return Progress(Console(file=shown, width=300), spark)


class Befall(threading.Thread):
    """Sends a signal to the process of rank 1 once it is past a step, and once more each time that it has begun anew."""

    def __init__(self, task, number: int, step: int, times: int = 1):
        super().__init__(daemon=True)
        self.task, self.number, self.step, self.times, self.befallen = task, number, step, times, []

    def run(self):
        while len(self.befallen) < self.times:
            report = read_report(self.task.reports, 1)
            if report and report.get("step", 0) > self.step and report["pid"] not in self.befallen:
                os.kill(report["pid"], self.number)
                self.befallen.append(report["pid"])
            time.sleep(0.05)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, spark):
    """Weights of a training that nothing befell, every launcher's being the same (see test_launchers), and its seconds."""
    task = small_task(tmp_path_factory.mktemp("undisturbed") / "task", *LONG)
    began = time.monotonic()
    launch(task, spark)
    return weights_of(task), time.monotonic() - began


KILLED, HUNG = signal.SIGKILL, signal.SIGSTOP


@pytest.mark.parametrize(
    ("launcher", "number"),
    [
        pytest.param("spark", KILLED, id="spark-killed"),
        pytest.param("spark", HUNG, id="spark-hung", marks=pytest.mark.slow),
        pytest.param("horovodrun", KILLED, id="horovodrun-killed", marks=pytest.mark.slow),
        pytest.param("horovodrun", HUNG, id="horovodrun-hung", marks=pytest.mark.slow),
        pytest.param("elastic", KILLED, id="elastic-killed", marks=pytest.mark.slow),
        pytest.param("elastic", HUNG, id="elastic-hung", marks=pytest.mark.slow),
    ],
)
def test_a_rank_is_lost_and_training_goes_on(tmp_path, spark, progress, shown, undisturbed, launcher, number):
    task = small_task(tmp_path / "disturbed", f"training.launcher={launcher}", *LONG)
    befall = Befall(task, number, step=60)
    befall.start()
    weights, seconds = undisturbed
    began = time.monotonic()
    result = run_ranks(task, spark, progress)
    print(f"{launcher}, {number.name}: {time.monotonic() - began - seconds:.0f} s lost; {result['began']}")
    TrainingWatch(task.reports, task.config, progress)()
    assert len(befall.befallen) == 1
    assert result["began"].startswith("resumed at step ") and int(result["began"].split()[-1]) >= 60
    assert "Training goes on from step" in shown.getvalue()
    np.testing.assert_allclose(weights, weights_of(task), atol=1e-5)
    assert not psutil.pid_exists(befall.befallen[0])
    if (launcher, number) == ("spark", HUNG):  # of one that is killed Spark may end the others before they can tell
        assert "Training lost a rank: rank 1 on " in shown.getvalue()


def test_training_follows_the_places_that_there_are(tmp_path, spark, progress, shown, undisturbed, monkeypatch):
    """One place at first, then two, then one again, as when a host comes and goes; the effective batch stays what it is."""
    task = small_task(tmp_path / "places", "training.fewest_ranks=1", *LONG)
    seen = []

    def places(spark):
        watch()
        report = read_report(task.reports, 0) or {}
        if "step" in report:
            seen.append((report["ranks"], report["step"]))
        with_two = [step for ranks, step in seen if ranks == 2]
        return 2 if seen and (not with_two or max(with_two) < 150) else 1

    watch = TrainingWatch(task.reports, task.config, progress)
    monkeypatch.setattr("forecasting.training.places.places", places)
    monkeypatch.setattr("forecasting.training.places.EVERY", 0.05)
    result = run_ranks(task, spark, progress)
    order = [ranks for number, (ranks, _) in enumerate(seen) if number == 0 or seen[number - 1][0] != ranks]
    assert order[:2] == [1, 2] and result["ranks"] == 1
    assert "1 of 2 ranks have a place" in shown.getvalue()
    assert "There are places for more ranks: training starts again with them" in shown.getvalue()
    assert "Training lost a rank: expected places for 2 ranks, came 1. Training starts again" in shown.getvalue()
    assert result["began"].startswith("resumed at step ") and result["steps"] == read_report(task.reports, 0)["steps"]
    weights, _ = undisturbed
    shared = task.shared.of(task.spec.inputs)
    began = np.concatenate([each.ravel() for each in build_model(task.spec, shared, task.config.seed).get_weights()])
    assert np.linalg.norm(weights - weights_of(task)) < 0.5 * np.linalg.norm(weights - began)
    assert not artifact.exists(task.request)


def told_by_two_ranks(code: str) -> str:
    """What two processes print that horovodrun starts, and that wait four seconds for one another."""
    waits = settings_of_ranks(small_config("training.rank_timeout=4").training)
    command = [str(Path(sys.executable).with_name("horovodrun")), "--gloo", "-np", "2", sys.executable, "-c", code]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | waits
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120).stdout


#: A rank that lives and is reached, but is busy with something that does not end, say with storage that does not answer.
BUSY = """
import time
from forecasting.training.horovod_ring import launched_ring
from forecasting.training.ring import RingBroken
try:
    with launched_ring() as ring:
        if ring.rank == 1:
            time.sleep(25)
        ring.sum([1.0])
    print("met")
except RingBroken as error:
    print("broken:", error)
"""


def test_a_rank_that_lives_but_does_nothing_is_waited_for_no_longer_than_the_time_out():
    told = told_by_two_ranks(BUSY)
    assert "met" not in told
    assert "[0]<stdout>:broken:" in told and "[1]<stdout>:broken:" in told


#: An all-reduce that cannot be, whose error does not name Horovod by itself, as that of one whose connection breaks does not.
UNLIKE = """
import tensorflow as tf
from forecasting.training.horovod_ring import launched_ring
from forecasting.training.ring import RingBroken
try:
    with launched_ring() as ring:
        tf.function(ring.average)([tf.ones(3 + ring.rank)])
except RingBroken as error:
    print("broken:", error)
"""


@pytest.mark.slow
def test_whatever_befalls_an_averaging_of_gradients_breaks_the_ring():
    told = told_by_two_ranks(UNLIKE)
    assert "[0]<stdout>:broken:" in told and "[1]<stdout>:broken:" in told


def test_a_fault_that_another_start_would_not_mend_is_told_as_such(tmp_path, spark, progress, shown):
    task = small_task(tmp_path / "broken", "training.ranks=1", *LONG[1:])
    (tmp_path / "broken" / "series" / "part-00001.parquet").write_bytes(b"not a table")
    with pytest.raises(TrainingError, match=r"rank 0 on \S+ failed by ArrowInvalid at .*magic bytes"):
        run_ranks(task, spark, progress)
    assert "starts again" not in shown.getvalue()


def test_ranks_that_end_with_other_weights_leave_nothing_that_another_run_would_take_for_good(
    tmp_path, spark, progress, monkeypatch
):
    task = small_task(tmp_path / "differ", *LONG)

    def launched(task, spark):
        for rank in range(2):
            with Report(task.reports, rank, 2) as report:
                report({"weights_at_start": str(rank), "weights_at_end": str(rank), "ended": True})
        artifact.write_bytes(f"{task.folder}/{artifact.FILE}", b"of rank 0")
        artifact.write_bytes(f"{task.checkpoints}/step-0000150.npz", b"of rank 0")

    monkeypatch.setattr("forecasting.training.train.launch", launched)
    with pytest.raises(TrainingError, match="expected all ranks to end with the same weights"):
        run_ranks(task, spark, progress)
    assert not artifact.exists(f"{task.folder}/{artifact.FILE}") and not artifact.list_files(task.checkpoints)


@pytest.mark.slow
def test_a_rank_that_is_lost_again_and_again_stops_training_with_a_clear_word(tmp_path, spark, progress):
    task = small_task(tmp_path / "lost", "training.launcher=horovodrun", "training.restarts=1", *LONG)
    befall = Befall(task, KILLED, step=60, times=2)
    befall.start()
    with pytest.raises(
        TrainingError, match=r"rank 1 on \S+, .* Run the job again: it goes on from the last checkpoint"
    ):
        run_ranks(task, spark, progress)
