"""Sequences to network input: ragged arrays laid on one axis of periods that all series share.

Every series ends at the same period, so a batch is a dense block whose last column is the forecast origin: calendar and
promotion reach are then the same for all rows and are kept once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from forecasting.models.spec import CALENDAR, KNOWN, PAST, SMALLEST_CLASS, STATIC, TARGET, UNKNOWN, ModelSpec
from forecasting.periods import position

ANNOUNCED = "promotion_announced"
SEQUENCE_COLUMNS = (
    "item_id",
    "location_id",
    "first_period",
    "length",
    TARGET,
    "observed",
    *PAST,
    *KNOWN,
    ANNOUNCED,
    *STATIC,
)


@dataclass(frozen=True)
class Block:
    """Rows of series on a shared axis of `width` periods that ends at the forecast origin.

    quantity, observed: [series, width]; past: [series, width, len(PAST)]; known: [series, width + horizon, len(KNOWN)];
    static: [series, len(STATIC)]. `observed` is 1 from a series' first period on, but for periods that
    were closed or not delivered; all else is 0 before it.
    """

    quantity: np.ndarray
    observed: np.ndarray
    past: np.ndarray
    known: np.ndarray
    static: np.ndarray

    def __len__(self) -> int:
        return len(self.quantity)


def to_block(batch: pa.RecordBatch, spec: ModelSpec, origin: int, width: int) -> Block:
    """The rows of `batch` (columns of `sequences`) as they were known at `origin`.

    Nothing of `quantity` and PAST behind the origin is read; KNOWN is read up to the horizon, but for promotions that were
    announced behind the origin.

    Args:
        origin: number of the last known period, as `periods.position` counts.
        width: periods of history to lay out.
    """
    first = position(batch["first_period"].to_numpy(zero_copy_only=False), spec.grain)
    axis = np.arange(origin - width + 1, origin + 1)
    ahead = np.arange(origin - width + 1, origin + spec.horizon + 1)
    known = np.stack([_lay(batch[name], first, ahead) for name in KNOWN], axis=-1)
    announced = ahead - _lay(batch[ANNOUNCED], first, ahead) <= origin
    return Block(
        quantity=_lay(batch[TARGET], first, axis),
        observed=_lay(batch["observed"], first, axis),
        past=np.stack([_lay(batch[name], first, axis) for name in PAST], axis=-1),
        known=known * ((ahead <= origin) | announced)[..., None],
        static=encode_static(batch, spec.vocabularies),
    )


def _lay(lists: pa.Array, first: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """Ragged arrays on an axis: [series, len(axis)], 0 where a series has no value.

    Args:
        lists: one list of numbers per series, whose first value belongs to period `first`; null for none.
        first: [series]; axis: [width] numbers of periods.
    """
    lengths = np.asarray(pc.list_value_length(lists).fill_null(0))
    flat = lists.flatten().to_numpy(zero_copy_only=False)
    index = axis - first[:, None]
    inside = (index >= 0) & (index < lengths[:, None])
    at = np.where(inside, index + (np.cumsum(lengths) - lengths)[:, None], 0)
    return np.where(inside, flat[at] if len(flat) else 0.0, 0.0).astype(np.float32)


def encode_static(batch: pa.RecordBatch, vocabularies: Mapping[str, Sequence[str]]) -> np.ndarray:
    """Index of each static value in its vocabulary, from 1; UNKNOWN for null and for values training did not see."""
    columns = []
    for name in STATIC:
        index = pc.index_in(batch[name], pa.array(vocabularies[name], pa.string())).fill_null(-1)
        columns.append(np.asarray(index) + 1)
    return np.stack(columns, axis=1).astype(np.int32)


def vocabulary(counts: Mapping[str, int]) -> tuple[str, ...]:
    """Values that enough series share to be learnt, in a fixed order; the rest stay UNKNOWN."""
    assert UNKNOWN == 0
    return tuple(sorted(value for value, series in counts.items() if value is not None and series >= SMALLEST_CLASS))


def encode_calendar(calendar: pd.DataFrame) -> np.ndarray:
    """Calendar columns as numbers of about unit size.

    Args:
        calendar: rows of `calendar_features`, [periods].

    Returns:
        [periods, CALENDAR + 1], float32: weekday and year as sine and cosine (two harmonics each), position in the month,
        holiday, nearness to the next and last holiday; last, whether the promotion plan reaches the period.
    """
    week = 2 * np.pi * (calendar["weekday"].to_numpy() - 1) / 7
    year = 2 * np.pi * calendar["day_of_year"].to_numpy() / 365.25
    columns = [f(k * week) for k in (1, 2) for f in (np.sin, np.cos)] + [f(year) for f in (np.sin, np.cos)]
    columns.append((calendar["day_of_month"].to_numpy() - 15.5) / 15.5)
    columns.append((calendar["weekday"].to_numpy() >= 6).astype(float))
    columns.append(np.minimum(calendar["holidays"].to_numpy(), 1))
    columns.append(np.exp(-calendar["days_to_holiday"].to_numpy() / 3.0))
    columns.append(np.exp(-calendar["days_since_holiday"].to_numpy() / 3.0))
    assert len(columns) == CALENDAR
    columns.append(calendar["promotions_known"].to_numpy().astype(float))
    return np.stack(columns, axis=1).astype(np.float32)


@dataclass(frozen=True)
class CalendarAxis:
    """Encoded calendar of consecutive periods from number `first`: [periods, CALENDAR + 1]."""

    first: int
    values: np.ndarray

    @classmethod
    def of(cls, calendar: pd.DataFrame, grain: str) -> CalendarAxis:
        """From rows of `calendar_features`, in any order."""
        ordered = calendar.sort_values("period_start")
        first = position(np.array(ordered["period_start"].iloc[:1].to_numpy(), "datetime64[D]"), grain)
        return cls(int(first[0]), encode_calendar(ordered))

    def window(self, start: int, stop: int) -> np.ndarray:
        """Rows of periods start to stop - 1; periods outside the calendar repeat its edge, with no promotion known."""
        index = np.arange(start, stop) - self.first
        inside = (index >= 0) & (index < len(self.values))
        rows = self.values[np.clip(index, 0, len(self.values) - 1)].copy()
        rows[~inside, -1] = 0.0
        return rows
