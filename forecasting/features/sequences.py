"""One row per series: history as arrays, planned promotions as arrays that reach past the data, attributes once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting.contracts import PRODUCT_ATTRIBUTES
from forecasting.demand.aggregate import SERIES, at_location_level
from forecasting.periods import position

ATTRIBUTES = tuple(column.name for column in PRODUCT_ATTRIBUTES)
PROMOTION_KINDS = ("display", "mailer")


def promotion_spans(promotions: DataFrame, locations: DataFrame, level: str) -> DataFrame:
    """Planned promotions per series as a list of spans.

    The share of a series' locations that take part stands for the strength of a promotion. A promotion without a location
    holds everywhere.

    Returns:
        `item_id`, `location_id`, `spans`: array of struct(starts_on, ends_on, display, mailer), shares from 0 to 1.
    """
    sizes = (
        at_location_level(locations.select("location_id"), locations, level)
        .groupBy("location_id")
        .agg(F.count(F.lit(1)).alias("size"))
    )
    local = promotions.where(F.col("location_id").isNotNull())
    local = at_location_level(local, locations, level)
    span = (*SERIES, "starts_on", "ends_on")
    totals = local.groupBy(*span).agg(*(F.sum(kind).alias(kind) for kind in PROMOTION_KINDS))
    shares = totals.join(F.broadcast(sizes), on="location_id", how="left")
    shares = shares.select(
        *span,
        *(F.least(F.lit(1.0), F.col(kind) / F.coalesce("size", F.lit(1))).alias(kind) for kind in PROMOTION_KINDS),
    )
    everywhere = promotions.where(F.col("location_id").isNull()).drop("location_id").crossJoin(F.broadcast(sizes))
    shares = shares.unionByName(everywhere.select(*span, *PROMOTION_KINDS))
    return shares.groupBy(*SERIES).agg(
        F.collect_list(F.struct("starts_on", "ends_on", *PROMOTION_KINDS)).alias("spans")
    )


def build_sequences(
    demand: DataFrame, products: DataFrame, spans: DataFrame, grain: str, horizon: int, last_period: date
) -> DataFrame:
    """One row per series.

    Args:
        demand: silver `demand`, gap-free.
        products: bronze `products`; an item that is not among them keeps null attributes.
        spans: as `promotion_spans` gives them.
        horizon: periods past `last_period` that known-future arrays reach.
        last_period: first day of the last period of the data.

    Returns:
        Columns of `sequences` but lineage.
    """
    history = demand.groupBy(*SERIES).agg(
        F.array_sort(F.collect_list(F.struct("period_start", "quantity", "revenue", "discount"))).alias("history")
    )
    history = history.select(
        *SERIES,
        F.col("history")[0]["period_start"].alias("first_period"),
        *(F.col("history")[name].cast("array<float>").alias(name) for name in ("quantity", "revenue", "discount")),
    )
    series = history.join(spans, on=list(SERIES), how="left")
    series = series.join(products.select("item_id", *ATTRIBUTES), on="item_id", how="left")
    dense = series.mapInArrow(_densify(grain, horizon), _DENSE_SCHEMA)
    return dense.select(
        *SERIES, "first_period", F.lit(last_period).alias("last_period"), "length", *_ARRAYS, *ATTRIBUTES
    )


_ARRAYS = ("quantity", "price", "discount", *PROMOTION_KINDS)
_DENSE_SCHEMA = ", ".join(
    ["item_id string", "location_id string", "first_period date", "length int"]
    + [f"{name} array<float>" for name in _ARRAYS]
    + [f"{name} string" for name in ATTRIBUTES]
)


def _densify(grain: str, horizon: int):
    """A function for mapInArrow that turns money into price and discount share, and spans into one value a period."""

    def densify(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if batch.num_rows == 0:
                continue
            lengths = np.asarray(pa.compute.list_value_length(batch["quantity"]))
            quantity = _flat(batch["quantity"])
            price, discount = price_and_discount(quantity, _flat(batch["revenue"]), _flat(batch["discount"]), lengths)
            first = position(batch["first_period"].to_numpy(zero_copy_only=False), grain)
            display, mailer = promotion_arrays(batch["spans"], first, lengths + horizon, grain)
            arrays = dict(zip(_ARRAYS, (quantity, price, discount, display, mailer), strict=True))
            columns = {
                **{name: batch[name] for name in (*SERIES, "first_period")},
                "length": pa.array(lengths, pa.int32()),
                **{
                    name: _lists(arrays[name], lengths + (horizon if name in PROMOTION_KINDS else 0))
                    for name in _ARRAYS
                },
                **{name: batch[name] for name in ATTRIBUTES},
            }
            yield pa.RecordBatch.from_pydict(columns)

    return densify


def price_and_discount(
    quantity: np.ndarray, revenue: np.ndarray, discount: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """List price per unit as last seen, and share of it taken off, per period.

    Periods before the first sale with a price have price 0 (unknown); a period without sales keeps the price seen last
    and has no discount.

    Args:
        quantity, revenue, discount: all series behind one another, [sum(lengths)].
        lengths: periods of each series, [series].

    Returns:
        price, discount share: [sum(lengths)] each, float32.
    """
    listed = revenue + discount
    seen = (quantity > 0) & (listed > 0)
    price_now = np.divide(listed, quantity, out=np.zeros(len(quantity), np.float32), where=seen)
    # The index of the last period with a price, running maximum within each series (each one starts below its own zero).
    start = np.repeat(np.cumsum(lengths) - lengths, lengths)
    last_seen = np.maximum.accumulate(np.where(seen, np.arange(len(quantity)), -1)) if len(quantity) else start
    price = np.where(last_seen >= start, price_now[np.maximum(last_seen, 0)], 0.0)
    share = np.divide(discount, listed, out=np.zeros(len(quantity), np.float32), where=seen)
    return price.astype(np.float32), np.clip(share, 0.0, 1.0).astype(np.float32)


def promotion_arrays(
    spans: pa.Array, first: np.ndarray, lengths: np.ndarray, grain: str
) -> tuple[np.ndarray, np.ndarray]:
    """Display and mailer share of every period, the sum of the spans that touch it, at most 1.

    Args:
        spans: list of struct(starts_on, ends_on, display, mailer) per series; null for none.
        first: number of each series' first period, [series].
        lengths: periods of each series, [series].

    Returns:
        display, mailer: [sum(lengths)] each, float32.
    """
    counts = np.asarray(spans.fill_null([]).value_lengths())
    flat = spans.flatten()
    owner = np.repeat(np.arange(len(counts)), counts)
    begin = position(flat.field("starts_on").to_numpy(zero_copy_only=False), grain) - first[owner]
    stop = position(flat.field("ends_on").to_numpy(zero_copy_only=False), grain) - first[owner] + 1
    begin, stop = np.clip(begin, 0, lengths[owner]), np.clip(stop, 0, lengths[owner])
    # A step up where a span begins and down behind its end; one spare place a series takes steps past the end.
    offset = np.cumsum(lengths + 1) - (lengths + 1)
    spare = np.zeros(int((lengths + 1).sum()), bool)
    spare[offset + lengths] = True
    arrays = []
    for kind in PROMOTION_KINDS:
        steps = np.zeros(len(spare), np.float64)
        value = np.nan_to_num(flat.field(kind).to_numpy(zero_copy_only=False))
        np.add.at(steps, offset[owner] + begin, value)
        np.add.at(steps, offset[owner] + stop, -value)
        arrays.append(np.clip(np.cumsum(steps)[~spare], 0.0, 1.0).astype(np.float32))
    return arrays[0], arrays[1]


def _flat(lists: pa.Array) -> np.ndarray:
    return lists.flatten().to_numpy(zero_copy_only=False).astype(np.float32, copy=False)


def _lists(values: np.ndarray, lengths: np.ndarray) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(values, pa.float32()))
