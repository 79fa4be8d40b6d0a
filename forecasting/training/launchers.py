"""Who starts the ranks. Every launcher ends when the ranks have; how they ended stands in their reports."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pyarrow as pa
from pyspark import BarrierTaskContext
from pyspark.sql import SparkSession

from forecasting.errors import TrainingError
from forecasting.models.build import see_own_gpu
from forecasting.training.places import places_counted, ranks_with_a_place
from forecasting.training.rank import RankTask, run_rank, train_in
from forecasting.training.reports import fatal_fault
from forecasting.training.ring import RingBroken, SingleRank


def launch(task: RankTask, spark: SparkSession) -> None:
    """Runs the ranks of a task by its launcher.

    Raises:
        TrainingError: the launcher has fewer places than ranks, or cannot start them.
        Exception: whatever the launcher tells of a rank that failed.
    """
    LAUNCHERS[task.config.launcher](task, spark)


def in_process(task: RankTask, spark: SparkSession) -> None:
    """The only rank, in this process."""
    run_rank(task, nullcontext(SingleRank()))


def spark_tasks(task: RankTask, spark: SparkSession) -> None:
    """Each rank in a task of one barrier stage: `training.ranks` of them, or with `training.fewest_ranks` as many as there are places
    for. These leave where there are places for more."""
    ranks = ranks_with_a_place(task.config, spark)
    one_a_rank = spark.range(0, ranks, 1, ranks)
    with places_counted(task, spark, ranks):
        one_a_rank.mapInArrow(_barrier_task(task), "id bigint", barrier=True).count()


def _barrier_task(task: RankTask) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def run(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        context = BarrierTaskContext.get()
        rank = context.partitionId()
        hosts = [info.address.rpartition(":")[0] for info in context.getTaskInfos()]
        see_own_gpu(context.resources())
        if fatal := fatal_fault(task.reports):  # of an attempt before this one, which Spark makes by itself
            raise TrainingError(fatal)
        if len(hosts) == 1:
            run_rank(task, nullcontext(SingleRank()))
        else:
            from forecasting.training.horovod_ring import joined_ring

            run_rank(task, joined_ring(rank, hosts, context.allGather, task.config), rank)
        yield from batches

    return run


def elastic(task: RankTask, spark: SparkSession) -> None:
    """Ranks beside Spark's tasks, as many as there are at the time, by Horovod's elastic driver."""
    from forecasting.training.horovod_ring import launch_elastic, settings_of_ranks

    task.save()
    settings = task.config
    fewest = settings.fewest_ranks or 1
    launch_elastic(
        partial(_elastic_rank, task.folder),
        settings.ranks,
        fewest,
        settings.start_timeout,
        {"PYTHONPATH": os.pathsep.join(sys.path), **settings_of_ranks(settings)},
    )


def _elastic_rank(folder: str) -> None:
    from forecasting.models.build import use_threads
    from forecasting.training.horovod_ring import in_elastic_rings

    task = RankTask.load(folder)
    use_threads(task.threads)
    in_elastic_rings(lambda ring: train_in(ring, task), task.config.compression)


def horovodrun(task: RankTask, spark: SparkSession) -> None:
    """Ranks on the machines of `training.hosts`, or on this one, by Horovod's command; Spark has no part in it."""
    from forecasting.training.horovod_ring import settings_of_ranks

    task.save()
    settings = task.config
    command = [str(Path(sys.executable).with_name("horovodrun")), "--gloo", "-np", str(settings.ranks)]
    command += ["-H", settings.hosts] if settings.hosts else []
    command += ["--start-timeout", str(settings.start_timeout)]
    command += [sys.executable, "-m", "forecasting.training.rank", task.folder]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | settings_of_ranks(settings)
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise TrainingError(
            f"training.launcher=horovodrun: expected Horovod's command at {command[0]}, came none. Install Horovod there "
            "(scripts/build_horovod_wheel.sh), or use training.launcher=spark."
        ) from error
    if done.returncode:
        raise RingBroken(
            f"horovodrun: expected all ranks to end well, came exit status {done.returncode}: "
            f"{(done.stderr or done.stdout)[-2000:]}"
        )


LAUNCHERS: dict[str, Callable[[RankTask, SparkSession], None]] = {
    "spark": spark_tasks,
    "in_process": in_process,
    "elastic": elastic,
    "horovodrun": horovodrun,
}
