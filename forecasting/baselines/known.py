"""What baselines read of series at a forecast origin: their history, and regressors of each day up to the horizon.

Shapes: n series, W periods of history, H horizon, R regressors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from forecasting.models.batches import Block, to_block
from forecasting.models.shared import PLAIN, Shared
from forecasting.models.spec import ModelSpec
from forecasting.periods import position

AT_ONCE = 512  # series laid out together, so that memory does not follow the size of Arrow batches
WEEKDAYS = 7  # of the numbers of a calendar, those that say the weekday


@dataclass(frozen=True)
class Known:
    """Series as they were known at an origin, on an axis of periods whose column W - 1 is the origin.

    history: [n, W], units, NaN before a series' first period. whole: [n, W], whether a period tells demand: it was open, delivered
    and not out of stock. regressors: [n, W + H, R], about unit size, what was known at the origin of each period.
    """

    history: np.ndarray
    whole: np.ndarray
    regressors: np.ndarray

    def __len__(self) -> int:
        return len(self.history)


def known_series(batch: pa.RecordBatch, spec: ModelSpec, shared: Shared, origin: int) -> Iterator[tuple[int, Known]]:
    """The series of a batch (columns `batches.sequence_columns`), AT_ONCE at a time, each with the number of its first row.

    Args:
        origin: number of the last known period, as `periods.position` counts.
    """
    for start in range(0, batch.num_rows, AT_ONCE):
        part = batch.slice(start, AT_ONCE)
        first = position(part["first_period"].to_numpy(zero_copy_only=False), spec.grain)
        width = max(1, int((origin + 1 - first).max()))
        block = to_block(part, spec, shared, origin, width)
        begun = np.arange(origin - width + 1, origin + 1) >= first[:, None]
        history = np.where(begun, block.quantity, np.nan).astype(np.float64)
        whole = begun & (block.observed > 0) & (block.censored == 0)
        yield start, Known(history, whole, regressors(block, spec, shared, origin))


def regressor_names(spec: ModelSpec) -> tuple[str, ...]:
    """Names of the R regressors, in order."""
    plain = (
        "year_sin",
        "year_cos",
        "month_sin",
        "month_cos",
        "day_of_month",
        "holiday",
        "holiday_near",
        "holiday_past",
    )
    days = tuple(f"weekday_{day}" for day in range(1, WEEKDAYS + 1)) if spec.grain == "day" else ()
    signals = tuple(signal.name for signal in spec.inputs.signals)
    return (*days, *plain, *spec.inputs.planned, *spec.inputs.kinds, "price_change", *signals)


def regressors(block: Block, spec: ModelSpec, shared: Shared, origin: int) -> np.ndarray:
    """Of each period what the calendar says, promotions and prices as announced by the origin (their past as it was), and
    covariates of places as measured or foretold by then: [n, W + H, R]."""
    width = block.quantity.shape[1]
    first, end = origin - width + 1, origin + spec.horizon + 1
    calendar, reach = shared.calendars.window(first, end)
    plain = calendar[block.calendar, :, (0 if spec.grain == "day" else WEEKDAYS) : PLAIN]
    reached = np.where(np.arange(first, end) <= origin, 1.0, reach)
    planned = block.planned * reached[None, :, None]
    price = _price_change(block.price, width)
    signals, _ = shared.signals.known_at(block.place, np.arange(first, end)[None], np.array([[origin]]))
    return np.concatenate([plain, planned, price[..., None], signals], axis=-1).astype(np.float32)


def _price_change(price: np.ndarray, width: int) -> np.ndarray:
    """Logarithm of each period's price against the mean price up to the origin; 0 where either is unknown: [n, W + H].

    Where no price is planned for a period ahead, that of the origin holds on.
    """
    price = price.astype(np.float64)
    price[:, width:] = np.where(price[:, width:] > 0, price[:, width:], price[:, width - 1 : width])
    seen = price[:, :width] > 0
    usual = (price[:, :width] * seen).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
    known = (price > 0) & (usual > 0)[:, None]
    return np.where(known, np.log(np.where(known, price, 1.0) / np.where(usual > 0, usual, 1.0)[:, None]), 0.0)
