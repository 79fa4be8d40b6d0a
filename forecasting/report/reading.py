"""How parts of the report read the lake: the newest rows of a table, a few items' names, the rows of a few series."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting.lake import Lake, rows

Rows = list[dict[str, Any]]
SERIES = ("item_id", "location_id")


def newest_rows(df: DataFrame, column: str) -> DataFrame:
    """The rows with the largest value of a column."""
    newest = df.agg(F.max(column).alias("newest")).first()["newest"]
    return df.where(F.col(column) == F.lit(newest)) if newest is not None else df.limit(0)


def newest_per(lake: Lake, table: str, key: str, moment: str = "created_at") -> Rows | None:
    """For each value of a key the row that was written last; None before the table is written."""
    if not lake.exists(table):
        return None
    df = lake.read(table)
    newest = df.groupBy(key).agg(F.max_by(F.struct(*df.columns), moment).alias("row"))
    return rows(newest.select("row.*"))


def in_order(found: Rows, key: str, names: Sequence[str]) -> Rows:
    """The rows whose key is among the names, in the order of these."""
    by_name = {row[key]: row for row in found}
    return [by_name[name] for name in names if name in by_name]


def item_names(lake: Lake, items: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Name and category of a few items."""
    if not items or not lake.exists("products"):
        return {}
    found = lake.read("products").where(F.col("item_id").isin(*items)).select("item_id", "name", "category")
    return {row["item_id"]: row for row in rows(found)}


def named(series: dict[str, Any], names: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Name and category of a series' item; its id where the catalogue does not know it."""
    product = names.get(series["item_id"], {})
    return {"name": product.get("name") or series["item_id"], "category": product.get("category")}


def of_series(df: DataFrame, chosen: Rows, columns: Sequence[str]) -> dict[tuple, Rows]:
    """Rows of the chosen series, each series' own in order of the first of `columns`."""
    items = {series["item_id"] for series in chosen}
    few = df.where(F.col("item_id").isin(*sorted(items))).select(*SERIES, *columns)  # file statistics skip the rest
    keys = df.sparkSession.createDataFrame(
        [tuple(series[name] for name in SERIES) for series in chosen], "item_id string, location_id string"
    )
    found: dict[tuple, Rows] = {}
    for row in rows(few.join(F.broadcast(keys), on=list(SERIES), how="left_semi").orderBy(*SERIES, columns[0])):
        found.setdefault((row["item_id"], row["location_id"]), []).append(row)
    return found
