"""Rows of series that a floor forecasts better come from the floor, and say so; all others stay as they are."""

from datetime import date, timedelta

import numpy as np
import pytest
from pyspark.sql import functions as F

from forecasting.baselines.floors import recent_quantiles
from forecasting.scoring.methods import with_fallback, without_closed_days, without_dead_items
from forecasting.states import State

ORIGIN = date(2024, 3, 31)
HORIZON, LENGTH = 4, 40


@pytest.fixture(scope="module")
def config(make_config):
    return make_config("forecast.horizon=4", "forecast.quantiles=[0.1,0.5,0.9]")


@pytest.fixture(scope="module")
def quantities() -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    return {item: random.poisson(3.0, LENGTH).astype(float) for item in ("good", "bad")}


@pytest.fixture(scope="module")
def answers(spark, quantities, config):
    first = ORIGIN - timedelta(LENGTH - 1)
    history = [(item, "ALL", first, values.tolist(), [1] * LENGTH) for item, values in quantities.items()]
    sequences = spark.createDataFrame(
        history, "item_id string, location_id string, first_period date, quantity array<float>, observed array<tinyint>"
    )
    values = [
        (item, "ALL", ORIGIN, ORIGIN + timedelta(ahead), ahead, 9.0, 7.0, 8.0, 9.0, True)
        for item in quantities
        for ahead in range(1, HORIZON + 1)
    ]
    schema = "item_id string, location_id string, forecast_origin date, target_date date, horizon int"
    forecasts = spark.createDataFrame(
        values, schema + ", mean double, p10 double, p50 double, p90 double, answered boolean"
    )
    worse = spark.createDataFrame(
        [("bad", "ALL", "transformer", 28, 2.0, 1.0, 0.01)],
        "item_id string, location_id string, model string, periods int, model_loss double, floor_loss double, p_value double",
    )
    return forecasts, sequences, worse


def test_only_the_series_that_a_floor_forecasts_better_changes(answers, quantities, config):
    forecasts, sequences, worse = answers
    found = with_fallback(forecasts, sequences, worse, config, ORIGIN).toPandas().sort_values(["item_id", "horizon"])
    bad, good = (found[found["item_id"] == item] for item in ("bad", "good"))
    mean, quantiles = recent_quantiles(quantities["bad"][None], 7, HORIZON, config.forecast.quantiles)
    np.testing.assert_allclose(bad["mean"], mean[0])
    np.testing.assert_allclose(bad[["p10", "p50", "p90"]], quantiles[0])
    assert set(bad["method"]) == {"recent_quantiles"}
    assert set(bad["reason"]) == {"over 28 held-out periods its loss was 50 % below that of transformer (p 0.0100)"}
    assert bad["target_date"].tolist() == [ORIGIN + timedelta(ahead) for ahead in range(1, HORIZON + 1)]
    assert set(good["method"]) == {"transformer"}
    assert good["reason"].isna().all()
    assert (good[["mean", "p10", "p50", "p90"]] == [9.0, 7.0, 8.0, 9.0]).all(axis=None)


def test_without_a_backtest_every_row_is_the_models(answers, config):
    forecasts, sequences, _ = answers
    found = with_fallback(forecasts, sequences, None, config, ORIGIN)
    assert {row["method"] for row in found.select("method").distinct().toLocalIterator()} == {"transformer"}
    assert found.count() == forecasts.count()


def test_a_series_for_which_the_model_gave_no_number_says_so(answers, config):
    forecasts, sequences, _ = answers
    forecasts = forecasts.withColumn("answered", F.col("item_id") != "bad")
    found = with_fallback(forecasts, sequences, None, config, ORIGIN)
    told = {(row["item_id"], row["method"], row["reason"]) for row in found.distinct().toLocalIterator()}
    assert told == {
        ("good", "transformer", None),
        ("bad", "recent_quantiles", "transformer gave no number for this series"),
    }


def days_closed(spark, *rows):
    return spark.createDataFrame(rows, "date date, event string, location_id string, closed boolean")


@pytest.mark.parametrize(("level", "closed"), [("location", {1, 2}), ("chain", {2})])
def test_nothing_is_forecast_for_closed_days(spark, make_config, answers, level, closed):
    config = make_config("forecast.horizon=4", "forecast.quantiles=[0.1,0.5,0.9]", f"series.location_level={level}")
    forecasts, sequences, _ = answers
    calendar = days_closed(
        spark,
        (ORIGIN + timedelta(1), "stocktaking", "ALL", True),
        (ORIGIN + timedelta(2), "Christmas", None, True),
        (ORIGIN + timedelta(3), "fair", None, None),
        (ORIGIN + timedelta(4), "stocktaking", "elsewhere", True),
    )
    found = without_closed_days(with_fallback(forecasts, sequences, None, config, ORIGIN), calendar, config).toPandas()
    assert len(found) == forecasts.count()
    shut = found[found["method"] == "closed"]
    assert set(shut["horizon"]) == closed
    assert (shut[["mean", "p10", "p50", "p90"]] == 0).all(axis=None)
    assert "closed by the calendar: Christmas" in set(shut["reason"])
    assert (found[found["method"] != "closed"]["mean"] == 9.0).all()


@pytest.fixture(scope="module")
def odd(spark, config):
    """Forecasts and sequences of series that live on or do not, by what they are called."""
    first = ORIGIN - timedelta(LENGTH - 1)
    sold, unseen = [1.0] * 5 + [0.0] * (LENGTH - 5), [1] * 5 + [0] * (LENGTH - 5)
    seen = [1] * LENGTH
    after = ORIGIN + timedelta(3)
    series = {
        "lives": (first, [1.0] * LENGTH, seen, State.SOLD, None),
        "ended": (first, sold, seen, State.SOLD, None),
        "sold of late": (first, [*sold[:-20], 1.0, *[0.0] * 19], seen, State.SOLD, None),
        "not seen": (first, sold, unseen, State.SOLD, None),
        "young": (ORIGIN - timedelta(9), [0.0] * 10, [1] * 10, State.OUT_OF_STOCK, None),
        "coming": (ORIGIN, [0.0], [0], State.MISSING, after),
        "sells before": (first, [1.0] * LENGTH, seen, State.SOLD, after),
    }
    columns = "item_id string, location_id string, first_period date, quantity array<float>, observed array<tinyint>, state array<tinyint>, launched_on date"
    sequences = spark.createDataFrame(
        [
            (name, "ALL", began, units, told, [int(state)] * len(units), launch)
            for name, (began, units, told, state, launch) in series.items()
        ],
        columns,
    )
    values = [
        (name, "ALL", ORIGIN + timedelta(n), n, 2.0, 1.0, 2.0, 3.0, "transformer", None)
        for name in series
        for n in range(1, HORIZON + 1)
    ]
    schema = "item_id string, location_id string, target_date date, horizon int, mean double, p10 double, p50 double, p90 double, method string, reason string"
    return spark.createDataFrame(values, schema), sequences


def told_by_item(answers, sequences, config, origin=ORIGIN):
    found = without_dead_items(answers, sequences, config, origin).toPandas().sort_values("horizon")
    assert len(found) == answers.count()
    return dict(list(found.groupby("item_id")))


def test_a_series_that_has_ended_is_forecast_0_and_says_so(odd, make_config):
    config = make_config("forecast.horizon=4", "forecast.quantiles=[0.1,0.5,0.9]", "scoring.ended_after=30")
    found = told_by_item(*odd, config)
    ended = {item for item, rows in found.items() if set(rows["method"]) == {"ended"}}
    assert ended == {"ended"}
    rows = found["ended"]
    assert (rows[["mean", "p10", "p50", "p90"]] == 0).all(axis=None)
    assert set(rows["reason"]) == {"nothing sold for 30 days or longer"}
    assert set(told_by_item(*odd, config, ORIGIN - timedelta(10))["ended"]["method"]) == {"transformer"}  # 25 days then
    never = make_config("forecast.horizon=4", "forecast.quantiles=[0.1,0.5,0.9]", "scoring.ended_after=null")
    assert set(told_by_item(*odd, never)["ended"]["method"]) == {"transformer"}


def test_before_its_launch_an_item_is_forecast_0_and_after_it_by_the_model(odd, config):
    found = told_by_item(*odd, config)
    coming = found["coming"]
    assert coming["method"].tolist() == ["not launched"] * 2 + ["transformer"] * 2
    assert coming["mean"].tolist() == [0.0, 0.0, 2.0, 2.0]
    assert coming["reason"].tolist()[:2] == [f"launched on {ORIGIN + timedelta(3)}"] * 2
    assert set(found["sells before"]["method"]) == {"transformer"}
