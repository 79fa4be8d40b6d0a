"""Accuracy and calibration per model: sums per series first, then one row per model, then one row per metric.

docs/method.md defines each metric. Nothing but the final rows, a few dozen, is ever small enough for a driver.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from forecasting.config import ForecastConfig
from forecasting.demand.aggregate import SERIES

_BY_MODEL = ("model", "forecast_origin")


def backtest_metrics(forecasts: DataFrame, scales: DataFrame, forecast: ForecastConfig) -> DataFrame:
    """All metrics of every model and origin.

    Args:
        forecasts: `backtest_forecasts`: `model`, series, `forecast_origin`, `actual`, `mean` and the quantile columns.
        scales: `item_id`, `location_id`, `scale`: mean absolute seasonal difference as of the origin.

    Returns:
        Columns of `backtest_metrics` but lineage.
    """
    terms = _terms(forecast)
    sums = (F.sum(term).alias(name) for name, term in terms.items())
    per_series = forecasts.groupBy(*_BY_MODEL, *SERIES).agg(*sums)
    scaled = per_series.join(scales.where(F.col("scale") > 0).select(*SERIES, "scale"), on=list(SERIES), how="left")
    totals = scaled.groupBy(*_BY_MODEL).agg(
        *(F.sum(name).alias(name) for name in terms),
        F.count(F.lit(1)).alias("series"),
        F.count("scale").alias("scaled_series"),
        F.avg(F.col("absolute_error") / F.col("periods") / F.col("scale")).alias("mase"),
    )
    rows = F.explode(F.array(*_metrics(forecast)))
    return totals.select(*_BY_MODEL, rows.alias("row")).select(*_BY_MODEL, "row.metric", "row.value", "row.series")


def outermost_interval(quantiles: Sequence[float]) -> tuple[int, int] | None:
    """Places of the lowest level that has a mirror image among the levels, and of that image; None if none has."""
    for low, level in enumerate(quantiles):
        for high in range(len(quantiles) - 1, low, -1):
            if abs(quantiles[high] - (1 - level)) < 1e-9:
                return low, high
    return None


def _terms(forecast: ForecastConfig) -> dict[str, Column]:
    """What each forecast row adds to the sums."""
    columns = dict(zip(forecast.quantiles, forecast.quantile_columns, strict=True))
    actual, error = F.col("actual"), F.col("mean") - F.col("actual")
    terms = {
        "periods": F.lit(1),
        "demand": actual,
        "absolute_demand": F.abs(actual),
        "error": error,
        "squared_error": error * error,
        "absolute_error": F.abs(F.col(columns[0.5]) - actual),
        "pinball": sum((_pinball(actual, F.col(name), level) for level, name in columns.items()), F.lit(0.0)),
    }
    for name in columns.values():
        terms[f"below_{name}"] = (actual < F.col(name)).cast("long")
        terms[f"at_or_below_{name}"] = (actual <= F.col(name)).cast("long")
    interval = outermost_interval(forecast.quantiles)
    if interval:
        low, high = (F.col(forecast.quantile_columns[place]) for place in interval)
        terms["covered"] = actual.between(low, high).cast("long")
    return terms


def _pinball(actual: Column, quantile: Column, level: float) -> Column:
    """Koenker & Bassett 1978."""
    short = actual - quantile
    return F.greatest(F.lit(level) * short, F.lit(level - 1) * short)


def _metrics(forecast: ForecastConfig) -> list[Column]:
    """One struct(metric, value, series) per metric, out of the totals of a model."""
    mse = F.col("squared_error") / F.col("periods")
    values = {
        "mse": mse,
        "rmse": F.sqrt(mse),
        "wape": _ratio("absolute_error", "absolute_demand"),
        "mase": F.col("mase"),
        "wql": 2 * _ratio("pinball", "absolute_demand") / len(forecast.quantiles),
        "bias": _ratio("error", "demand"),
        "coverage": _ratio("covered", "periods") if outermost_interval(forecast.quantiles) else F.lit(None),
    }
    for level, name in zip(forecast.quantiles, forecast.quantile_columns, strict=True):
        for kind in ("below", "at_or_below"):
            values[f"{kind}_{level:g}"] = _ratio(f"{kind}_{name}", "periods")
    return [
        F.struct(
            F.lit(name).alias("metric"),
            value.cast("double").alias("value"),
            F.col("scaled_series" if name == "mase" else "series").alias("series"),
        )
        for name, value in values.items()
    ]


def _ratio(part: str, whole: str) -> Column:
    """Null where the whole is 0."""
    return F.when(F.col(whole) != 0, F.col(part) / F.col(whole))
