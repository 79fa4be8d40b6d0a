"""Accuracy and calibration per model, in all and by segment: sums per series first, then per model, then one row per metric.

docs/method.md defines each metric. Only the final rows, per segment and not per series, are ever small enough for a driver.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from forecasting.config import ForecastConfig
from forecasting.demand.aggregate import SERIES

ALL = "all"  # the segment of everything, and its one part
OF_SERIES = ("demand_class", "category", "volume", "history")  # segments that a series is in with all its rows
OF_ROWS = ("ahead", "promotion")  # segments that differ between the rows of a series
_BY_MODEL = ("model", "forecast_origin")
_BY_PART = (*_BY_MODEL, "segment", "part")


def backtest_metrics(forecasts: DataFrame, series: DataFrame, forecast: ForecastConfig, season: int) -> DataFrame:
    """All metrics of every model, origin and segment.

    Args:
        forecasts: `backtest_forecasts`: `model`, series, `forecast_origin`, `horizon`, `actual`, `mean` and the quantile columns.
        series: as `backtest.series_as_of` gives it, of all origins: `item_id`, `location_id`, `forecast_origin`, `scale`,
            `squared_scale`, `promoted` and OF_SERIES.
        season: periods that make up one part of the segment `ahead`.

    Returns:
        Columns of `backtest_metrics` but lineage.
    """
    terms = _terms(forecast)
    known = forecasts.join(series, on=[*SERIES, "forecast_origin"], how="left")
    parts_of = {"ahead": _ahead(season), "promotion": F.element_at("promoted", F.col("horizon"))}
    per_piece = (*_BY_MODEL, *SERIES, *OF_SERIES, *OF_ROWS, "scale", "squared_scale")
    pieces = (
        known.withColumns(parts_of).groupBy(*per_piece).agg(*(F.sum(term).alias(name) for name, term in terms.items()))
    )
    parts = F.array(
        F.struct(F.lit(ALL).alias("segment"), F.lit(ALL).alias("part")),
        *(F.struct(F.lit(name).alias("segment"), F.col(name).alias("part")) for name in (*OF_SERIES, *OF_ROWS)),
    )
    in_parts = pieces.select("*", F.inline(parts)).where(F.col("part").isNotNull())
    per_series = in_parts.groupBy(*_BY_PART, *SERIES, "scale", "squared_scale").agg(
        *(F.sum(name).alias(name) for name in terms)
    )
    totals = per_series.groupBy(*_BY_PART).agg(
        *(F.sum(name).alias(name) for name in terms), F.count(F.lit(1)).alias("all_series"), *_scaled_errors()
    )
    rows = F.explode(F.array(*_metrics(forecast)))
    return totals.select(*_BY_PART, rows.alias("row")).select(*_BY_PART, "row.metric", "row.value", "row.series")


def revisions(forecasts: DataFrame, earlier: DataFrame, forecast: ForecastConfig) -> DataFrame:
    """How far forecasts moved since an earlier origin: the metric `revision`, of the periods that both forecast.

    Args:
        forecasts, earlier: rows of `backtest_forecasts` of one origin each.

    Returns:
        Columns of `backtest_metrics` but lineage; no row where the two have no period in common.
    """
    median = dict(zip(forecast.quantiles, forecast.quantile_columns, strict=True))[0.5]
    keys = ("model", *SERIES, "target_date")
    then = earlier.select(*keys, F.col(median).alias("then"))
    both = forecasts.select(*keys, "forecast_origin", "actual", F.col(median).alias("now")).join(then, on=list(keys))
    moved = both.groupBy(*_BY_MODEL).agg(
        F.sum(F.abs(F.col("now") - F.col("then"))).alias("moved"),
        F.sum(F.abs("actual")).alias("absolute_demand"),
        F.count_distinct(*SERIES).alias("series"),
    )
    whole = {name: F.lit(ALL) for name in ("segment", "part")} | {"metric": F.lit("revision")}
    value = _ratio(F.col("moved"), "absolute_demand")
    return moved.withColumns(whole | {"value": value}).select(*_BY_PART, "metric", "value", "series")


def _ahead(season: int) -> Column:
    """Which season of the horizon a row lies in: "1-7", "8-14"; numbers alone where a season is one period."""
    last = F.ceil(F.col("horizon") / season) * season
    return F.concat_ws("-", (last - season + 1).cast("string"), last.cast("string"))


def outermost_interval(quantiles: Sequence[float]) -> tuple[int, int] | None:
    """Places of the lowest level that has a mirror image among the levels, and of that image; None if none has."""
    return next(symmetric_intervals(quantiles), None)


def symmetric_intervals(quantiles: Sequence[float]) -> Iterator[tuple[int, int]]:
    """Places of every two levels that mirror each other, from the widest interval to the narrowest."""
    for low, level in enumerate(quantiles):
        for high in range(len(quantiles) - 1, low, -1):
            if abs(quantiles[high] - (1 - level)) < 1e-9:
                yield low, high


def _width_name(coverage: str) -> str:
    return coverage.replace("coverage", "width")


def coverage_name(quantiles: Sequence[float], low: int, high: int) -> str:
    """The metric that says how much of demand an interval holds: `coverage_80` for the levels 0.1 and 0.9."""
    return f"coverage_{100 * (quantiles[high] - quantiles[low]):g}"


def pinball(actual: Column, quantile: Column, level: float) -> Column:
    """Pinball loss of a quantile (Koenker & Bassett 1978)."""
    short = actual - quantile
    return F.greatest(F.lit(level) * short, F.lit(level - 1) * short)


def total_pinball(forecast: ForecastConfig) -> Column:
    """Pinball loss of a row, summed over levels: what WQL adds up."""
    levels = zip(forecast.quantiles, forecast.quantile_columns, strict=True)
    return sum((pinball(F.col("actual"), F.col(name), level) for level, name in levels), F.lit(0.0))


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
    }
    for level, name in columns.items():
        terms[f"pinball_{name}"] = pinball(actual, F.col(name), level)
        terms[f"below_{name}"] = (actual < F.col(name)).cast("long")
        terms[f"at_or_below_{name}"] = (actual <= F.col(name)).cast("long")
    for low, high in symmetric_intervals(forecast.quantiles):
        lower, upper = (F.col(forecast.quantile_columns[place]) for place in (low, high))
        coverage = coverage_name(forecast.quantiles, low, high)
        terms[coverage] = actual.between(lower, upper).cast("long")
        terms[_width_name(coverage)] = upper - lower
    return terms


def _scaled_errors() -> list[Column]:
    """Averages over the series that have a scale (Hyndman & Koehler 2006)."""
    scaled, squared = F.col("scale") > 0, F.col("squared_scale") > 0
    mean_squared = F.col("squared_error") / F.col("periods")
    return [
        F.avg(F.when(scaled, F.col("absolute_error") / F.col("periods") / F.col("scale"))).alias("mase"),
        F.avg(F.when(squared, F.sqrt(mean_squared / F.col("squared_scale")))).alias("rmsse"),
        F.count_if(scaled).alias("mase_series"),
        F.count_if(squared).alias("rmsse_series"),
    ]


def _metrics(forecast: ForecastConfig) -> list[Column]:
    """One struct(metric, value, series) per metric, out of the totals of a model and segment."""
    mse = F.col("squared_error") / F.col("periods")
    losses = {
        level: f"pinball_{name}" for level, name in zip(forecast.quantiles, forecast.quantile_columns, strict=True)
    }
    loss = sum((F.col(name) for name in losses.values()), F.lit(0.0))
    values = {
        "mse": mse,
        "rmse": F.sqrt(mse),
        "mae": F.col("absolute_error") / F.col("periods"),
        "wape": _ratio(F.col("absolute_error"), "absolute_demand"),
        "mase": F.col("mase"),
        "rmsse": F.col("rmsse"),
        "wql": 2 * _ratio(loss, "absolute_demand") / len(losses),
        "bias": _ratio(F.col("error"), "demand"),
    }
    for level, name in zip(forecast.quantiles, forecast.quantile_columns, strict=True):
        values[f"pinball_{level:g}"] = 2 * _ratio(F.col(losses[level]), "absolute_demand")
        for kind in ("below", "at_or_below"):
            values[f"{kind}_{level:g}"] = F.col(f"{kind}_{name}") / F.col("periods")
    for low, high in symmetric_intervals(forecast.quantiles):
        coverage = coverage_name(forecast.quantiles, low, high)
        values[coverage] = F.col(coverage) / F.col("periods")
        values[_width_name(coverage)] = _ratio(F.col(_width_name(coverage)), "absolute_demand")
    return [
        F.struct(
            F.lit(name).alias("metric"),
            value.cast("double").alias("value"),
            F.col(f"{name}_series" if name in ("mase", "rmsse") else "all_series").alias("series"),
        )
        for name, value in values.items()
    ]


def _ratio(part: Column, whole: str) -> Column:
    """Null where the whole is 0."""
    return F.when(F.col(whole) != 0, part / F.col(whole))
