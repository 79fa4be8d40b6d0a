"""Policies replayed from the forecasts of each origin: levels as the plan has them, terms as given, nothing of what came later."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from forecasting.contracts import STOCK_SIMULATION
from forecasting.errors import ConfigError
from forecasting.inventory.simulate import simulate
from forecasting.inventory.stock_flow import stock_flow

FIRST, HISTORY, HORIZON = date(2024, 1, 1), 60, 7
ORIGINS = [FIRST + timedelta(HISTORY - 1 + days) for days in (0, 7, 14, 21)]
LAST = ORIGINS[-1] + timedelta(7)
TERMS = "item_id string, location_id string, on_hand double, on_order double, lead_time int, review_period int, pack_size double"


@pytest.fixture(scope="module")
def config(make_config):
    return make_config(
        "forecast.horizon=7", "forecast.quantiles=[0.1,0.5,0.9]", "scoring.origins=5", "scoring.step=7",
        "inventory.lead_time=3", "inventory.service_level=0.9", "inventory.demand_correlation=0",
        "inventory.holding_cost=0.5", "inventory.shortage_cost=4", "simulation.average_days=14", "simulation.safety_days=2",
    )  # fmt: skip


def demand(item: str) -> np.ndarray:
    return np.random.default_rng(len(item)).poisson(4.0, HISTORY + 28).astype(float)


def expected(origin: date, item: str) -> float:
    """What is forecast of every period ahead of an origin; it differs from origin to origin."""
    return 2.0 + ORIGINS.index(origin) + len(item)


def simulated(spark, config, changed=lambda values: values, origins=ORIGINS, last=LAST) -> pd.DataFrame:
    forecasts = [
        (item, "s", origin, ahead, *[expected(origin, item)] * 4, f"m{ORIGINS.index(origin) // 2}")
        for item in ("a", "late", "slow one")
        for origin in ORIGINS
        for ahead in range(1, HORIZON + 1)
        if item != "late" or origin >= ORIGINS[2]
    ]
    columns = "item_id string, location_id string, forecast_origin date, horizon int, mean double, p10 double, p50 double, p90 double"
    columns += ", model_version string"
    sequences = [(item, "s", FIRST, changed(demand(item)).tolist()) for item in ("a", "slow one")]
    sequences.append(("late", "s", ORIGINS[2] - timedelta(1), changed(demand("late"))[-16:].tolist()))
    told = simulate(
        spark.createDataFrame(forecasts, columns).orderBy("horizon"),
        spark.createDataFrame(
            sequences, "item_id string, location_id string, first_period date, quantity array<float>"
        ),
        spark.createDataFrame([("slow one", "s", 5.0, 0.0, 40, 1, 6.0)], TERMS),
        config,
        origins,
        last,
    )
    lineage = {"data_version", "run_id", "created_at"}
    assert told.columns == [column.name for column in STOCK_SIMULATION.columns if column.name not in lineage]
    return told.toPandas().set_index(["policy", "item_id"]).sort_index()


def test_orders_are_those_of_the_forecasts_of_each_origin(spark, config):
    found = simulated(spark, config)
    came = demand("a")[None, HISTORY:]
    # A review a week and three days to wait: ten days, of which seven are forecast.
    levels = np.array([[stats.poisson.ppf(0.9, 10 * expected(origin, "a")) for origin in ORIGINS]])
    done = stock_flow(came, [0, 7, 14, 21], levels, np.array([3]), np.array([1.0]))
    row = found.loc[("plan", "a")]
    assert row["model_version"] == "m0, m1" and found.loc[("plan", "late"), "model_version"] == "m1"
    counted = slice(3, 24)  # what was ordered first came on the fourth day; three whole cycles follow
    assert (row["first_origin"], row["last_period"], row["periods"]) == (ORIGINS[0], LAST, 21)
    assert (row["demand"], row["met"]) == (came[0, counted].sum(), done.met[0, counted].sum())
    assert row["average_stock"] == pytest.approx(done.stock[0, counted].mean())
    assert row["holding_cost"] == pytest.approx(0.5 * done.stock[0, counted].sum())
    assert row["shortage_cost"] == pytest.approx(4 * done.short[0, counted].sum())
    weeks = done.short[0, counted].reshape(3, 7).sum(axis=1)
    assert (row["cycles"], row["cycles_short"]) == (3, (weeks > 0).sum())
    assert (row["orders"], row["units_ordered"]) == ((done.ordered[0, :3] > 0).sum(), done.ordered[0, :3].sum())


def test_the_moving_average_covers_the_interval_and_some_days_more(spark, config):
    found = simulated(spark, config)
    sold = demand("a")
    levels = [np.ceil(sold[: HISTORY + days][-14:].mean() * 12 - 1e-9) for days in (0, 7, 14, 21)]
    done = stock_flow(sold[None, HISTORY:], [0, 7, 14, 21], np.array([levels]), np.array([3]), np.array([1.0]))
    assert found.loc[("moving_average", "a"), "met"] == done.met[0, 3:24].sum()


def test_a_series_begins_when_it_is_first_forecast(spark, config):
    row = simulated(spark, config).loc[("plan", "late")]
    # First forecast at the third origin, 14 days on; what is ordered then comes three days later, and one whole week follows.
    assert (row["first_origin"], row["periods"], row["cycles"], row["orders"]) == (ORIGINS[2], 7, 1, 1)
    assert row["demand"] == demand("late")[-28:][17:24].sum()


def test_of_a_series_whose_lead_time_is_too_long_nothing_is_counted(spark, config):
    row = simulated(spark, config).loc[("plan", "slow one")]
    assert row["periods"] == row["demand"] == row["holding_cost"] == row["cycles"] == 0
    assert row["first_origin"] is None


def test_what_came_later_changes_no_order(spark, config):
    """Of sales after the second origin three times as much: the orders of the two origins up to there stay."""
    later = HISTORY + 7

    def more(values):
        return np.where(np.arange(len(values)) < later, values, 3 * values)

    before, after = (simulated(spark, config, changed, ORIGINS[:3], ORIGINS[3]) for changed in (lambda v: v, more))
    for policy in ("plan", "moving_average"):
        mine, other = before.loc[(policy, "a")], after.loc[(policy, "a")]
        assert mine["cycles"] == 2 and mine["demand"] < other["demand"]
        assert mine["units_ordered"] == other["units_ordered"]


def test_series_do_not_depend_on_those_beside_them(spark, config):
    whole = simulated(spark, config)
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", 1)
    try:
        pd.testing.assert_frame_equal(simulated(spark, config), whole)
    finally:
        spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", 100_000)


def test_without_an_origin_before_the_end_there_is_nothing_to_stock_flow(spark, config):
    with pytest.raises(ConfigError, match=r"scoring\.origins: expected 2 at least"):
        simulated(spark, config, origins=[])
