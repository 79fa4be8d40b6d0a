"""The chain on a small cut of real sales: what it writes fits together, anyone can query it, and the driver stays small."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest
from deltalake import DeltaTable
from pyspark.sql import functions as F
from rich.console import Console

from forecasting.contracts import TABLES
from forecasting.lake import Lake, rows
from forecasting.sqlshell import init_sql, shell_command, shell_environment
from jobs.run import STAGES, summary

SUM_OF_DEMAND = "SELECT count(*), CAST(sum(quantity) AS BIGINT), count(DISTINCT item_id) FROM demand"


@pytest.fixture(scope="module")
def demand(small_run):
    """Rows, units and items of `demand`, as Spark counts them."""
    found = small_run.run.lake.read("demand")
    return tuple(found.agg(F.count(F.lit(1)), F.sum("quantity").cast("bigint"), F.countDistinct("item_id")).first())


def test_every_table_is_written_and_its_key_is_one(small_run):
    for name, table in TABLES.items():
        frame = small_run.run.lake.read(name)
        assert [
            column.name for column in table.columns_with(small_run.run.config.forecast.quantile_columns)
        ] == frame.columns
        if table.key:
            twice = frame.groupBy(*table.key).count().where("count > 1")
            assert rows(twice) == [], name


def test_counts_add_up(small_run):
    lake, figures = small_run.run.lake, small_run.figures
    for row in rows(lake.read("data_quality")):
        assert row["rows_in"] == row["rows_accepted"] + row["rows_quarantined"]
        assert row["rows_accepted"] == lake.read(row["source"]).count()
    assert lake.read("quarantine").count() == figures["ingest"]["quarantined"]
    sold = lake.read("sales").agg(F.sum("quantity").alias("units")).first()["units"]
    assert lake.read("demand").agg(F.sum("quantity").alias("units")).first()["units"] == pytest.approx(sold)
    series = figures["aggregate"]["series"]
    horizon = small_run.run.config.forecast.horizon
    assert lake.read("sequences").count() == series
    assert lake.read("forecasts").count() == series * horizon == figures["score"]["rows"]
    assert lake.read("inventory_plan").count() == series


def test_one_data_version_and_one_model_run_through_all_tables(small_run):
    lake = small_run.run.lake
    for column in ("data_version", "model_version", "run_id"):
        holding = [name for name in TABLES if column in lake.read(name).columns]
        found = {row[column] for name in holding for row in rows(lake.read(name).select(column).distinct())}
        assert len(found) == 1, (column, found)


def test_every_stage_is_noted_with_time_and_memory(small_run):
    noted = {row["stage"]: row for row in rows(small_run.run.lake.read("run_stages"))}
    assert set(noted) == set(STAGES)
    assert all(row["seconds"] > 0 and row["peak_memory_gib"] > 0 for row in noted.values())
    assert json.loads(noted["ingest"]["figures"])["rows"] == small_run.figures["ingest"]["rows"]


def test_the_summary_tells_result_accuracy_cost_and_places(small_run):
    console = Console(width=200, record=True, file=io.StringIO())
    for table in summary(small_run.run, small_run.figures):
        console.print(table)
    text = console.export_text()
    for expected in ("orders proposed", "WQL", "RMSE", "against seasonal naive", "peak memory", "report.html"):
        assert expected in text
    assert small_run.run.lake.folder in text.replace("\n", "")
    assert re.search(r"seasonal_naive.*\+0\.0%", text)


def test_deltalake_and_duckdb_read_the_same(small_run, demand):
    """DuckDB reads through deltalake and Arrow, so that no extension must be fetched."""
    found = DeltaTable(small_run.run.lake.path("demand")).to_pyarrow_table()
    assert found.num_rows == demand[0]
    with duckdb.connect() as connection:
        connection.register("demand", found)
        assert connection.execute(SUM_OF_DEMAND).fetchone() == demand


def test_the_sql_shell_reads_the_same_and_leaves_nothing_behind(small_run, demand, tmp_path):
    init_file = tmp_path / "init.sql"
    init_file.write_text(init_sql(Lake(None, small_run.run.config)))
    started_in = tmp_path / "started here"
    started_in.mkdir()
    command = shell_command(small_run.run.config, init_file, ("-e", f"SHOW TABLES; {SUM_OF_DEMAND}"))
    done = subprocess.run(command, env=shell_environment(), cwd=started_in, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.splitlines()
    assert "\t".join(map(str, demand)) in lines
    assert set(TABLES) <= {word for line in lines for word in line.split()}
    assert list(started_in.iterdir()) == []


def test_the_console_script_prints_a_query(small_run, demand):
    arguments = [part for setting in small_run.settings for part in ("--set", setting)]
    command = [sys.executable, "-m", "jobs.cli", "sql", *arguments, SUM_OF_DEMAND]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    assert all(str(value) in done.stdout for value in demand)


def test_results_that_grow_with_the_series_never_reach_the_driver(small_run, tmp_path):
    """One megabyte may come to the driver in all; the demand alone is more."""
    copied = [s for s in small_run.settings if not s.startswith(("lake.path", "lake.schema"))]
    code = (
        "import sys\n"
        "from forecasting.config import load_config\n"
        "from forecasting.runtime import start_run\n"
        "from jobs import aggregate, features, score\n"
        "run = start_run(load_config(settings=sys.argv[1:]), 'small-driver')\n"
        "assert run.spark.conf.get('spark.driver.maxResultSize') == '1m'\n"
        "for job in (aggregate, features, score):\n"
        "    job.execute(run)\n"
    )
    environment = os.environ | {"PYSPARK_SUBMIT_ARGS": "--conf spark.driver.maxResultSize=1m pyspark-shell"}
    lake = copy_of(small_run.run.lake.folder, tmp_path / "lake")
    done = subprocess.run(
        [sys.executable, "-c", code, *copied, f"lake.path={lake}", "lake.schema=small_driver"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def copy_of(lake: str, folder: Path) -> Path:
    """A copy of a lake: Delta tables hold relative paths."""
    subprocess.run(["cp", "-r", lake, folder], check=True)
    return folder
