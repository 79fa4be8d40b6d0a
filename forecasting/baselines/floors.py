"""Forecasts that a model has to beat, and the scale of MASE, for a batch of series at once.

A batch of histories is one array [series, periods] up to the forecast origin, aligned on the right: the last column is
the origin, and NaN stands before a series' first period. n is the number of series, H the horizon, K the number of
quantile levels. No forecast is below 0, and a series without history is forecast as 0.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

#: Periods whose values `recent_quantiles` takes as the distribution of the future.
RECENT = 28

#: Mean [n, H] and quantiles [n, H, K].
Forecast = tuple[np.ndarray, np.ndarray]
Floor = Callable[[np.ndarray, int, int, Sequence[float]], Forecast]


def seasonal_naive(history: np.ndarray, season: int, horizon: int, levels: Sequence[float]) -> Forecast:
    """The last season's values, repeated (Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 5.2).

    A quantile is the point forecast plus the empirical quantile of the series' seasonal differences. A history shorter
    than a season is forecast by its mean; without any seasonal difference, deviations from the mean stand in.

    Args:
        history: [n, periods].
        season: periods after which demand repeats itself.

    Returns:
        mean [n, H], quantiles [n, H, K].
    """
    last = _last(history, season)
    average = row_mean(last)[:, None]
    point = np.where(np.isnan(last[:, :1]), average, last)[:, np.arange(horizon) % season]
    spread = row_quantiles(_seasonal_differences(history, season), levels)
    without = np.isnan(spread[:, 0])
    spread[without] = row_quantiles(last[without] - average[without], levels)
    quantiles = point[:, :, None] + np.nan_to_num(spread)[:, None, :]
    return np.maximum(point, 0.0), np.maximum(quantiles, 0.0)


def recent_quantiles(history: np.ndarray, season: int, horizon: int, levels: Sequence[float]) -> Forecast:
    """Mean and empirical quantiles of the last `RECENT` periods, the same for every period ahead.

    Args:
        history: [n, periods].
        season: not used; floors share one signature.

    Returns:
        mean [n, H], quantiles [n, H, K].
    """
    recent = _last(history, RECENT)
    mean = np.maximum(row_mean(recent), 0.0)
    quantiles = np.maximum(np.nan_to_num(row_quantiles(recent, levels)), 0.0)
    return np.repeat(mean[:, None], horizon, axis=1), np.repeat(quantiles[:, None, :], horizon, axis=1)


FLOORS: dict[str, Floor] = {"seasonal_naive": seasonal_naive, "recent_quantiles": recent_quantiles}


def seasonal_scale(history: np.ndarray, season: int) -> np.ndarray:
    """Mean absolute seasonal difference of each history, by which MASE divides (Hyndman & Koehler 2006).

    Returns:
        [n]; 0 for a history of at most one season.
    """
    return row_mean(np.abs(_seasonal_differences(history, season)))


def squared_scale(history: np.ndarray) -> np.ndarray:
    """Mean squared difference of neighbouring periods, by which RMSSE divides (Makridakis et al. 2022, the M5 competition).

    Returns:
        [n]; 0 for a history of one period.
    """
    return row_mean(np.square(_seasonal_differences(history, 1)))


def row_mean(values: np.ndarray) -> np.ndarray:
    """Mean of each row without its NaN, [n]; 0 for a row without values."""
    present = ~np.isnan(values)
    return np.where(present, values, 0.0).sum(axis=1) / np.maximum(present.sum(axis=1), 1)


def row_quantiles(values: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Empirical quantiles of each row without its NaN, interpolated linearly as `numpy.quantile` does.

    One sort serves all levels and rows; `numpy.nanquantile` goes through the rows one by one.

    Returns:
        [n, K]; NaN for a row without values.
    """
    if values.shape[1] == 0:
        return np.full((len(values), len(levels)), np.nan)
    ordered = np.sort(values, axis=1)  # NaN goes last
    count = (~np.isnan(values)).sum(axis=1)
    place = np.asarray(levels) * np.maximum(count - 1, 0)[:, None]  # [n, K]
    low = np.floor(place).astype(np.int64)
    high = np.minimum(low + 1, np.maximum(count - 1, 0)[:, None])
    below, above = np.take_along_axis(ordered, low, axis=1), np.take_along_axis(ordered, high, axis=1)
    return below + (above - below) * (place - low)


def _last(history: np.ndarray, periods: int) -> np.ndarray:
    """The last `periods` columns, [n, periods], with NaN in front where history does not reach."""
    missing = max(0, periods - history.shape[1])
    return np.pad(history[:, max(0, history.shape[1] - periods) :], ((0, 0), (missing, 0)), constant_values=np.nan)


def _seasonal_differences(history: np.ndarray, season: int) -> np.ndarray:
    """[n, max(0, periods - season)]."""
    return history[:, season:] - history[:, : max(0, history.shape[1] - season)]
