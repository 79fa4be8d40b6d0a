"""What tests share: one Spark session, lakes of their own, a small cut of real sales, and one run of the whole chain."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock
from jvm import DRIVER_OPTIONS
from pyspark.sql import SparkSession

from benchmarks.cut import cut_sales
from forecasting.config import Config, load_config
from forecasting.runtime import Figures, Run, start_run
from forecasting.session import build_session
from jobs.run import run_stages

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
    "training.validation_share=0.3",
    "training.validation_series=64",
    "training.xla=false",
    "tracking.enabled=false",  # a test of its own tells MLflow of a training
)
_schemas = itertools.count()

# In the environment, so that the JVMs of subprocesses get them too.
os.environ["SPARK_CONF_DIR"] = str(Path(__file__).with_name("spark"))
os.environ["SPARK_SUBMIT_OPTS"] = f"{os.environ.get('SPARK_SUBMIT_OPTS', '')} {DRIVER_OPTIONS}"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In this order two processes share the work without waiting: one begins with the cluster and the other with the small run
    that the cluster is held against at its end; what needs neither fills in."""

    def place(item: pytest.Item) -> int:
        return 0 if item.path.parent.name == "cluster" else 1 if "small_run" in getattr(item, "fixturenames", ()) else 2

    first = {}
    for item in items:
        first[item.path] = min(place(item), first.get(item.path, 2))
    items.sort(key=lambda item: first[item.path])


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """The one session of all tests in this process; jobs that run in this process use it too."""
    config = load_config(settings=[*TINY, f"lake.path={tmp_path_factory.mktemp('session')}"])
    session = build_session(config, "tests")
    session.conf.set("spark.databricks.delta.snapshotPartitions", "1")  # of tables with a few commits
    yield session
    session.stop()


@pytest.fixture(scope="session")
def tiny_settings() -> tuple[str, ...]:
    """Settings under which the whole chain takes seconds a stage."""
    return TINY


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
def shared_folder(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder that all processes of this test run have in common."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent


@pytest.fixture(scope="session")
def small_sales(shared_folder: Path) -> Path:
    """A cut of The Complete Journey, 150 items from daily to rare sellers: a folder for `source.path`."""
    with FileLock(shared_folder / "small_sales.lock"):
        folder = shared_folder / "small_sales"
        return folder if folder.exists() else cut_sales(folder, 150)


@dataclass(frozen=True)
class SmallRun:
    """The chain as `forecasting run` carries it out, and what each stage reported."""

    run: Run
    figures: dict[str, Figures]
    settings: tuple[str, ...]
    folder: Path

    def copied_to(self, folder: Path) -> tuple[str, ...]:
        """Settings of a copy of its lake, model and all, for a test that writes (Delta tables hold relative paths)."""
        shutil.copytree(self.folder / "lake", folder / "lake")
        own = (f"lake.path={folder / 'lake'}", f"lake.schema={folder.name}", f"report.path={folder / 'output'}")
        return (*self.settings, *own)


@pytest.fixture(scope="session")
def small_run(spark: SparkSession, make_config, small_sales: Path, shared_folder: Path) -> SmallRun:
    """The whole chain on the small cut of real sales, carried out by the first process that asks. Read its tables; write
    to a copy."""
    folder = shared_folder / "small_run"
    settings = (
        f"source.path={small_sales}",
        f"lake.path={folder / 'lake'}",
        "lake.schema=small_run",
        f"report.path={folder / 'output'}",
        "run.id=small",
    )
    run = start_run(make_config(*settings), "run")
    told = folder / "figures.json"
    with FileLock(shared_folder / "small_run.lock"):
        if not told.exists():
            told.write_text(json.dumps(run_stages(run), default=str))
    return SmallRun(run, json.loads(told.read_text()), (*TINY, *settings), folder)
