"""A training from the tables to the artifact: what the model is made of, its series as files, ranks by a launcher, and another
start where a rank is lost.

Nothing passes through the driver but the shared tables, the vocabularies and the ranks' small reports.
"""

from __future__ import annotations

import os
import platform
from datetime import date
from importlib.metadata import version
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from forecasting import __version__
from forecasting.config import Config
from forecasting.errors import TrainingError
from forecasting.lake import Lake
from forecasting.models import artifact
from forecasting.models.batches import sequence_columns
from forecasting.models.shared import SharedRows
from forecasting.periods import position
from forecasting.progress import Progress
from forecasting.training.launchers import launch
from forecasting.training.rank import RankTask
from forecasting.training.reports import clear_reports, fatal_fault, read_reports, who_is_missing
from forecasting.training.ring import RingBroken
from forecasting.training.series_files import lay_out
from forecasting.training.specification import specify
from forecasting.training.warm_start import going_on, parent_path
from forecasting.training.watch import TrainingWatch


def train(
    sequences: DataFrame,
    shared: SharedRows,
    lake: Lake,
    config: Config,
    data_version: str,
    until: date,
    progress: Progress,
) -> dict[str, Any]:
    """Trains the model of this data and configuration, or goes on with it, or finds it done.

    Args:
        sequences: gold `sequences` of one data version.
        shared: rows of the tables that series share.
        until: last period that training may see.

    Returns:
        What rank 0 reports: `model_version`, `ranks`, `steps`, `validation_wql`, `seconds`, `history` of validations, how it
        `began`; and of every rank a fingerprint of its `weights_at_start` and `weights_at_end`.

    Raises:
        TrainingError: the launcher has fewer places than ranks, a rank fails, or ranks are lost more often than
            `training.restarts` allows.
    """
    version_ = artifact.model_version(config, data_version, until)
    folder = f"{config.lake.models}/{version_}"
    if artifact.exists(f"{folder}/{artifact.FILE}") and not config.training.retrain:
        _, _, note = artifact.unpack(artifact.read_bytes(f"{folder}/{artifact.FILE}"))
        progress.say(
            f"  model {version_} was trained on this data with these settings before; training.retrain=true trains anew"
        )
        # Without fingerprints of weights: no rank held any.
        return note["result"] | {"model_version": version_, "began": "already trained"}
    known = sequences.where(F.col("first_period") <= F.lit(until))
    spec, parent = specify(known, shared, config, until, data_version), parent_path(config)
    task = RankTask(
        spec=going_on(spec, parent, until) if parent else spec,
        shared=shared,
        origin=int(position(until, config.series.grain)),
        config=config.training,
        folder=folder,
        note=_note(config),
        threads=rank_threads(sequences, config),
        parent=parent,
    )
    lay_out(known, sequence_columns(task.spec.inputs), task.series, lake)
    with progress.detail(TrainingWatch(task.reports, config.training, progress)):
        result = run_ranks(task, lake.spark, progress)
    task.clear()
    return result | {"model_version": version_}


def run_ranks(task: RankTask, spark: SparkSession, progress: Progress) -> dict[str, Any]:
    """Launches the ranks until they end well, anew where one is lost; what they report.

    Raises:
        TrainingError: as `train`.
    """
    restarts_left = task.config.restarts
    while True:
        clear_reports(task.reports)
        artifact.delete(task.request)  # of a driver that was killed
        try:
            launch(task, spark)
        except Exception as error:
            # What a rank says of itself is clearer than what its launcher makes of it.
            if fatal := fatal_fault(task.reports):
                raise TrainingError(fatal) from error
            failed = [report for report in read_reports(task.reports).values() if "failed" in report]
            if isinstance(error, TrainingError) and not isinstance(error, RingBroken) and not failed:
                raise
            lost = failed[0]["failed"] if failed else _lost_rank(task, error)
            if not restarts_left:
                raise TrainingError(
                    f"{lost} No training.restarts are left. Run the job again: it goes on from the last checkpoint."
                ) from error
            restarts_left -= 1
            progress.say(f"  {lost} Training starts again from its last checkpoint.")
            continue
        reports = read_reports(task.reports)
        if "left" not in reports[0]:
            break
        progress.say("  There are places for more ranks: training starts again with them from its last checkpoint.")
    ended = [reports[rank].get("weights_at_end") for rank in range(reports[0]["ranks"])]
    if len(set(ended)) > 1:
        artifact.delete(f"{task.folder}/{artifact.FILE}")
        # Or another run would go on from the last of them, with the weights of rank 0.
        artifact.delete_folder(task.checkpoints)
        raise TrainingError(
            "Training: expected all ranks to end with the same weights, came different ones, so gradients were not averaged. "
            "Check that every worker has the same versions of Horovod, TensorFlow and Keras."
        )
    started = [reports[rank]["weights_at_start"] for rank in range(reports[0]["ranks"])]
    told = ("began", "ranks", "steps", "validation_wql", "seconds", "history")
    return {name: reports[0][name] for name in told} | {"weights_at_start": started, "weights_at_end": ended}


def _lost_rank(task: RankTask, error: Exception) -> str:
    """What can be said of a rank that was lost before any other could tell."""
    missing = who_is_missing(task.reports, task.config.rank_timeout)
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.strip().startswith("at ")]
    return f"Training lost a rank: {missing or ' '.join(lines[-3:]) or type(error).__name__}."


def rank_threads(df: DataFrame, config: Config) -> int:
    """Cores that a rank owns."""
    context = df.sparkSession.sparkContext
    if context.master.startswith("local["):
        return max(1, (os.cpu_count() or 1) // config.training.ranks)
    return int(context.getConf().get("spark.task.cpus", "1"))


def _note(config: Config) -> dict[str, Any]:
    packages = {name: version(name) for name in ("keras", "numpy", "pyarrow")}
    return {
        "code": __version__,
        "configuration": config.model_dump(mode="json", by_alias=True),
        "packages": packages,
        "python": platform.python_version(),
    }
