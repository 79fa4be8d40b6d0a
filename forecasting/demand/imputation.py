"""Values for periods whose demand is not known, from the periods before them.

A gap of many periods is filled from what was known when it began: the value of a period never rests on another filled
one.
"""

from __future__ import annotations

import numpy as np

from forecasting.demand.regression import predict_from_past
from forecasting.demand.trailing import (
    last_index,
    level_periods,
    next_index,
    profile_seasons,
    same_position,
    strided_sum,
    trailing_sum,
)

METHODS = ("zero", "mean", "median", "forward_fill", "linear", "seasonal", "model", "none")


def fill(values: np.ndarray, missing: np.ndarray, method: str, season: int) -> np.ndarray:
    """A copy of `values` in which the `missing` periods have values by `method`.

    Trailing: over the `level_periods` (eight weeks of days) that end with the last known period. A period before which
    nothing is known stays NaN, but for `zero`.

    - zero: 0.
    - mean, median: of the trailing periods that are known.
    - forward_fill: the last known value.
    - linear: on the line between the known neighbours. The one method that looks ahead within the block: cut the block
      at the forecast origin first. A gap that is open at the end is filled forward.
    - seasonal: mean of the same season position over trailing seasons; the trailing mean where none of them is known.
    - model: ridge regression of each series on its level, trend, lags and season, fitted to earlier periods alone;
      `seasonal` until there is enough history for it.
    - none: NaN.

    Args:
        values: [series, periods]; NaN is unknown and stays so where it is not missing.
        missing: bool, [series, periods]; what stands in `values` there is not read.
        season: periods of a season.

    Returns:
        float32, [series, periods].

    Raises:
        ValueError: no such method.
    """
    if method not in METHODS:
        raise ValueError(f"method is one of {', '.join(METHODS)}, not {method!r}")
    filled = np.array(values, np.float32)
    rows, columns = np.nonzero(missing)
    if not len(rows) or method in ("zero", "none"):
        filled[rows, columns] = 0 if method == "zero" else np.nan
        return filled
    known = np.isfinite(filled) & ~missing
    filled[rows, columns] = _FILLS[method](np.where(known, filled, 0), known, rows, columns, season)
    return filled


def _mean(values: np.ndarray, known: np.ndarray, rows: np.ndarray, columns: np.ndarray, season: int) -> np.ndarray:
    window, last = level_periods(season), last_index(known)[rows, columns]
    total, count = trailing_sum(values, window), trailing_sum(known, window)
    return _ratio(total[rows, last + 1], count[rows, last + 1])


def _median(values: np.ndarray, known: np.ndarray, rows: np.ndarray, columns: np.ndarray, season: int) -> np.ndarray:
    # All periods of a gap have the same median, so it is taken once a gap.
    last = last_index(known)[rows, columns]
    gaps, gap = np.unique(rows * values.shape[1] + last + 1, return_inverse=True)
    row, end = np.divmod(gaps, values.shape[1])
    at = end[:, None] + np.arange(-level_periods(season), 0)
    seen = (at >= 0) & known[row[:, None], np.maximum(at, 0)]
    ordered = np.sort(np.where(seen, values[row[:, None], np.maximum(at, 0)], np.inf), axis=1)
    count = seen.sum(axis=1)
    each, low, high = np.arange(len(row)), np.maximum(count - 1, 0) // 2, count // 2
    middle = (ordered[each, low] + ordered[each, np.minimum(high, ordered.shape[1] - 1)]) / 2
    return np.where(count > 0, middle, np.nan)[gap]


def _forward(values: np.ndarray, known: np.ndarray, rows: np.ndarray, columns: np.ndarray, season: int) -> np.ndarray:
    last = last_index(known)[rows, columns]
    return np.where(last >= 0, values[rows, last], np.nan)


def _linear(values: np.ndarray, known: np.ndarray, rows: np.ndarray, columns: np.ndarray, season: int) -> np.ndarray:
    last, following = last_index(known)[rows, columns], next_index(known)[rows, columns]
    open_end = following == values.shape[1]
    following = np.where(open_end, last, following)
    share = (columns - last) / np.maximum(following - last, 1)
    between = values[rows, last] + share * (values[rows, following] - values[rows, last])
    return np.where(last >= 0, between, np.nan)


def _seasonal(values: np.ndarray, known: np.ndarray, rows: np.ndarray, columns: np.ndarray, season: int) -> np.ndarray:
    seasons = profile_seasons(season)
    at = same_position(last_index(known)[rows, columns] + 1, columns, season)
    total, count = strided_sum(values, season, seasons)[rows, at], strided_sum(known, season, seasons)[rows, at]
    return np.where(count > 0, _ratio(total, count), _mean(values, known, rows, columns, season))


def _model(values: np.ndarray, known: np.ndarray, rows: np.ndarray, columns: np.ndarray, season: int) -> np.ndarray:
    predicted = predict_from_past(values, known, rows, columns, season)
    return np.where(np.isfinite(predicted), predicted, _seasonal(values, known, rows, columns, season))


_FILLS = {
    "mean": _mean,
    "median": _median,
    "forward_fill": _forward,
    "linear": _linear,
    "seasonal": _seasonal,
    "model": _model,
}


def _ratio(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)
