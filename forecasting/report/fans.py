"""The series that the report draws: the biggest, and a few others."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting.config import Config
from forecasting.lake import Lake, rows
from forecasting.periods import shift
from forecasting.report.reading import SERIES, Rows, item_names, named, newest_rows, of_series

HISTORY_HORIZONS = 2  # horizons of demand drawn before the held-out one


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


def read_fans(lake: Lake, config: Config, origin: date) -> list[Fan]:
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
        history = of_series(periods, chosen, ("period_start", "quantity"))
    parts = {
        "history": history,
        "ahead": of_series(forecasts, chosen, columns),
        "held_out": {},
    }
    if lake.exists("backtest_forecasts"):
        held_out = lake.read("backtest_forecasts").where(F.col("model") == config.scoring.model)
        parts["held_out"] = of_series(newest_rows(held_out, "forecast_origin"), chosen, columns)
    names = item_names(lake, [series["item_id"] for series in chosen])
    chosen.sort(key=lambda series: (series["is_random"], -series["expected"]))
    return [_fan(series, names, parts) for series in chosen]


def _fan(series: dict[str, Any], names: dict[str, dict[str, Any]], parts: dict[str, dict[tuple, Rows]]) -> Fan:
    key = tuple(series[name] for name in SERIES)
    rows_of = {part: found.get(key, []) for part, found in parts.items()}
    return Fan(*key, **named(series, names), is_random=series["is_random"], **rows_of)
