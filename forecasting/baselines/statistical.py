"""Statistical models of the library statsforecast, fitted to each series by itself.

    auto_ets       exponential smoothing: level, trend and season as chosen by AICc (Hyndman and Khandakar 2008)
    croston_sba    intermittent demand: its size by the periods between demands (Croston 1972), corrected (Syntetos and Boylan 2005)

A series of too few periods, without demand, or that the library fails on is forecast as `recent_quantiles` does it.

Shapes: n series, W periods of history, T periods of one series, H horizon, K quantile levels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
from scipy import stats

from forecasting.baselines.floors import Forecast, recent_quantiles
from forecasting.baselines.known import Known
from forecasting.errors import ConfigError
from forecasting.models.spec import ModelSpec
from forecasting.periods import SEASON

#: Last periods that are fitted: smoothing forgets older ones, and its time grows with each.
HISTORY = {"day": 364, "week": 156, "month": 120}
#: Periods that must tell demand: two seasons, but half a year of weeks, whose season is not fitted.
SHORTEST = {"day": 14, "week": 26, "month": 24}
#: Exponential smoothing has a state for every period of a season. A longer season is left out, as R's `ets` does.
LONGEST_SEASON = 24
#: Any trend, damped or not, any season, as long as they add up: demand of zero has no multiplicative ones.
SEARCH = "AZZ"
FILLED_FROM = 4  # seasons whose mean stands for a period that does not tell demand

#: Mean [H] and quantiles [H, K] of a series by its demand [T] and the periods that tell it [T]; None where the library fails.
Fit = Callable[[np.ndarray, np.ndarray], Forecast | None]


def auto_ets(known: Known, spec: ModelSpec) -> Forecast:
    """Mean [n, H] and quantiles [n, H, K] of exponential smoothing, those of its normal intervals; the mean is the median."""
    season = SEASON[spec.grain] if SEASON[spec.grain] <= LONGEST_SEASON else 1
    model = _models().AutoETS(season_length=season, model=SEARCH)
    # Percent that lie in the symmetric interval which a quantile bounds.
    widths = [round(100 * abs(2 * level - 1), 6) for level in spec.quantiles]
    bounds = [_bound(level, width) for level, width in zip(spec.quantiles, widths, strict=True)]

    def fit(demand: np.ndarray, whole: np.ndarray) -> Forecast | None:
        filled = without_gaps(demand, whole, season)
        found = _asked(model, filled, h=spec.horizon, level=sorted(set(widths) - {0.0}) or None)
        return found and (found["mean"], np.stack([found[bound] for bound in bounds], axis=-1))

    return _each(known, spec, fit)


def croston_sba(known: Known, spec: ModelSpec) -> Forecast:
    """Mean [n, H] and quantiles [n, H, K] of intermittent demand, the same for every period ahead.

    Periods that do not tell demand are left out: any value put there would be a demand or the lack of one. Fitting starts after
    the first demand, since the interval before it is cut short by where the history begins: a series often begins with it.

    The method gives a mean alone. Quantiles are those of a negative binomial with this mean, its variance from the mean
    squared error one period ahead (Syntetos and Boylan 2006, IJPE 103), as a multiple of the mean, so that it follows the
    level. Where that is below 1, of a Poisson; where demand is not counted in whole units, of a gamma (Burgin 1975).
    """
    model = _models().CrostonSBA()

    def fit(demand: np.ndarray, whole: np.ndarray) -> Forecast | None:
        after = demand[whole][np.argmax(demand[whole] > 0) + 1 :]
        found = _asked(model, after, h=spec.horizon, fitted=True) if after.any() else None
        if found is None or not (found["fitted"] > 0).any():
            return None
        seen = found["fitted"] > 0  # nothing is expected before a first demand
        expected = found["fitted"][seen]
        dispersion = np.square(after[seen] - expected).sum() / expected.sum()
        quantiles = _count_quantiles if _in_units(demand[whole]) else _amount_quantiles
        return found["mean"], np.tile(quantiles(found["mean"][0], dispersion, spec.quantiles), (spec.horizon, 1))

    return _each(known, spec, fit)


def without_gaps(demand: np.ndarray, whole: np.ndarray, season: int) -> np.ndarray:
    """Demand [T] in which a period that does not tell it is the mean of the same phase in up to FILLED_FROM seasons before, and
    in the first season the mean of all that is told."""
    filled = np.where(whole, demand, demand[whole].mean())
    for at in np.flatnonzero(~whole):
        before = filled[at % season : at : season][-FILLED_FROM:]
        filled[at] = before.mean() if len(before) else filled[at]
    return filled


def _each(known: Known, spec: ModelSpec, fit: Fit) -> Forecast:
    """Mean [n, H] and quantiles [n, H, K] of each series by its fit or, where there is none, by `recent_quantiles`."""
    mean = np.zeros((len(known), spec.horizon))
    quantiles = np.zeros((*mean.shape, len(spec.quantiles)))
    for row, (demand, whole) in enumerate(_recent(known, spec.grain)):
        found = fit(demand, whole) if _is_fitted(demand[whole], spec.grain) else None
        if found is None or not all(np.isfinite(part).all() for part in found):
            found = _floor(demand[whole], spec)
        mean[row], rising = np.maximum(found[0], 0.0), np.maximum.accumulate(np.maximum(found[1], 0.0), axis=-1)
        counted = _in_units(known.history[row, known.whole[row]])
        quantiles[row] = np.ceil(np.maximum(rising - 0.5, 0.0)) if counted else rising
    return mean, quantiles


def _recent(known: Known, grain: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Of each series demand [T], nothing below 0, and the periods that tell it [T], from the first that does on."""
    for history, whole in zip(known.history[:, -HISTORY[grain] :], known.whole[:, -HISTORY[grain] :], strict=True):
        begin = int(np.argmax(whole)) if whole.any() else len(whole)
        yield np.maximum(np.nan_to_num(history[begin:]), 0.0), whole[begin:]


def _is_fitted(told: np.ndarray, grain: str) -> bool:
    return len(told) >= SHORTEST[grain] and bool(told.any())


def _floor(told: np.ndarray, spec: ModelSpec) -> Forecast:
    """Mean [H] and quantiles [H, K] of the last periods that tell demand."""
    mean, quantiles = recent_quantiles(told[None], SEASON[spec.grain], spec.horizon, spec.quantiles)
    return mean[0], quantiles[0]


def _bound(level: float, width: float) -> str:
    """What the library calls a quantile: the end of a symmetric interval, or the mean."""
    return "mean" if width == 0 else f"{'lo' if level < 0.5 else 'hi'}-{width}"


def _count_quantiles(mean: float, dispersion: float, levels: tuple[float, ...]) -> np.ndarray:
    """Quantiles, [K], of a negative binomial whose variance is its mean times `dispersion`; a Poisson where that is not above 1."""
    if dispersion <= 1 + 1e-6:
        return stats.poisson.ppf(levels, mean)
    return stats.nbinom.ppf(levels, mean / (dispersion - 1), 1 / dispersion)


def _amount_quantiles(mean: float, dispersion: float, levels: tuple[float, ...]) -> np.ndarray:
    """Quantiles, [K], of a gamma whose variance is its mean times `dispersion`."""
    return stats.gamma.ppf(levels, mean / dispersion, scale=dispersion)


def _in_units(told: np.ndarray) -> bool:
    """Whether demand is counted in whole units."""
    return bool((told == np.round(told)).all())


def _asked(model: Any, demand: np.ndarray, **options: Any) -> dict[str, np.ndarray] | None:
    """What the library forecasts; None where it fails."""
    try:
        return model.forecast(demand, **options)
    except Exception:  # it raises Exception itself, and others, for series that are too short or that no model fits
        return None


def _models() -> ModuleType:
    try:
        from statsforecast import models
    except ImportError as error:
        raise ConfigError(
            "backtest.models: auto_ets and croston_sba need the library statsforecast, which is not installed. "
            "Install it: pip install 'demand-forecasting[baselines]'"
        ) from error
    return models
