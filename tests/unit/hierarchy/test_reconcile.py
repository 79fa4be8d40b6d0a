"""Forecasts of all levels add up, whatever the method, and each method does what it says."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from pyspark.sql import functions as F
from small_sequences import small_rows

from forecasting.errors import ConfigError
from forecasting.hierarchy import reconcile
from forecasting.hierarchy.base import base_forecasts, node_histories
from forecasting.hierarchy.reconcile import reconciled
from forecasting.inventory.distribution import period_variance

ORIGIN, HORIZON = date(2023, 3, 31), 3
CLOSED_DAY = 2  # periods ahead, on which one series alone is open
LEVELS = (("total", []), ("category", ["category"]), ("category x location_id", ["category", "location_id"]))
SERIES = "item_id x location_id"
QUANTILES = ["p10", "p50", "p90"]
ITEMS = {"a": "food", "b": "food", "c": None}
PLACES = ("l0", "l1")


def settings(make_config, *more: str):
    levels = str([level for _, level in LEVELS]).replace("'", "")
    own = (f"forecast.horizon={HORIZON}", "forecast.quantiles=[0.1, 0.5, 0.9]", f"reconciliation.levels={levels}")
    return make_config(*own, "reconciliation.base=recent_quantiles", *more)


@pytest.fixture(scope="module")
def demand():
    """Of each series its history; the last one begins late, and of one the last days were not seen."""
    random = np.random.default_rng(3)
    keys = [(item, place) for item in ITEMS for place in PLACES]
    return {key: random.poisson(3.0 + 2 * n, 9 if n == 5 else 40).astype(float) for n, key in enumerate(keys)}


@pytest.fixture(scope="module")
def sequences(spark, demand):
    rows = [
        (item, place, ITEMS[item], ORIGIN - timedelta(len(values) - 1), len(values), values.tolist(), [1] * len(values))
        for (item, place), values in demand.items()
    ]
    schema = "item_id string, location_id string, category string, first_period date, length int, quantity array<float>"
    return spark.createDataFrame(rows, schema + ", observed array<tinyint>").repartition(2)


@pytest.fixture(scope="module")
def forecasts(spark, demand):
    """Forecasts that are too low by two fifths; of one series in fractions of a unit."""
    rows = []
    for (item, place), values in demand.items():
        for ahead in range(1, HORIZON + 1):
            mean = 0.6 * values[-28:].mean() + 0.1 * ahead
            spread = [0.5, 1.0, 1.5]
            closed = ahead == CLOSED_DAY and (item, place) != ("b", "l1")
            quantiles = [mean * s if item == "a" else round(mean * s) * 1.0 for s in spread]
            told = [0.0] * 4 if closed else [float(mean), *map(float, quantiles)]
            rows.append((item, place, ahead, told[0], "closed" if closed else "transformer", *told[1:]))
    schema = "item_id string, location_id string, horizon int, mean double, method string, p10 double, p50 double, p90 double"
    return spark.createDataFrame(rows, schema).repartition(2)


@pytest.fixture(scope="module")
def told(make_config, sequences, forecasts):
    """Rows of all levels by each method, as a frame."""

    def of(method: str) -> pd.DataFrame:
        config = settings(make_config, f"reconciliation.method={method}")
        base = base_forecasts(sequences, small_rows(), config.reconciliation.levels, config, ORIGIN, "data")
        with reconciled(forecasts, sequences, base, config) as rows:
            return rows.toPandas()

    return {method: of(method) for method in ("bottom_up", "top_down", "min_trace")}


@pytest.mark.parametrize("method", ["bottom_up", "top_down", "min_trace"])
def test_means_of_all_levels_add_up_and_quantiles_do_not_cross(told, method):
    frame = told[method]
    assert len(frame) == HORIZON * (1 + 2 + 4 + 6) and set(frame["method"]) == {method}
    series = frame[frame["level"] == SERIES].merge(
        pd.Series(ITEMS, name="category"), left_on="item_id", right_index=True
    )
    series["category"] = series["category_y"].fillna("")
    for name, level in LEVELS:
        nodes = frame[frame["level"] == name].assign(category=lambda rows: rows["category"].fillna(""))
        sums = series.groupby([*level, "horizon"])["mean"].sum()
        found = nodes.set_index([*level, "horizon"])["mean"]
        assert found.sort_index().to_numpy() == pytest.approx(sums.sort_index().to_numpy())
    assert (frame["mean"] >= 0).all() and (frame[QUANTILES] >= 0).all(axis=None)
    assert (np.diff(frame[QUANTILES], axis=1) >= 0).all()


def test_nodes_are_told_by_their_attributes(told):
    frame = told["min_trace"]
    nodes = frame[frame["level"] == "category x location_id"].drop_duplicates("node").set_index("node")
    assert set(nodes.index) == {"food / l0", "food / l1", " / l0", " / l1"}
    assert nodes.loc["food / l0", ["category", "location_id"]].tolist() == ["food", "l0"]
    assert pd.isna(nodes.loc[" / l0", "category"]) and nodes["item_id"].isna().all() and nodes["brand"].isna().all()
    assert set(frame.loc[frame["level"] == "total", "node"]) == {"total"}
    assert set(frame.loc[frame["level"] == SERIES, "node"]) == {
        f"{item} / {place}" for item in ITEMS for place in PLACES
    }


def test_bottom_up_keeps_the_series(told):
    series = told["bottom_up"][told["bottom_up"]["level"] == SERIES]
    assert series["mean"].to_numpy() == pytest.approx(series["base_mean"].to_numpy())
    assert set(series["base_method"]) == {"transformer", "closed"}


def test_top_down_keeps_the_total_and_the_proportions_of_the_series(told):
    frame = told["top_down"][told["top_down"]["horizon"] != CLOSED_DAY]
    total = frame[frame["level"] == "total"]
    assert total["mean"].to_numpy() == pytest.approx(total["base_mean"].to_numpy()) and set(total["base_method"]) == {
        "recent_quantiles"
    }
    series = frame[frame["level"] == SERIES]
    ratio = (series["mean"] / series["base_mean"]).groupby(series["horizon"])
    assert ratio.max().to_numpy() == pytest.approx(ratio.min().to_numpy()) and (ratio.min() > 1.1).all()


def test_minimum_trace_is_that_of_the_textbook(told, forecasts):
    frame = told["min_trace"]
    rows = forecasts.toPandas()
    rows["variance"] = period_variance(rows["mean"].to_numpy(), rows[QUANTILES].to_numpy(), [0.1, 0.5, 0.9])
    own = rows.groupby(["item_id", "location_id"])["variance"].mean()
    keys = list(own.index)
    named = [{"item_id": item, "location_id": place, "category": ITEMS[item] or ""} for item, place in keys]
    holds, base = [], []
    for name, level in LEVELS:
        nodes = frame[frame["level"] == name].assign(category=lambda rows: rows["category"].fillna(""))
        for values, of_node in nodes.groupby(level or (lambda _: 0)):
            values = dict(zip(level, values if isinstance(values, tuple) else (values,), strict=False))
            holds.append([float(values.items() <= each.items()) for each in named])
            base.append(of_node.sort_values("horizon")["base_mean"])
    holds, base = np.array(holds), np.array(base)
    mean = np.stack(
        [rows[(rows["item_id"] == i) & (rows["location_id"] == p)].sort_values("horizon")["mean"] for i, p in keys]
    )
    variance = own.to_numpy()
    sums, precision = np.vstack([holds, np.eye(len(keys))]), np.diag(1 / np.concatenate([holds @ variance, variance]))
    expected = np.linalg.solve(sums.T @ precision @ sums, sums.T @ precision @ np.vstack([base, mean]))
    series = frame[frame["level"] == SERIES].set_index(["item_id", "location_id", "horizon"])["mean"].sort_index()
    found, open_ = series.to_numpy().reshape(expected.shape), [0, 2]
    assert found[:, open_] == pytest.approx(expected[:, open_])
    assert mean[:, open_].sum() < found[:, open_].sum() < base[0, open_].sum()


@pytest.mark.parametrize("method", ["bottom_up", "top_down", "min_trace"])
def test_what_is_closed_stays_at_nothing_and_its_demand_is_not_given_to_others(told, method):
    frame = told[method][told[method]["horizon"] == CLOSED_DAY]
    series = frame[frame["level"] == SERIES].set_index("node")
    closed = series.drop(index="b / l1")
    assert (closed["mean"] == 0).all() and (closed[QUANTILES] == 0).all(axis=None)
    usual = told[method][(told[method]["node"] == "b / l1") & (told[method]["horizon"] != CLOSED_DAY)]
    assert 0.5 * usual["mean"].min() < series.loc["b / l1", "mean"] < 1.5 * usual["mean"].max()
    without = frame[frame["node"] == " / l0"]
    assert (
        (without["mean"] == 0).all() and (without[QUANTILES] == 0).all(axis=None) and (without["base_mean"] > 0).all()
    )


def test_quantiles_move_with_the_mean(told):
    frame = told["min_trace"][told["min_trace"]["horizon"] != CLOSED_DAY]
    total = frame[frame["level"] == "total"]
    assert (total["p50"] > 0).all() and ((total["p90"] - total["p10"]) > 0).all()
    series = frame[frame["level"] == SERIES]
    whole = series[series["item_id"] != "a"]
    assert (whole[QUANTILES] == whole[QUANTILES].round()).all(axis=None)
    fractions = series[series["item_id"] == "a"]
    assert (fractions["p50"] / fractions["mean"]).to_numpy() == pytest.approx(np.ones(len(fractions)))


def test_a_node_is_the_sum_of_its_series_up_to_the_origin_alone(make_config, sequences, demand):
    config, origin = settings(make_config), ORIGIN - timedelta(5)
    later = sequences.withColumn(
        "quantity",
        F.transform("quantity", lambda x, at: F.when(at >= F.col("length") - 5, 999.0).otherwise(x).cast("float")),
    )
    for frame in (sequences, later):
        nodes = (
            node_histories(frame, config.reconciliation.levels, config, origin)
            .toPandas()
            .set_index(["location_id", "item_id"])
        )
        total = nodes.loc["total", ""]
        expected = sum(np.pad(values, (40 - len(values), 0))[:-5] for values in demand.values())
        assert total["quantity"] == pytest.approx(expected) and total["length"] == 35
        assert total["first_period"] == origin - timedelta(34)
        assert nodes.loc["category x location_id", "\x1f\x1fl1"]["quantity"] == pytest.approx(
            np.r_[demand["c", "l1"]][:-5]
        )


@pytest.mark.parametrize("base", ["structural_regression", "seasonal_naive"])
def test_any_base_forecasts_every_node(make_config, sequences, base):
    config = settings(make_config, f"reconciliation.base={base}")
    found = base_forecasts(sequences, small_rows(), config.reconciliation.levels, config, ORIGIN, "data").toPandas()
    assert len(found) == 7 * HORIZON and (found["mean"] > 0).all() and not found.isna().any(axis=None)


def test_too_many_nodes_are_refused_with_what_to_do(make_config, sequences, forecasts, monkeypatch):
    monkeypatch.setattr(reconcile, "MOST_NODES", 6)
    config = settings(make_config)
    base = base_forecasts(sequences, small_rows(), config.reconciliation.levels, config, ORIGIN, "data")
    with (
        pytest.raises(ConfigError, match=r"came 7\. Leave out those of single items"),
        reconciled(forecasts, sequences, base, config),
    ):
        pass
