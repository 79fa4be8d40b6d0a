"""What the trees read: of a series, an origin and a day ahead one row of numbers, all known at the origin.

Shapes: B series, W periods of a block, O origins, H horizon, F features.
"""

from __future__ import annotations

import numpy as np

from forecasting.models.batches import Block
from forecasting.models.shared import PLAIN, Shared
from forecasting.models.spec import STATIC, ModelSpec
from forecasting.periods import YEAR

MEANS = (1, 4, 8, 26)  # patches over which the mean of demand is told
LAGS = 4  # patches whose same phase is told one by one
PROFILE = 8  # patches over which the mean of the same phase is told
LEVEL = 8  # patches of the level that scales demand
_EACH_EVENT = (
    4  # columns of a calendar for each named event: that day, the day before, two to three days before, the day after
)
CATEGORIES = (*STATIC, "calendar", "event", "event_tomorrow")


def feature_names(spec: ModelSpec) -> tuple[str, ...]:
    """Names of the F features, in order. Kinds of promotion and signals go by number: their names are the user's, may be that of a
    column, and hold characters that LightGBM refuses."""
    inputs, signals = spec.inputs, range(len(spec.inputs.signals))
    return (
        *CATEGORIES,
        "ahead",
        *(f"calendar_{number}" for number in range(PLAIN)),
        "promotions_known",
        *(f"planned_{name}" for name in inputs.planned),
        *(f"kind_of_promotion_{number}" for number in range(len(inputs.kinds))),
        "price_known",
        "price_change",
        "price",
        *(f"signal_{number}" for number in signals),
        *(f"signal_known_{number}" for number in signals),
        "scale",
        *(f"mean_{count}" for count in MEANS),
        *(f"mean_{count}_of_{name}" for name in inputs.groups for count in MEANS),
        *(f"lag_{number + 1}" for number in range(LAGS)),
        f"profile_{PROFILE}",
        "sold_share",
        "since_sale",
        "age",
        "year_ago",
    )


def scales(block: Block, origins: np.ndarray, patch: int) -> np.ndarray:
    """sqrt(level + level^2) of demand in the LEVEL patches up to each origin, by which demand is divided: [B, O], above 0. The
    level is no less than what was sold on average, out of stock or not.

    Args:
        origins: [O], columns of the last known periods.
    """
    sold = np.maximum(block.quantity, 0.0), (block.observed > 0).astype(np.float32)
    level = np.maximum(*(_mean(*demand, origins, LEVEL * patch) for demand in (_told(block), sold)))
    return np.sqrt(level + np.square(level)) + 0.05


def features(block: Block, origins: np.ndarray, spec: ModelSpec, shared: Shared, first: int) -> np.ndarray:
    """[B, O, H, F] float32, as known at each origin.

    Args:
        origins: [O], columns of the last known periods. first: number of the period of the block's first column.
    """
    horizon, patch, series = spec.horizon, spec.patch, len(block)
    shape = (series, len(origins), horizon)
    ahead = np.arange(1, horizon + 1)
    days = origins[:, None] + ahead  # [O, H] columns
    demand, counts = _told(block)
    scale = scales(block, origins, patch)[..., None]
    calendar, reach = shared.calendars.window(first, first + block.quantity.shape[1] + horizon)
    of_days = calendar[block.calendar][:, days]  # [B, O, H, E]
    told = (block.lead[:, days] >= ahead) & (reach[days] > 0)
    planned = block.planned[:, days] * told[..., None]
    price_told = (block.price_lead[:, days] >= ahead) & (block.price[:, days] > 0)
    now = block.price[:, origins][..., None]
    both = price_told & (now > 0)
    change = np.where(both, np.log(np.where(both, block.price[:, days], 1) / np.where(now > 0, now, 1)), 0.0)
    signals, known = shared.signals.known_at(block.place, (first + days)[None], (first + origins)[None, :, None])
    same = origins[:, None] - (patch - 1) + (ahead - 1) % patch  # [O, H] columns of the same phase in the last patch
    lags = [_at(demand, same - patch * number) / scale for number in range(LAGS)]
    profile = sum(_at(demand, same - patch * number) for number in range(PROFILE))
    seen = sum(_at(counts, same - patch * number) for number in range(PROFILE))
    means = [_mean(demand, counts, origins, count * patch)[..., None] / scale for count in MEANS]
    begun = (np.cumsum(block.observed, axis=1) > 0).astype(np.float32)
    groups = [
        _mean(block.groups[..., number], begun, origins, count * patch)[..., None]
        for number in range(block.groups.shape[-1])
        for count in MEANS
    ]
    sold = _mean((demand > 0) * counts, counts, origins, LEVEL * patch)[..., None]
    year = YEAR[spec.grain]
    # Of a horizon beyond a year the end lies a year after days ahead. And that there is a year would tell which periods these are.
    reaches = (days >= year) & (ahead <= year) & spec.inputs.yearly
    year_ago = np.where(reaches, _at(demand, days - year), np.nan) / scale
    numbers = [
        *(block.static[:, i, None, None] for i in range(len(STATIC))),
        block.calendar[:, None, None],
        *(_event(of_days, column) for column in (0, 1)),
        ahead,
        *np.moveaxis(of_days[..., :PLAIN], -1, 0),
        told,
        *np.moveaxis(planned, -1, 0),
        price_told,
        change,
        now,
        *np.moveaxis(signals, -1, 0),
        *np.moveaxis(known, -1, 0),
        scale,
        *means,
        *groups,
        *lags,
        profile / np.maximum(seen, 1) / scale,
        sold,
        _since_sale(demand, origins)[..., None],
        np.minimum(np.cumsum(counts, axis=1)[:, origins], LEVEL * patch)[..., None],
        year_ago,
    ]
    return np.stack([np.broadcast_to(np.asarray(x, np.float32), shape) for x in numbers], axis=-1)


def _told(block: Block) -> tuple[np.ndarray, np.ndarray]:
    """Demand, and which periods tell it: [B, W] each."""
    counts = (block.observed > 0) & (block.censored == 0)
    return np.maximum(block.quantity, 0.0) * counts, counts.astype(np.float32)


def _at(values: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Values at columns [O, H], 0 before the first and behind the last: [B, O, H]."""
    inside = (columns >= 0) & (columns < values.shape[1])
    return values[:, np.where(inside, columns, 0)] * inside


def _mean(values: np.ndarray, counts: np.ndarray, origins: np.ndarray, periods: int) -> np.ndarray:
    """Mean over the last periods up to each origin that count: [B, O]."""
    return _sum(values, origins, periods) / np.maximum(_sum(counts, origins, periods), 1.0)


def _sum(values: np.ndarray, origins: np.ndarray, periods: int) -> np.ndarray:
    sums = np.pad(np.cumsum(values, axis=1, dtype=np.float64), ((0, 0), (1, 0)))
    return sums[:, origins + 1] - sums[:, np.maximum(origins + 1 - periods, 0)]


def _since_sale(demand: np.ndarray, origins: np.ndarray) -> np.ndarray:
    """Periods since the last with a sale; those of the block where there was none: [B, O]."""
    last = np.maximum.accumulate(np.where(demand > 0, np.arange(demand.shape[1]), -1), axis=1)
    return (origins - last[:, origins]).astype(np.float32)


def _event(of_days: np.ndarray, column: int) -> np.ndarray:
    """Number of the named event of the day (column 0) or the next (1), from 1; 0 for none: [B, O, H]."""
    marks = of_days[..., PLAIN + column :: _EACH_EVENT]
    return (
        np.where(marks.any(axis=-1), marks.argmax(axis=-1) + 1, 0) if marks.shape[-1] else np.zeros(of_days.shape[:-1])
    )
