"""Whoever launches the ranks, they learn the same."""

import numpy as np
import pytest
from small_training import small_task, weights_of

from forecasting.training.launchers import launch
from forecasting.training.reports import read_reports


@pytest.mark.parametrize("launcher", ["horovodrun", "elastic"])
def test_two_ranks_learn_the_same_by_every_launcher(tmp_path, spark, launcher):
    learnt = []
    for name in ("spark", launcher):
        task = small_task(tmp_path / name, f"training.launcher={name}", "training.ranks=2")
        launch(task, spark)
        reports = read_reports(task.reports)
        assert {rank: report["ended"] for rank, report in reports.items()} == {0: True, 1: True}
        assert reports[0]["weights_at_start"] != reports[1]["weights_at_start"]
        assert reports[0]["weights_at_end"] == reports[1]["weights_at_end"]
        learnt.append(weights_of(task))
    np.testing.assert_allclose(*learnt, atol=1e-6)


def test_one_rank_learns_the_same_in_this_process_and_in_a_task_of_spark(tmp_path, spark):
    learnt = []
    for name in ("in_process", "spark"):
        task = small_task(tmp_path / name, f"training.launcher={name}", "training.ranks=1")
        launch(task, spark)
        learnt.append(weights_of(task))
    np.testing.assert_allclose(*learnt, atol=1e-6)
