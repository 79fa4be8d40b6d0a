"""The chain on a small cut of real sales: what it writes fits together, anyone can query it, and the driver stays small."""

import io
import json
import re
import subprocess
from datetime import timedelta
from pathlib import Path

import duckdb
import numpy as np
import pytest
from deltalake import DeltaTable
from pyspark.sql import functions as F
from rich.console import Console

from forecasting.config import FLOORS
from forecasting.contracts import SOURCES, TABLES
from forecasting.lake import Lake, rows
from forecasting.sqlshell import init_sql, shell_command, shell_environment, use_lake
from forecasting.views import VIEWS
from jobs import cli
from jobs.run import STAGES, summary

DELIVERED = ("locations", "sales", "products", "promotions")
#: No signals, no equations compared, no plan, no policies played through.
NOT_NEEDED = ("covariates", "equation_parameters", "scenario_forecasts", "stock_simulation")
WRITTEN = [name for name in TABLES if name in DELIVERED or name not in (*SOURCES, *NOT_NEEDED)]
FORECAST_TOTALS = (
    "SELECT count(*), count(DISTINCT item_id), min(target_date), CAST(sum(mean) AS DECIMAL(18, 2)), "
    "CAST(sum(p10) AS DECIMAL(18, 2)), CAST(sum(p90) AS DECIMAL(18, 2)) FROM forecasts"
)


@pytest.fixture(scope="module")
def totals(small_run):
    """What `FORECAST_TOTALS` gives in a Spark job, as text."""
    found = small_run.run.spark.sql(
        FORECAST_TOTALS.replace("FROM forecasts", "FROM {df}"), df=small_run.run.lake.read("forecasts")
    )
    return [str(value) for value in found.first()]


@pytest.fixture(scope="module")
def duck(small_run):
    """DuckDB over every table: through deltalake and Arrow, so that no extension must be fetched."""
    with duckdb.connect() as connection:
        for name in WRITTEN:
            connection.register(name, DeltaTable(small_run.run.lake.path(name)).to_pyarrow_table())
        yield connection


def test_every_table_is_written_and_its_key_is_one(small_run, duck):
    assert [name for name in TABLES if small_run.run.lake.exists(name)] == WRITTEN
    for name, table in ((name, TABLES[name]) for name in WRITTEN):
        columns = [column.name for column in table.columns_with(small_run.run.config.forecast.quantile_columns)]
        assert [row[0] for row in duck.execute(f"DESCRIBE {name}").fetchall()] == columns
        if table.key:
            twice = duck.execute(f"SELECT {', '.join(table.key)} FROM {name} GROUP BY ALL HAVING count(*) > 1")
            assert twice.fetchall() == [], name


def test_counts_add_up(small_run, duck):
    def one(query: str):
        return duck.execute(query).fetchone()[0]

    figures = small_run.figures
    told = duck.execute("SELECT source, rows_in, rows_accepted, rows_quarantined FROM data_quality").fetchall()
    assert {source for source, *_ in told} == set(DELIVERED)
    for source, rows_in, accepted, quarantined in told:
        assert rows_in == accepted + quarantined
        assert accepted == one(f"SELECT count(*) FROM {source}")
    assert one("SELECT count(*) FROM quarantine") == figures["ingest"]["quarantined"]
    assert one("SELECT sum(quantity) FROM demand") == pytest.approx(one("SELECT sum(quantity) FROM sales"))
    series = figures["features"]["series"]
    assert one("SELECT count(*) FROM sequences") == one("SELECT count(*) FROM inventory_plan") == series
    horizon = small_run.run.config.forecast.horizon
    assert one("SELECT count(*) FROM forecasts") == series * horizon == figures["score"]["rows"]


def test_one_data_version_and_one_model_run_through_all_tables(duck):
    for column in ("data_version", "model_version", "run_id"):
        holding = duck.execute("SELECT table_name FROM duckdb_columns() WHERE column_name = ?", [column]).fetchall()
        found = {
            value
            for (name,) in holding
            for (value,) in duck.execute(f"SELECT DISTINCT {column} FROM {name}").fetchall()
        }
        of_models = {value for value in found if not value.startswith(FLOORS)}  # floors have a version of their own
        assert len(holding) > 2 and len(of_models) == 1, (column, found)


def test_the_history_view_has_every_period_of_every_series_and_the_sums_of_the_log(small_run, duck):
    use_lake(small_run.run.lake)
    history = small_run.run.spark.sql(
        "SELECT count(*) AS rows, count(DISTINCT item_id, location_id, period_start) AS different, sum(quantity) AS units, "
        "max(period_start) AS last, count_if(state = 'sold') AS sold, count_if(state = 'zero') AS zero, "
        "count_if(state IS NULL) AS unknown, min(age_days) AS youngest, max(age_days) AS oldest FROM demand_history"
    ).first()
    (periods, last), (lines,) = (
        duck.execute("SELECT sum(length), max(last_period) FROM sequences").fetchone(),
        duck.execute("SELECT count(*) FROM demand").fetchone(),
    )
    assert (history["rows"], history["different"], history["last"]) == (periods, periods, last)
    assert history["units"] == pytest.approx(duck.execute("SELECT sum(quantity) FROM sales").fetchone()[0], rel=1e-6)
    assert (history["sold"], history["unknown"]) == (lines, 0)
    assert history["zero"] > 0
    assert (history["youngest"], history["oldest"]) == (
        0,
        duck.execute("SELECT max(length) - 1 FROM sequences").fetchone()[0],
    )


def test_the_price_view_holds_a_price_against_its_category_and_its_own_past(small_run, duck):
    (item, category, first, prices) = duck.execute(
        "SELECT item_id, category, first_period, price FROM sequences ORDER BY len(list_distinct(price)) DESC, item_id LIMIT 1"
    ).fetchone()
    sold = "SELECT period_start, price FROM category_prices WHERE category = ?"
    usual = dict(duck.execute(sold, [category]).fetchall())
    view = small_run.run.lake.view("price_history").where(F.col("item_id") == item).orderBy("period_start").collect()
    assert [row["period_start"] for row in view] == [first + timedelta(at) for at in range(len(prices))]
    for at, row in enumerate(view):
        past = [price for price in prices[max(0, at - 365) : at] if price]
        beside = prices[at] / usual[row["period_start"]] if prices[at] and row["period_start"] in usual else None
        before = prices[at] / np.mean(past) if prices[at] and past else None
        assert row["price_to_category"] == (beside and pytest.approx(beside, rel=1e-5))
        assert row["price_to_past"] == (before and pytest.approx(before, rel=1e-5))
    assert len({row["price_to_past"] for row in view}) > 10


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


def test_deltalake_and_duckdb_read_the_same(small_run, duck, totals):
    assert [str(value) for value in duck.execute(FORECAST_TOTALS).fetchone()] == totals
    assert DeltaTable(small_run.run.lake.path("forecasts")).to_pandas().shape[0] == int(totals[0])


def test_the_sql_shell_reads_the_same_and_leaves_nothing_behind(small_run, totals, tmp_path):
    init_file = tmp_path / "init.sql"
    init_file.write_text(init_sql(Lake(None, small_run.run.config)))
    started_in = tmp_path / "started here"
    started_in.mkdir()
    command = shell_command(small_run.run.config, init_file, ("-e", f"SHOW TABLES; {FORECAST_TOTALS}"))
    done = subprocess.run(command, env=shell_environment(), cwd=started_in, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = done.stdout.splitlines()
    assert "\t".join(totals) in lines
    assert {*WRITTEN, *VIEWS} - {"scenario_totals"} <= {word for line in lines for word in line.split()}
    assert list(started_in.iterdir()) == []


def test_the_console_script_prints_a_query(small_run, totals, capsys):
    arguments = [part for setting in small_run.settings for part in ("--set", setting)]
    cli.main(["sql", *arguments, FORECAST_TOTALS])
    printed = capsys.readouterr().out.replace(",", "")
    assert all(value in printed for value in totals)


def test_results_that_grow_with_the_series_never_reach_the_driver(small_run):
    """All tests, the whole chain among them, ran with a driver that takes one megabyte of results; the sequences are more."""
    assert small_run.run.spark.conf.get("spark.driver.maxResultSize") == "1m"
    with pytest.raises(Exception, match=r"maxResultSize"):
        small_run.run.lake.read("sequences").toArrow()


README = Path(__file__).parents[2] / "README.md"


@pytest.mark.parametrize("query", re.findall(r"```sql\n(.+?)```", README.read_text(encoding="utf-8"), re.DOTALL))
def test_the_queries_of_the_readme_have_answers(small_run, query):
    use_lake(small_run.run.lake)
    assert small_run.run.spark.sql(query).count() > 0
