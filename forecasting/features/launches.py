"""Series of items that are launched about now and have not sold yet, so that they are forecast from their attributes."""

from __future__ import annotations

from datetime import date, timedelta

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting.demand.aggregate import SERIES
from forecasting.features.history import MEASURES
from forecasting.periods import shift

#: Days after its launch within which an item that has not sold yet still is a new one; after that it counts as one that does not sell.
STILL_NEW = 56


def launched_about(products: DataFrame, last: date, horizon: int, grain: str) -> DataFrame:
    """`item_id` of items that are launched between STILL_NEW days ago and the end of the horizon.

    Args:
        products: bronze `products`. last: first day of the last period of the data.
    """
    until, since = shift(last, horizon + 1, grain), last - timedelta(STILL_NEW)
    about = (F.col("launched_on") >= F.lit(since)) & (F.col("launched_on") < F.lit(until))
    return products.where(about).select("item_id").distinct()


def launches(items: DataFrame, demand: DataFrame, places: DataFrame, last: date) -> DataFrame:
    """One row per item that has not sold anywhere, and place.

    Args:
        items: as `launched_about` gives them. demand: all rows of `demand`. places: `location_id`, all places at series.location_level.

    Returns:
        As `history.histories` gives it, with no sales: the series begin with the last period, of which nothing was seen.
    """
    sold = demand.select("item_id").join(F.broadcast(items), on="item_id", how="left_semi").distinct()
    new = items.join(sold, on="item_id", how="left_anti")
    nothing = F.array().cast("array<float>")
    return new.crossJoin(F.broadcast(places.select("location_id").distinct())).select(
        *SERIES,
        F.lit(last).alias("first_period"),
        F.array().cast("array<int>").alias("offset"),
        *(nothing.alias(name) for name in MEASURES),
    )
