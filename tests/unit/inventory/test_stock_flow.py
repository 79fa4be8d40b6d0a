"""Stock period by period against a plain loop, and against what theory says of it."""

import numpy as np
import pytest
from scipy import stats

from forecasting.inventory.distribution import CountDemand
from forecasting.inventory.stock_flow import stock_flow
from forecasting.inventory.targets import Coverage, order_up_to, packed


def one_by_one(demand, reviews, levels, lead, pack, backordered):
    """The same for a single series, by lists of what is on its way."""
    on_hand, owed, coming, told = levels[0], 0.0, [], []
    for now, asked in enumerate(demand):
        on_hand += sum(units for day, units in coming if day == now)
        coming = [(day, units) for day, units in coming if day > now]
        if now in reviews:
            missing = levels[reviews.index(now)] - on_hand - sum(units for _, units in coming) + owed
            units = np.ceil(missing / pack) * pack if missing > 0 else 0.0
            if lead == 0:
                on_hand += units
            else:
                coming.append((now + lead, units))
        late = min(owed, on_hand)
        on_hand, owed = on_hand - late, owed - late
        met = min(asked, on_hand)
        on_hand -= met
        owed += asked - met if backordered else 0.0
        told.append((met, asked - met, on_hand))
    return np.array(told).T


@pytest.mark.parametrize("backordered", [False, True])
def test_many_series_at_once_are_as_one_after_the_other(backordered):
    random = np.random.default_rng(4)
    demand, reviews = random.poisson(3.0, (6, 40)).astype(float), list(range(0, 40, 5))
    levels = random.integers(10, 40, (6, 8)).astype(float)
    lead, pack = np.array([0, 1, 4, 5, 7, 12]), np.array([1.0, 6.0, 1.0, 4.0, 1.0, 10.0])
    found = stock_flow(demand, reviews, levels, lead, pack, backordered)
    for row in range(6):
        expected = one_by_one(demand[row], reviews, levels[row], lead[row], pack[row], backordered)
        np.testing.assert_allclose([found.met[row], found.short[row], found.stock[row]], expected, atol=1e-9)


def test_nothing_comes_from_nowhere():
    random = np.random.default_rng(5)
    demand, levels = random.poisson(2.0, (50, 60)).astype(float), random.integers(0, 30, (50, 12)).astype(float)
    found = stock_flow(demand, list(range(0, 60, 5)), levels, np.full(50, 3), np.ones(50))
    assert (found.met + found.short == demand).all() and (found.stock >= 0).all()
    arrived = found.ordered[:, :-1].sum(axis=1)  # those of the last review, at 55, arrive at 58
    bought = levels[:, 0] + arrived + found.ordered[:, -1]
    np.testing.assert_allclose(bought - found.met.sum(axis=1), found.stock[:, -1])


def test_the_cost_at_the_critical_ratio_is_the_scaled_pinball_loss(make_config):
    """The newsvendor identity: with nothing carried over, c (S - y)+ + p (y - S)+ = (c + p) times the pinball loss of S at p / (c + p)."""
    config = make_config(
        "inventory.target=costs", "inventory.holding_cost=0.2", "inventory.shortage_cost=1.0"
    ).inventory
    mean = np.random.default_rng(6).gamma(2.0, 4.0, 400)
    demand = CountDemand(mean, 2.0 * mean)
    level = order_up_to(Coverage(demand, CountDemand(0 * mean, 0 * mean), np.ones(400)), config)
    came = stats.nbinom.rvs(mean, 0.5, random_state=7).astype(float)[:, None]
    done = stock_flow(came, [0], level[:, None], np.zeros(400, int), np.ones(400))
    cost = 0.2 * done.stock[:, 0] + 1.0 * done.short[:, 0]
    ratio, missing = 1.0 / 1.2, came[:, 0] - level
    np.testing.assert_allclose(cost, 1.2 * np.maximum(ratio * missing, (ratio - 1) * missing))


@pytest.mark.parametrize("target", ["cycle_service", "fill_rate"])
@pytest.mark.parametrize("share", [0.8, 0.9, 0.98])
def test_what_is_aimed_at_is_reached_where_demand_is_as_forecast(make_config, target, share):
    rate, lead, between, reviews = np.full(60, 8.0), 3, 2, 700
    demand = np.random.default_rng(8).poisson(8.0, (60, between * reviews)).astype(float)
    config = make_config(f"inventory.target={target}", f"inventory.service_level={share}").inventory
    protection, before = (CountDemand(rate * n, rate * n) for n in (lead + between, lead))
    coverage = Coverage(protection, before, np.full(60, float(between)))
    level = order_up_to(coverage, config)
    places = list(range(0, between * reviews, between))
    levels = np.tile(level[:, None], reviews)
    done = stock_flow(demand, places, levels, np.full(60, lead), np.ones(60), backordered=True)
    if target == "fill_rate":
        assert done.met.sum() / demand.sum() == pytest.approx(coverage.fill_rate(level)[0], abs=0.003)
        assert done.met.sum() / demand.sum() >= share - 0.003
    else:  # an interval in which something is short is one at whose end stock is
        ends = done.stock[:, lead + between - 1 :: between]
        owed = (ends == 0).mean() - stats.poisson.pmf(level[0], 8.0 * (lead + between))
        assert 1 - owed == pytest.approx(1 - protection.exceeds(level)[0], abs=0.005)
        assert 1 - owed >= share - 0.005


def test_packed_rounds_up_and_forgives_rounding_errors():
    units, pack = np.array([-3.0, 0.0, 0.3, 6.0, 6.1]), np.array([6.0, 6.0, 0.1, 6.0, 6.0])
    np.testing.assert_allclose(packed(units, pack), [0, 0, 0.3, 6, 12])
