"""WRMSSE against an obvious loop over the nodes of each level."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F

from forecasting.evaluation.hierarchy import wrmsse
from forecasting.hierarchy.nodes import level_name

LAST, HORIZON = date(2024, 3, 31), 5
ORIGIN = LAST - timedelta(HORIZON)
LEVELS = [[], ["location_id"], ["category"], ["category", "location_id"], ["item_id", "location_id"]]
ITEMS = {"a": "food", "b": "food", "c": "toys", "d": None}
PLACES = ("l0", "l1")


@pytest.fixture(scope="module")
def config(make_config):
    hierarchy = str(LEVELS).replace("'", "")
    return make_config(f"forecast.horizon={HORIZON}", f"backtest.hierarchy={hierarchy}", "forecast.quantiles=[0.5]")


@pytest.fixture(scope="module")
def series() -> list[dict]:
    """Series of unlike lengths, one of which begins inside the horizon, and one whose history is zeros at first."""
    random = np.random.default_rng(6)
    found = []
    for number, (item, category) in enumerate(ITEMS.items()):
        for place in PLACES:
            length = 3 if (item, place) == ("c", "l1") else int(random.integers(20, 40))
            quantity = random.poisson(2.0 + number, length).astype(float)
            if (item, place) == ("b", "l0"):
                quantity[:9] = 0
            price = np.full(length, 1.0 + number)
            planned = np.full(length + HORIZON, 2.0) if item == "a" else None
            found.append(
                {
                    "item_id": item,
                    "location_id": place,
                    "category": category,
                    "quantity": quantity,
                    "price": price,
                    "planned_price": planned,
                }
            )
    return found


@pytest.fixture(scope="module")
def sequences(spark, series):
    rows = [
        (s["item_id"], s["location_id"], s["category"], LAST - timedelta(len(s["quantity"]) - 1), len(s["quantity"]),
         s["quantity"].tolist(), s["price"].tolist(), None if s["planned_price"] is None else s["planned_price"].tolist())
        for s in series
    ]  # fmt: skip
    schema = "item_id string, location_id string, category string, first_period date, length int, quantity array<float>"
    return spark.createDataFrame(rows, schema + ", price array<float>, planned_price array<float>").repartition(3)


def forecasts_of(series) -> pd.DataFrame:
    """All places are closed on the fourth day, and one on the second too: nobody knows what would have sold."""
    random = np.random.default_rng(7)
    rows = []
    for model in ("one", "other"):
        for s in series:
            count = min(HORIZON, len(s["quantity"]))
            for back in range(count, 0, -1):
                ahead = HORIZON - back + 1
                rows.append(
                    (model, s["item_id"], s["location_id"], ahead, float(s["quantity"][-back]), random.gamma(2.0))
                )
    found = pd.DataFrame(rows, columns=["model", "item_id", "location_id", "horizon", "actual", "mean"])
    closed = (found["horizon"] == 4) | ((found["horizon"] == 2) & (found["location_id"] == "l0"))
    return found[~closed]


def expected(
    series, forecasts, level, unit=lambda s: s["planned_price"][0] if s["planned_price"] is not None else s["price"][0]
) -> float:
    nodes = {}
    for s in series:
        nodes.setdefault(tuple(s[name] for name in level), []).append(s)
    total, weights = 0.0, 0.0
    for members in nodes.values():
        history, error, weight = np.zeros(60), np.full(HORIZON, np.nan), 0.0
        for s in members:
            past = s["quantity"][:-HORIZON]
            history[60 - len(past) :] += past
            weight += past[-HORIZON:].sum() * unit(s)
            own = forecasts[(forecasts["item_id"] == s["item_id"]) & (forecasts["location_id"] == s["location_id"])]
            for row in own.itertuples():
                error[row.horizon - 1] = np.nansum([error[row.horizon - 1], row.mean - row.actual])
        if history.any():
            scale = np.square(np.diff(history[np.flatnonzero(history)[0] :])).mean()
            total += weight * np.sqrt(np.nanmean(np.square(error)) / scale)
            weights += weight
    return total / weights


def test_wrmsse_equals_the_obvious_loop_at_every_level(spark, sequences, series, config):
    forecasts = forecasts_of(series)
    found = wrmsse(sequences, spark.createDataFrame(forecasts), config, ORIGIN).toPandas()
    assert set(found["metric"]) == {"wrmsse"} and set(found["forecast_origin"]) == {ORIGIN}
    told = found.set_index(["model", "segment", "part"])["value"]
    for model, own in forecasts.groupby("model"):
        values = [expected(series, own, level) for level in LEVELS]
        for level, value in zip(LEVELS, values, strict=True):
            assert told[model, "level", level_name(level)] == pytest.approx(value)
        assert told[model, "all", "all"] == pytest.approx(np.mean(values))
    assert len(found) == 2 * (len(LEVELS) + 1)


def test_without_any_price_nodes_weigh_by_units(spark, sequences, series, config):
    free = sequences.withColumns(
        {"price": F.transform("price", lambda p: p * 0), "planned_price": F.lit(None).cast("array<float>")}
    )
    forecasts = forecasts_of(series)
    found = (
        wrmsse(free, spark.createDataFrame(forecasts), config, ORIGIN).toPandas().set_index(["model", "part"])["value"]
    )
    own = forecasts[forecasts["model"] == "one"]
    assert found["one", "category"] == pytest.approx(expected(series, own, ["category"], unit=lambda s: 1.0))


def test_what_comes_behind_the_origin_changes_no_weight_and_no_scale(spark, sequences, series, config):
    forecasts = spark.createDataFrame(forecasts_of(series))
    later = F.transform("quantity", lambda q, at: F.when(at >= F.col("length") - HORIZON, q + 100).otherwise(q))
    one, other = (
        wrmsse(s, forecasts, config, ORIGIN).toPandas() for s in (sequences, sequences.withColumn("quantity", later))
    )
    by = ["model", "segment", "part"]
    pd.testing.assert_frame_equal(one.sort_values(by, ignore_index=True), other.sort_values(by, ignore_index=True))
