"""Lasting changes of the level of demand: when the data confirms one, and when it began."""

from __future__ import annotations

import numpy as np

from forecasting.demand.detection import plausible_demand
from forecasting.demand.trailing import dispersion, season_dispersion, shift, trailing_sum, winsorised_moments
from forecasting.states import OBSERVED, in_states

#: Strength, in units, of the prior that both windows lie alike in the season.
_SEASON_PRIOR = 20.0


def windows(season: int) -> tuple[int, int]:
    """Periods of the recent and of the earlier window that are compared; whole weeks for days."""
    if season <= 7:
        return 6 * season, 8 * season
    return max(season // 6, 3), season // 2


def detect_level_shifts(
    quantity: np.ndarray,
    state: np.ndarray,
    alive: np.ndarray,
    season: int,
    *,
    ratio: float = 1.6,
    deviations: float = 4.5,
    plausible: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Periods at which a lasting change of level is confirmed, by data up to and including them.

    The mean of a recent window is held against that of the window before it. Windows are whole weeks for days; where a
    season is longer, the recent window is set against what the same periods were to each other a season ago. A shift is
    `ratio` times either way and `deviations` standard errors of the difference of square roots, which have about the
    same variance at every level (Anscombe 1948). After one, no other is confirmed until the windows have passed it: the
    recent one for a shift the other way, both for a shift the same way.

    Args:
        plausible: `plausible_demand` of the block, where it is at hand already.

    Returns:
        confirmed: bool, [series, periods]; periods back from there to the estimated start: int32, 0 where none.
    """
    recent, earlier = windows(season)
    observed = in_states(state, OBSERVED, alive)
    # A few spikes in one window would pass for a level; a new level is still one when it is cut.
    if plausible is None:
        plausible = plausible_demand(quantity, state, alive, season)
    usual = np.clip(quantity, 0, plausible)
    demand = np.where(observed, usual, 0).astype(np.float32)
    # One spare column: what trails period t + 1 includes t.
    pad = ((0, 0), (0, 1))
    up, down = _changes(np.pad(demand, pad), np.pad(observed, pad), season, ratio, deviations)
    confirmed = _first_of_each(up[:, 1:], down[:, 1:], recent, earlier)
    rows, columns = np.nonzero(confirmed)
    back = np.zeros(confirmed.shape, np.int32)
    back[rows, columns] = _periods_back(demand, observed, rows, columns, recent, earlier)
    return confirmed, back


def _changes(
    demand: np.ndarray, observed: np.ndarray, season: int, ratio: float, deviations: float
) -> tuple[np.ndarray, np.ndarray]:
    """Whether the window before each period lies above, and below, the window before that one."""
    recent, earlier = windows(season)
    now = winsorised_moments(demand, observed, recent)
    base = winsorised_moments(demand, observed, earlier)
    # Old noise only: the change itself would count as noise of the recent window.
    dispersed = dispersion(base)
    dispersed = shift(np.maximum(dispersed, (dispersed + season_dispersion(demand, observed, season)) / 2), recent)
    old = shift(base.mean, recent)
    if season > 7:
        old = old * _season_ratio(demand, observed, recent, earlier, season)
    count = shift(base.count, recent)
    error = np.sqrt(dispersed * (1 / np.maximum(now.count, 1) + 1 / np.maximum(count, 1))) / 2
    difference = np.sqrt(now.mean) - np.sqrt(old)
    enough = (2 * now.count >= recent) & (2 * count >= earlier) & (np.abs(difference) > deviations * error)
    return enough & (now.mean > ratio * old), enough & (now.mean * ratio < old)


def _season_ratio(demand: np.ndarray, observed: np.ndarray, recent: int, earlier: int, season: int) -> np.ndarray:
    """Mean of the recent window's periods over that of the earlier window's, both one season ago; shrunk to 1."""

    def sums(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (
            shift(trailing_sum(values, recent), season),
            shift(trailing_sum(values, earlier), season + recent),
        )

    (sold, sold_before), (seen, seen_before) = sums(demand), sums(observed)
    level = sold_before / np.maximum(seen_before, 1)
    return (sold + _SEASON_PRIOR) / (seen * level + _SEASON_PRIOR)


def _first_of_each(up: np.ndarray, down: np.ndarray, recent: int, earlier: int) -> np.ndarray:
    """The first period of every change, with none near enough to see the same change again."""
    first = np.zeros_like(up)
    free_up, free_down = np.zeros((2, len(up)), np.int64)
    for t in np.flatnonzero((up | down).any(axis=0)):
        rising, falling = up[:, t] & (t >= free_up), down[:, t] & (t >= free_down)
        first[:, t] = rising | falling
        free_up = np.where(rising, t + recent + earlier, np.where(falling, t + recent, free_up))
        free_down = np.where(falling, t + recent + earlier, np.where(rising, t + recent, free_down))
    return first


def _periods_back(
    demand: np.ndarray, observed: np.ndarray, rows: np.ndarray, columns: np.ndarray, recent: int, earlier: int
) -> np.ndarray:
    """Periods from the likeliest start of each confirmed change to its confirmation: [changes].

    The split of both windows with the greatest Poisson likelihood of two levels (Chen and Gupta, Parametric Statistical
    Change Point Analysis, 4), values cut at the second largest. It may lie before the recent window, as far as the
    middle of the earlier one.
    """
    width = recent + earlier
    at = columns[:, None] + np.arange(1 - width, 1)
    inside = (at >= 0) & observed[rows[:, None], np.maximum(at, 0)]
    units = np.where(inside, demand[rows[:, None], np.maximum(at, 0)], 0).astype(np.float64)
    if len(units):
        units = np.minimum(units, np.sort(units, axis=1)[:, -2:-1])
    sold, seen = np.cumsum(units, axis=1), np.cumsum(inside, axis=1)

    def likelihood(total: np.ndarray, count: np.ndarray) -> np.ndarray:
        return total * np.log(np.maximum(total, 1e-9) / np.maximum(count, 1))

    splits = likelihood(sold, seen) + likelihood(sold[:, -1:] - sold, seen[:, -1:] - seen)
    splits[:, : earlier // 2] = -np.inf
    return (width - 2 - np.argmax(splits[:, :-1], axis=1)).astype(np.int32)
