"""One row per series: what happened and what is planned as arrays over periods, attributes once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting.config import DemandConfig
from forecasting.contracts import PRODUCT_ATTRIBUTES, SEQUENCES
from forecasting.demand.aggregate import SERIES
from forecasting.demand.classes import demand_classes
from forecasting.demand.cleaning import CleaningSettings, clean
from forecasting.demand.detection import infer_stock_outs
from forecasting.demand.location_days import MISSING
from forecasting.demand.regression import refit_every
from forecasting.features.behaviour import BEHAVIOUR
from forecasting.features.former import Former, with_former
from forecasting.features.history import MEASURES
from forecasting.features.plans import STRENGTHS, Spans
from forecasting.features.prices import last_seen, price_and_discount, price_band
from forecasting.features.ragged import Ragged, blocks, lists
from forecasting.periods import SEASON, position
from forecasting.states import NO_RECORD, State, with_inferred

ATTRIBUTES = (*(column.name for column in PRODUCT_ATTRIBUTES), "launched_on")
PLACE_ATTRIBUTES = ("location_group", "calendar")
CLEANED_AT_ONCE = 64  # series: their arrays stay in a core's cache
FEWEST_SALES = 8  # periods with sales below which nothing can be said of a series' outliers and stock-outs


@dataclass(frozen=True)
class Axis:
    """The periods of a run: their grain, the last one of the data, how far known-future arrays reach past it, and the first day
    from which values are made anew; None: all are."""

    grain: str
    last: date
    horizon: int
    since: date | None = None

    @property
    def end(self) -> int:
        """Number of the last period of the data, as `periods.position` counts."""
        return int(position(self.last, self.grain))

    def kept(self, first: np.ndarray) -> np.ndarray:
        """How many periods stay as they were, of series that begin with the periods of these numbers."""
        since = first if self.since is None else position(self.since, self.grain)
        return np.clip(since - first, 0, self.end - first + 1)


@dataclass(frozen=True)
class Facts:
    """What is known of series, beside their demand; frames without rows for what the dataset does not deliver.

    products: bronze `products`. category_prices: as `prices.category_prices`. calendar: that of series whose places have none
    of their own. places: `location_id`, `location_group`, `calendar`. spans, place_spans: as `plans.promotion_spans` gives
    them. prices: as `plans.price_spans`. behaviour: as `behaviour.behaviour_lists`. items, categories: as `groups.group_lists`.
    idle: as `location_days.idle_periods`. out_of_stock: as `stock.empty_periods`.
    """

    products: DataFrame
    category_prices: DataFrame
    calendar: str
    places: DataFrame
    spans: DataFrame
    place_spans: DataFrame
    prices: DataFrame
    behaviour: DataFrame
    items: DataFrame
    categories: DataFrame
    idle: DataFrame
    out_of_stock: DataFrame


def build_sequences(history: DataFrame, facts: Facts, axis: Axis, demand: DemandConfig, former: DataFrame) -> DataFrame:
    """One row per series.

    Args:
        history: as `history.histories` gives it, of demand from `axis.since` on. facts: groups and prices of categories from then on
            suffice.
        former: rows of `sequences` that begin before `axis.since`; none where all is made anew.

    Returns:
        Columns of `sequences` but lineage. What the dataset does not deliver is null.
    """
    heads = former.select(*SERIES, *(F.col(name).alias(f"former_{name}") for name in ("first_period", "price_band")))
    series = history.join(heads, on=list(SERIES), how="full_outer")
    for of_series in (facts.spans, facts.prices, facts.behaviour, facts.out_of_stock):
        series = series.join(of_series, on=list(SERIES), how="left")
    for of_places in (facts.place_spans, facts.idle, facts.places):
        series = series.join(F.broadcast(of_places), on="location_id", how="left")
    series = series.join(facts.products.select("item_id", *ATTRIBUTES), on="item_id", how="left")
    series = series.join(facts.items, on="item_id", how="left")
    series = series.join(facts.categories, on=["category", "location_id"], how="left")
    series = _with_price_band(series, facts.category_prices)
    none = F.array().cast(series.schema["place_spans"].dataType)
    spans = F.concat(F.coalesce("spans", none), F.coalesce("place_spans", none))
    calendar = F.coalesce("calendar", F.lit(facts.calendar))
    series = series.withColumns({"spans": spans, "calendar": calendar}).drop("place_spans")
    dense = with_former(series, former).mapInArrow(_densify(axis, demand), _DENSE_SCHEMA)
    return dense.select(*(F.lit(axis.last).alias(c.name) if c.name == "last_period" else c.name for c in _COLUMNS))


def _with_price_band(series: DataFrame, category_prices: DataFrame) -> DataFrame:
    """The band of the first period's price: known of a series from its first period on, and never another."""
    first = {name: F.get(name, F.lit(0)) for name in MEASURES}
    listed = first["revenue"] + first["discount"]
    price = F.when((first["quantity"] > 0) & (listed > 0), listed / first["quantity"])
    beside = category_prices.select(
        "category", F.col("period_start").alias("first_period"), F.col("price").alias("_usual")
    )
    both = series.join(beside, on=["category", "first_period"], how="left")
    begun = F.col("former_first_period").isNotNull()
    band = F.when(begun, F.col("former_price_band")).otherwise(price_band(price, F.col("_usual")))
    return both.withColumn("price_band", band).drop("_usual", "former_price_band")


_COLUMNS = tuple(column for column in SEQUENCES.columns if column.name not in ("data_version", "run_id"))
_DENSE_SCHEMA = ", ".join(f"{column.name} {column.type}" for column in _COLUMNS if column.name != "last_period")


def _densify(axis: Axis, demand: DemandConfig) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """A function for mapInArrow that turns lists of what happened into one value a period."""

    def densify(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if batch.num_rows:
                yield dense_batch(batch, axis, demand)

    return densify


def dense_batch(batch: pa.RecordBatch, axis: Axis, demand: DemandConfig) -> pa.RecordBatch:
    """Rows of series with lists of events to rows with arrays of periods: columns of `sequences` but last_period and lineage."""
    began = pc.coalesce(batch["former_first_period"], batch["first_period"])
    first = position(began.to_numpy(zero_copy_only=False), axis.grain)
    lengths = axis.end - first + 1
    kept = np.where(batch["former_first_period"].is_valid(), axis.kept(first), 0)
    former = Former(batch, kept, lengths)
    past = _past(batch, first, lengths, axis.grain, former)
    cleaned = _cleaned(past["quantity"], past["state"], lengths, demand, SEASON[axis.grain])
    known = _known(batch, first, lengths + axis.horizon, axis.grain)
    columns = {
        **{name: batch[name] for name in (*SERIES, *ATTRIBUTES, *PLACE_ATTRIBUTES, "price_band")},
        "first_period": began,
        "length": pa.array(lengths, pa.int32()),
        **{name: lists(values, lengths) for name, values in (past | cleaned.arrays).items()},
        **_happened(batch["behaviour"], BEHAVIOUR, first, lengths, axis.grain),
        **_happened(batch["of_item"], ("item_demand",), first, lengths, axis.grain, former),
        **_happened(batch["of_category"], ("category_demand",), first, lengths, axis.grain, former),
        **known,
        "demand_class": pa.array(cleaned.classes, pa.string()),
    }
    return pa.RecordBatch.from_pydict({c.name: columns[c.name] for c in _COLUMNS if c.name != "last_period"})


def _past(
    batch: pa.RecordBatch, first: np.ndarray, lengths: np.ndarray, grain: str, former: Former
) -> dict[str, np.ndarray]:
    sold, offset = _sales(batch, first, lengths, grain)
    quantity, revenue, discount = (
        sold.scatter(offset, batch[name].flatten().to_numpy(zero_copy_only=False)) for name in MEASURES
    )
    seen, share = price_and_discount(quantity, revenue, discount)
    price = last_seen(former.put("price", seen), lengths)
    state = states(batch, first, lengths, grain, former)
    # The one part of the state that what came later never changes: it alone may reach a model.
    observed = np.isin(state, NO_RECORD, invert=True).astype(np.int8)
    kept = {"quantity": former.put("quantity", quantity), "discount": former.put("discount", share)}
    return {**kept, "state": state, "observed": observed, "price": price}


def _sales(batch: pa.RecordBatch, first: np.ndarray, lengths: np.ndarray, grain: str) -> tuple[Ragged, np.ndarray]:
    """Where rows of demand belong, and their periods since the first one of their series: [rows]."""
    told = Ragged.of(batch["offset"], lengths)
    since = position(batch["first_period"].to_numpy(zero_copy_only=False), grain) - first
    return told, batch["offset"].flatten().to_numpy(zero_copy_only=False) + since[told.owner]


def _known(batch: pa.RecordBatch, first: np.ndarray, lengths: np.ndarray, grain: str) -> dict[str, pa.Array]:
    promoted = np.asarray(pc.greater(batch["spans"].value_lengths().fill_null(0), 0))
    priced = np.asarray(pc.or_(batch["prices"].is_valid(), batch["general_prices"].is_valid()))

    def spans_of(name: str, chosen: np.ndarray) -> Spans:
        return Spans(batch[name].filter(pa.array(chosen)), first[chosen], lengths[chosen], grain)

    spans = spans_of("spans", promoted)
    own, general = spans_of("prices", priced), spans_of("general_prices", priced)
    own_price = own.price()
    promotions = {name: spans.share_of(name) for name in STRENGTHS} | {
        "promotion": spans.share_of("share"),
        "promotion_depth": spans.depth(),
        "promotion_periods_left": spans.periods_left(),
        "promotion_announced": spans.announced(),
    }
    prices = {
        "planned_price": np.where(own_price > 0, own_price, general.price()),
        "price_announced": np.where(own_price > 0, own.announced(), general.announced()),
    }
    return {
        **{name: _of_those(promoted, lists(values, lengths[promoted])) for name, values in promotions.items()},
        "promotion_kinds": _map_of(spans.kinds(), lengths[promoted], promoted),
        **{name: _of_those(priced, lists(values, lengths[priced])) for name, values in prices.items()},
    }


def _of_those(chosen: np.ndarray, values: pa.ListArray) -> pa.ListArray:
    """Lists of the chosen series, as those of all: null for the others."""
    return values.take(pa.array(np.cumsum(chosen) - 1, mask=~chosen))


def _map_of(arrays: Mapping[str, np.ndarray], lengths: np.ndarray, chosen: np.ndarray) -> pa.MapArray:
    """One map a series: of each name, its array where it is not 0 everywhere; arrays are those of the chosen series."""
    start = np.cumsum(lengths) - lengths
    held = {name: np.add.reduceat(values, start) > 0 for name, values in arrays.items()}
    counts = np.zeros(len(chosen), np.int64)
    counts[chosen] = np.sum([*held.values(), np.zeros(len(lengths), bool)], axis=0)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    keys, items = [], []
    for series in np.flatnonzero(counts[chosen]):
        inside = slice(start[series], start[series] + lengths[series])
        for name in (name for name in arrays if held[name][series]):
            keys.append(name)
            items.append(arrays[name][inside])
    sizes = np.array([len(item) for item in items], np.int64)
    values = np.concatenate(items) if items else np.zeros(0, np.float32)
    return pa.MapArray.from_arrays(pa.array(offsets), pa.array(keys, pa.string()), lists(values, sizes))


def _happened(
    events: pa.Array,
    names: Sequence[str],
    first: np.ndarray,
    lengths: np.ndarray,
    grain: str,
    former: Former | None = None,
) -> dict[str, pa.Array]:
    """Values of events in every period that a series lives, 0 where there is none; null for series that have no events.

    Args:
        events: lists of structs with `period_start` and `names`.
        former: what stays of these values; None if they are made anew.
    """
    flat, places = events.flatten(), Ragged.of(events, lengths)
    offset = position(flat.field("period_start").to_numpy(zero_copy_only=False), grain) - first[places.owner]
    found = {}
    for name in names:
        values = places.scatter(offset, flat.field(name).to_numpy(zero_copy_only=False).astype(np.float32))
        given = events.is_valid()
        if former is not None:
            values, given = former.put(name, values), pc.or_(given, pa.array(former.given(name)))
        found[name] = _where(given, lists(values, lengths))
    return found


def _where(given: pa.Array, values: pa.ListArray) -> pa.Array:
    """The lists of series of which something is known, and null for the others."""
    return pc.if_else(given, values, pa.nulls(len(values), values.type))


def states(batch: pa.RecordBatch, first: np.ndarray, lengths: np.ndarray, grain: str, former: Former) -> np.ndarray:
    """State of every period, as codes of `State`; inferred stock-outs are none of them yet.

    A period with sales lines is sold, even where the location was to be closed. One whose stock was counted empty is out of
    stock, sold or not: what was sold is then the least that was wanted.

    Args:
        batch: `offset`, `idle`, `out_of_stock`: what happened to each series.
        first: number of each series' first period, [series]. lengths: its periods, [series].
        former: what the periods were that stay; of them it is kept which were sold.

    Returns:
        [sum(lengths)], int8.
    """
    state = np.full(int(lengths.sum()), State.ZERO, np.int8)
    idle = batch["idle"]
    flat, places = idle.flatten(), Ragged.of(idle, lengths)
    offset = position(flat.field("period_start").to_numpy(zero_copy_only=False), grain) - first[places.owner]
    missing = pc.equal(flat.field("state"), MISSING).to_numpy(zero_copy_only=False).astype(bool)
    places.scatter(offset, np.where(missing, State.MISSING, State.CLOSED).astype(np.int8), state)
    state[former.put("state", np.full_like(state, State.ZERO)) == State.SOLD] = State.SOLD
    sold, offset = _sales(batch, first, lengths, grain)
    sold.scatter(offset, np.full(len(offset), State.SOLD, np.int8), state)
    unsold = np.asarray(pc.equal(batch["offset"].value_lengths(), 0).fill_null(False))  # see `launches`
    state[np.repeat(unsold, lengths)] = State.MISSING
    empty = batch["out_of_stock"]
    places = Ragged.of(empty, lengths)
    offset = position(empty.flatten().to_numpy(zero_copy_only=False), grain) - first[places.owner]
    return places.scatter(offset, np.full(len(offset), State.OUT_OF_STOCK, np.int8), state)


@dataclass(frozen=True)
class _Cleaned:
    arrays: dict[str, np.ndarray]
    classes: np.ndarray


def _cleaned(
    quantity: np.ndarray, state: np.ndarray, lengths: np.ndarray, demand: DemandConfig, season: int
) -> _Cleaned:
    """State with inferred stock-outs, cleaned demand, what was done to it, and the class of demand: as of the last period."""
    ours = demand.cleaning
    settings = CleaningSettings(ours.outliers, ours.level_shifts, ours.missing, ours.out_of_stock)
    result = {"state": state.copy(), "cleaned": quantity.copy(), "treatment": np.zeros(len(state), np.int8)}
    classes = np.empty(len(lengths), object)
    for series, index, alive in blocks(lengths, CLEANED_AT_ONCE, np.lcm(season, refit_every(season))):
        units, was = quantity[index], np.where(alive, state[index], State.ZERO)
        classes[series] = demand_classes(np.where(alive, units, 0.0), alive & ~np.isin(was, NO_RECORD))
        often = ((units > 0) & alive).sum(axis=1) >= FEWEST_SALES
        odd = (np.isin(was, (*NO_RECORD, State.OUT_OF_STOCK)) & alive).any(axis=1)
        if not (chosen := np.flatnonzero(often | odd)).size:
            continue
        units, was, alive, index = units[chosen], was[chosen], alive[chosen], index[chosen]
        if ours.stock_out_significance:
            out = infer_stock_outs(units, was, alive, season, significance=ours.stock_out_significance)
            was = with_inferred(was, out & often[chosen, None])
        values, treatment = clean(units, was, alive, settings, season)
        for name, found in (("state", was), ("cleaned", values), ("treatment", treatment)):
            result[name][index[alive]] = found[alive]
    return _Cleaned(result, classes)
