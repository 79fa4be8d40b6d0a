"""On real sales: what the future can reach, what a second run changes, and what a killed one leaves behind."""

import os
import subprocess
import sys
import time
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from pandas.testing import assert_frame_equal

from forecasting.contracts import TABLES
from forecasting.runtime import start_run
from jobs import backtest, inventory, score, train


def table(lake, name: str):
    """A table as pandas, by its key, without what differs from run to run."""
    frame = DeltaTable(str(Path(lake) / name)).to_pandas().drop(columns=["created_at", "source_file"], errors="ignore")
    return frame.sort_values(list(TABLES[name].key or frame.columns), ignore_index=True)


def with_more_sold_after(origin: date, source: Path, folder: Path) -> Path:
    """The same source, but of every sale after `origin` three times as much."""
    (folder / "data").mkdir(parents=True)
    for file in (source / "data").iterdir():
        rows = pq.read_table(file)
        if file.name == "transactions.parquet":
            # Business days begin at 5 in the morning UTC; the first hours after the origin stay as they are.
            late = pc.greater(rows["transaction_timestamp"], pa.scalar(origin + timedelta(2)).cast(pa.timestamp("ns")))
            assert pc.any(late).as_py()
            for name in ("quantity", "sales_value"):
                more = pc.if_else(late, pc.multiply(rows[name], 3), rows[name])
                rows = rows.set_column(rows.schema.get_field_index(name), name, more)
        pq.write_table(rows, folder / "data" / file.name)
    return folder


@pytest.mark.parametrize(
    ("jobs", "written"),  # of the others, test_cut_short
    [
        ((score, inventory), ("forecasts", "inventory_plan")),
        pytest.param((backtest,), ("backtest_forecasts", "backtest_metrics"), marks=pytest.mark.slow),
    ],
    ids=["score", "backtest"],
)
def test_the_same_run_twice_leaves_one_copy(small_run, make_config, tmp_path, jobs, written):
    settings = small_run.copied_to(tmp_path)
    for job in jobs:
        job.execute(start_run(make_config(*settings), "again"))
    for name in written:
        assert_frame_equal(table(tmp_path / "lake", name), table(small_run.run.lake.folder, name), obj=name)


@pytest.fixture
def started(tmp_path):
    """Starts a `forecasting` command in a session of its own; kills what is left of it in the end."""
    processes = []

    def start(command: str, *settings: str) -> subprocess.Popen:
        arguments = [part for setting in settings for part in ("--set", setting)]
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "jobs.cli", command, *arguments], stdout=log, stderr=log, start_new_session=True
            )
        processes.append(process)
        return process

    yield start
    for process in processes:
        kill(process)


def kill(process: subprocess.Popen) -> None:
    """Ends a command and all its processes, as a lost machine would."""
    # By session, since Spark's Python workers have a process group of their own, and would go on for a while.
    while own := [each for each in psutil.process_iter() if _session(each.pid) == process.pid]:
        for each in own:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        process.wait()
        psutil.wait_procs(own, timeout=10)


def _session(number: int) -> int | None:
    try:
        return os.getsid(number)
    except ProcessLookupError:
        return None


def wait_for(what, process: subprocess.Popen, log: Path) -> None:
    """Waits until `what()` is true."""
    end = time.monotonic() + 400
    while not what():
        assert process.poll() is None and time.monotonic() < end, log.read_text()[-3000:]
        time.sleep(0.02)


def test_a_training_that_was_killed_goes_on_from_its_checkpoint(small_run, started, make_config, tmp_path):
    settings = (
        *small_run.settings,
        f"lake.model_path={tmp_path}",
        "training.epochs=4000",
        "training.validate_every=5",
    )

    def checkpoints() -> list[int]:
        return sorted(int(path.stem.split("-")[1]) for path in tmp_path.glob("*/checkpoints/step-*.npz"))

    process = started("train", *settings)
    wait_for(lambda: len(checkpoints()) >= 2, process, tmp_path / "log")
    kill(process)
    newest = checkpoints()[-1]
    assert not list(tmp_path.glob("*/model.npz"))

    figures = train.execute(start_run(make_config(*settings, "training.max_minutes=0.05"), "again"))
    assert figures["began"] == f"resumed at step {newest}"
    assert len(list(tmp_path.glob("*/model.npz"))) == 1


@pytest.mark.slow
def test_a_run_that_is_killed_while_it_writes_leaves_the_table_before_or_the_new_one(small_run, started, tmp_path):
    settings = small_run.copied_to(tmp_path)
    folder = tmp_path / "lake" / "forecasts"
    before, version = table(tmp_path / "lake", "forecasts"), DeltaTable(str(folder)).version()
    files = set(folder.rglob("*.parquet"))
    process = started("score", *settings, "run.id=killed")
    wait_for(lambda: set(folder.rglob("*.parquet")) - files, process, tmp_path / "log")
    kill(process)
    after = table(tmp_path / "lake", "forecasts")
    if DeltaTable(str(folder)).version() == version:
        assert_frame_equal(after, before)
    else:  # the commit was quicker than the kill
        assert_frame_equal(after.drop(columns="run_id"), before.drop(columns="run_id"))
