"""Sequences to network input: ragged arrays laid on one axis of periods that all series share.

Every series ends at the same period, so a batch is a dense block whose last column is the forecast origin.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from forecasting.models.shared import Shared
from forecasting.models.spec import SMALLEST_CLASS, STATIC, TARGET, UNKNOWN, Inputs, ModelSpec
from forecasting.periods import ALWAYS, NEVER, position
from forecasting.states import State

PROMOTION_ANNOUNCED = "promotion_announced"
PRICE_ANNOUNCED = "price_announced"
KINDS = "promotion_kinds"
NEIGHBOURS = (-1, 0, 1)  # periods beside a day ahead whose signals the network sees
_FIXED = ("item_id", "location_id", "first_period", "length", TARGET, "observed", "state", "price", "planned_price")


def sequence_columns(inputs: Inputs) -> tuple[str, ...]:
    """Columns of `sequences` that a model of these inputs reads."""
    own = (
        *inputs.past,
        *inputs.planned,
        *inputs.groups,
        *((KINDS,) if inputs.kinds else ()),
        PROMOTION_ANNOUNCED,
        PRICE_ANNOUNCED,
    )
    return tuple(dict.fromkeys((*_FIXED, *own, *STATIC, "calendar")))


@dataclass(frozen=True)
class Block:
    """Rows of series on a shared axis of W periods that ends at the forecast origin; A = W + horizon.

    quantity: [series, W]. observed: 1 from a series' first period on, but for periods that were closed or not delivered.
    censored: 1 where stock was counted empty, so that demand was no less than the quantity. past: [series, W, columns]. groups:
    [series, W, columns], demand of what the series is a part of. price: [series, A], as planned, else as last seen; 0 where
    unknown. price_lead: [series, A], periods ahead by which it was announced, NEVER where it was
    not planned. planned: [series, A, columns and kinds]. lead:
    [series, A], the same of promotions. static: [series, len(STATIC)]. calendar, place: [series], numbers of a calendar and of
    the place's signals. All is 0 before a series begins.
    """

    quantity: np.ndarray
    observed: np.ndarray
    censored: np.ndarray
    past: np.ndarray
    groups: np.ndarray
    price: np.ndarray
    price_lead: np.ndarray
    planned: np.ndarray
    lead: np.ndarray
    static: np.ndarray
    calendar: np.ndarray
    place: np.ndarray

    def __len__(self) -> int:
        return len(self.quantity)


def block_shapes(spec: ModelSpec, width: int) -> dict[str, tuple[tuple[int, ...], type]]:
    """Shape of a row and type of each field of a Block."""
    ahead, inputs = width + spec.horizon, spec.inputs
    return {
        "quantity": ((width,), np.float32),
        "observed": ((width,), np.int8),
        "censored": ((width,), np.int8),
        "past": ((width, len(inputs.past)), np.float32),
        "groups": ((width, len(inputs.groups)), np.float32),
        "price": ((ahead,), np.float32),
        "price_lead": ((ahead,), np.int16),
        "planned": ((ahead, len(inputs.planned) + len(inputs.kinds)), np.float32),
        "lead": ((ahead,), np.int16),
        "static": ((len(STATIC),), np.int32),
        "calendar": ((), np.int32),
        "place": ((), np.int32),
    }


def to_block(batch: pa.RecordBatch, spec: ModelSpec, shared: Shared, origin: int, width: int) -> Block:
    """The rows of `batch` (columns `sequence_columns`) as they were known at `origin`.

    Nothing that happened behind the origin is read; prices and promotions are read up to the horizon, but for those that
    were announced behind the origin.

    Args:
        origin: number of the last known period, as `periods.position` counts.
        width: periods of history to lay out.
    """
    inputs = spec.inputs
    first = position(batch["first_period"].to_numpy(zero_copy_only=False), spec.grain)
    axis = np.arange(origin - width + 1, origin + 1)
    ahead = np.arange(origin - width + 1, origin + spec.horizon + 1)
    lead = _lay(batch[PROMOTION_ANNOUNCED], first, ahead, ALWAYS)
    lead = np.where(lead == ALWAYS, spec.lead_periods, lead)
    price_lead = _lay(batch[PRICE_ANNOUNCED], first, ahead, ALWAYS)
    columns = [batch[name] for name in inputs.planned]
    columns += [pc.map_lookup(batch[KINDS], pa.scalar(kind), "first") for kind in inputs.kinds]
    planned = _stack([_lay(column, first, ahead) for column in columns], (len(batch), len(ahead)))
    price = _lay(batch["planned_price"], first, ahead)
    price_lead = np.where(price > 0, price_lead, NEVER)  # what a price was is known once the period is over
    price[:, :width] = np.where(price[:, :width] > 0, price[:, :width], _lay(batch["price"], first, axis))
    values = {
        "quantity": _lay(batch[TARGET], first, axis),
        "observed": _lay(batch["observed"], first, axis),
        "censored": (_lay(batch["state"], first, axis) == State.OUT_OF_STOCK),
        "past": _stack([_lay(batch[name], first, axis) for name in inputs.past], (len(batch), width)),
        "groups": _stack([_lay(batch[name], first, axis) for name in inputs.groups], (len(batch), width)),
        "price": price * _announced(price_lead, ahead, origin),
        "price_lead": price_lead,
        "planned": planned * _announced(lead, ahead, origin)[..., None],
        "lead": lead,
        "static": encode_static(batch, inputs),
        "calendar": _codes(batch["calendar"], inputs.calendars, missing=0),
        "place": shared.signals.place_of(batch["location_id"].to_pylist()),
    }
    types = {name: type_ for name, (_, type_) in block_shapes(spec, width).items()}
    return Block(**{name: np.asarray(value, types[name]) for name, value in values.items()})


def _announced(lead: np.ndarray, ahead: np.ndarray, origin: int) -> np.ndarray:
    """Whether a plan for each period had been announced by the origin; the past is known."""
    return (ahead <= origin) | (ahead - lead <= origin)


def _stack(columns: Sequence[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    return np.stack(columns, axis=-1) if columns else np.zeros((*shape, 0), np.float32)


def _lay(lists: pa.Array, first: np.ndarray, axis: np.ndarray, otherwise: float = 0.0) -> np.ndarray:
    """Ragged arrays on an axis: [series, len(axis)], `otherwise` where a series has no value.

    Args:
        lists: one list of numbers per series, whose first value belongs to period `first`; null for none.
        first: [series]; axis: [width] numbers of periods.
    """
    lengths = np.asarray(pc.list_value_length(lists).fill_null(0))
    flat = lists.flatten().to_numpy(zero_copy_only=False)
    index = axis - first[:, None]
    inside = (index >= 0) & (index < lengths[:, None])
    at = np.where(inside, index + (np.cumsum(lengths) - lengths)[:, None], 0)
    return np.where(inside, flat[at] if len(flat) else otherwise, otherwise).astype(np.float32)


def encode_static(batch: pa.RecordBatch, inputs: Inputs) -> np.ndarray:
    """Index of each static value in its vocabulary, from 1; UNKNOWN for null and for values training did not see."""
    codes = [_codes(batch[name], inputs.vocabulary(name), missing=-1) + 1 for name in STATIC]
    return np.stack(codes, axis=1).astype(np.int32)


def _codes(values: pa.Array, words: Sequence[str], missing: int) -> np.ndarray:
    return np.asarray(pc.index_in(values, pa.array(words, pa.string())).fill_null(missing))


def vocabulary(counts: Mapping[str, int]) -> tuple[str, ...]:
    """Values that enough series share to be learnt, in a fixed order; the rest stay UNKNOWN."""
    assert UNKNOWN == 0
    return tuple(sorted(value for value, series in counts.items() if value is not None and series >= SMALLEST_CLASS))


def network_input(
    block: Block, rows: np.ndarray, begin: int, origins: np.ndarray, spec: ModelSpec, shared: Shared, first: int
) -> dict[str, np.ndarray]:
    """What the network reads of some rows of a block: a context that starts at column `begin`, with its forecast origins.

    Args:
        rows: [B]. origins: [O], patches of the context at whose ends forecasts begin.
        first: number of the period of the block's first column.
    """
    end = begin + spec.context
    ahead = end + spec.horizon
    calendar, reach = shared.calendars.window(first + begin, first + ahead)
    place = block.place[rows]
    context = np.arange(first + begin, first + end)
    signals, _ = shared.signals.known_at(place, context[None], context[None])
    last = first + begin + (origins + 1) * spec.patch - 1  # [O]
    beside = np.arange(1 + NEIGHBOURS[0], spec.horizon + 1 + NEIGHBOURS[-1])
    foretold, known = shared.signals.known_at(place, last[None, :, None] + beside, last[None, :, None])
    return {
        "quantity": block.quantity[rows, begin:end],
        "observed": block.observed[rows, begin:end].astype(np.float32),
        "censored": block.censored[rows, begin:end].astype(np.float32),
        "past": block.past[rows, begin:end],
        "groups": block.groups[rows, begin:end],
        "price": block.price[rows, begin:ahead],
        "price_lead": block.price_lead[rows, begin:ahead].astype(np.int32),
        "planned": block.planned[rows, begin:ahead],
        "lead": block.lead[rows, begin:ahead].astype(np.int32),
        "static": block.static[rows],
        "plan": np.ones(len(rows), np.float32),
        "calendar": calendar,
        "reach": reach,
        "calendar_of": block.calendar[rows],
        "signals": signals,
        "foretold": foretold,
        "foretold_known": known,
    }


def empty_input(spec: ModelSpec, shared: Shared, series: int) -> dict[str, np.ndarray]:
    """Network input of the right shapes and types for the last origin of series of which nothing is known."""
    shapes = block_shapes(spec, spec.context)
    block = Block(
        **{field.name: np.zeros((series, *shapes[field.name][0]), shapes[field.name][1]) for field in fields(Block)}
    )
    origins = np.array([spec.patches - 1], np.int32)
    return network_input(block, np.arange(series), 0, origins, spec, shared, shared.calendars.first)
