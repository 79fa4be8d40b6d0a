"""The stages of the peers. Each reads files, writes files and returns nothing; a stage begins where the one before ended."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import duckdb
    import polars as pl
    from pyspark.sql import DataFrame, SparkSession

THREADS = 2
DUCKDB_MEMORY = "16GB"


@dataclass(frozen=True)
class Engine:
    """`start(out)` makes what each stage gets first, besides the folder of the log and that of its results."""

    start: Callable[[Path], Any]
    stages: dict[str, Callable[[Any, Path, Path], None]]


def _start_duckdb(out: Path) -> duckdb.DuckDBPyConnection:
    import duckdb

    con = duckdb.connect()
    for setting in (
        f"threads = {THREADS}",
        f"memory_limit = '{DUCKDB_MEMORY}'",
        f"temp_directory = '{out / 'spilled'}'",
        "preserve_insertion_order = false",
        "TimeZone = 'UTC'",
    ):
        con.execute(f"SET {setting}")
    return con


def _copy(con: duckdb.DuckDBPyConnection, query: str, file: Path) -> None:
    con.execute(f"COPY ({query}) TO '{file}' (FORMAT parquet, COMPRESSION snappy)")


def _duckdb_ingest(con: duckdb.DuckDBPyConnection, folder: Path, out: Path) -> None:
    # Lines that agree in all columns agree in what decides on them, so each side drops its own duplicates.
    con.execute(f"""
        CREATE TEMP VIEW lines AS SELECT l.*, z.timezone,
            coalesce(l.paid < 0 AND l.quantity > 0, false) OR l.order_id IS NULL OR l.item IS NULL
                OR l.location IS NULL OR l.sold_at IS NULL OR z.timezone IS NULL AS bad
        FROM read_parquet('{folder}/sales/*.parquet') l LEFT JOIN '{folder}/locations.parquet' z USING (location)""")
    _copy(con, "SELECT DISTINCT * EXCLUDE (bad, timezone) FROM lines WHERE bad", out / "quarantine.parquet")
    _copy(
        con,
        """SELECT order_id, item, location, sold_at, timezone(timezone, sold_at)::DATE AS sold_on, quantity,
                  paid AS revenue, discount
           FROM (SELECT DISTINCT * FROM lines WHERE NOT bad)""",
        out / "accepted.parquet",
    )


def _duckdb_aggregate(con: duckdb.DuckDBPyConnection, folder: Path, out: Path) -> None:
    _copy(
        con,
        f"""SELECT item, location, sold_on AS day, sum(quantity)::BIGINT AS quantity, sum(revenue) AS revenue,
                   sum(discount) AS discount, count(*) AS lines
            FROM '{out}/accepted.parquet' GROUP BY item, location, sold_on""",
        out / "demand.parquet",
    )


def _duckdb_sequences(con: duckdb.DuckDBPyConnection, folder: Path, out: Path) -> None:
    demand = f"'{out}/demand.parquet'"
    # Each day brings the zeros up to the next day of its series, which spares a join with the calendar.
    filled = ", ".join(
        f"flatten(list(list_resize([{name}::FLOAT], gap, 0::FLOAT) ORDER BY day)) AS {name}"
        for name in ("quantity", "revenue", "discount")
    )
    _copy(
        con,
        f"""SELECT item, location, min(day) AS first_day, {filled}
            FROM (SELECT *, coalesce(lead(day) OVER (PARTITION BY item, location ORDER BY day),
                                     (SELECT max(day) + 1 FROM {demand})) - day AS gap FROM {demand})
            GROUP BY item, location""",
        out / "sequences.parquet",
    )


def _start_polars(out: Path) -> None:
    import polars  # noqa: F401  # its import belongs to the start


def _sink(frame: pl.LazyFrame, file: Path) -> None:
    frame.sink_parquet(file, compression="snappy", maintain_order=False, engine="streaming")


def _polars_ingest(_: None, folder: Path, out: Path) -> None:
    import polars as pl

    zones = pl.scan_parquet(folder / "locations.parquet")
    bad = ((pl.col("paid") < 0) & (pl.col("quantity") > 0)).fill_null(False)
    bad = bad | pl.any_horizontal(pl.col("order_id", "item", "location", "sold_at", "timezone").is_null())
    lines = pl.scan_parquet(folder / "sales" / "*.parquet").join(zones, on="location", how="left")
    # A conversion takes one zone: one for each, of which every line keeps its own.
    local = pl.coalesce(
        pl.when(pl.col("timezone") == zone).then(pl.col("sold_at").dt.convert_time_zone(zone).dt.date())
        for zone in zones.select("timezone").unique().collect()["timezone"].sort()
    )
    _sink(lines.filter(bad).drop("timezone").unique(), out / "quarantine.parquet")
    good = lines.filter(~bad).unique().with_columns(sold_on=local, revenue=pl.col("paid"))
    good = good.select("order_id", "item", "location", "sold_at", "sold_on", "quantity", "revenue", "discount")
    _sink(good, out / "accepted.parquet")


def _polars_aggregate(_: None, folder: Path, out: Path) -> None:
    import polars as pl

    sums = (pl.col("quantity").cast(pl.Int64).sum(), pl.col("revenue").sum(), pl.col("discount").sum())
    demand = pl.scan_parquet(out / "accepted.parquet").group_by("item", "location", pl.col("sold_on").alias("day"))
    _sink(demand.agg(*sums, lines=pl.len()), out / "demand.parquet")


def _polars_sequences(_: None, folder: Path, out: Path) -> None:
    import polars as pl

    series, values = ["item", "location"], ["quantity", "revenue", "discount"]
    demand = pl.scan_parquet(out / "demand.parquet")
    end = demand.select(pl.col("day").max()).collect().item()
    ordered = demand.select(*series, "day", pl.col(values).cast(pl.Float32)).sort(*series, "day")
    following = pl.col("day").shift(-1).over(series)
    gap = (following.fill_null(pl.lit(end) + pl.duration(days=1)) - pl.col("day")).dt.total_days()
    # As in DuckDB each day brings the zeros up to the next one.
    filled = ordered.with_columns(after=pl.int_ranges(0, gap)).explode("after")
    filled = filled.with_columns(pl.when(pl.col("after") == 0).then(pl.col(values)).otherwise(0.0).cast(pl.Float32))
    rows = filled.group_by(series, maintain_order=True).agg(pl.col("day").first().alias("first_day"), *values)
    _sink(rows, out / "sequences.parquet")


def _start_spark(out: Path) -> SparkSession:
    """A session as every job has it, warm enough to have committed to a Delta table once."""
    from forecasting.config import load_config
    from forecasting.session import build_session

    settings = [f"spark.master=local[{THREADS}]", f"lake.path={out / 'lake'}"]
    spark = build_session(load_config((), settings), "floor")
    with tempfile.TemporaryDirectory() as folder:
        _save(spark.range(1), Path(folder) / "warm")
    return spark


def _save(frame: DataFrame, folder: Path) -> None:
    frame.write.format("delta").save(str(folder))


def _spark_scan_group_write(spark: SparkSession, folder: Path, out: Path) -> None:
    from pyspark.sql import functions as F

    lines = spark.read.parquet(str(folder / "sales"))
    demand = lines.groupBy("item", "location", F.to_date("sold_at").alias("day")).agg(
        *(F.sum(name).alias(name) for name in ("quantity", "paid", "discount")), F.count("*").alias("lines")
    )
    _save(demand, out / "scan_group_write")


def _spark_scan_write(spark: SparkSession, folder: Path, out: Path) -> None:
    _save(spark.read.parquet(str(folder / "sales")), out / "scan_write")


def _spark_scan_distinct_write(spark: SparkSession, folder: Path, out: Path) -> None:
    _save(spark.read.parquet(str(folder / "sales")).dropDuplicates(), out / "scan_distinct_write")


ENGINES = {
    "duckdb": Engine(
        _start_duckdb, {"ingest": _duckdb_ingest, "aggregate": _duckdb_aggregate, "sequences": _duckdb_sequences}
    ),
    "polars": Engine(
        _start_polars, {"ingest": _polars_ingest, "aggregate": _polars_aggregate, "sequences": _polars_sequences}
    ),
    "spark-floor": Engine(
        _start_spark,
        {
            "scan_group_write": _spark_scan_group_write,
            "scan_write": _spark_scan_write,
            "scan_distinct_write": _spark_scan_distinct_write,
        },
    ),
}
