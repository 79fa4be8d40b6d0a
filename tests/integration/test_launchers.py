"""Whoever launches the ranks, they learn the same."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession
from small_sequences import LAST
from small_training import small_task, weights_of

from forecasting.models import artifact
from forecasting.training.launchers import launch
from forecasting.training.reports import read_reports
from forecasting.training.warm_start import going_on


def learnt(folder: Path, spark: SparkSession, *settings: str) -> np.ndarray:
    """Weights of a small training with these settings."""
    task = small_task(folder, *settings)
    launch(task, spark)
    return weights_of(task)


@pytest.mark.parametrize("launcher", ["horovodrun", pytest.param("elastic", marks=pytest.mark.slow)])
def test_two_ranks_learn_the_same_by_every_launcher(tmp_path, spark, launcher):
    found = []
    for name in ("spark", launcher):
        task = small_task(tmp_path / name, f"training.launcher={name}", "training.ranks=2")
        launch(task, spark)
        reports = read_reports(task.reports)
        assert {rank: report["ended"] for rank, report in reports.items()} == {0: True, 1: True}
        assert reports[0]["weights_at_start"] != reports[1]["weights_at_start"]
        assert reports[0]["weights_at_end"] == reports[1]["weights_at_end"]
        found.append(weights_of(task))
    np.testing.assert_allclose(*found, atol=1e-6)


@pytest.mark.slow
def test_one_rank_learns_the_same_in_this_process_and_in_a_task_of_spark(tmp_path, spark):
    here, there = (
        learnt(tmp_path / name, spark, f"training.launcher={name}", "training.ranks=1")
        for name in ("in_process", "spark")
    )
    np.testing.assert_allclose(here, there, atol=1e-6)


def test_training_goes_on_from_an_earlier_model(tmp_path, spark):
    first = small_task(tmp_path / "first", "training.launcher=in_process", "training.ranks=1", "training.epochs=30")
    launch(first, spark)
    path = f"{first.folder}/{artifact.FILE}"
    second = small_task(
        tmp_path / "second", "training.launcher=spark", "training.ranks=1", "training.learning_rate=1e-4"
    )
    launch(replace(second, parent=path, spec=going_on(second.spec, path, LAST)), spark)
    anew, on = (read_reports(task.reports)[0] for task in (first, second))
    assert on["began"] == f"from model {path}"
    assert on["history"][0]["wql"] < 0.5 * (anew["history"][0]["wql"] + anew["history"][-1]["wql"])
    assert not np.allclose(weights_of(first), weights_of(second))


@pytest.mark.slow
def test_gradients_in_half_precision_lead_nearly_to_the_same(tmp_path, spark):
    whole, half = (
        learnt(tmp_path / compression, spark, f"training.compression={compression}", "training.ranks=2")
        for compression in ("none", "fp16")
    )
    assert np.abs(whole - half).max() > 0
    assert np.linalg.norm(whole - half) < 0.02 * np.linalg.norm(whole)


def test_what_runs_when_is_kept_on_request(tmp_path, spark):
    task = small_task(tmp_path / "traced", "training.ranks=2", "training.trace_steps=4")
    launch(task, spark)
    traces = Path(task.traces)
    timeline = json.loads((traces / "timeline.json").read_text())
    gradients = {
        event["pid"]
        for event in timeline
        if event.get("args", {}).get("name", "").startswith("HorovodAllreduce.gradients")
    }
    averaged = [event for event in timeline if event.get("name") == "ALLREDUCE" and event["pid"] in gradients]
    assert len(averaged) == 4 * len(gradients) > 0
    for rank in ("rank-0000", "rank-0001"):
        (profile,) = (traces / rank).rglob("*.xplane.pb")
        assert b"HorovodGroupedAllreduce" in profile.read_bytes()
    task.clear()
    assert traces.exists()


@pytest.mark.slow
def test_ranks_in_processes_that_have_done_different_things_meet(tmp_path, spark):
    """Spark gives tasks to Python processes that it has: after a rank was lost, one has trained before and the other has not."""
    for number in range(2):
        learnt(tmp_path / f"alone{number}", spark, "training.ranks=1", "training.epochs=1")
    learnt(tmp_path / "together", spark, "training.ranks=2", "training.rank_timeout=20")
