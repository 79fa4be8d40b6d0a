"""Demand of what a series is a part of: its item at all places, its category at the place. Known of a period once it is over."""

from __future__ import annotations

from collections.abc import Collection

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting.demand.aggregate import UNIT_PARTS, exact_sum


def group_lists(
    demand: DataFrame, products: DataFrame, told: Collection[str], level: str
) -> tuple[DataFrame, DataFrame]:
    """Demand of groups in each period, as lists.

    Args:
        demand: silver `demand`. products: bronze `products`; items without a category are of none.
        told: the groups that are wanted, `item` and `category`. level: as `series.location_level`; of an item of the whole chain its demand at all
            places is that of its series.

    Returns:
        `item_id`, `of_item`; and `category`, `location_id`, `of_category`: arrays of struct(period_start, item_demand or
        category_demand).
    """
    items = demand if "item" in told and level != "chain" else demand.limit(0)
    categories = demand if "category" in told else demand.limit(0)
    categories = categories.join(products.select("item_id", "category"), on="item_id", how="inner")
    named = categories.where(F.col("category").isNotNull())
    return _lists(items, "item", "item_id"), _lists(named, "category", "category", "location_id")


def _lists(demand: DataFrame, group: str, *keys: str) -> DataFrame:
    """The sums of each group, the same whatever the order of rows."""
    total = exact_sum(F.col("quantity"), UNIT_PARTS).alias(f"{group}_demand")
    periods = demand.groupBy(*keys, "period_start").agg(total)
    return periods.groupBy(*keys).agg(F.collect_list(F.struct("period_start", f"{group}_demand")).alias(f"of_{group}"))
