"""What is planned per series: promotions and prices, as spans of days, and as one value a period."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from forecasting.demand.aggregate import SERIES, UNIT_PARTS, at_location_level, exact_sum
from forecasting.features.ragged import Ragged
from forecasting.periods import ALWAYS, NEVER, position

STRENGTHS = ("display", "mailer")
_FAR = 10_000_000  # periods; no series is as long
_PARTS = 2.0**24  # of one: shares and prices are summed in them
_SPAN = ("starts_on", "ends_on", "kind")


def promotion_spans(promotions: DataFrame, locations: DataFrame, level: str) -> tuple[DataFrame, DataFrame]:
    """Planned promotions as lists of spans: those of items, per series, and those of all items of a location.

    The share of a series' locations that take part stands for the strength of a promotion. A promotion without a location
    holds everywhere.

    Returns:
        `item_id`, `location_id`, `spans`; and `location_id`, `place_spans`: array of struct(starts_on, ends_on, kind, share,
        depth, announced_on, display, mailer), shares from 0 to 1.
    """
    sizes = (
        at_location_level(locations.select("location_id"), locations, level)
        .groupBy("location_id")
        .agg(F.count(F.lit(1)).alias("size"))
    )
    local = at_location_level(promotions.where(F.col("location_id").isNotNull()), locations, level)
    totals = local.groupBy(*SERIES, *_SPAN).agg(
        F.count(F.lit(1)).alias("share"),
        (exact_sum(F.col("depth"), UNIT_PARTS) / F.nullif(F.count("depth"), F.lit(0))).alias("depth"),
        F.max("announced_on").alias("announced_on"),
        *(exact_sum(F.col(s), UNIT_PARTS).alias(s) for s in STRENGTHS),
    )
    shares = totals.join(F.broadcast(sizes), on="location_id", how="left")
    size = F.coalesce("size", F.lit(1))
    share_of = {s: F.least(F.lit(1.0), F.coalesce(s, F.lit(0)) / size).alias(s) for s in ("share", *STRENGTHS)}
    general = promotions.where(F.col("location_id").isNull()).drop("location_id").crossJoin(F.broadcast(sizes))
    none = {s: F.coalesce(s, F.lit(0.0)).alias(s) for s in STRENGTHS}
    said = ("depth", "announced_on")
    spans = shares.select(*SERIES, *_SPAN, share_of["share"], *said, *(share_of[s] for s in STRENGTHS)).unionByName(
        general.select(*SERIES, *_SPAN, F.lit(1.0).alias("share"), *said, *none.values())
    )
    span = F.collect_list(F.struct(*_SPAN, "share", *said, *STRENGTHS))
    of_items = spans.where(F.col("item_id").isNotNull()).groupBy(*SERIES).agg(span.alias("spans"))
    of_places = spans.where(F.col("item_id").isNull()).groupBy("location_id").agg(span.alias("place_spans"))
    return of_items, of_places


def price_spans(prices: DataFrame, locations: DataFrame, level: str) -> DataFrame:
    """List prices per series: `item_id`, `location_id`, and as array of struct(starts_on, ends_on, price, announced_on) the `prices` of its own
    places and the `general_prices`, which hold everywhere and count where no own one does.

    A price without a last day holds until the item's next one at that place. Prices of a place count before those that hold
    everywhere; of several places of a series the mean is its price.
    """
    following = F.lead("starts_on").over(Window.partitionBy("item_id", "location_id").orderBy("starts_on", "price"))
    until = F.coalesce("ends_on", F.date_sub(following, 1), F.lit(date(2100, 1, 1)))
    ended = prices.select("item_id", "location_id", "starts_on", until.alias("ends_on"), "price", "announced_on")
    local = at_location_level(ended.where(F.col("location_id").isNotNull()), locations, level)
    places = at_location_level(locations.select("location_id"), locations, level).distinct()
    general = ended.where(F.col("location_id").isNull()).drop("location_id").crossJoin(F.broadcast(places))
    spans = F.collect_list(F.struct("starts_on", "ends_on", "price", "announced_on"))
    of_places = local.groupBy(*SERIES).agg(spans.alias("_local"))
    everywhere = general.groupBy(*SERIES).agg(spans.alias("_general"))
    both = of_places.join(everywhere, on=list(SERIES), how="full")
    return both.select(*SERIES, F.col("_local").alias("prices"), F.col("_general").alias("general_prices"))


def _day(spans: pa.Array, name: str) -> np.ndarray:
    return spans.field(name).to_numpy(zero_copy_only=False)


def _numbers(spans: pa.Array, name: str) -> np.ndarray:
    return np.nan_to_num(_day(spans, name).astype(np.float64))


class Spans:
    """Lists of spans, one list a series, on arrays of all periods behind one another."""

    def __init__(self, lists: pa.ListArray, first: np.ndarray, lengths: np.ndarray, grain: str) -> None:
        """
        Args:
            lists: structs with `starts_on` and `ends_on`; null for none.
            first: number of each series' first period, [series]. lengths: its periods, [series].
        """
        self.flat = lists.flatten()
        self.places = Ragged.of(lists, lengths)
        owner = self.places.owner
        self._first, self._grain = first, grain
        self._begin = position(_day(self.flat, "starts_on"), grain) - first[owner]
        self._end = position(_day(self.flat, "ends_on"), grain) - first[owner] + 1

    def sum_of(self, values: np.ndarray, chosen: np.ndarray | None = None) -> np.ndarray:
        """Sum of the values, [spans], of the spans that touch each period, [sum(lengths)]."""
        lengths, owner = self.places.lengths, self.places.owner
        chosen = slice(None) if chosen is None else chosen
        owner = owner[chosen]
        begin = np.clip(self._begin[chosen], 0, lengths[owner])
        end = np.clip(self._end[chosen], 0, lengths[owner])
        # A step up where a span begins and down behind its end; one spare place a series takes steps past the end. The
        # steps are integers: their sum runs on over all series, and none may leave a rounding error to the next.
        offset = np.cumsum(lengths + 1) - (lengths + 1)
        spare = np.zeros(int((lengths + 1).sum()), bool)
        spare[offset + lengths] = True
        steps = np.zeros(len(spare), np.int64)
        size = np.rint(values[chosen] * _PARTS).astype(np.int64)
        np.add.at(steps, offset[owner] + begin, size)
        np.add.at(steps, offset[owner] + end, -size)
        return np.cumsum(steps)[~spare] / _PARTS

    def share_of(self, name: str) -> np.ndarray:
        """Sum of a share over the spans that touch each period, from 0 to 1, float32."""
        return np.clip(self.sum_of(_numbers(self.flat, name)), 0.0, 1.0).astype(np.float32)

    def depth(self) -> np.ndarray:
        """Planned share off the list price: the mean over the spans that touch a period, by their strength, float32."""
        share = _numbers(self.flat, "share")
        taking_part = self.sum_of(share)
        taken_off = self.sum_of(share * _numbers(self.flat, "depth"))
        return np.divide(taken_off, taking_part, out=np.zeros_like(taken_off), where=taking_part > 1e-9).astype(
            np.float32
        )

    def periods_left(self) -> np.ndarray:
        """Periods that the spans which touch a period still last, this one included; the longest counts, 0 for none, float32."""
        lengths, owner = self.places.lengths, self.places.owner
        begin = np.clip(self._begin, 0, None)
        inside = (begin < lengths[owner]) & (self._end > 0)
        # The latest end so far, running on from period to period; ends of a later series are larger than all before it.
        latest = np.full(int(lengths.sum()), -1, np.int64)
        np.maximum.at(latest, (self.places.start[owner] + begin)[inside], (owner * _FAR + self._end)[inside])
        series = np.repeat(np.arange(len(lengths)), lengths)
        offset = np.arange(len(latest)) - self.places.start[series]
        return np.clip(np.maximum.accumulate(latest) - series * _FAR - offset, 0, None).astype(np.float32)

    def announced(self) -> np.ndarray:
        """Periods ahead of each period by which all promotions that touch it had been announced, int16; NEVER: none ahead.

        ALWAYS where none says when it was announced.
        """
        lead = np.full(int(self.places.lengths.sum()), ALWAYS, np.int16)
        told = np.flatnonzero(np.asarray(self.flat.field("announced_on").is_valid()))
        owner = self.places.owner[told]
        begin = np.clip(self._begin[told], 0, self.places.lengths[owner])
        periods = np.clip(self._end[told], begin, self.places.lengths[owner]) - begin
        period = np.arange(int(periods.sum())) - np.repeat(np.cumsum(periods) - periods - begin, periods)
        announced = position(_day(self.flat, "announced_on")[told], self._grain) - self._first[owner]
        ahead = np.clip(period - np.repeat(announced, periods), NEVER, ALWAYS).astype(np.int16)
        np.minimum.at(lead, np.repeat(self.places.start[owner], periods) + period, ahead)
        return lead

    def price(self) -> np.ndarray:
        """Mean price of the spans that touch each period, 0 where none does, float32."""
        count = np.rint(self.sum_of(np.ones(len(self.flat))))
        total = self.sum_of(_numbers(self.flat, "price"))
        return np.divide(total, count, out=np.zeros_like(total), where=count > 0).astype(np.float32)

    def kinds(self) -> dict[str, np.ndarray]:
        """Share of locations with a promotion of each kind, for the kinds that occur: [sum(lengths)] each, float32."""
        kind = self.flat.field("kind")
        share = _numbers(self.flat, "share")
        found = sorted(name for name in kind.unique().to_pylist() if name is not None)
        names = np.asarray(kind.to_numpy(zero_copy_only=False), object)
        return {
            name: np.clip(self.sum_of(share, np.flatnonzero(names == name)), 0.0, 1.0).astype(np.float32)
            for name in found
        }
