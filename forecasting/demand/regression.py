"""Ridge regression of each series on its own past, refitted as the past grows."""

from __future__ import annotations

import numpy as np

from forecasting.demand.trailing import (
    last_index,
    least_periods,
    level_periods,
    profile_seasons,
    same_position,
    shift,
    strided_sum,
    trailing_sum,
)

#: The penalty weighs as much as this many periods of history.
_PENALTY_PERIODS = 30.0
#: Pairs of sine and cosine that stand for a season with too many positions for a dummy each.
_HARMONICS = 3


def predict_from_past(
    values: np.ndarray, known: np.ndarray, rows: np.ndarray, columns: np.ndarray, season: int
) -> np.ndarray:
    """Expected value of single periods, each from the last known period before it.

    What is regressed is the deviation from the trailing mean of `level_periods`, so that the penalty shrinks towards
    that mean. Regressors: the level of the last season, the growth of the mean, the last value and the trailing mean at
    the same season position, and the season (dummies, or harmonics above 12 positions). Coefficients are fitted again
    every few seasons to all known periods before.

    Args:
        values: [series, periods], 0 where not known; rows, columns: the periods to predict, [predictions].

    Returns:
        [predictions]; between 0 and the largest value known before; NaN where the history is too short.
    """
    used, row = np.unique(rows, return_inverse=True)
    values, known = values[used].astype(np.float64), known[used]
    start = last_index(known)[row, columns] + 1
    parts = _Parts(values, known, season)
    every = refit_every(season)
    grams, moments, counts = _sums_before(parts, values, known, every)
    fits, fit = np.unique(row * grams.shape[1] + columns // every, return_inverse=True)
    at = np.divmod(fits, grams.shape[1])
    coefficients = _solve(grams[at], moments[at], counts[at])
    enough = (counts[at] >= level_periods(season))[fit] & parts.defined[row, start]
    deviation = np.einsum("pf,pf->p", parts.at(row, start, columns), coefficients[fit])
    largest = np.maximum.accumulate(values, axis=1)[row, np.maximum(start - 1, 0)]
    return np.where(enough, np.clip(parts.mean[row, start] + deviation, 0, largest), np.nan)


def refit_every(season: int) -> int:
    """Periods between two fits."""
    return 4 * season if season <= 7 else max(season // 4, 3)


class _Parts:
    """What regressors are made of, for every period from the periods before it: [series, periods] each."""

    def __init__(self, values: np.ndarray, known: np.ndarray, season: int) -> None:
        window, seasons = level_periods(season), profile_seasons(season)
        count = trailing_sum(known, window)
        self.season = season
        self.defined = count >= least_periods(season)
        self.mean = trailing_sum(values, window) / np.maximum(count, 1)
        recent = trailing_sum(known, season)
        level = np.where(recent > 0, trailing_sum(values, season) / np.maximum(recent, 1), self.mean)
        older = shift(self.mean, window // 2)
        growth = np.where(shift(self.defined, window // 2), self.mean - older, 0)
        self.from_start = (level - self.mean, growth)
        same = strided_sum(known, season, seasons)
        position = np.where(same > 0, strided_sum(values, season, seasons) / np.maximum(same, 1), self.mean)
        last = np.where(shift(known, season), shift(values, season), position)
        self.from_position = (position, last)
        self.positions = _positions(values.shape[1], season)

    def at(self, row: np.ndarray, start: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Regressors of `column` as they were known before `start`: [..., regressors]."""
        mean, seasonal = self.mean[row, start], same_position(start, column, self.season)
        regressors = [part[row, start] for part in self.from_start]
        regressors += [part[row, seasonal] - mean for part in self.from_position]
        return np.concatenate([np.stack(regressors, axis=-1), mean[..., None] * self.positions[column]], axis=-1)


def _positions(width: int, season: int) -> np.ndarray:
    """Dummies of the season position, or harmonics of it: [periods, positions]."""
    position = np.arange(width) % season
    if season <= 12:
        return np.eye(season)[position]
    angles = 2 * np.pi / season * np.outer(position, np.arange(1, _HARMONICS + 1))
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


def _sums_before(
    parts: _Parts, values: np.ndarray, known: np.ndarray, every: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X'X, X'y and the number of periods of all that is known before each multiple of `every`.

    Returns:
        [series, fits, regressors, regressors], [series, fits, regressors], [series, fits].
    """
    rows, width = values.shape
    cells = np.arange(rows)[:, None], np.arange(width)[None, :]
    weight = (known & parts.defined).astype(np.float64)
    design = parts.at(cells[0], cells[1], cells[1]) * weight[..., None]
    target = (values - parts.mean) * weight
    spare = -width % every
    design = np.pad(design, ((0, 0), (0, spare), (0, 0))).reshape(rows, -1, every, design.shape[-1])
    target = np.pad(target, ((0, 0), (0, spare))).reshape(rows, -1, every, 1)
    transposed = design.swapaxes(-1, -2)
    chunks = (
        transposed @ design,
        (transposed @ target)[..., 0],
        np.pad(weight, ((0, 0), (0, spare))).reshape(rows, -1, every).sum(axis=-1),
    )
    return tuple(np.cumsum(chunk, axis=1) - chunk for chunk in chunks)


def _solve(grams: np.ndarray, moments: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Coefficients under a penalty that is in the units of each regressor: [fits, regressors]."""
    squares = np.einsum("kff->kf", grams)
    penalty = _PENALTY_PERIODS * squares / np.maximum(counts, 1)[:, None] + 1e-6
    return np.linalg.solve(grams + penalty[..., None] * np.eye(grams.shape[-1]), moments[..., None])[..., 0]
