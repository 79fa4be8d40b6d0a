"""What the report shows, as bounded results: Spark makes every sum, and only a handful of series comes to the driver.

A part is None where the tables it is made from have not been written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from forecasting.config import Config
from forecasting.contracts import SOURCES
from forecasting.lake import Lake, rows
from forecasting.periods import shift
from forecasting.report.accuracy import Accuracy, read_accuracy
from forecasting.report.fans import Fan, read_fans
from forecasting.report.hard import Hardest, read_hardest
from forecasting.report.reading import SERIES, Rows, in_order, item_names, named, newest_per, newest_rows
from forecasting.report.training import Training, read_training

SHOWN_RULES = 50
SHOWN_ORDERS = 20
SHOWN_REASONS = 3  # of each method that forecasts instead of the model
LIKELY = 0.5  # stock-out probability from which the summary counts a series as likely to run out
_TERMS = ("on_hand", "on_order", "reorder_point", "order_quantity")
_RISKS = ("protection_demand", "stock_out_probability", "stock_out_probability_after_order")


@dataclass(frozen=True)
class Forecasts:
    """The newest forecasts in sum. `before` is demand in as many periods before the origin, None without demand.

    `methods` holds for each method `method`, `series`, `units` expected and, where another than the model forecasts,
    example `reasons`.
    """

    origin: date
    data_version: str
    model_version: str
    series: int
    per_period: Rows  # target_date, mean
    before: float | None
    methods: Rows

    @property
    def expected(self) -> float:
        """Units expected over the whole horizon."""
        return sum(row["mean"] for row in self.per_period)


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
    training: Training | None
    hardest: Hardest | None
    fans: list[Fan]
    orders: Orders | None
    stages: Rows


def collect(lake: Lake, config: Config, run_id: str, created_at: datetime, stages: Sequence[str]) -> Contents:
    """Reads what the report shows.

    Args:
        stages: names of the stages to show, in their order.
    """
    demand = _demand(lake)
    forecasts, accuracy = _forecasts(lake, demand, config), read_accuracy(lake, config)
    trained = forecasts or accuracy
    return Contents(
        run_id=run_id,
        created_at=created_at,
        quality=_quality(lake),
        rules=_rules(lake),
        demand=demand,
        forecasts=forecasts,
        accuracy=accuracy,
        training=read_training(config, trained.model_version) if trained else None,
        hardest=read_hardest(lake, config),
        fans=read_fans(lake, config, forecasts.origin) if forecasts and demand is not None else [],
        orders=_orders(lake),
        stages=in_order(newest_per(lake, "run_stages", "stage", "finished_at") or [], "stage", stages),
    )


def _quality(lake: Lake) -> Rows | None:
    found = newest_per(lake, "data_quality", "source")
    return None if found is None else in_order(found, "source", tuple(SOURCES))


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
        *(F.max(name).alias(name) for name in ("forecast_origin", "data_version")),
        *(F.max(version).alias(name) for name, version in _versions(config).items()),
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
        model_version=max(row["of_model"] or "" for row in found) or first["of_any"],
        series=first["series"],
        per_period=found,
        before=sum(past) if len(past) == len(found) else None,
        methods=_methods(newest, config),
    )


def _versions(config: Config) -> dict[str, Column]:
    """The version of the model that scores, and one that stands for it where it forecasts no series."""
    version = F.col("model_version")
    return {"of_model": F.when(F.col("method") == config.scoring.model, version), "of_any": version}


def _methods(newest: DataFrame, config: Config) -> Rows:
    """What forecasts how many series, the model first, and why not the model."""
    by_method = newest.groupBy("method").agg(
        F.count_distinct(*SERIES).alias("series"), F.sum("mean").alias("units"), F.count("reason").alias("reasons")
    )
    found = rows(by_method.orderBy(F.col("method") != config.scoring.model, F.desc("series"), "method"))
    return [row | {"reasons": _reasons(newest, row["method"]) if row["reasons"] else []} for row in found]


def _reasons(newest: DataFrame, method: str) -> list[str]:
    """The reasons of a method that most series share."""
    given = newest.where((F.col("method") == method) & F.col("reason").isNotNull())
    counted = given.groupBy("reason").agg(F.count_distinct(*SERIES).alias("series"))
    return [row["reason"] for row in rows(counted.orderBy(F.desc("series"), "reason").limit(SHOWN_REASONS))]


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
