"""Prices of a category, which tell whether an item's price is high or low."""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from forecasting.demand.aggregate import MONEY_PARTS, exact_sum


def category_prices(demand: DataFrame, products: DataFrame) -> DataFrame:
    """Columns of `category_prices` but lineage: known of a period only once it is over, as demand is.

    Args:
        demand: silver `demand`.
        products: bronze `products`; items without a category are left out.
    """
    listed = F.col("revenue") + F.col("discount")
    sold = demand.where((F.col("quantity") > 0) & (listed > 0))
    priced = sold.select("item_id", "period_start", (listed / F.col("quantity")).alias("price"))
    named = priced.join(products.select("item_id", "category"), on="item_id", how="inner")
    of_category = named.where(F.col("category").isNotNull()).groupBy("category", "period_start")
    return of_category.agg(
        (exact_sum(F.col("price"), MONEY_PARTS) / F.count("price")).alias("price"), F.count(F.lit(1)).alias("series")
    )


def price_band(price: Column, category_price: Column) -> Column:
    """What an item costs beside its category: low below 0.8 of the mean price there, high above 1.2, else middle; null where
    one of them is unknown."""
    ratio = price / F.nullif(category_price, F.lit(0))
    return F.when(ratio < 0.8, "low").when(ratio > 1.2, "high").when(ratio.isNotNull(), "middle")
