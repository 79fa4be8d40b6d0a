"""The classical equations: planted parameters are found, and forecasts stay sane whatever the series."""

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from forecasting.baselines.equations import (
    FARTHEST,
    LAG_RIDGE,
    LEAST,
    MOST,
    RIDGE,
    TREND,
    lagged_regression,
    parameters,
    structural_regression,
)
from forecasting.baselines.known import Known, known_series, regressor_names
from forecasting.periods import SEASON
from tests.small_sequences import ORIGIN, changed, small_sequences, small_shared, small_spec

SPEC = small_spec()
HORIZON = SPEC.horizon
EQUATIONS = {"lagged_regression": lagged_regression, "structural_regression": structural_regression}


def planted(a: float, series: int = 3, width: int = 700, seed: int = 0, noise: float = 1.0) -> Known:
    """Demand by the first equation with f(x) = 20 + 6 x1 - 3 x2."""
    random = np.random.default_rng(seed)
    regressors = random.normal(size=(series, width + HORIZON, 2))
    f = 20 + regressors @ [6.0, -3.0]
    demand = np.zeros((series, width))
    demand[:, 0] = f[:, 0]
    for t in range(1, width):
        demand[:, t] = a * demand[:, t - 1] + (1 - a) * f[:, t] + random.normal(0, noise, series)
    return Known(demand, np.ones(demand.shape, bool), regressors)


@pytest.mark.parametrize("a", [0.0, 0.3, 0.8])
def test_planted_parameters_are_found(a):
    found = parameters(planted(a), SPEC, "lagged_regression")
    assert found["a"] == pytest.approx(np.full(3, a), abs=0.05)
    assert (found["b"] == 0).all() and (found["g"] == 0).all()
    np.testing.assert_allclose(found["coefficients"], np.tile([6.0, -3.0], (3, 1)), atol=0.7)
    np.testing.assert_allclose(found["intercept"], 20, rtol=0.05)
    np.testing.assert_allclose(found["residual_deviation"], 1.0, rtol=0.15)
    assert (found["periods"] == 700).all()


def test_a_season_is_found_and_forecast():
    random = np.random.default_rng(1)
    season = np.tile([2.0, 4, 6, 8, 10, 30, 40], 61)[None, :] + random.normal(0, 0.5, (2, 427))
    known = Known(season[:, :420], np.ones((2, 420), bool), np.zeros((2, 420 + HORIZON, 1)))
    assert (parameters(known, SPEC, "structural_regression")["g"] > 0.8).all()
    mean, quantiles = structural_regression(known, SPEC)
    np.testing.assert_allclose(mean, season[:, 420:], atol=4.0)
    assert ((quantiles[..., 0] < season[:, 420:]) & (season[:, 420:] < quantiles[..., -1])).mean() > 0.5


@pytest.mark.parametrize("name", EQUATIONS)
def test_weights_of_past_demand_are_no_less_than_0_and_do_not_explode(name):
    walk = np.abs(np.cumsum(np.random.default_rng(2).normal(0.5, 1.0, (20, 300)), axis=1))
    known = Known(walk, np.ones(walk.shape, bool), np.zeros((20, 300 + HORIZON, 1)))
    found = parameters(known, SPEC, name)
    weights = np.stack([found[k] for k in "abg"])
    assert (weights >= 0).all()
    assert (weights.sum(axis=0) <= MOST + 1e-9).all()


def test_least_squares_without_bounds_agree_with_numpy():
    known = planted(0.4, series=1)
    found = parameters(known, SPEC, "lagged_regression")
    design = np.column_stack([known.history[0, :-1], known.regressors[0, 1:700], np.ones(699)])
    a, *slopes, constant = np.linalg.lstsq(design, known.history[0, 1:], rcond=None)[0]
    assert found["a"][0] == pytest.approx(a, rel=0.03)
    np.testing.assert_allclose(found["coefficients"][0], np.array(slopes) / (1 - a), rtol=0.05)
    assert found["intercept"][0] == pytest.approx(constant / (1 - a), rel=0.02)


@pytest.mark.parametrize("name", EQUATIONS)
def test_a_series_does_not_depend_on_its_companions(name):
    known = planted(0.5, series=5, width=90)
    whole = EQUATIONS[name](known, SPEC)
    alone = EQUATIONS[name](Known(known.history[2:3], known.whole[2:3], known.regressors[2:3]), SPEC)
    for together, single in zip(whole, alone, strict=True):
        np.testing.assert_allclose(together[2:3], single, rtol=1e-9)


@pytest.mark.parametrize("name", EQUATIONS)
def test_a_regressor_of_a_day_ahead_moves_that_day_and_later_ones_alone(name):
    known = planted(0.5)
    regressors = known.regressors.copy()
    regressors[:, 700 + 3, 0] += 1.0
    before, after = (
        EQUATIONS[name](Known(known.history, known.whole, x), SPEC)[0] for x in (known.regressors, regressors)
    )
    np.testing.assert_allclose(after[:, :3], before[:, :3])
    assert (after[:, 3] > before[:, 3] + 2).all()


@pytest.mark.parametrize("name", EQUATIONS)
def test_odd_series_get_sane_forecasts(name):
    width = 60
    rows = {
        "nothing": np.zeros(width),
        "constant": np.full(width, 3.0),
        "one day": np.r_[np.full(width - 1, np.nan), 4.0],
        "no day": np.full(width, np.nan),
        "one sale": np.r_[np.zeros(width - 1), 500.0],
        "returns": np.tile([2.0, -3.0], width // 2),
    }
    history = np.array(list(rows.values()))
    random = np.random.default_rng(3)
    known = Known(history, ~np.isnan(history), random.normal(size=(len(rows), width + HORIZON, 30)).astype(np.float32))
    mean, quantiles = EQUATIONS[name](known, SPEC)
    assert np.isfinite(mean).all() and np.isfinite(quantiles).all()
    assert (mean >= 0).all() and (quantiles >= 0).all()
    assert (np.diff(quantiles, axis=-1) >= 0).all()
    assert (quantiles == np.round(quantiles)).all()
    by_name = dict(zip(rows, mean, strict=True))
    assert (by_name["nothing"] == 0).all() and (by_name["no day"] == 0).all()
    np.testing.assert_allclose(by_name["constant"], 3.0, atol=1e-6)


@pytest.mark.parametrize("name", EQUATIONS)
def test_days_that_tell_no_demand_do_not_matter(name):
    known = planted(0.5, width=200)
    whole = np.random.default_rng(4).random(known.whole.shape) > 0.2
    other = np.where(whole, known.history, 1000.0)
    first, second = (EQUATIONS[name](Known(h, whole, known.regressors), SPEC) for h in (known.history, other))
    for one, two in zip(first, second, strict=True):
        np.testing.assert_allclose(one, two)


@pytest.mark.parametrize("name", EQUATIONS)
@pytest.mark.parametrize("column", ["quantity", "price", "discount", "views"])
def test_what_comes_after_the_origin_is_not_seen(name, column):
    origin = ORIGIN - HORIZON
    batch = small_sequences()
    found = []
    for rows in (batch, changed(batch, column, HORIZON)):
        parts = [EQUATIONS[name](known, SPEC) for _, known in known_series(rows, SPEC, small_shared(), origin)]
        found.append(parts[0])
    for before, after in zip(*found, strict=True):
        np.testing.assert_array_equal(before, after)


def test_regressors_have_names():
    _, known = next(known_series(small_sequences(), SPEC, small_shared(), ORIGIN))
    assert known.regressors.shape[-1] == len(regressor_names(SPEC)) == len(set(regressor_names(SPEC)))


def past_of(demand: np.ndarray, t: int, season: int) -> list[float]:
    """The day before, the trend and the season of one series without gaps, by their definitions."""
    if t == 0:
        return [demand.mean()] * 3
    trend = demand[max(0, t - TREND * season) : t].mean()
    same = [demand[t - k * season] for k in range(1, TREND + 1) if t - k * season >= 0]
    return [demand[t - 1], trend, np.mean(same) if same else trend]


@pytest.mark.parametrize(("a", "b", "g"), [(0.5, 0.0, 0.4), (0.2, 0.0, 0.7), (0.3, 0.3, 0.3), (0.0, 0.0, 0.0)])
def test_planted_weights_of_trend_and_season_are_found(a, b, g):
    random = np.random.default_rng(5)
    series, begin, width = 6, 100, 728
    regressors = random.normal(size=(series, begin + width + HORIZON, 2))
    f = 20 + regressors @ [6.0, -3.0]
    demand = np.full((series, begin + width), 20.0)
    for row in range(series):
        for t in range(1, begin + width):
            past = np.dot([a, b, g], past_of(demand[row, :t], t, SEASON["day"]))
            demand[row, t] = past + (1 - a - b - g) * f[row, t] + random.normal(0, 1.0)
    demand, regressors = demand[:, begin:], regressors[:, begin:]
    found = parameters(Known(demand, np.ones(demand.shape, bool), regressors), SPEC, "structural_regression")
    for name, weight, within in zip("abg", (a, b, g), (0.05, 0.12, 0.08), strict=True):
        assert found[name].mean() == pytest.approx(weight, abs=within), name
    # f has a weight of its own of 1 - a - b - g: errors of the others count ten times where that is 0.1.
    own = 1 - sum(found[name] for name in "abg")
    np.testing.assert_allclose(
        (found["coefficients"] * own[:, None]).mean(0), (1 - a - b - g) * np.array([6, -3]), rtol=0.1
    )


@pytest.mark.parametrize("a", [0.6, -0.5])
def test_weights_within_bounds_agree_with_a_loop_over_series(a):
    known = planted(a, width=300)
    known = Known(np.maximum(known.history, 0.0), known.whole, known.regressors)
    found = parameters(known, SPEC, "structural_regression")
    for row, demand in enumerate(known.history):
        past = np.array([past_of(demand, t, SEASON["day"]) for t in range(300)])
        design = np.column_stack([past, known.regressors[row, :300]])
        design -= design.mean(axis=0)
        penalty = (
            np.r_[design[:, :3].var(axis=0), np.maximum(design[:, 3:].var(axis=0), LEAST)]
            * np.r_[[LAG_RIDGE] * 3, [RIDGE] * 2]
        )
        rows = np.concatenate([design, np.diag(np.sqrt(penalty))])
        least = np.r_[[0.0] * 3, [-np.inf] * 2]
        expected = lsq_linear(rows, np.r_[demand - demand.mean(), np.zeros(5)], (least, np.inf), tol=1e-12).x
        assert expected[:3].sum() < MOST
        weights = np.array([found[name][row] for name in "abg"])
        np.testing.assert_allclose(weights, expected[:3], atol=1e-4)
        np.testing.assert_allclose(found["coefficients"][row], expected[3:] / (1 - expected[:3].sum()), rtol=1e-3)


@pytest.mark.parametrize("name", EQUATIONS)
@pytest.mark.parametrize("width", [1, 2, 9, 90])
def test_a_series_does_not_depend_on_how_much_longer_its_companions_are(name, width):
    random = np.random.default_rng(6)
    known = Known(
        random.poisson(6, (4, width)) * 1.0, np.ones((4, width), bool), random.random((4, width + HORIZON, 3))
    )
    longer = Known(
        np.pad(known.history, ((0, 0), (30, 0)), constant_values=np.nan),
        np.pad(known.whole, ((0, 0), (30, 0))),
        np.concatenate([random.random((4, 30, 3)), known.regressors], axis=1),
    )
    for one, two in zip(EQUATIONS[name](known, SPEC), EQUATIONS[name](longer, SPEC), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", EQUATIONS)
def test_a_single_day_is_its_own_forecast(name):
    known = Known(np.array([[4.0]]), np.ones((1, 1), bool), np.ones((1, 1 + HORIZON, 3)))
    np.testing.assert_allclose(EQUATIONS[name](known, SPEC)[0], 4.0)


@pytest.mark.parametrize("name", EQUATIONS)
def test_days_ahead_with_a_promotion_are_forecast_higher(name):
    random = np.random.default_rng(7)
    promoted = (random.random((5, 300 + HORIZON, 1)) < 0.15) * 1.0
    promoted[:, -HORIZON:, 0] = np.arange(HORIZON) % 2
    demand = random.poisson(5 + 10 * promoted[:, :300, 0]).astype(float)
    mean, quantiles = EQUATIONS[name](Known(demand, np.ones(demand.shape, bool), promoted), SPEC)
    assert (mean[:, 1::2] > mean[:, 0::2].max(axis=1)[:, None] + 6).all()
    assert (quantiles[:, 1::2].min(axis=1) > quantiles[:, 0::2].max(axis=1) + 4).all()


@pytest.mark.parametrize("name", EQUATIONS)
def test_amounts_that_are_not_whole_have_quantiles_that_are_not(name):
    known = planted(0.5, width=100)
    quantiles = EQUATIONS[name](known, SPEC)[1]
    assert (quantiles != np.round(quantiles)).any()
    counted = Known(np.maximum(np.round(known.history), 0), known.whole, known.regressors)
    quantiles = EQUATIONS[name](counted, SPEC)[1]
    np.testing.assert_array_equal(quantiles, np.round(quantiles))


@pytest.mark.parametrize("name", EQUATIONS)
def test_quantiles_widen_with_the_days_ahead_as_errors_add_up(name):
    known = planted(0.8, width=700, noise=2.0)
    a = parameters(known, SPEC, name)["a"]
    mean, quantiles = EQUATIONS[name](known, SPEC)
    width = quantiles[..., -1] - mean
    for ahead in range(HORIZON):
        expected = np.sqrt(sum(a ** (2 * j) for j in range(ahead + 1)))
        np.testing.assert_allclose(width[:, ahead] / width[:, 0], expected, rtol=1e-6)


@pytest.mark.parametrize("name", EQUATIONS)
def test_days_that_all_tell_no_demand_are_forecast_as_0(name):
    known = planted(0.5, width=50)
    mean, quantiles = EQUATIONS[name](Known(known.history, np.zeros((3, 50), bool), known.regressors), SPEC)
    assert (mean == 0).all() and (quantiles == 0).all()


@pytest.mark.parametrize("name", EQUATIONS)
def test_a_regressor_far_from_all_that_was_seen_does_not_run_away(name):
    known = planted(0.5, width=100)
    known.regressors[:, 100:] = 1e4
    mean, quantiles = EQUATIONS[name](known, SPEC)
    assert np.isfinite(quantiles).all()
    assert (mean <= FARTHEST * known.history.max(axis=1)[:, None] + 1e-9).all()


@pytest.mark.parametrize("name", EQUATIONS)
@pytest.mark.parametrize("grain", ["week", "month"])
@pytest.mark.parametrize("width", [1, 5, 60, 130])
def test_long_seasons_and_short_histories_go_together(name, grain, width):
    spec = small_spec(grain=grain)
    random = np.random.default_rng(8)
    demand = random.poisson(20.0, (4, width)).astype(float)
    known = Known(demand, np.ones(demand.shape, bool), random.random((4, width + HORIZON, 5)))
    mean, quantiles = EQUATIONS[name](known, spec)
    assert np.isfinite(mean).all() and np.isfinite(quantiles).all()
    assert (np.diff(quantiles, axis=-1) >= 0).all() and (quantiles >= 0).all()
    if width >= 60:
        np.testing.assert_allclose(mean, 20, atol=10)


@pytest.mark.parametrize("name", EQUATIONS)
def test_noise_of_a_single_promoted_day_is_not_taken_for_its_effect(name):
    promoted = np.zeros((200, 700 + HORIZON, 1))
    promoted[:, [300, 703]] = 1
    demand = np.random.default_rng(9).poisson(5, (200, 700)).astype(float)
    mean, _ = EQUATIONS[name](Known(demand, np.ones(demand.shape, bool), promoted), SPEC)
    assert (mean[:, 3] - 5).std() < 0.6 * np.sqrt(5)


@pytest.mark.parametrize("name", EQUATIONS)
def test_a_few_days_do_not_tell_the_course_of_a_year(name):
    random = np.random.default_rng(10)
    spec, width = small_spec(horizon=28), 20
    year = 2 * np.pi * (np.arange(width + 28) + random.integers(0, 365, (200, 1))) / 365
    demand = random.poisson(5, (200, width)).astype(float)
    known = Known(demand, np.ones(demand.shape, bool), np.stack([np.sin(year), np.cos(year)], axis=-1))
    assert np.abs(EQUATIONS[name](known, spec)[0][:, -1] - 5).mean() < 1.5


def test_days_out_of_stock_do_not_enter_the_season():
    demand = np.tile([2.0, 2, 2, 2, 2, 8, 10], 20)[None]
    whole = np.ones(demand.shape, bool)
    whole[:, -22:-1] = False
    mean, _ = structural_regression(Known(demand, whole, np.zeros((1, 140 + HORIZON, 1))), SPEC)
    np.testing.assert_allclose(mean, demand[:, :HORIZON], atol=1.0)
