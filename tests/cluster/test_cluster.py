"""The chain by spark-submit on a standalone master and two workers writes what the local run wrote."""

import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from deltalake import DeltaTable
from jvm import JVM_OPTIONS
from pandas.testing import assert_frame_equal
from standalone import daemon, environment

from forecasting.config import FLOORS
from forecasting.contracts import SEQUENCES
from forecasting.session import delta_jars
from forecasting.sqlshell import spark_home

ROOT = Path(__file__).parents[2]
TABLES = {  # keys, and how near the numbers must be: demand and what follows from it do not depend on the order of rows
    "demand": (["item_id", "location_id", "period_start"], 0),
    "location_days": (["location_id", "date"], 0),
    "sequences": (["item_id", "location_id"], 0),
    "calendar_features": (["calendar", "period_start"], 0),
    "category_prices": (["category", "period_start"], 1e-9),
    "forecasts": (["item_id", "location_id", "target_date"], 1e-3),
    "backtest_metrics": (["model", "forecast_origin", "segment", "part", "metric"], 1e-9),
    "inventory_plan": (["item_id", "location_id"], None),
}
LINEAGE = ["run_id", "created_at"]


@pytest.fixture(scope="module")
def master(tmp_path_factory):
    """Address of a master with two workers of one core each."""
    folder = tmp_path_factory.mktemp("cluster")
    address = ("--host", "127.0.0.1", "--port", "0", "--webui-port", "0")
    package = "org.apache.spark.deploy"
    with ExitStack() as stack:
        url = stack.enter_context(
            daemon(
                folder / "master.log", r"Starting Spark master at (spark://\S+)", f"{package}.master.Master", *address
            )
        )
        for number in (1, 2):
            size = ("--cores", "1", "--memory", "1500m", "--work-dir", str(folder / f"work-{number}"))
            worker = (f"{package}.worker.Worker", *address, *size, url)
            stack.enter_context(
                daemon(folder / f"worker-{number}.log", r"(Successfully registered) with master", *worker)
            )
        yield url


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """The zip that executors unpack, made as `make package` makes it, from a copy so that the checkout stays clean."""
    folder = tmp_path_factory.mktemp("package")
    for name in ("forecasting", "jobs", "conf"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", "dist", "."], cwd=folder, check=True, timeout=300)
    (wheel,) = (folder / "dist").glob("*.whl")
    return Path(shutil.copy(wheel, folder / "forecasting.zip"))


def submit(master: str, archive: Path, job: str, settings: list[str]) -> None:
    """Runs a job by spark-submit on the cluster."""
    spark = {
        **delta_jars(),
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.cores.max": "2",
        "spark.executor.cores": "1",
        "spark.executor.memory": "1g",
        "spark.sql.shuffle.partitions": "2",
        "spark.databricks.delta.snapshotPartitions": "2",
        "spark.executor.extraJavaOptions": JVM_OPTIONS,
        # As for users: other tests interpret.
        "spark.sql.codegen.wholeStage": "true",
        "spark.sql.codegen.factoryMode": "FALLBACK",
    }
    command = [str(spark_home() / "bin" / "spark-submit"), "--master", master, "--driver-memory", "1g"]
    command += [part for key, value in spark.items() for part in ("--conf", f"{key}={value}")]
    command += ["--py-files", str(archive), str(ROOT / "jobs" / f"{job}.py")]
    command += [part for setting in settings for part in ("--set", setting)]
    done = subprocess.run(command, env=environment(), cwd=archive.parent, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-6000:]


@pytest.mark.timeout(1500)
def test_a_cluster_writes_what_the_local_run_wrote(master, archive, tiny_settings, small_sales, request, tmp_path):
    shared = [setting for setting in tiny_settings if not setting.startswith("spark.")]
    own = [
        f"source.path={small_sales}",
        f"lake.path={tmp_path / 'lake'}",
        "lake.schema=cluster",
        f"report.path={tmp_path / 'report'}",
        "run.id=cluster",
        f"backtest.models=[{', '.join(FLOORS)}]",  # the network is trained and scored there all the same
    ]
    submit(master, archive, "run", [*shared, *own])
    local = request.getfixturevalue("small_run").run.lake.folder  # only now: meanwhile another process makes it
    for name, (key, nearness) in TABLES.items():
        mine, theirs = (
            DeltaTable(f"{lake}/{name}")
            .to_pandas()
            .drop(columns=LINEAGE, errors="ignore")
            .sort_values(key, ignore_index=True)
            for lake in (local, tmp_path / "lake")
        )
        if name == "backtest_metrics":
            mine = mine[mine["model"].isin(FLOORS)].reset_index(drop=True)
        if nearness is None:
            assert_frame_equal(mine[key], theirs[key], obj=name)
        elif name == "sequences":
            assert_frame_equal(mine.drop(columns=arrays()), theirs.drop(columns=arrays()), obj=name)
            for column in arrays():
                for one, other in zip(mine[column], theirs[column], strict=True):
                    np.testing.assert_array_equal(one, other, err_msg=column)
        else:
            assert_frame_equal(mine, theirs, rtol=nearness, atol=nearness, obj=name)
    assert (tmp_path / "report" / "report.html").exists()


def arrays() -> list[str]:
    """The columns of `sequences` that hold arrays."""
    return [column.name for column in SEQUENCES.columns if column.type.startswith(("array", "map"))]
