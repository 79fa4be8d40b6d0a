"""Series of items that are launched about now and have not sold yet, so that they are forecast from their attributes."""

from __future__ import annotations

from datetime import timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting.demand.aggregate import SERIES
from forecasting.features.history import MEASURES
from forecasting.periods import shift

#: Days after its launch within which an item that has not sold yet still is a new one; after that it counts as one that does not sell.
STILL_NEW = 56


def launches(products: DataFrame, demand: DataFrame, places: DataFrame, last, horizon: int, grain: str) -> DataFrame:
    """One row per item that is launched between STILL_NEW days ago and the end of the horizon and has not sold anywhere, and place.

    Args:
        products: bronze `products`. demand: all rows of `demand`. places: `location_id`, all places at series.location_level.
        last: first day of the last period of the data.

    Returns:
        As `history.histories` gives it, with no sales: the series begin with the last period, of which nothing was seen.
    """
    until, since = shift(last, horizon + 1, grain), last - timedelta(STILL_NEW)
    new = products.where((F.col("launched_on") >= F.lit(since)) & (F.col("launched_on") < F.lit(until)))
    new = new.select("item_id").distinct().join(demand.select("item_id"), on="item_id", how="left_anti")
    nothing = F.array().cast("array<float>")
    return new.crossJoin(F.broadcast(places.select("location_id").distinct())).select(
        *SERIES,
        F.lit(last).alias("first_period"),
        F.array().cast("array<int>").alias("offset"),
        *(nothing.alias(name) for name in MEASURES),
    )
