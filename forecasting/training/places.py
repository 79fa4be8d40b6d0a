"""Places for ranks in a cluster of Spark, which come and go: with how many ranks training starts, and when it starts anew with more or
fewer. A rank needs a task slot; which of them run a task already does not count."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pyspark.sql import SparkSession

from forecasting.config import TrainingConfig
from forecasting.errors import TrainingError
from forecasting.models import artifact
from forecasting.training.rank import RankTask
from forecasting.training.ring import RingBroken

EVERY = 3  # seconds between two counts


def places(spark: SparkSession) -> int:
    """Tasks that the executors of the moment can run at once, by their cores and GPUs."""
    context = spark.sparkContext._jsc.sc()
    return context.maxNumConcurrentTasks(context.resourceProfileManager().defaultResourceProfile())


def ranks_with_a_place(config: TrainingConfig, spark: SparkSession) -> int:
    """Ranks to start now: `training.ranks`, or as many as there are places for but `training.fewest_ranks` at least. A cluster is given
    `training.start_timeout` seconds to have so many.

    Raises:
        TrainingError: there are not enough places.
    """
    fewest, until = config.fewest_ranks or config.ranks, time.monotonic() + config.start_timeout
    while (found := places(spark)) < fewest:
        if spark.sparkContext.master.startswith("local[") or time.monotonic() > until:
            raise TrainingError(
                f"training.ranks: expected at most {found}, the number of tasks that Spark can run at once here, came {fewest}. "
                "Give Spark more cores or train with fewer ranks."
            )
        time.sleep(1)
    return min(config.ranks, found)


@contextmanager
def places_counted(task: RankTask, spark: SparkSession, ranks: int) -> Iterator[None]:
    """Within it, training follows the places: where there are fewer than ranks, the stage, which would wait for more without end, is
    ended; where there are places for more ranks, these are asked to leave at a checkpoint.

    Raises:
        RingBroken: there are fewer places than ranks.
    """
    tag, over, fewer = f"ranks-{uuid.uuid4().hex}", threading.Event(), []

    def count() -> None:
        while not over.wait(EVERY):
            with suppress(Exception):  # a count that fails, say for want of an answer of the storage, is made again
                found = places(spark)
                if found < ranks:
                    fewer.append(found)
                    spark.sparkContext.cancelJobsWithTag(tag)
                elif min(found, task.config.ranks) > ranks and not artifact.exists(task.request):
                    artifact.write_bytes(task.request, b"")

    counting = threading.Thread(target=count, daemon=True)
    spark.sparkContext.addJobTag(tag)
    counting.start()
    try:
        yield
    except Exception as error:
        if fewer:
            raise RingBroken(f"expected places for {ranks} ranks, came {fewer[-1]}") from error
        raise
    finally:
        over.set()
        counting.join()
        spark.sparkContext.removeJobTag(tag)
