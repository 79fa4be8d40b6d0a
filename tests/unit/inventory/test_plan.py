"""Decisions: what is ordered, how safe it is, and whose terms count."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from forecasting.contracts import INVENTORY_PLAN
from forecasting.inventory.plan import TERMS, build_plan, decide

ORIGIN = date(2024, 1, 31)
HORIZON = 5


@pytest.fixture(scope="module")
def config(make_config):
    return make_config(
        "forecast.horizon=5",
        "forecast.quantiles=[0.1,0.5,0.9]",
        "inventory.lead_time=2",
        "inventory.review_period=1",
        "inventory.service_level=0.9",
        "inventory.demand_correlation=0",
        "inventory.pack_size=6",
    )


def terms_of(*rows: tuple) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(TERMS))


def steady(units: float, count: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Forecasts without any spread of their own: Poisson demand follows."""
    return np.full((count, HORIZON), units), np.full((count, HORIZON, 3), units)


def test_orders_up_to_the_reorder_point_in_whole_packs(config):
    plan = decide(*steady(2.0, 3), terms_of((0, 0, 2, 1, 6.0), (3, 4, 2, 1, 1.0), (50, 0, 2, 1, 1.0)), config)
    expected = stats.poisson.ppf(0.9, 6.0)
    assert plan["protection_periods"].tolist() == [3, 3, 3]
    assert plan["reorder_point"].tolist() == [expected] * 3
    assert plan["safety_stock"].tolist() == [expected - 6.0] * 3
    assert plan["protection_demand_std"].tolist() == [np.sqrt(6.0)] * 3
    assert plan["order_quantity"].tolist() == [np.ceil(expected / 6) * 6, expected - 7, 0]


def test_risk_falls_with_the_order_to_what_the_service_level_allows(config):
    plan = decide(*steady(2.0, 2), terms_of((0, 0, 2, 1, 1.0), (4, 0, 2, 1, 1.0)), config)
    np.testing.assert_allclose(plan["stock_out_probability"], stats.poisson.sf([0, 4], 6.0))
    assert (plan["stock_out_probability_after_order"] <= 0.1).all()
    assert (plan["stock_out_probability_after_order"] < plan["stock_out_probability"]).all()


def test_the_order_meets_the_target_that_is_asked_for(make_config):
    own = ("forecast.horizon=5", "forecast.quantiles=[0.1,0.5,0.9]", "inventory.service_level=0.9")
    terms = terms_of((0, 0, 2, 1, 1.0), (4, 0, 0, 2, 1.0))
    by_cycle, by_share = (
        decide(*steady(2.0, 2), terms, make_config(*own, f"inventory.target={target}"))
        for target in ("cycle_service", "fill_rate")
    )
    assert (by_share["fill_rate"] >= 0.9).all()
    assert by_share["reorder_point"].tolist() == [9.0, 6.0] and by_cycle["reorder_point"].tolist() == [9.0, 7.0]
    position = terms["on_hand"] + terms["on_order"] + by_share["order_quantity"]
    assert (position == by_share["reorder_point"]).all()
    # Of two periods with nothing to wait for, all that is short is short in them.
    short = by_share["expected_shortage_after_order"][1]
    assert by_share["fill_rate"][1] == pytest.approx(1 - short / 4.0)
    assert (by_share["expected_shortage"] > by_share["expected_shortage_after_order"]).all()


def test_an_interval_past_the_horizon_goes_on_with_the_last_season(config):
    mean, quantiles = steady(2.0)
    plan = decide(mean, quantiles, terms_of((0, 0, 10, 10, 1.0)), config)
    assert plan["protection_periods"].tolist() == [20]
    assert plan["protection_demand"].tolist() == [40.0]


@pytest.mark.parametrize(("grain", "periods"), [("day", 14), ("week", 2), ("month", 1)])
def test_days_become_whole_periods(make_config, grain, periods):
    config = make_config(f"series.grain={grain}", "forecast.horizon=5", "forecast.quantiles=[0.1,0.5,0.9]")
    plan = decide(*steady(1.0, 2), terms_of((0, 0, 7, 7, 1.0), (0, 0, 0, 1, 1.0)), config)
    assert plan["protection_periods"].tolist() == [periods, 1]


def test_more_uncertain_demand_needs_more_safety_stock(config):
    mean = np.full((2, HORIZON), 10.0)
    quantiles = np.stack([np.tile([8.0, 10.0, 12.0], (HORIZON, 1)), np.tile([2.0, 9.0, 20.0], (HORIZON, 1))])
    plan = decide(mean, quantiles, terms_of(*[(0, 0, 2, 1, 1.0)] * 2), config)
    assert plan["safety_stock"][1] > plan["safety_stock"][0] > 0


def test_the_plan_joins_terms_by_series_and_falls_back_to_the_configuration(spark, config):
    days = range(HORIZON, 0, -1)  # the order of rows must not matter
    forecasts = spark.createDataFrame(
        [
            (item, "ALL", ORIGIN, ORIGIN + timedelta(days=ahead), ahead, float(ahead), *[float(ahead)] * 3)
            for ahead in days
            for item in ("with_terms", "without", "partly")
        ],
        "item_id string, location_id string, forecast_origin date, target_date date, horizon int, "
        "mean double, p10 double, p50 double, p90 double",
    )
    stock = spark.createDataFrame(
        [("with_terms", "ALL", 4.0, 1.0, 1, 1, 1.0), ("partly", "ALL", 4.0, None, None, None, None)],
        "item_id string, location_id string, on_hand double, on_order double, lead_time int, review_period int, "
        "pack_size double",
    )
    plan = build_plan(forecasts, stock, config)
    lineage = {"model_version", "data_version", "run_id", "created_at"}
    assert plan.columns == [column.name for column in INVENTORY_PLAN.columns if column.name not in lineage]
    found = plan.toPandas().set_index("item_id")
    assert found.loc["with_terms", list(TERMS)].tolist() == [4, 1, 1, 1, 1]
    assert found.loc["without", list(TERMS)].tolist() == [0, 0, 2, 1, 6]
    assert found.loc["partly", list(TERMS)].tolist() == [4, 0, 2, 1, 6]
    assert found["protection_demand"].to_dict() == {"with_terms": 3.0, "without": 6.0, "partly": 6.0}
    assert (found["plan_date"] == ORIGIN).all()
