"""Demand over a protection interval against loops, known distributions and simulation."""

import numpy as np
import pytest
from scipy import stats

from forecasting.inventory.distribution import CountDemand, period_variance, reach, sum_moments

LEVELS = np.arange(1, 10) / 10


@pytest.mark.parametrize(
    ("distribution", "tolerance"),
    [
        (stats.norm(50, 8), 0.1),
        (stats.gamma(2, scale=5), 0.15),
        (stats.expon(scale=3), 0.05),
        (stats.uniform(10, 20), 0.15),
    ],
)
def test_variance_is_near_that_of_a_known_distribution(distribution, tolerance):
    found = period_variance(np.array(distribution.mean()), distribution.ppf(LEVELS), LEVELS)
    assert found == pytest.approx(distribution.var(), rel=tolerance)


def test_variance_is_that_of_draws_from_the_same_quantile_function():
    quantiles, mean = np.array([0.0, 1.0, 2.0, 4.0, 8.0]), 5.0
    levels = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    body = np.interp((np.arange(90_000) + 0.5) / 100_000, [0, *levels], [0, *quantiles])
    excess = max((mean - body.sum() / 100_000 - 0.1 * 8) / 0.1, 0.1 * (8 - 4) / 0.2)
    tail = 8 - excess * np.log1p(-(np.arange(1_000_000) + 0.5) / 1_000_000)
    everything, weights = np.r_[body, tail], np.r_[np.full(90_000, 1e-5), np.full(1_000_000, 1e-7)]
    average = everything @ weights
    expected = ((everything - average) ** 2) @ weights
    assert period_variance(np.array(mean), quantiles, levels) == pytest.approx(expected, rel=1e-3)


def test_demand_that_is_zero_at_every_level_still_varies_with_its_mean():
    rare, never = period_variance(np.array([0.05, 0.0]), np.zeros((2, 9)), LEVELS)
    assert rare == pytest.approx(0.05, rel=0.1)  # as of a Poisson
    assert never == 0


def test_a_single_level_will_do():
    assert period_variance(np.array([2.0]), np.array([[2.0]]), [0.5])[0] >= 0


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.9])
def test_moments_of_the_sum_agree_with_a_double_loop(correlation):
    random = np.random.default_rng(1)
    mean, variance = random.gamma(2, size=(4, 10)), random.gamma(2, size=(4, 10))
    periods = np.array([1, 5, 10, 13])
    found_mean, found_variance = sum_moments(mean, variance, periods, correlation, season=7)
    for row, count in enumerate(periods):
        means = [mean[row, i] if i < 10 else mean[row, 3:].mean() for i in range(count)]
        sigma = [np.sqrt(variance[row, i] if i < 10 else variance[row, 3:].mean()) for i in range(count)]
        total = sum(correlation ** abs(i - j) * sigma[i] * sigma[j] for i in range(count) for j in range(count))
        assert found_mean[row] == pytest.approx(sum(means))
        assert found_variance[row] == pytest.approx(total)


def test_reach_takes_the_whole_forecast_where_it_is_shorter_than_a_season():
    assert reach(np.array([[1.0, 3.0]]), 4, season=7).tolist() == [[1, 3, 2, 2]]
    assert reach(np.array([[1.0, 3.0]]), 1, season=7).tolist() == [[1]]


def test_quantiles_and_risks_agree_with_a_loop_over_scipy():
    random = np.random.default_rng(2)
    mean, variance = random.gamma(1, 5, size=50), random.gamma(1, 8, size=50)
    mean[0], variance[1] = 0.0, mean[1]
    units = np.floor(random.gamma(1, 5, size=50))
    demand = CountDemand(mean, variance)
    quantile, risk = demand.quantile(0.95), demand.exceeds(units)
    for row in range(50):
        if mean[row] == 0:
            assert (quantile[row], risk[row]) == (0, 0)
            continue
        if variance[row] > mean[row]:
            size = mean[row] ** 2 / (variance[row] - mean[row])
            exact = stats.nbinom(size, mean[row] / variance[row])
        else:
            exact = stats.poisson(mean[row])
        assert quantile[row] == exact.ppf(0.95)
        assert risk[row] == pytest.approx(exact.sf(units[row]))


def test_a_variance_next_to_the_mean_is_a_poisson():
    mean = np.full(4, 100.0)
    demand = CountDemand(mean, mean * (1 + np.array([0.0, 1e-12, 1e-7, 1e-5])))
    np.testing.assert_allclose(demand.exceeds(np.full(4, 115.0)), stats.poisson.sf(115, 100), rtol=1e-4)


def test_risk_of_the_sum_of_independent_days_agrees_with_simulation():
    random = np.random.default_rng(3)
    sizes, shares = np.array([0.5, 2.0, 8.0]), np.array([0.3, 0.5, 0.4])
    days = 14
    draws = random.negative_binomial(sizes, shares, size=(50_000, days, 3)).sum(axis=1)
    mean, variance = sizes * (1 - shares) / shares, sizes * (1 - shares) / shares**2
    moments = sum_moments(
        np.repeat(mean[:, None], days, 1), np.repeat(variance[:, None], days, 1), np.full(3, days), 0.0, season=7
    )
    demand = CountDemand(*moments)
    for share in (0.8, 1.0, 1.3):
        units = np.floor(share * moments[0])
        np.testing.assert_allclose(demand.exceeds(units), (draws > units).mean(axis=0), atol=0.01)
