"""What the report shows, as bounded results: Spark makes every sum, and only a handful of series comes to the driver.

A part is None where the tables it is made from have not been written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting.config import Config
from forecasting.contracts import SOURCES
from forecasting.evaluation.metrics import ALL
from forecasting.lake import Lake, rows
from forecasting.periods import shift

Rows = list[dict[str, Any]]
SERIES = ("item_id", "location_id")
SHOWN_RULES = 50
SHOWN_ORDERS = 20
LIKELY = 0.5  # stock-out probability from which the summary counts a series as likely to run out
HISTORY_HORIZONS = 2  # horizons of demand drawn before the held-out one
_TERMS = ("on_hand", "on_order", "reorder_point", "order_quantity")
_RISKS = ("protection_demand", "stock_out_probability", "stock_out_probability_after_order")


@dataclass(frozen=True)
class Fan:
    """One series to draw: demand that came, forecasts of the held-out periods, and the forecast ahead."""

    item_id: str
    location_id: str
    name: str
    category: str | None
    is_random: bool
    history: Rows = field(default_factory=list)  # period_start, quantity
    held_out: Rows = field(default_factory=list)  # target_date, mean and quantiles
    ahead: Rows = field(default_factory=list)  # the same


@dataclass(frozen=True)
class Forecasts:
    """The newest forecasts in sum. `before` is demand in as many periods before the origin, None without demand."""

    origin: date
    data_version: str
    model_version: str
    series: int
    per_period: Rows  # target_date, mean
    before: float | None

    @property
    def expected(self) -> float:
        """Units expected over the whole horizon."""
        return sum(row["mean"] for row in self.per_period)


@dataclass(frozen=True)
class Accuracy:
    """Metrics of the newest backtest: value by (model, metric)."""

    origin: date
    model_version: str
    models: tuple[str, ...]
    series: int
    values: dict[tuple[str, str], float | None]


@dataclass(frozen=True)
class Orders:
    """The newest stock decisions: totals, and those most at risk."""

    plan_date: date
    series: int
    orders: int
    units: float
    likely_out: int
    has_stock: bool
    at_risk: Rows


@dataclass(frozen=True)
class Contents:
    """Everything on the page but its plots and words."""

    run_id: str
    created_at: datetime
    quality: Rows | None
    rules: Rows
    demand: Rows | None  # period_start, quantity
    forecasts: Forecasts | None
    accuracy: Accuracy | None
    fans: list[Fan]
    orders: Orders | None
    stages: Rows


def collect(lake: Lake, config: Config, run_id: str, created_at: datetime, stages: Sequence[str]) -> Contents:
    """Reads what the report shows.

    Args:
        stages: names of the stages to show, in their order.
    """
    demand = _demand(lake)
    forecasts = _forecasts(lake, demand, config)
    return Contents(
        run_id=run_id,
        created_at=created_at,
        quality=_quality(lake),
        rules=_rules(lake),
        demand=demand,
        forecasts=forecasts,
        accuracy=_accuracy(lake, config),
        fans=_fans(lake, config, forecasts.origin) if forecasts and demand is not None else [],
        orders=_orders(lake),
        stages=_in_order(_newest_per(lake, "run_stages", "stage", "finished_at") or [], "stage", stages),
    )


def _newest_per(lake: Lake, table: str, key: str, moment: str = "created_at") -> Rows | None:
    """For each value of a key the row that was written last; None before the table is written."""
    if not lake.exists(table):
        return None
    df = lake.read(table)
    newest = df.groupBy(key).agg(F.max_by(F.struct(*df.columns), moment).alias("row"))
    return rows(newest.select("row.*"))


def _in_order(found: Rows, key: str, names: Sequence[str]) -> Rows:
    by_name = {row[key]: row for row in found}
    return [by_name[name] for name in names if name in by_name]


def _quality(lake: Lake) -> Rows | None:
    found = _newest_per(lake, "data_quality", "source")
    return None if found is None else _in_order(found, "source", tuple(SOURCES))


def _rules(lake: Lake) -> Rows:
    if not lake.exists("quarantine"):
        return []
    counted = lake.read("quarantine").groupBy("source", "rule")
    counted = counted.agg(F.count(F.lit(1)).alias("rows"), F.min("reason").alias("example"))
    return rows(counted.orderBy(F.desc("rows"), "source", "rule").limit(SHOWN_RULES))


def _demand(lake: Lake) -> Rows | None:
    if not lake.exists("demand"):
        return None
    totals = lake.read("demand").groupBy("period_start").agg(F.sum("quantity").alias("quantity"))
    return rows(totals.orderBy("period_start"))


def _forecasts(lake: Lake, demand: Rows | None, config: Config) -> Forecasts | None:
    if not lake.exists("forecasts"):
        return None
    newest = newest_rows(lake.read("forecasts"), "forecast_origin")
    per_period = newest.groupBy("target_date").agg(
        F.sum("mean").alias("mean"),
        F.count(F.lit(1)).alias("series"),
        *(F.max(name).alias(name) for name in ("forecast_origin", "data_version", "model_version")),
    )
    found = rows(per_period.orderBy("target_date"))
    if not found:
        return None
    first = found[0]
    begin = shift(first["forecast_origin"], 1 - len(found), config.series.grain)
    past = [row["quantity"] for row in demand or [] if begin <= row["period_start"] <= first["forecast_origin"]]
    return Forecasts(
        origin=first["forecast_origin"],
        data_version=first["data_version"],
        model_version=first["model_version"],
        series=first["series"],
        per_period=found,
        before=sum(past) if len(past) == len(found) else None,
    )


def _accuracy(lake: Lake, config: Config) -> Accuracy | None:
    if not lake.exists("backtest_metrics"):
        return None
    found = rows(newest_rows(lake.read("backtest_metrics").where(F.col("segment") == ALL), "forecast_origin"))
    if not found:
        return None
    measured = {row["model"] for row in found}
    models = [name for name in config.backtest.models if name in measured]
    return Accuracy(
        origin=found[0]["forecast_origin"],
        model_version=found[0]["model_version"],
        models=(*models, *sorted(measured - set(models))),
        series=max(row["series"] for row in found),
        values={(row["model"], row["metric"]): row["value"] for row in found},
    )


def _orders(lake: Lake) -> Orders | None:
    if not lake.exists("inventory_plan"):
        return None
    plan = newest_rows(lake.read("inventory_plan"), "plan_date")
    totals = plan.agg(
        F.max("plan_date").alias("plan_date"),
        F.count(F.lit(1)).alias("series"),
        F.count_if(F.col("order_quantity") > 0).alias("orders"),
        F.coalesce(F.sum("order_quantity"), F.lit(0.0)).alias("units"),
        F.count_if(F.col("stock_out_probability") >= LIKELY).alias("likely_out"),
    ).first()
    if totals["plan_date"] is None:
        return None
    at_stake = F.col("stock_out_probability") * F.col("protection_demand")
    worst = plan.where(at_stake > 0).orderBy(F.desc(at_stake), *SERIES).limit(SHOWN_ORDERS)
    at_risk = rows(worst.select(*SERIES, *_TERMS, *_RISKS))
    names = item_names(lake, [row["item_id"] for row in at_risk])
    has_stock = lake.exists("stock") and lake.read("stock").first() is not None
    return Orders(**totals.asDict(), has_stock=has_stock, at_risk=[row | named(row, names) for row in at_risk])


def newest_rows(df: DataFrame, column: str) -> DataFrame:
    """The rows with the largest value of a column."""
    newest = df.agg(F.max(column).alias("newest")).first()["newest"]
    return df.where(F.col(column) == F.lit(newest)) if newest is not None else df.limit(0)


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


def choose_series(forecasts: DataFrame, top: int, random: int) -> DataFrame:
    """The series with the largest expected demand, and others chosen by hash: the same again for the same forecasts.

    The others are those that are expected to sell at least one unit over the horizon.

    Args:
        forecasts: `forecasts` of one origin.

    Returns:
        `item_id`, `location_id`, `expected` (units over the horizon), `is_random`; biggest first, then the others.
    """
    totals = forecasts.groupBy(*SERIES).agg(F.sum("mean").alias("expected"))
    biggest = totals.orderBy(F.desc("expected"), *SERIES).limit(top).withColumn("is_random", F.lit(False))
    others = totals.where(F.col("expected") >= 1).join(biggest.select(*SERIES), on=list(SERIES), how="left_anti")
    others = others.orderBy(F.xxhash64(*SERIES), *SERIES).limit(random)
    return biggest.unionByName(others.withColumn("is_random", F.lit(True)))


def _fans(lake: Lake, config: Config, origin: date) -> list[Fan]:
    """Demand, held-out forecasts and forecasts ahead of the chosen series."""
    report, horizon, grain = config.report, config.forecast.horizon, config.series.grain
    forecasts = lake.read("forecasts").where(F.col("forecast_origin") == F.lit(origin))
    chosen = rows(choose_series(forecasts, report.top_series, report.random_series))
    if not chosen:
        return []
    columns = ("target_date", "mean", *config.forecast.quantile_columns)
    begin = shift(origin, 1 - (HISTORY_HORIZONS + 1) * horizon, grain)
    history = {}
    if lake.exists("sequences"):
        periods = lake.view("demand_history").where(F.col("period_start").between(F.lit(begin), F.lit(origin)))
        history = _of_series(periods, chosen, ("period_start", "quantity"))
    parts = {
        "history": history,
        "ahead": _of_series(forecasts, chosen, columns),
        "held_out": {},
    }
    if lake.exists("backtest_forecasts"):
        held_out = lake.read("backtest_forecasts").where(F.col("model") == "transformer")
        parts["held_out"] = _of_series(newest_rows(held_out, "forecast_origin"), chosen, columns)
    names = item_names(lake, [series["item_id"] for series in chosen])
    chosen.sort(key=lambda series: (series["is_random"], -series["expected"]))
    return [_fan(series, names, parts) for series in chosen]


def _fan(series: dict[str, Any], names: dict[str, dict[str, Any]], parts: dict[str, dict[tuple, Rows]]) -> Fan:
    key = tuple(series[name] for name in SERIES)
    rows_of = {part: found.get(key, []) for part, found in parts.items()}
    return Fan(*key, **named(series, names), is_random=series["is_random"], **rows_of)


def _of_series(df: DataFrame, chosen: Rows, columns: Sequence[str]) -> dict[tuple, Rows]:
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
