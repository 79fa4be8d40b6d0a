"""What customers did beside buying, per series: known only for the past."""

from __future__ import annotations

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting.demand.aggregate import SERIES, at_location_level, period_start

BEHAVIOUR = ("views", "carts", "customers")


def behaviour_lists(behaviour: DataFrame, locations: DataFrame, grain: str, level: str) -> DataFrame:
    """`item_id`, `location_id`, `behaviour`: array of struct(period_start, views, carts, customers), sums over the period.

    Rows without a location belong to the chain: series of a single location do not get them.
    """
    local = behaviour if level == "chain" else behaviour.where(F.col("location_id").isNotNull())
    periods = at_location_level(local, locations, level).groupBy(
        *SERIES, period_start(grain, "date").alias("period_start")
    )
    sums = periods.agg(*(F.sum(F.coalesce(name, F.lit(0.0))).alias(name) for name in BEHAVIOUR))
    rows = F.collect_list(F.struct("period_start", *BEHAVIOUR))
    return sums.groupBy(*SERIES).agg(F.array_sort(rows).alias("behaviour"))
