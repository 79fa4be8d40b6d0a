"""Two classical equations of demand, fitted to each series by itself.

    lagged_regression        y_t = a y_(t-1) + (1 - a) f(x_t)
    structural_regression    y_t = a y_(t-1) + b T_t + g S_t + (1 - a - b - g) f(x_t)

f is a linear regression on the regressors x_t with an intercept. T_t, the trend, is the mean of the last TREND seasons and S_t,
the season, the mean of the same phase over the last TREND seasons, both up to t - 1 and of periods that tell demand. For y on (y_(t-1), T_t, S_t, x_t) the
equations are linear, so ridge regression (Hoerl and Kennard 1970) fits all parameters of a series at once; a, b and g are kept
at 0 or more, and their sum below MOST, so that forecasts that feed themselves do not run away.

Shapes: n series, W periods of history, H horizon, R regressors, L lags (1 or 3), K quantile levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from forecasting.baselines.floors import Forecast, row_quantiles
from forecasting.baselines.known import Known
from forecasting.models.spec import ModelSpec
from forecasting.periods import SEASON

TREND = 4  # seasons over which trend and season are means
MOST = 0.99  # that the weights of past demand can add up to
RIDGE, LAG_RIDGE = 10.0, 1.0  # periods of history that the prior "regressors (or past demand) say nothing" weighs
LEAST = 0.1  # variance that a regressor of unit size is taken to have: what hardly varied so far is not believed to matter much
FARTHEST = 3.0  # times the largest demand seen that a forecast can be
LONGEST = 728  # periods of history that are fitted: parameters of older ones are no longer those of today


@dataclass(frozen=True)
class Fit:
    """The parameters of n series: `lags` [n, L] (a; or a, b, g), `intercept` [n] and `coefficients` [n, R] of (1 - a - b - g) f,
    `residuals` [n, W] of one period ahead, NaN where a period was not fitted."""

    lags: np.ndarray
    intercept: np.ndarray
    coefficients: np.ndarray
    residuals: np.ndarray


def lagged_regression(known: Known, spec: ModelSpec) -> Forecast:
    """Mean [n, H] and quantiles [n, H, K] by the first equation."""
    return _forecast(known, spec, lags=1)


def structural_regression(known: Known, spec: ModelSpec) -> Forecast:
    """Mean [n, H] and quantiles [n, H, K] by the second equation."""
    return _forecast(known, spec, lags=3)


LAGS = {"lagged_regression": 1, "structural_regression": 3}


def parameters(known: Known, spec: ModelSpec, model: str) -> dict[str, np.ndarray]:
    """What a model of LAGS fitted: `a`, `b`, `g` [n]; `intercept` [n] and `coefficients` [n, R] of f, in units; the standard
    deviation of what it leaves, `residual_deviation` [n]; `periods` that were fitted [n]."""
    demand, whole, regressors = _recent(known, spec)
    fitted = fit(demand, whole, regressors[:, : demand.shape[1]], spec, LAGS[model])
    rest = 1.0 - fitted.lags.sum(axis=1)
    lags = np.pad(fitted.lags, ((0, 0), (0, 3 - LAGS[model])))
    seen = ~np.isnan(fitted.residuals)
    deviation = np.sqrt(np.nan_to_num(fitted.residuals**2).sum(axis=1) / np.maximum(seen.sum(axis=1), 1))
    return {
        **dict(zip("abg", lags.T, strict=True)),
        "intercept": fitted.intercept / rest,
        "coefficients": fitted.coefficients / rest[:, None],
        "residual_deviation": deviation,
        "periods": seen.sum(axis=1),
    }


def fit(demand: np.ndarray, whole: np.ndarray, regressors: np.ndarray, spec: ModelSpec, lags: int) -> Fit:
    """Fits n series at once.

    Args:
        demand: [n, W], units, without gaps. whole: [n, W], periods that tell demand; only they are fitted. regressors: [n, W, R].
    """
    weight = whole[..., None].astype(np.float64)
    total = np.maximum(weight.sum(axis=1), 1.0)  # [n, 1]
    level = (demand * whole).sum(axis=1) / total[:, 0]
    past = _past(demand, whole, level, SEASON[spec.grain], lags)
    design = np.concatenate([past, regressors], axis=-1).astype(np.float64)
    centre = (design * weight).sum(axis=1) / total
    design = (design - centre[:, None]) * weight
    target = (demand - level[:, None]) * whole
    moments = np.matmul(design.transpose(0, 2, 1), design)  # [n, L + R, L + R]
    products = np.matmul(design.transpose(0, 2, 1), target[..., None])[..., 0]
    best = _within_bounds(moments, products, np.square(target).sum(axis=1), total[:, 0], lags)
    intercept = level - (centre * best).sum(axis=1)
    residuals = np.where(whole, target - np.matmul(design, best[..., None])[..., 0], np.nan)
    return Fit(best[:, :lags], intercept, best[:, lags:], residuals)


def _within_bounds(
    moments: np.ndarray, products: np.ndarray, squares: np.ndarray, periods: np.ndarray, lags: int
) -> np.ndarray:
    """Ridge coefficients, [n, L + R], whose lags are 0 or more and add up to MOST at most: for every choice of lags that are 0 the
    others are solved for, brought down to MOST together if need be, and the regressors solved anew; the best of these.

    Args:
        moments: [n, L + R, L + R]; products: [n, L + R]; squares, periods: [n].
    """
    spread = np.diagonal(moments, axis1=1, axis2=2)  # [n, L + R]; 0 for what never varies
    shrunk = np.r_[np.full(lags, LAG_RIDGE), np.full(spread.shape[1] - lags, RIDGE)]
    variance = spread / np.maximum(periods, 1.0)[:, None]
    variance[:, lags:] = np.maximum(variance[:, lags:], LEAST)
    penalty = np.where(variance > 1e-12, variance * shrunk, 1.0)
    least, best = np.full(len(moments), np.inf), np.zeros(products.shape)
    ridged = moments + np.eye(spread.shape[1]) * penalty[..., None]
    for kept in product((True, False), repeat=lags):
        free = np.r_[np.array(kept), np.ones(spread.shape[1] - lags, bool)]
        system = np.where(np.outer(free, free), ridged, np.eye(len(free)))
        past = np.linalg.solve(system, (products * free)[..., None])[:, :lags, 0]
        allowed = (past >= 0).all(axis=1)
        past *= (MOST / np.maximum(past.sum(axis=1), MOST))[:, None]
        left = products[:, lags:] - np.matmul(moments[:, lags:, :lags], past[..., None])[..., 0]
        found = np.concatenate([past, np.linalg.solve(ridged[:, lags:, lags:], left[..., None])[..., 0]], axis=1)
        loss = squares - (found * (2 * products - np.matmul(ridged, found[..., None])[..., 0])).sum(axis=1)
        better = allowed & (loss < least)
        least, best = np.where(better, loss, least), np.where(better[:, None], found, best)
    return best


def _forecast(known: Known, spec: ModelSpec, lags: int) -> Forecast:
    demand, whole, regressors = _recent(known, spec)
    width, horizon = demand.shape[1], spec.horizon
    fitted = fit(demand, whole, regressors[:, :width], spec, lags)
    most = FARTHEST * demand.max(axis=1, initial=0.0)
    said = (
        fitted.intercept[:, None] + np.matmul(regressors[:, width:], fitted.coefficients[..., None])[..., 0]
    )  # [n, H]
    path = np.concatenate([demand, np.zeros((len(demand), horizon))], axis=1)
    counts = np.concatenate([whole, np.ones((len(demand), horizon), bool)], axis=1)
    for ahead in range(horizon):
        at = width + ahead
        past = _past_at(path, counts, at, SEASON[spec.grain], lags)
        path[:, at] = np.clip((past * fitted.lags).sum(axis=1) + said[:, ahead], 0.0, most)
    mean = path[:, width:]
    return mean, _quantiles(mean, fitted, known, spec)


def _quantiles(mean: np.ndarray, fitted: Fit, known: Known, spec: ModelSpec) -> np.ndarray:
    """The mean plus empirical quantiles of the residuals, widened as errors of an autoregression add up: their variance h
    periods ahead is that of one period times 1 + a^2 + ... + a^(2 (h - 1)) (Box and Jenkins 1970)."""
    spread = np.nan_to_num(row_quantiles(fitted.residuals, spec.quantiles))  # [n, K]
    own = fitted.lags[:, :1] ** 2  # [n, 1]
    widened = np.sqrt(np.cumsum(own ** np.arange(spec.horizon), axis=1))  # [n, H]
    quantiles = np.maximum(mean[..., None] + widened[..., None] * spread[:, None], 0.0)
    counted = np.nan_to_num(known.history)
    units = (counted == np.round(counted)).all(axis=1)[:, None, None]
    return np.where(units, np.ceil(np.maximum(quantiles - 0.5, 0.0)), quantiles)


def _recent(known: Known, spec: ModelSpec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The last LONGEST periods: demand without gaps [n, W], which periods tell it [n, W], regressors [n, W + H, R]."""
    width = min(known.history.shape[1], LONGEST)
    whole = known.whole[:, -width:]
    demand = np.maximum(np.where(whole, np.nan_to_num(known.history[:, -width:]), 0.0), 0.0)
    # A period that does not tell demand is taken as the last one that did.
    at = np.maximum.accumulate(np.where(whole, np.arange(width), 0), axis=1)
    return np.take_along_axis(demand, at, axis=1), whole, known.regressors[:, -(width + spec.horizon) :]


def _past(demand: np.ndarray, whole: np.ndarray, level: np.ndarray, season: int, lags: int) -> np.ndarray:
    """What the equations read of the past of every period, [n, W, L]; the mean, `level` [n], where nothing came before it."""
    past = np.stack([_past_at(demand, whole, at, season, lags) for at in range(demand.shape[1])], axis=1)
    preceded = np.pad(np.maximum.accumulate(whole, axis=1)[:, :-1], ((0, 0), (1, 0)))
    return np.where(preceded[..., None], past, level[:, None, None])


def _past_at(demand: np.ndarray, whole: np.ndarray, at: int, season: int, lags: int) -> np.ndarray:
    """The period before, and of the equation that has them trend and season, as of period `at`: [n, L]. Without a period that
    tells demand, the trend is the period before and the season the trend."""
    if at == 0:
        return np.zeros((len(demand), lags))
    before = demand[:, at - 1]
    if lags == 1:
        return before[:, None]
    window = slice(max(0, at - TREND * season), at)
    trend = _mean(demand[:, window], whole[:, window], before)
    same = np.arange(at - season, max(-1, at - TREND * season - 1), -season)
    same = same[same >= 0]
    return np.stack([before, trend, _mean(demand[:, same], whole[:, same], trend)], axis=1)


def _mean(values: np.ndarray, counts: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    total = counts.sum(axis=1)
    return np.where(total > 0, (values * counts).sum(axis=1) / np.maximum(total, 1), otherwise)
