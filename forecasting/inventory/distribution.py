"""Demand over a protection interval as a distribution, for a batch of series at once.

Quantiles of single periods do not add up to a quantile of their sum. So each period gives a mean and a variance, the
sum gets the moments of correlated periods, and a count distribution is fitted to these moments. n is the number of
series, H the horizon, K the number of quantile levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

#: A variance above the mean by less than this share counts as equal to it: a negative binomial has no such member.
_EXCESS = 1e-6


def period_variance(mean: np.ndarray, quantiles: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Variance of a distribution that is known by its quantiles and its mean.

    The quantile function is linear between the levels. Below the lowest it goes on with the slope of the first piece,
    down to 0 at most. Above the highest it is an exponential tail, whose mean excess over the highest quantile is what
    continues the slope of the last piece, or what the mean asks for where that is more: demand that is 0 at every level
    and 0.05 on average still varies.

    Args:
        mean: [...], units.
        quantiles: [..., K], units, not falling along K.
        levels: K rising levels between 0 and 1.

    Returns:
        [...], squared units.
    """
    levels = np.asarray(levels, np.float64)
    first, last = quantiles[..., 0], quantiles[..., -1]
    low_slope, high_slope = _slope(quantiles, levels, 0), _slope(quantiles, levels, -1)
    lowest = np.minimum(np.maximum(first - levels[0] * low_slope, 0.0), first)
    knots = np.concatenate([lowest[..., None], quantiles], axis=-1)
    weight = np.diff(levels, prepend=0.0)  # probability of each piece
    left, right = knots[..., :-1], knots[..., 1:]
    body_mean = ((left + right) / 2) @ weight
    body_square = ((left * left + left * right + right * right) / 3) @ weight
    tail = 1 - levels[-1]
    excess = np.maximum((mean - body_mean - tail * last) / tail, tail * high_slope)
    own_mean = body_mean + tail * (last + excess)
    own_square = body_square + tail * (last * last + 2 * last * excess + 2 * excess * excess)
    return np.maximum(own_square - own_mean * own_mean, 0.0)


def _slope(quantiles: np.ndarray, levels: np.ndarray, end: int) -> np.ndarray:
    """Slope of the quantile function's first (`end` 0) or last (-1) piece, [...]; 0 with a single level."""
    if len(levels) == 1:
        return np.zeros(quantiles.shape[:-1])
    return np.diff(quantiles, axis=-1)[..., end] / np.diff(levels)[end]


def reach(values: np.ndarray, periods: int, season: int) -> np.ndarray:
    """Values of periods ahead, cut or extended to `periods`; those past the horizon are the mean of its last season.

    Args:
        values: [n, H].

    Returns:
        [n, periods].
    """
    missing = max(0, periods - values.shape[1])
    beyond = values[:, -season:].mean(axis=1, keepdims=True)
    return np.concatenate([values[:, :periods], np.repeat(beyond, missing, axis=1)], axis=1)


def sum_moments(
    mean: np.ndarray, variance: np.ndarray, periods: np.ndarray, correlation: float, season: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of the sum over each series' first `periods` periods.

    Periods i and j are correlated by correlation^|i - j|, so that the variance of the sum is
    sum_i sum_j correlation^|i - j| sigma_i sigma_j.

    Args:
        mean, variance: of each period ahead, [n, H].
        periods: periods of each series' sum, [n], 0 or more; past the horizon see `reach`.

    Returns:
        mean [n], variance [n].
    """
    longest = int(periods.max(initial=1))
    counted = np.arange(longest) < periods[:, None]
    mean = np.where(counted, reach(mean, longest, season), 0.0)
    sigma = np.where(counted, np.sqrt(reach(variance, longest, season)), 0.0)
    # carried[t] = sum over i < t of correlation^(t - i) sigma_i
    carried, total, expected = np.zeros(len(sigma)), np.zeros(len(sigma)), np.zeros(len(sigma))
    for period in range(
        longest
    ):  # one after the other, so that a series' sum does not depend on the longest one beside it
        now = sigma[:, period]
        expected += mean[:, period]
        total += now * (now + 2 * carried)
        carried = correlation * (carried + now)
    return expected, total


@dataclass(frozen=True)
class CountDemand:
    """Whole-unit demand with given moments: negative binomial where the variance exceeds the mean, else Poisson.

    A Poisson has the mean as its variance, so a variance below the mean is raised to it: a safety stock errs upwards.

    Args:
        mean, variance: [n].
    """

    mean: np.ndarray
    variance: np.ndarray

    @property
    def std(self) -> np.ndarray:
        """Standard deviation, [n]."""
        return np.where(self.mean > 0, np.sqrt(np.maximum(self.variance, self.mean)), 0.0)

    @property
    def _is_spread(self) -> np.ndarray:
        return (self.mean > 0) & (self.variance > self.mean * (1 + _EXCESS))

    def _negative_binomial(self) -> tuple[np.ndarray, np.ndarray]:
        """scipy's n and p of each series that has one."""
        mean, variance = self.mean[self._is_spread], self.variance[self._is_spread]
        return mean * mean / (variance - mean), mean / variance

    def quantile(self, level: float | np.ndarray) -> np.ndarray:
        """Least whole number of units that demand does not exceed with probability `level`, one or [n]: [n]."""
        level = np.broadcast_to(level, self.mean.shape)
        found = stats.poisson.ppf(level, self.mean)
        found[self._is_spread] = stats.nbinom.ppf(level[self._is_spread], *self._negative_binomial())
        return np.where(self.mean > 0, found, 0.0)

    def exceeds(self, units: np.ndarray) -> np.ndarray:
        """Probability that demand is above `units`, [n]."""
        found = stats.poisson.sf(units, self.mean)
        found[self._is_spread] = stats.nbinom.sf(units[self._is_spread], *self._negative_binomial())
        return np.where(self.mean > 0, found, 0.0)

    def shortage(self, units: np.ndarray) -> np.ndarray:
        """Expected units by which demand is above `units`, E[(D - units)+], [n]; `units` below 0 are owed already.

        Of the units of a demand above x, E[D; D > x] is the mean times the chance that as much or one less of a demand that is one sale
        further is asked for: k P(D = k) = E[D] P(D' = k - 1), with D' of the same Poisson, or of a negative binomial whose n is greater by 1
        (Zipkin 2000, Foundations of Inventory Management, C.2.3).
        """
        whole = np.floor(units)
        found = self.mean * stats.poisson.sf(whole - 1, self.mean) - units * stats.poisson.sf(whole, self.mean)
        spread = self._is_spread
        number, chance = self._negative_binomial()
        asked = self.mean[spread] * stats.nbinom.sf(whole[spread] - 1, number + 1, chance)
        found[spread] = asked - units[spread] * stats.nbinom.sf(whole[spread], number, chance)
        return np.maximum(found, 0.0)
