"""Whoever launches the ranks, they learn the same."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_sequences import ORIGIN, small_config, small_rows, small_sequences, small_spec

from forecasting.models import artifact
from forecasting.training.launchers import launch
from forecasting.training.rank import RankTask
from forecasting.training.reports import read_reports

SETTINGS = (
    "training.batch_size=16",
    "training.epochs=6",
    "training.validate_every=6",
    "training.origins_per_series=4",
    "training.averaging=0",
)


@pytest.fixture
def make_task(tmp_path):
    """A training of 48 series in two files, laid out in a folder of its own."""
    series = pa.Table.from_batches([small_sequences(48)])

    def make(name, *settings):
        folder = tmp_path / name
        (folder / "series").mkdir(parents=True)
        for number, begin in enumerate((0, 32)):
            pq.write_table(series.slice(begin, 32 - 16 * number), folder / "series" / f"part-{number:05d}.parquet")
        config = small_config(*SETTINGS, *settings).training
        return RankTask(small_spec(), small_rows(), ORIGIN, config, str(folder), {}, threads=1)

    return make


def weights(task: RankTask) -> np.ndarray:
    """Of the model that a training has written."""
    _, weights, _ = artifact.unpack(artifact.read_bytes(f"{task.folder}/{artifact.FILE}"))
    return np.concatenate([each.ravel() for each in weights])


@pytest.mark.parametrize("launcher", ["horovodrun", "elastic"])
def test_two_ranks_learn_the_same_by_every_launcher(make_task, spark, launcher):
    learnt = []
    for name in ("spark", launcher):
        task = make_task(name, f"training.launcher={name}", "training.ranks=2")
        launch(task, spark)
        reports = read_reports(task.reports)
        assert {rank: report["ended"] for rank, report in reports.items()} == {0: True, 1: True}
        assert reports[0]["weights_at_start"] != reports[1]["weights_at_start"]
        assert reports[0]["weights_at_end"] == reports[1]["weights_at_end"]
        learnt.append(weights(task))
    np.testing.assert_allclose(*learnt, atol=1e-6)


def test_one_rank_learns_the_same_in_this_process_and_in_a_task_of_spark(make_task, spark):
    learnt = []
    for name in ("in_process", "spark"):
        task = make_task(name, f"training.launcher={name}", "training.ranks=1")
        launch(task, spark)
        learnt.append(weights(task))
    np.testing.assert_allclose(*learnt, atol=1e-6)
