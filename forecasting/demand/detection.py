"""Periods whose sales do not show demand: stock-outs that nobody recorded, and single spikes.

All functions take a dense block: quantity [series, periods] in net units per period (returns may make it negative),
state [series, periods] of `State`, alive [series, periods] (False before a series' first period), and the season in
periods.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import gammainccinv, gammaln

from forecasting.demand.trailing import (
    dispersion,
    last_index,
    least_periods,
    level_periods,
    memory_periods,
    next_index,
    same_position,
    season_dispersion,
    seasonal_profile,
    trailing_sum,
    trailing_top_two,
    winsorised_moments,
)
from forecasting.states import OBSERVED, State, in_states

#: A spike is more than this multiple of the second largest value of the last half year (of two seasons, where longer).
_SPIKE_RATIO = 2.5
#: Periods with a sale in that time without which nobody can say what a usual sale is.
_LEAST_SALES = 3


def infer_stock_outs(
    quantity: np.ndarray,
    state: np.ndarray,
    alive: np.ndarray,
    season: int,
    *,
    significance: float = 1e-4,
    discontinued_after: int | None = None,
    causal: bool = False,
) -> np.ndarray:
    """Zeros that are too many in a row to be chance.

    A run is the ZERO periods between two sales; periods in any other state neither break nor lengthen it. Its
    probability under the demand before it is a product of negative binomial zeros, and it is flagged below
    `significance`. The level is measured a second time without the stock-outs found first, all of which a sale has
    ended by then.

    Args:
        discontinued_after: a run of more periods than this is an item off the range or out of season, whether or not a
            sale follows in the end; by default 13 seasons, half a season where seasons are longer than a week.
        causal: flag a period only from where the run up to and including it suffices; otherwise the whole run.

    Returns:
        bool, [series, periods]; only ZERO periods are flagged.
    """
    if discontinued_after is None:
        discontinued_after = 13 * season if season <= 7 else season // 2
    observed = in_states(state, OBSERVED, alive)
    found = _improbable(quantity, state, observed, season, significance, discontinued_after, hindsight=True)
    # Without a finding the second pass would repeat the first; but hindsight may drop a run that was found in its time.
    again = found.any(axis=1) | causal
    if again.any():
        known = observed[again] & ~found[again]
        found[again] = _improbable(
            quantity[again], state[again], observed[again], season, significance, discontinued_after, not causal, known
        )
    return found


def _improbable(
    quantity: np.ndarray,
    state: np.ndarray,
    observed: np.ndarray,
    season: int,
    significance: float,
    discontinued_after: int,
    hindsight: bool,
    known: np.ndarray | None = None,
) -> np.ndarray:
    """ZERO periods of runs below `significance`, by demand in the `known` periods (by default all observed)."""
    sold, zero = observed & (state == State.SOLD), observed & (state == State.ZERO)
    runs = _Runs.of(sold, zero)
    demand = np.where(sold, np.maximum(quantity, 0), 0).astype(np.float32)
    surprise = _surprise(demand, observed, observed if known is None else known, sold, runs, season, hindsight)
    short = (runs.length if hindsight else runs.length_so_far) <= discontinued_after
    found = np.zeros_like(zero)
    found[runs.rows, runs.columns] = (surprise >= -np.log(significance)) & short
    return found


@dataclass(frozen=True)
class _Runs:
    """For each ZERO period: start of its run (the period behind a sale), stop (the next sale), and lengths in zeros."""

    rows: np.ndarray
    columns: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    length_so_far: np.ndarray
    length: np.ndarray

    @classmethod
    def of(cls, sold: np.ndarray, zero: np.ndarray) -> _Runs:
        rows, columns = np.nonzero(zero)
        start, stop = last_index(sold)[rows, columns] + 1, next_index(sold)[rows, columns]
        count = np.zeros((len(zero), zero.shape[1] + 1), np.int64)
        np.cumsum(zero, axis=1, out=count[:, 1:])
        before = count[rows, start]
        return cls(rows, columns, start, stop, count[rows, columns + 1] - before, count[rows, stop] - before)

    def sums(self, values: np.ndarray, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Sum of one value per ZERO period over its run: up to and including the period, and over the whole run."""
        total = np.zeros((shape[0], shape[1] + 1))
        total[self.rows, self.columns + 1] = values
        np.cumsum(total, axis=1, out=total)
        before = total[self.rows, self.start]
        return total[self.rows, self.columns + 1] - before, total[self.rows, self.stop] - before


def _surprise(
    demand: np.ndarray,
    observed: np.ndarray,
    known: np.ndarray,
    sold: np.ndarray,
    runs: _Runs,
    season: int,
    hindsight: bool,
) -> np.ndarray:
    """-log P(no sale) in the run of each ZERO period, all of it or up to the period, by demand before the run: [zeros].

    The smaller of two, both of which allow for the level being an estimate (Gelman et al., Bayesian Data Analysis, 2.4
    and 2.6: predictive distributions). By units: a negative binomial zero, which in terms of mean m and dispersion d
    has -log P = m log(d) / (d - 1), under a gamma posterior worth total / d independent units. By the periods with a
    sale: the beta-binomial, for moments do not fix the zeros of a series that sells many units now and then. The
    dispersion is the larger of that of periods and, at equal weight, that of whole seasons.
    """
    window = level_periods(season)
    moments = winsorised_moments(demand, known, window)
    single = dispersion(moments)
    dispersed = np.maximum(single, (single + season_dispersion(demand, observed, season)) / 2)
    profile = seasonal_profile(demand, known, moments.mean, dispersed, season)
    share = profile[runs.rows, same_position(runs.start, runs.columns, season)]
    exposure = runs.sums(share, demand.shape)[1 if hindsight else 0]
    at = runs.rows, runs.start
    d, total, count = dispersed[at], np.maximum(moments.total[at], 1e-9), moments.count[at]
    rate = moments.mean[at] * np.log(d) / (d - 1)
    by_units = total / d * np.log1p(rate * exposure * d / total)
    days = trailing_sum(sold & known, window)[at]
    zeros = count - days + 0.5
    by_days = gammaln(zeros) + gammaln(count + 1 + exposure) - gammaln(zeros + exposure) - gammaln(count + 1)
    return np.where(count >= least_periods(season), np.minimum(by_units, by_days), 0)


def plausible_demand(
    quantity: np.ndarray, state: np.ndarray, alive: np.ndarray, season: int, *, significance: float = 1e-6
) -> np.ndarray:
    """Upper `significance` quantile of the demand that the periods before lead one to expect: [series, periods].

    Over-dispersed counts, as the gamma distribution of the same mean and variance; inf where too little is known.
    """
    observed = in_states(state, OBSERVED, alive)
    demand = np.where(observed, np.maximum(quantity, 0), 0).astype(np.float32)
    moments = winsorised_moments(demand, observed, level_periods(season))
    dispersed = dispersion(moments)
    level = (np.maximum(moments.total, 0) + 1) / (moments.count + 1)
    mean = level * np.maximum(seasonal_profile(demand, observed, level, dispersed, season), 1)
    shapes, multiples = _gamma_quantiles(significance)
    quantile = mean * np.exp(np.interp(np.log(mean / dispersed), shapes, multiples))
    return np.where(moments.count < least_periods(season), np.inf, quantile)


@lru_cache(maxsize=8)
def _gamma_quantiles(significance: float) -> tuple[np.ndarray, np.ndarray]:
    """Log shape, and log of the upper quantile of a gamma distribution of mean 1 with that shape."""
    shape = np.logspace(-3, 6, 400)
    return np.log(shape), np.log(gammainccinv(shape, significance) / shape)


def outlier_thresholds(
    quantity: np.ndarray,
    state: np.ndarray,
    alive: np.ndarray,
    season: int,
    *,
    plausible: np.ndarray | None = None,
) -> np.ndarray:
    """Units above which a period is a spike, from the periods before it: float32, [series, periods]; inf where unknown.

    Two things must hold. The value is beyond what demand may plausibly be, and it is far above the second largest value
    of the last half year: what was seen twice, a weekly peak, a new level or a bulk order, is no outlier the third
    time.

    Args:
        plausible: `plausible_demand` of the block, where it is at hand already.
    """
    if plausible is None:
        plausible = plausible_demand(quantity, state, alive, season)
    sold = np.where(in_states(state, OBSERVED, alive), np.maximum(quantity, 0), 0).astype(np.float32)
    second = trailing_top_two(sold, memory_periods(season))[1]
    few = trailing_sum(sold > 0, memory_periods(season)) < _LEAST_SALES
    return np.where(few, np.inf, np.maximum(plausible, _SPIKE_RATIO * second)).astype(np.float32)


def detect_outliers(
    quantity: np.ndarray,
    state: np.ndarray,
    alive: np.ndarray,
    season: int,
    *,
    thresholds: np.ndarray | None = None,
) -> np.ndarray:
    """Single spikes, and returns as large as a spike: bool, [series, periods]; judged by the past alone.

    Nothing is flagged before `least_periods` were observed.

    Args:
        thresholds: `outlier_thresholds` of the block, where they are at hand already.
    """
    if thresholds is None:
        thresholds = outlier_thresholds(quantity, state, alive, season)
    return in_states(state, OBSERVED, alive) & (np.abs(quantity) > thresholds)
