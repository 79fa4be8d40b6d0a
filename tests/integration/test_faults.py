"""What a killed run leaves behind, what a second run changes, and what the future can reach: on real sales."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
from deltalake import DeltaTable
from pandas.testing import assert_frame_equal

from jobs import aggregate, backtest, features, ingest, inventory, score, train

KEYS = ["item_id", "location_id", "target_date"]


def started(command, settings, log):
    """A `forecasting` command as a process group of its own."""
    arguments = [argument for setting in settings for argument in ("--set", setting)]
    code = [sys.executable, "-m", "jobs.cli", command, *arguments]
    environment = os.environ | {"PYSPARK_PYTHON": sys.executable}
    return subprocess.Popen(
        code, stdout=log.open("w"), stderr=subprocess.STDOUT, start_new_session=True, env=environment
    )


def wait_for(what, process, log, seconds=240):
    """Waits until `what()` is true."""
    end = time.monotonic() + seconds
    while not what():
        assert process.poll() is None and time.monotonic() < end, log.read_text()[-3000:]
        time.sleep(0.02)


def killed(process):
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def table(lake, name):
    return DeltaTable(str(Path(lake) / name)).to_pandas()


def with_sales_after_changed(source: Path, folder: Path, origin) -> Path:
    """The same source, but every sale after `origin` has three times the quantity and value."""
    (folder / "data").mkdir(parents=True)
    for file in (source / "data").iterdir():
        sales = pq.read_table(file)
        if file.name == "transactions.parquet":
            days = sales["transaction_timestamp"].cast("timestamp[us]").cast("date32", safe=False)
            late = pc.greater(days.cast("int32"), (origin - type(origin)(1970, 1, 1)).days + 1)
            for column in ("quantity", "sales_value"):
                sales = sales.set_column(
                    sales.schema.get_field_index(column),
                    column,
                    pc.if_else(late, pc.multiply(sales[column], 3), sales[column]),
                )
            assert pc.any(late).as_py()
        pq.write_table(sales, folder / "data" / file.name, use_deprecated_int96_timestamps=True)
    return folder


def test_sales_after_the_origin_change_no_forecast_and_a_second_run_changes_nothing(
    small_run, small_sales, make_run, tmp_path
):
    origin = small_run.run.lake.read("backtest_forecasts").first()["forecast_origin"]
    source = with_sales_after_changed(small_sales, tmp_path / "source", origin)
    settings = (f"source.path={source}", "run.id=other")

    def chain():
        run = make_run(*settings)
        for job in (ingest, aggregate, features, train, backtest, score, inventory):
            job.execute(run)
        names = (
            "demand",
            "sequences",
            "calendar_features",
            "backtest_forecasts",
            "backtest_metrics",
            "forecasts",
            "inventory_plan",
        )
        frames = {name: table(run.config.lake.path, name).drop(columns="created_at", errors="ignore") for name in names}
        by = {
            name: [c for c in ("model", "metric", *KEYS, "period_start") if c in frame]
            for name, frame in frames.items()
        }
        return {name: frame.sort_values(by[name]).reset_index(drop=True) for name, frame in frames.items()}

    changed = chain()
    mine = table(small_run.run.config.lake.path, "backtest_forecasts")

    def forecasts(frame):
        kept = frame.drop(columns=["actual", "model_version", "data_version", "run_id", "created_at"], errors="ignore")
        return kept.sort_values(["model", *KEYS]).reset_index(drop=True)

    assert mine["actual"].sum() < changed["backtest_forecasts"]["actual"].sum()  # the change did arrive
    assert_frame_equal(forecasts(mine), forecasts(changed["backtest_forecasts"]), rtol=1e-6)

    again = chain()
    for name, frame in changed.items():
        assert_frame_equal(frame, again[name], obj=name)


def test_a_run_killed_in_training_goes_on_from_its_checkpoint(small_run, tmp_path):
    settings = [
        *small_run.settings,
        f"lake.model_path={tmp_path}",
        "training.epochs=2000",
        "training.validate_every=20",
    ]
    log = tmp_path / "log"
    first = started("train", settings, log)
    wait_for(lambda: len(list(tmp_path.glob("*/checkpoints/step-*.npz"))) >= 2, first, log)
    killed(first)
    newest = max(int(path.stem.split("-")[1]) for path in tmp_path.glob("*/checkpoints/step-*.npz"))
    model_file = next(tmp_path.glob("*/checkpoints")).parent / "model.npz"
    assert not model_file.exists()

    second = started("train", [*settings, "training.max_minutes=0.05"], log)
    assert second.wait(timeout=400) == 0, log.read_text()[-3000:]
    assert f"resumed at step {newest}" in log.read_text()
    assert model_file.exists()


def test_a_run_killed_while_it_writes_leaves_the_previous_table_whole(small_run, tmp_path):
    lake = Path(small_run.run.config.lake.path)
    before, version = table(lake, "forecasts"), DeltaTable(str(lake / "forecasts")).version()
    files = set((lake / "forecasts").rglob("*.parquet"))
    log = tmp_path / "log"
    process = started("score", [*small_run.settings, "run.id=killed"], log)
    wait_for(lambda: set((lake / "forecasts").rglob("*.parquet")) - files, process, log)
    killed(process)
    if DeltaTable(str(lake / "forecasts")).version() == version:
        assert_frame_equal(table(lake, "forecasts"), before)
    else:  # the commit was faster than the kill: then the new table is whole
        assert len(table(lake, "forecasts")) == len(before)
