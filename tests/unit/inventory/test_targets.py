"""Levels by target against loops, a simulation, and figures of stockpyl 1.0.2, the reference for formulas."""

import numpy as np
import pytest
from scipy import stats

from forecasting.inventory.distribution import CountDemand
from forecasting.inventory.targets import Coverage, order_up_to

MEAN = np.array([20.0, 2.5, 12.0, 1.5, 0.0])
VARIANCE = np.array([20.0, 2.5, 25.0, 4.0, 0.0])


def inventory(make_config, *settings: str):
    return make_config(*(f"inventory.{setting}" for setting in settings)).inventory


def demand(mean, variance) -> CountDemand:
    return CountDemand(np.asarray(mean, float), np.asarray(variance, float))


def probabilities(mean: float, variance: float) -> np.ndarray:
    """Of 0 to 999 units, one by one."""
    counts = np.arange(1000)
    if variance <= mean:
        return stats.poisson.pmf(counts, mean)
    return stats.nbinom.pmf(counts, mean**2 / (variance - mean), mean / variance)


@pytest.mark.parametrize("units", [-3.0, -0.5, 0.0, 0.4, 3.0, 14.0, 14.7, 40.0])
def test_the_shortage_is_the_sum_over_all_demands(units):
    found = demand(MEAN, VARIANCE).shortage(np.full(5, units))
    expected = [
        np.maximum(np.arange(1000) - units, 0) @ probabilities(mean, variance)
        for mean, variance in zip(MEAN, VARIANCE, strict=True)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_shortages_are_those_of_stockpyl():
    """poisson_loss(18, 20), poisson_loss(5, 2.5), negative_binomial_loss(14, mean=12, sd=5), (3, mean=1.5, sd=2)."""
    found = demand(MEAN, VARIANCE).shortage(np.array([18.0, 5.0, 14.0, 3.0, 1.0]))
    np.testing.assert_allclose(
        found, [2.9250271315553045, 0.061949761738091386, 1.208349903282258, 0.3444381286227439, 0.0], atol=1e-9
    )


def test_least_costs_are_those_of_the_newsvendor(make_config):
    """stockpyl: newsvendor_poisson(0.2, 1.0, 20) orders 24, newsvendor_poisson(1.4, 1.0, 20) orders 19; others by trying all."""
    costs = inventory(make_config, "target=costs", "holding_cost=0.2", "shortage_cost=1.0")
    protection = demand([20.0, 20.0, 12.0, 1.5, 0.0], [20.0, 20.0, 25.0, 4.0, 0.0])
    days = np.array([1.0, 7.0, 1.0, 2.0, 1.0])
    found = order_up_to(Coverage(protection, demand(np.zeros(5), np.zeros(5)), days), costs)
    assert found[:2].tolist() == [24, 19]
    for row in (2, 3):
        likely, counts = probabilities(protection.mean[row], protection.variance[row]), np.arange(1000)
        cost = [
            likely @ (0.2 * days[row] * np.maximum(level - counts, 0) + np.maximum(counts - level, 0))
            for level in range(60)
        ]
        assert found[row] == np.argmin(cost)
    assert found[4] == 0


@pytest.mark.parametrize(("lead", "review"), [(0, 1), (2, 1), (3, 4)])
def test_a_share_of_demand_is_met_as_a_simulation_shows(lead, review):
    """Poisson demand of 3 a period; every review orders up to the level; what is missing is served later."""
    rate, level, periods = 3.0, 3.0 * (lead + review) + 1, 200_000
    sold = np.random.default_rng(1).poisson(rate, periods)
    due, stock, met = np.zeros(periods + lead + 1), level, 0.0
    position = level
    for now in range(periods):
        if now % review == 0:  # ordered before the period's sales, here lead periods later
            due[now + lead] += level - position
            position = level
        stock += due[now]
        met += min(sold[now], max(stock, 0.0))
        stock, position = stock - sold[now], position - sold[now]
    coverage = Coverage(
        demand([rate * (lead + review)], [rate * (lead + review)]),
        demand([rate * lead], [rate * lead]),
        np.array([1.0]),
    )
    assert coverage.fill_rate(np.array([level])) == pytest.approx(met / sold.sum(), abs=0.004)


def test_a_series_has_the_same_level_whatever_stands_beside_it(make_config):
    """Nothing is asked for in the review period of the first; the second varies, though its mean is 0; of the third rounding is left."""
    wanted = inventory(make_config, "target=fill_rate", "service_level=0.95")
    mean, variance = np.array([14.0, 0.0, 14.0 + 1e-14, 500.0]), np.array([20.0, 1.0, 20.0, 900.0])
    lead = demand([14.0, 0.0, 14.0, 250.0], [20.0, 0.7, 20.0, 450.0])
    together = Coverage(demand(mean, variance), lead, np.ones(4))
    level = order_up_to(together, wanted)
    assert level[:3].tolist() == [0, 0, 0] and level[3] > 250
    for row in range(4):
        alone = Coverage(
            demand(mean[[row]], variance[[row]]), demand(lead.mean[[row]], lead.variance[[row]]), np.ones(1)
        )
        assert order_up_to(alone, wanted) == level[row]
    assert np.isfinite(together.protection.shortage(np.zeros(4))).all()


def test_the_level_is_the_least_that_meets_the_target(make_config):
    protection, lead = demand(MEAN, VARIANCE), demand(MEAN / 2, VARIANCE / 2)
    coverage = Coverage(protection, lead, np.full(5, 7.0))
    for share in (0.5, 0.9, 0.99):
        found = order_up_to(coverage, inventory(make_config, "target=fill_rate", f"service_level={share}"))
        assert (coverage.fill_rate(found) >= share).all()
        assert (coverage.fill_rate(found - 1)[:4] < share).all()
        assert found[4] == 0
        by_cycle = order_up_to(coverage, inventory(make_config, "target=cycle_service", f"service_level={share}"))
        assert (protection.exceeds(by_cycle)[:4] <= 1 - share).all()
        assert (protection.exceeds(by_cycle - 1)[:4] > 1 - share).all()
