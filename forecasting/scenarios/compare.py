"""The forecast with a plan beside that without it: the difference in units and in money."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from forecasting.config import Config
from forecasting.demand.aggregate import SERIES
from forecasting.scenarios.changes import last_price

_PERIOD = (*SERIES, "forecast_origin", "target_date", "horizon")


def beside_baseline(
    baseline: DataFrame, changed: DataFrame, before: DataFrame, after: DataFrame, config: Config
) -> DataFrame:
    """One row per series and period ahead.

    Args:
        baseline, changed: forecasts without and with the plan, as `scoring.methods.final_forecasts` gives them. before, after: the series they were
            made of, as `changes.comparable` and `changes.with_plan` give them.

    Returns:
        Columns of `scenario_forecasts` but the scenario's name and the rest of lineage.
    """
    horizon, quantiles = config.forecast.horizon, config.forecast.quantile_columns
    series = after.select(*SERIES, "planned")
    for frame, name in ((before, "baseline_price"), (after, "price")):
        series = series.join(_prices(frame, name, horizon), on=list(SERIES))
    units = changed.select(*_PERIOD, "mean", *quantiles, "method", "model_version").join(
        baseline.select(*SERIES, "horizon", F.col("mean").alias("baseline_mean")), on=[*SERIES, "horizon"]
    )
    at = {name: F.element_at(name, F.col("horizon")) for name in ("planned", "baseline_price", "price")}
    # What is out of stock sells nothing, whatever is wanted.
    out = at["planned"]["stock"].isNotNull()
    sold = [F.when(out, F.lit(0.0)).otherwise(F.col(name)).alias(name) for name in ("mean", *quantiles)]
    rows = units.join(series, on=list(SERIES)).select(
        *(*_PERIOD, "baseline_mean", *sold, "method", "model_version"),
        at["baseline_price"].alias("baseline_price"),
        at["price"].alias("price"),
        _words(at["planned"], at["price"]).alias("changes"),
    )
    rows = rows.withColumns(
        {
            "difference": F.col("mean") - F.col("baseline_mean"),
            "baseline_revenue": F.col("baseline_mean") * F.col("baseline_price"),
            "revenue": F.col("mean") * F.col("price"),
        }
    )
    return rows.withColumn("revenue_difference", F.col("revenue") - F.col("baseline_revenue"))


def _prices(series: DataFrame, name: str, horizon: int) -> DataFrame:
    """What a customer pays in each period ahead: the list price, or the last one, less a planned discount; null where none is known."""
    last = F.nullif(last_price(), F.lit(0.0).cast("float"))
    listed, depth = _ahead("planned_price", horizon), _ahead("promotion_depth", horizon)
    paid = F.transform(
        F.arrays_zip(listed.alias("listed"), depth.alias("depth")),
        lambda at: (
            F.when(at["listed"] > 0, at["listed"]).otherwise(last).cast("double") * (1 - at["depth"].cast("double"))
        ),
    )
    return series.select(*SERIES, paid.alias(name))


def _ahead(column: str, horizon: int) -> Column:
    none = F.array_repeat(F.lit(0.0).cast("float"), horizon)
    return F.coalesce(F.slice(F.col(column), F.col("length") + 1, F.lit(horizon)), none)


def _words(planned: Column, price: Column) -> Column:
    """What the plan changes in a period, null for nothing. `price`: what is paid; null where no price is known, so that none changes."""
    line = planned["price"]
    changed = F.when(price.isNull(), F.lit("price unchanged, since none is known")).otherwise(
        F.format_string("price %+.1f %%", line["price_change"] * 100)
    )
    words = F.concat_ws(
        ", ",
        F.when(line["price"].isNotNull(), F.format_string("price %.2f", line["price"])),
        F.when(line["price_change"].isNotNull(), changed),
        F.when(planned["promotion"].isNotNull(), F.concat(F.lit("promotion "), planned["promotion"]["promotion"])),
        F.when(planned["event"].isNotNull(), F.concat(F.lit("event "), planned["event"]["event"])),
        F.when(planned["stock"].isNotNull(), F.lit("out of stock")),
    )
    return F.nullif(words, F.lit(""))
