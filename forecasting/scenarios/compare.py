"""The forecast with a plan beside that without it: the difference in units and in money."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from forecasting.config import Config
from forecasting.demand.aggregate import SERIES
from forecasting.scenarios.changes import PRICE, PROMOTION, last_change

_PERIOD = (*SERIES, "forecast_origin", "target_date", "horizon")


def beside_baseline(
    baseline: DataFrame, changed: DataFrame, before: DataFrame, after: DataFrame, config: Config
) -> DataFrame:
    """One row per series and period ahead.

    Args:
        baseline, changed: forecasts without and with the plan, as `scoring.score.forecast` gives them. before, after: the series they were made
            of, as `changes.comparable` and `changes.with_plan` give them.

    Returns:
        Columns of `scenario_forecasts` but the scenario's name and lineage.
    """
    horizon, quantiles = config.forecast.horizon, config.forecast.quantile_columns
    series = _prices(before, "baseline_price", horizon).join(_prices(after, "price", horizon), on=list(SERIES))
    changes = after.select(*SERIES, F.transform(F.sequence(F.lit(1), F.lit(horizon)), _told).alias("told"))
    series = series.join(changes, on=list(SERIES))
    units = changed.select(*_PERIOD, "mean", *quantiles).join(
        baseline.select(*SERIES, "horizon", F.col("mean").alias("baseline_mean")), on=[*SERIES, "horizon"]
    )
    both = units.join(series, on=list(SERIES))
    at = {name: F.element_at(name, F.col("horizon")) for name in ("baseline_price", "price", "told")}
    # What is out of stock sells nothing, whatever is wanted.
    sold = {name: F.when(at["told"]["out"], F.lit(0.0)).otherwise(F.col(name)).alias(name) for name in ("mean", *quantiles)}  # fmt: skip
    rows = both.select(
        *_PERIOD,
        "baseline_mean",
        *sold.values(),
        F.nullif(at["baseline_price"], F.lit(0.0)).alias("baseline_price"),
        F.nullif(at["price"], F.lit(0.0)).alias("price"),
        F.nullif(at["told"]["words"], F.lit("")).alias("changes"),
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
    """What a customer pays in each period ahead: the list price, or the last one seen, less a planned discount; 0 where unknown."""
    last = F.element_at("price", -1)
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


def _told(at: Column) -> Column:
    """What the plan changes in a period, in words, and whether the series is out of stock."""
    price, promotion = last_change(at, PRICE), last_change(at, PROMOTION)
    event, stock = last_change(at, ("event",)), last_change(at, ("in_stock",))
    percent = F.format_string("price %+.1f %%", price["price_change"] * 100)
    words = F.concat_ws(
        ", ",
        F.when(price["price"].isNotNull(), F.format_string("price %.2f", price["price"])).otherwise(percent),
        F.when(promotion.isNotNull(), F.concat(F.lit("promotion "), promotion["promotion"])),
        F.when(event.isNotNull(), F.concat(F.lit("event "), event["event"])),
        F.when(stock.isNotNull(), F.lit("out of stock")),
    )
    return F.struct(words.alias("words"), stock.isNotNull().alias("out"))
