"""Prices of series as their sales tell them, and of a category, which tell whether an item's price is high or low."""

from __future__ import annotations

import numpy as np
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


def price_and_discount(
    quantity: np.ndarray, revenue: np.ndarray, discount: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """List price per unit and share of it taken off, of each period by itself; 0 without sales at a price.

    Args:
        quantity, revenue, discount: all series behind one another, [sum(lengths)].

    Returns:
        price, discount share: [sum(lengths)] each, float32.
    """
    listed = revenue + discount
    sold = (quantity > 0) & (listed > 0)
    price = np.divide(listed, quantity, out=np.zeros(len(quantity), np.float32), where=sold)
    share = np.divide(discount, listed, out=np.zeros(len(quantity), np.float32), where=sold)
    return price.astype(np.float32), np.clip(share, 0.0, 1.0).astype(np.float32)


def last_seen(price: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The price that was seen last, per period; 0 (unknown) before the first one.

    Args:
        price: all series behind one another, 0 where none was seen, [sum(lengths)]. lengths: periods of each series, [series].
    """
    # The index of the last period with a price, running maximum within each series (each one starts below its own zero).
    start = np.repeat(np.cumsum(lengths) - lengths, lengths)
    last = np.maximum.accumulate(np.where(price > 0, np.arange(len(price)), -1)) if len(price) else start
    return np.where(last >= start, price[np.maximum(last, 0)], np.float32(0))
