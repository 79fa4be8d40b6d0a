"""What tests share: one Spark session, lakes of their own, a small cut of real sales, and one run of the whole chain."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from benchmarks.cut import cut_sales
from forecasting.config import Config, load_config
from forecasting.runtime import Figures, Run, start_run
from forecasting.session import build_session

#: Settings under which the whole chain takes seconds a stage. Two ranks, so that the ring is part of it.
TINY = (
    "spark.master=local[2]",
    "spark.shuffle_partitions=2",
    "spark.driver_memory=1g",
    "forecast.horizon=14",
    "model.context=112",
    "model.width=16",
    "model.layers=1",
    "model.heads=2",
    "model.head_width=16",
    "model.static_width=2",
    "training.ranks=2",
    "training.epochs=1",
    "training.batch_size=32",
    "training.origins_per_series=4",
    "training.validate_every=2",
    "training.validation_series=64",
    "training.xla=false",
)
_schemas = itertools.count()

# A test's JVM lives for minutes: compiling its code twice, the second time thoroughly, would cost most of them.
os.environ.setdefault("SPARK_SUBMIT_OPTS", "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC")


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The one session of all tests in this process; jobs that run in this process use it too."""
    config = load_config(settings=[*TINY, f"lake.path={tmp_path_factory.mktemp('session')}"])
    session = build_session(config, "tests")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def make_config() -> Callable[..., Config]:
    """Tiny settings and those given: `make_config("series.grain=week")`."""

    def make(*settings: str) -> Config:
        return load_config(settings=[*TINY, *settings])

    return make


@pytest.fixture
def make_run(spark: SparkSession, make_config, tmp_path: Path) -> Callable[..., Run]:
    """A run with a lake and a schema of its own for this test; a second call gives another run on the same lake."""
    schema = f"test_{next(_schemas)}"

    def make(*settings: str) -> Run:
        own = (f"lake.path={tmp_path / 'lake'}", f"lake.schema={schema}", f"report.path={tmp_path / 'report'}")
        return start_run(make_config(*own, *settings), "test")

    return make


@pytest.fixture(scope="session")
def small_sales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cut of The Complete Journey, 150 items from daily to rare sellers: a folder for `source.path`."""
    return cut_sales(tmp_path_factory.mktemp("small_sales"), 150)


@dataclass(frozen=True)
class SmallRun:
    """The chain as `forecasting run` carries it out, and what each stage reported."""

    run: Run
    figures: dict[str, Figures]
    settings: tuple[str, ...]
    folder: Path


@pytest.fixture(scope="session")
def small_run(spark: SparkSession, make_config, small_sales: Path, tmp_path_factory) -> SmallRun:
    """The whole chain, once, on the small cut of real sales. Read its tables; write elsewhere."""
    from jobs.run import run_stages

    folder = tmp_path_factory.mktemp("small_run")
    settings = (
        f"source.path={small_sales}",
        f"lake.path={folder / 'lake'}",
        "lake.schema=small_run",
        f"report.path={folder / 'output'}",
        "run.id=small",
    )
    run = start_run(make_config(*settings), "run")
    return SmallRun(run, run_stages(run), (*TINY, *settings), folder)
