"""Training on a cluster: Spark partitions are the shards, the tasks of one barrier stage are the ranks.

Sequences stream from Spark straight into each rank's process as Arrow batches; nothing passes through the driver but the
shared tables, the vocabularies and the ranks' small reports.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark import BarrierTaskContext
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting.config import Config, TrainingConfig
from forecasting.errors import TrainingError
from forecasting.models import artifact
from forecasting.models.batches import sequence_columns
from forecasting.models.shared import SharedRows
from forecasting.models.spec import ModelSpec
from forecasting.periods import position
from forecasting.progress import Progress
from forecasting.training.specification import specify

PROGRESS_FILE = "progress.json"
RESULT = "rank int, result string"


@dataclass(frozen=True)
class RankTask:
    """All that a rank needs beside its series; travels with the Spark task."""

    spec: ModelSpec
    shared: SharedRows
    origin: int
    config: TrainingConfig
    folder: str
    note: dict[str, Any]
    threads: int


def train(
    sequences: DataFrame,
    shared: SharedRows,
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
        What rank 0 reports: `model_version`, `steps`, `validation_wql`, `seconds`, `history` of validations, how it
        `began`; and of every rank a fingerprint of its `weights_at_start` and `weights_at_end`.

    Raises:
        TrainingError: Spark has fewer free task slots than ranks, or a rank fails.
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
    spec = specify(known, shared, config, until, data_version)
    origin = int(position(until, config.series.grain))
    task = RankTask(
        spec,
        shared,
        origin,
        config.training,
        folder,
        _note(config),
        rank_threads(sequences, config),
    )
    artifact.delete(f"{folder}/{PROGRESS_FILE}")
    with progress.detail(TrainingWatch(f"{folder}/{PROGRESS_FILE}", config.training.epochs, progress)):
        result = _launch(
            known.select(*sequence_columns(spec.inputs)), task, sequences.sparkSession.sparkContext.defaultParallelism
        )
    return result | {"model_version": version_}


def _launch(sequences: DataFrame, task: RankTask, slots: int) -> dict[str, Any]:
    ranks = task.config.ranks
    if ranks > slots:
        raise TrainingError(
            f"training.ranks: expected at most {slots}, the number of tasks that Spark can run at once here, came {ranks}. "
            "Give Spark more cores or train with fewer ranks."
        )
    # By hash and in order, so that the same data gives each rank the same series in the same order.
    shards = sequences.repartition(ranks, "item_id", "location_id").sortWithinPartitions("item_id", "location_id")
    told = shards.mapInArrow(rank_function(task), RESULT, barrier=True)
    results = {row["rank"]: json.loads(row["result"]) for row in told.collect()}  # one small row a rank
    started, ended = ([results[rank][when] for rank in range(ranks)] for when in ("weights_at_start", "weights_at_end"))
    if len(set(ended)) > 1:
        artifact.delete(f"{task.folder}/{artifact.FILE}")
        raise TrainingError(
            "Training: expected all ranks to end with the same weights, came different ones, so gradients were not averaged. "
            "Check that every worker has the same versions of Horovod, TensorFlow and Keras."
        )
    return results[0] | {"weights_at_start": started, "weights_at_end": ended}


def digest(model) -> str:
    """Fingerprint of a model's weights."""
    return hashlib.sha256(b"".join(np.ascontiguousarray(w).tobytes() for w in model.get_weights())).hexdigest()[:12]


def rank_function(task: RankTask) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """What each barrier task runs."""

    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        context = BarrierTaskContext.get()
        rank = context.partitionId()
        hosts = [info.address.rpartition(":")[0] for info in context.getTaskInfos()]
        if "gpu" in context.resources():
            os.environ["CUDA_VISIBLE_DEVICES"] = context.resources()["gpu"].addresses[0]
        result = run_rank(task, rank, hosts, context.allGather, batches)
        yield pa.RecordBatch.from_pydict({"rank": pa.array([rank], pa.int32()), "result": [json.dumps(result)]})

    return run


def run_rank(
    task: RankTask, rank: int, hosts: list[str], gather: Callable[[str], list[str]], batches: Iterator[pa.RecordBatch]
) -> dict[str, Any]:
    """One rank from its first batch of series to the written artifact (rank 0)."""
    from forecasting.models.build import build_model, use_threads

    use_threads(task.threads)
    from forecasting.training.loop import Checkpoints, fit
    from forecasting.training.ring import SingleRank
    from forecasting.training.shard import Shard

    folder = Path(tempfile.mkdtemp(prefix="forecasting-shard-"))
    try:
        shared = task.shared.of(task.spec.inputs)
        shard = Shard(folder, task.spec, shared, task.origin)
        shard.fill(batches)
        if len(hosts) > 1:
            from forecasting.training.horovod_ring import joined_ring

            joining = joined_ring(rank, hosts, gather, task.config.start_timeout)
        else:
            joining = nullcontext(SingleRank())
        with joining as ring:
            # Each rank starts from weights of its own; the broadcast of rank 0's makes them equal.
            model = build_model(task.spec, shared, task.config.seed + rank)
            weights = {"weights_at_start": digest(model)}
            checkpoints = Checkpoints(f"{task.folder}/checkpoints")
            told = Reporter(f"{task.folder}/{PROGRESS_FILE}", task.config.ranks) if rank == 0 else lambda message: None
            state = fit(model, shard, task.config, ring, checkpoints, told)
            if rank == 0:
                result = {
                    "began": f"resumed at step {told.resumed}" if told.resumed else "from the start",
                    "steps": state.step,
                    "validation_wql": state.best,
                    "seconds": round(state.seconds, 1),
                    "history": state.history,
                }
                packed = artifact.pack(task.spec, state.best_weights, task.note | {"result": result})
                artifact.write_bytes(f"{task.folder}/{artifact.FILE}", packed)
                checkpoints.clear()
                weights |= result
            return weights | {"weights_at_end": digest(model)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Reporter:
    """Keeps what rank 0 reports in a small file that the driver looks at."""

    def __init__(self, path: str, ranks: int) -> None:
        self._path, self._now, self.resumed = path, {"ranks": ranks}, 0

    def __call__(self, message: dict) -> None:
        self.resumed = message.get("resumed", self.resumed)
        self._now |= message
        artifact.write_bytes(self._path, json.dumps(self._now).encode())


class TrainingWatch:
    """Describes training from the file that rank 0 keeps, and says each validation once."""

    def __init__(self, path: str, epochs: int, progress: Progress) -> None:
        self._path, self._epochs, self._progress = path, epochs, progress
        self._said: set[str] = set()

    def __call__(self) -> str:
        try:
            now = json.loads(artifact.read_bytes(self._path))
        except (OSError, ValueError):
            return "series stream to the ranks"
        if name := now.get("unreadable"):
            self._say_once(
                f"  checkpoint {name} cannot be read; training goes on from the one before it, if there is one"
            )
        if "validated" in now:
            self._say_once(
                f"  step {now['validated']:>5} of {now['steps']}   validation WQL {now['validation_wql']:.4f}"
            )
        if "loss" not in now:
            return f"{now['ranks']} ranks compile their first step"
        left = now["seconds"] / now["step"] * (now["steps"] - now["step"])
        epoch = (now["step"] - 1) * self._epochs // now["steps"] + 1
        return (
            f"epoch {epoch} of {self._epochs}, step {now['step']}/{now['steps']}  loss {now['loss']:.4f}  {now['series_per_second']:.0f} series/s on {now['ranks']} ranks"
            f"  input wait {now['waiting']:.0%}  {left:.0f} s left"
        )

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._progress.say(text)


def rank_threads(df: DataFrame, config: Config) -> int:
    """Cores that a rank owns."""
    context = df.sparkSession.sparkContext
    if context.master.startswith("local["):
        return max(1, (os.cpu_count() or 1) // config.training.ranks)
    return int(context.getConf().get("spark.task.cpus", "1"))


def _note(config: Config) -> dict[str, Any]:
    packages = {name: version(name) for name in ("keras", "numpy", "pyarrow")}
    return {
        "configuration": config.model_dump(mode="json", by_alias=True),
        "packages": packages,
        "python": platform.python_version(),
    }
