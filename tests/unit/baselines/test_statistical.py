"""Statistical models: what the library says of a series, and sane forecasts where it says nothing."""

import sys

import numpy as np
import pytest
from statsforecast.models import AutoETS, CrostonSBA

from forecasting.baselines.floors import recent_quantiles
from forecasting.baselines.known import Known
from forecasting.baselines.statistical import HISTORY, SEARCH, auto_ets, croston_sba, without_gaps
from forecasting.errors import ConfigError
from tests.small_sequences import small_spec

SPEC = small_spec(horizon=14)
HORIZON, LEVELS = SPEC.horizon, SPEC.quantiles
MODELS = [auto_ets, croston_sba]
WEEK = np.array([5.0, 6, 7, 8, 9, 20, 25])


def known_of(history: np.ndarray, whole: np.ndarray | None = None) -> Known:
    whole = ~np.isnan(history) if whole is None else whole
    return Known(history, whole, np.zeros((len(history), history.shape[1] + HORIZON, 0)))


def weekly(series: int = 2, days: int = 140, seed: int = 0) -> np.ndarray:
    return np.tile(WEEK, days // 7) + np.random.default_rng(seed).normal(0, 0.7, (series, days))


def counts(series: int, days: int, rate: float, seed: int, dispersion: float = 2.0) -> np.ndarray:
    """Negative binomial counts whose variance is their mean times `dispersion`."""
    size = (series, days)
    drawn = np.random.default_rng(seed).negative_binomial(rate / (dispersion - 1), 1 / dispersion, size)
    return drawn.astype(float)


def degenerate(days: int = 60) -> np.ndarray:
    """Series on which a library may fail; the last one is an ordinary companion."""
    end = np.r_[np.zeros(days - 1), 4.0]
    short = [np.r_[np.full(days - length, np.nan), np.arange(1.0, length + 1)] for length in (0, 1, 2, 13)]
    return np.array(
        [
            np.zeros(days),
            np.full(days, 3.0),
            end,
            end[::-1],
            *short,
            counts(1, days, 2.0, seed=3)[0] - 1,
            counts(1, days, 2.0, 4)[0],
        ]
    )


@pytest.mark.parametrize(("grain", "season"), [("day", 7), ("week", 1), ("month", 12)])
def test_exponential_smoothing_is_the_librarys(grain, season):
    history = weekly(1, 98) + np.linspace(0, 9, 98)
    spec = small_spec(grain=grain, horizon=HORIZON)
    mean, quantiles = auto_ets(known_of(history), spec)
    found = AutoETS(season_length=season, model=SEARCH).forecast(history[0], HORIZON, level=[40.0, 80.0])
    np.testing.assert_allclose(mean[0], found["mean"])
    for level, name in {0.1: "lo-80.0", 0.3: "lo-40.0", 0.5: "mean", 0.7: "hi-40.0", 0.9: "hi-80.0"}.items():
        np.testing.assert_allclose(quantiles[0, :, LEVELS.index(level)], np.maximum(found[name], 0.0))


@pytest.mark.parametrize("grain", HISTORY)
def test_the_mean_of_intermittent_demand_is_the_librarys_after_the_first_demand(grain):
    history = counts(3, 100, 0.4, seed=1)
    mean, _ = croston_sba(known_of(history), small_spec(grain=grain, horizon=HORIZON))
    for row, demand in enumerate(history):
        after = demand[np.flatnonzero(demand)[0] + 1 :]
        np.testing.assert_allclose(mean[row], CrostonSBA().forecast(after, HORIZON)["mean"])


def test_a_planted_level_and_season_are_found():
    mean, quantiles = auto_ets(known_of(weekly()), SPEC)
    np.testing.assert_allclose(mean, np.tile(WEEK, (2, HORIZON // 7)), atol=1.0)
    assert (quantiles[..., -1] - quantiles[..., 0] < 5).all()
    mean, _ = croston_sba(known_of(counts(200, 300, 0.3, seed=6)), SPEC)
    assert mean.mean() == pytest.approx(0.3, rel=0.1)


def test_a_series_that_begins_with_its_first_demand_is_not_forecast_too_high():
    started = counts(300, 60, 0.15, seed=7)
    started[:, 0] = 1.0
    mean, _ = croston_sba(known_of(started), SPEC)
    with_the_first = [CrostonSBA().forecast(demand, 1)["mean"][0] for demand in started]
    assert mean.mean() - 0.15 < (np.mean(with_the_first) - 0.15) / 2


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("dispersion", [1.01, 3.0])  # a Poisson, and more spread than one
def test_quantiles_hold_what_comes(model, dispersion):
    series = 40 if model is auto_ets else 300
    rate = np.random.default_rng(8).gamma(2.0, 0.4, series)
    demand = np.stack([counts(1, 180 + HORIZON, r, row, dispersion)[0] for row, r in enumerate(rate)])
    _, quantiles = model(known_of(demand[:, :180]), SPEC)
    came = demand[:, 180:]
    for number, level in enumerate(LEVELS):
        quantile = quantiles[..., number]
        assert (came <= quantile).mean() > level - 0.05
        if (
            model is croston_sba
        ):  # a count model's share below is no more than the level; a normal one's errs on rare demand
            assert (came < quantile).mean() < level + 0.05


def test_rare_demand_has_quantiles_of_zero_but_the_highest():
    _, quantiles = croston_sba(known_of(counts(1, 300, 0.05, seed=9)), SPEC)
    assert (quantiles[..., : LEVELS.index(0.9)] == 0).all()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("unit", [1.0, 0.37])
def test_quantiles_are_finite_rise_and_are_whole_where_demand_is(model, unit):
    mean, quantiles = model(known_of(unit * degenerate()), SPEC)
    assert mean.shape == (len(degenerate()), HORIZON) and quantiles.shape == (*mean.shape, len(LEVELS))
    assert np.isfinite(mean).all() and np.isfinite(quantiles).all()
    assert (mean >= 0).all() and (quantiles >= 0).all() and (np.diff(quantiles, axis=-1) >= 0).all()
    assert (quantiles == np.round(quantiles)).all() == (unit == 1.0)


@pytest.mark.parametrize("model", MODELS)
def test_series_that_cannot_be_fitted_are_forecast_by_their_last_periods(model):
    history = degenerate()
    mean, _ = model(known_of(history), SPEC)
    cannot = [0, 4, 5, 6, 7]  # no demand, and histories of 0, 1, 2 and 13 days
    np.testing.assert_allclose(mean[cannot], recent_quantiles(history[cannot], 7, HORIZON, LEVELS)[0])
    assert (mean[0] == 0).all()


@pytest.mark.parametrize("model", MODELS)
def test_companions_do_not_change_a_forecast(model):
    together, alone = (model(known_of(history), SPEC) for history in (degenerate(), degenerate()[-1:]))
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one[-1:], other)


@pytest.mark.parametrize("model", MODELS)
def test_periods_that_tell_no_demand_and_those_long_ago_do_not_matter(model):
    days = HISTORY["day"] + 30
    history = counts(3, days, 2.0, seed=4)
    history[2, :-13] = np.nan  # too short to be fitted
    whole = ~np.isnan(history) & (np.random.default_rng(5).random(history.shape) > 0.2)
    other = np.where(whole | np.isnan(history), history, 77.5)
    other[:2, :30] = 88.0
    for one, two in zip(model(known_of(history, whole), SPEC), model(known_of(other, whole), SPEC), strict=True):
        np.testing.assert_array_equal(one, two)


def test_gaps_are_filled_from_their_phase_in_the_seasons_before():
    whole = np.array([True, False, True, True, True, False, False])
    filled = without_gaps(np.array([1.0, 9, 2, 3, 6, 9, 9]), whole, season=2)
    assert filled.tolist() == [1.0, 3.0, 2.0, 3.0, 6.0, (3 + 3) / 2, (1 + 2 + 6) / 3]


def test_days_out_of_stock_do_not_lower_intermittent_demand():
    history = counts(100, 300, 0.5, seed=11)
    whole = np.random.default_rng(12).random(history.shape) > 0.4
    mean, _ = croston_sba(known_of(np.where(whole, history, 0.0), whole), SPEC)
    assert mean.mean() == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize("model", MODELS)
def test_without_the_library_it_says_what_to_install(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "statsforecast", None)
    with pytest.raises(ConfigError, match=r"demand-forecasting\[baselines\]"):
        model(known_of(weekly()), SPEC)
