"""Sums, robust moments and seasonal profiles over trailing windows of a dense block of series.

Every array is [series, periods]. What is returned for period t is made of the periods before t alone, so nothing built
on it can look ahead, and one row never touches another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Demand never counts as less dispersed than this (variance / mean): a calm history of a slow item proves little.
LEAST_DISPERSION = 1.2
#: Periods of prior knowledge that the measured dispersion is weighed against, and what it says.
_PRIOR_PERIODS, _PRIOR_DISPERSION = 8, 2.0
#: Strength of the prior "no season": units per season position, at dispersion 1.
_PROFILE_PRIOR = 10.0


def level_periods(season: int) -> int:
    """Periods that a level is measured over: eight weeks of days, 52 weeks, 24 months.

    Whole seasons, so that no part of a season weighs more than another.
    """
    return season * (8 if season <= 7 else max(1, 24 // season))


def memory_periods(season: int) -> int:
    """Periods over which the largest values are remembered: half a year of days, two seasons of longer periods."""
    return season * (26 if season <= 7 else 2)


def least_periods(season: int) -> int:
    """Observed periods without which nothing is judged: two weeks of days, twelve longer periods."""
    return 2 * season if season <= 7 else 12


def profile_seasons(season: int) -> int:
    """Seasons that a seasonal profile is measured over."""
    return 8 if season <= 7 else 3


def shift(values: np.ndarray, by: int) -> np.ndarray:
    """`values` moved `by` periods to the right, zeros in front."""
    moved = np.zeros_like(values)
    if by < values.shape[1]:
        moved[:, by:] = values[:, : values.shape[1] - by]
    return moved


def trailing_sum(values: np.ndarray, window: int) -> np.ndarray:
    """Sum of the `window` periods before each one, float64; at the start of those there are."""
    total = np.zeros((values.shape[0], values.shape[1] + 1))
    np.cumsum(values, axis=1, out=total[:, 1:], dtype=np.float64)
    before = total[:, :-1]
    return before - shift(before, window)


def strided_sum(values: np.ndarray, step: int, count: int) -> np.ndarray:
    """Sum of the values `step`, 2 `step`, ..., `count` `step` periods before each one."""
    values, total = values.astype(np.float64), np.zeros(values.shape)
    for k in range(step, min(count * step, values.shape[1] - 1) + 1, step):
        total[:, k:] += values[:, :-k]
    return total


def trailing_top_two(values: np.ndarray, count: int, step: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Largest and second largest of the values `step`, 2 `step`, ..., `count` `step` periods before each one.

    Runs of 1, 2, 4, ... values are merged from disjoint halves, so `count` costs its logarithm.

    Args:
        values: not negative; a place without a value counts as 0.
    """
    run, size, taken = (values, np.zeros_like(values)), 1, 0
    found = (np.zeros_like(values), np.zeros_like(values))
    while taken < count:
        if count & size:
            found = _merge(found, tuple(shift(part, (taken + 1) * step) for part in run))
            taken += size
        if taken < count:
            run = _merge(run, tuple(shift(part, size * step) for part in run))
        size *= 2
    return found


def _merge(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Top two of two disjoint runs, from the top two of each."""
    second = np.maximum(np.minimum(one[0], other[0]), np.maximum(one[1], other[1]))
    return np.maximum(one[0], other[0]), second


@dataclass(frozen=True)
class Moments:
    """Trailing moments in which the largest value counts as the second largest (winsorised): one spike leaves no trace.

    count: observed periods; total: units; mean: units per observed period; variance; second: second largest value.
    """

    count: np.ndarray
    total: np.ndarray
    mean: np.ndarray
    variance: np.ndarray
    second: np.ndarray


def winsorised_moments(demand: np.ndarray, observed: np.ndarray, window: int) -> Moments:
    """Moments of the observed periods among the `window` before each one.

    Args:
        demand: not negative, 0 where not observed.
    """
    first, second = trailing_top_two(demand, window)
    count = trailing_sum(observed, window)
    total = trailing_sum(demand, window) - first + second
    squares = trailing_sum(np.square(demand, dtype=np.float64), window) - np.square(first, dtype=np.float64)
    periods = np.maximum(count, 1)
    mean = np.maximum(total / periods, 0)
    variance = np.maximum((squares + np.square(second, dtype=np.float64)) / periods - mean**2, 0)
    return Moments(count, total, mean, variance, second)


def dispersion(moments: Moments) -> np.ndarray:
    """Variance / mean of a period's demand, weighed against a prior and never below LEAST_DISPERSION."""
    measured = np.divide(moments.variance, moments.mean, out=np.ones_like(moments.mean), where=moments.mean > 1e-9)
    weight = moments.count / (moments.count + _PRIOR_PERIODS)
    return np.maximum(weight * measured + (1 - weight) * _PRIOR_DISPERSION, LEAST_DISPERSION)


def season_dispersion(demand: np.ndarray, observed: np.ndarray, season: int) -> np.ndarray:
    """Variance / mean of the demand of a season (of four periods, where a season is longer than a week).

    Above the dispersion of single periods, sales come in bouts: a long run of zeros is then less of a surprise. It is
    measured on the eight runs before each period that do not overlap, so its prior weighs as much as it does itself.
    """
    step = season if season <= 7 else 4
    seen = trailing_sum(observed, step)
    sums = trailing_sum(demand, step) * np.where(seen * 2 >= step, step / np.maximum(seen, 1), 0)
    # Runs that end right before t, t - step, ...: shifted by one step less than the strided helpers look back.
    count = strided_sum(seen * 2 >= step, step, 7) + (seen * 2 >= step)
    mean = (strided_sum(sums, step, 7) + sums) / np.maximum(count, 1)
    squares = (strided_sum(sums**2, step, 7) + sums**2) / np.maximum(count, 1)
    freedom = count / np.maximum(count - 1, 1)
    measured = np.divide((squares - mean**2) * freedom, mean, out=np.zeros_like(mean), where=mean > 1e-9)
    return np.maximum(measured, 0)


def seasonal_profile(
    demand: np.ndarray, observed: np.ndarray, level: np.ndarray, dispersed: np.ndarray, season: int
) -> np.ndarray:
    """Expected demand of each period's season position as a multiple of the level; shrunk to 1 where little was sold.

    The posterior mean of a multiple with a gamma prior of mean 1, as demand at the same position in trailing seasons
    updates it (Gelman et al., Bayesian Data Analysis, 2.6); a dispersed series has fewer independent units to tell it.
    """
    seasons = profile_seasons(season)
    first, second = trailing_top_two(demand, seasons, season)
    sold = strided_sum(demand, season, seasons) - first + second
    prior = _PROFILE_PRIOR * dispersed
    return (sold + prior) / (strided_sum(observed, season, seasons) * level + prior)


def last_index(mask: np.ndarray) -> np.ndarray:
    """Period of the last True at or before each period, -1 where there is none: int64."""
    return np.maximum.accumulate(np.where(mask, np.arange(mask.shape[1]), -1), axis=1)


def next_index(mask: np.ndarray) -> np.ndarray:
    """Period of the first True at or behind each period, the number of periods where there is none: int64."""
    width = mask.shape[1]
    at = np.where(mask, np.arange(width), width)[:, ::-1]
    return np.minimum.accumulate(at, axis=1)[:, ::-1]


def same_position(start: np.ndarray, period: np.ndarray, season: int) -> np.ndarray:
    """The first period from `start` on with the season position of `period`.

    What trails it at that position lies before `start`: a seasonal value for `period` that was known at `start`.
    """
    return start + (period - start) % season
