"""Out of stock, as snapshots say it: periods at whose end there was nothing left to sell."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting.demand.aggregate import SERIES, at_location_level, period_start


def empty_periods(stock: DataFrame, locations: DataFrame, grain: str, level: str) -> DataFrame:
    """`item_id`, `location_id`, `out_of_stock`: array of the periods in which a series was counted empty.

    A series of several locations is empty on a day on which none of those that were counted had any.

    Args:
        stock: bronze `stock`.
        locations: bronze `locations`.
    """
    counted = at_location_level(stock.where(F.col("counted_on").isNotNull()), locations, level)
    days = counted.groupBy(*SERIES, "counted_on").agg(F.sum("on_hand").alias("on_hand"))
    periods = days.where(F.col("on_hand") <= 0).select(*SERIES, period_start(grain, "counted_on").alias("period_start"))
    return periods.groupBy(*SERIES).agg(F.array_sort(F.collect_set("period_start")).alias("out_of_stock"))


def stock_now(stock: DataFrame, locations: DataFrame, level: str) -> DataFrame:
    """The newest snapshot of each series, with its ordering terms; a snapshot without a day counts as the newest.

    Units of several locations are added up; of their terms the longest lead time and review period and the largest pack
    count.
    """
    newest = stock.groupBy(*SERIES).agg(
        F.max_by(F.struct("*"), F.struct(F.coalesce("counted_on", F.lit("9999-12-31")), "on_hand")).alias("_s")
    )
    at_level = at_location_level(newest.select("_s.*"), locations, level)
    return at_level.groupBy(*SERIES).agg(
        F.sum("on_hand").alias("on_hand"),
        F.sum("on_order").alias("on_order"),
        *(F.max(name).alias(name) for name in ("lead_time", "review_period", "pack_size")),
    )
