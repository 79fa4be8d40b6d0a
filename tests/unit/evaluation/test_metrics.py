"""Metrics against `utilsforecast.losses` and an obvious loop."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from utilsforecast import losses

from forecasting.evaluation.metrics import backtest_metrics, outermost_interval, revisions

ORIGIN = date(2024, 1, 31)
LEVELS = {"p10": 0.1, "p50": 0.5, "p90": 0.9}
ITEMS, HISTORY, HORIZON, SEASON = 5, 30, 6, 7


@pytest.fixture(scope="module")
def forecast(make_config):
    return make_config("forecast.quantiles=[0.1,0.5,0.9]").forecast


@pytest.fixture(scope="module")
def train() -> pd.DataFrame:
    random = np.random.default_rng(11)
    rows = [(f"i{item}", day, float(random.poisson(2))) for item in range(ITEMS) for day in range(HISTORY)]
    return pd.DataFrame(rows, columns=["item_id", "ds", "y"])


@pytest.fixture(scope="module")
def answers() -> pd.DataFrame:
    """Two models' forecasts of series of one length, with quantiles that tie with the actual values at times."""
    random = np.random.default_rng(12)
    rows = []
    for model in ("a", "b"):
        actuals = np.random.default_rng(13)
        for item in range(ITEMS):
            for ahead in range(1, HORIZON + 1):
                quantiles = np.sort(random.poisson(2, 3)).astype(float)
                values = (float(actuals.poisson(1.5)), random.gamma(2.0), *quantiles)
                rows.append((model, f"i{item}", "ALL", ORIGIN, ahead, *values))
    columns = ["model", "item_id", "location_id", "forecast_origin", "horizon", "actual", "mean", *LEVELS]
    return pd.DataFrame(rows, columns=columns).astype({"horizon": "int32"})


def scales_of(train: pd.DataFrame) -> pd.DataFrame:
    grouped = train.groupby("item_id")["y"]
    scales = {
        "scale": grouped.apply(lambda y: y.diff(SEASON).abs().mean()),
        "squared_scale": grouped.apply(lambda y: (y.diff() ** 2).mean()),
    }
    return pd.DataFrame(scales).reset_index().assign(location_id="ALL")


def series_of(scales: pd.DataFrame) -> pd.DataFrame:
    """As `series_as_of` gives it: items alternate between two classes; the first is promoted on its first day."""
    count = len(scales)
    promoted = [["promoted", *["not promoted"] * (HORIZON - 1)], *[[None] * HORIZON] * (count - 1)]
    return scales.assign(
        forecast_origin=ORIGIN,
        promoted=promoted,
        demand_class=[("smooth", "lumpy")[item % 2] for item in range(count)],
        category=None,
        volume="1 to 10",
        history="longer",
    )


SERIES_SCHEMA = (
    "item_id string, scale double, squared_scale double, location_id string, forecast_origin date, "
    "promoted array<string>, demand_class string, category string, volume string, history string"
)


def by_segment(spark, answers, scales, forecast) -> pd.DataFrame:
    series = spark.createDataFrame(series_of(scales), SERIES_SCHEMA)
    return backtest_metrics(spark.createDataFrame(answers), series, forecast, SEASON).toPandas()


def metrics_of(spark, answers, scales, forecast) -> pd.DataFrame:
    found = by_segment(spark, answers, scales, forecast)
    return found[found["segment"] == "all"]


@pytest.fixture(scope="module")
def found(spark, answers, train, forecast) -> pd.DataFrame:
    return metrics_of(spark, answers, scales_of(train), forecast).set_index(["model", "metric"])


@pytest.mark.parametrize("model", ["a", "b"])
def test_metrics_agree_with_utilsforecast(found, answers, train, model):
    # Its losses are averages over series of averages over time; series of one length make them ours. Its ratios are per
    # series too, so for those the frame is one series.
    own = answers[answers["model"] == model].rename(columns={"actual": "y", "horizon": "ds"})
    own = own.assign(**{"m-lo-80": own["p10"], "m-hi-80": own["p90"], "m": own["p50"], "unique_id": own["item_id"]})
    whole = own.assign(unique_id="all")

    def ours(metric):
        return found.loc[(model, metric), "value"]

    def of(frame, loss, names, **more):
        return loss(frame, names, **more).drop(columns="unique_id").to_numpy().mean()

    assert ours("mse") == pytest.approx(of(own, losses.mse, ["mean"]))
    assert ours("rmse") == pytest.approx(of(whole, losses.rmse, ["mean"]))
    assert ours("wape") == pytest.approx(of(whole, losses.wape, ["m"]))
    renamed = train.rename(columns={"item_id": "unique_id"})
    assert ours("mase") == pytest.approx(of(own, losses.mase, ["m"], seasonality=SEASON, train_df=renamed))
    squared = losses.rmsse(own, ["mean"], seasonality=1, train_df=renamed).drop(columns="unique_id").to_numpy().mean()
    assert ours("rmsse") == pytest.approx(squared)
    assert ours("mae") == pytest.approx(of(own, losses.mae, ["m"]))
    assert ours("coverage_80") == pytest.approx(of(own, losses.coverage, ["m"], level=80))
    assert ours("width_80") == pytest.approx((own["p90"] - own["p10"]).sum() / own["y"].sum())
    pinballs = [of(own, losses.quantile_loss, {"m": name}, q=level) for name, level in LEVELS.items()]
    assert ours("wql") == pytest.approx(2 * np.mean(pinballs) / own["y"].mean())
    for name, level in LEVELS.items():
        loss = of(own, losses.quantile_loss, {"m": name}, q=level)
        assert ours(f"pinball_{level:g}") == pytest.approx(2 * loss / own["y"].mean())
        assert ours(f"at_or_below_{level:g}") == pytest.approx(of(own, losses.calibration, {"m": name}))


def test_wql_bias_and_calibration_agree_with_a_loop(found, answers):
    for model, rows in answers.groupby("model"):
        demand = sum(rows["actual"])
        pinball = 0.0
        for name, level in LEVELS.items():
            for actual, quantile in zip(rows["actual"], rows[name], strict=True):
                pinball += level * (actual - quantile) if actual >= quantile else (1 - level) * (quantile - actual)
            below = sum(actual < quantile for actual, quantile in zip(rows["actual"], rows[name], strict=True))
            assert found.loc[(model, f"below_{level:g}"), "value"] == pytest.approx(below / len(rows))
        assert found.loc[(model, "wql"), "value"] == pytest.approx(2 * pinball / demand / len(LEVELS))
        bias = sum(mean - actual for mean, actual in zip(rows["mean"], rows["actual"], strict=True)) / demand
        assert found.loc[(model, "bias"), "value"] == pytest.approx(bias)


def test_series_without_a_scale_are_left_out_of_mase_alone(spark, answers, train, forecast):
    scales = scales_of(train)
    scales.loc[0, "scale"] = 0.0
    found = metrics_of(spark, answers, scales.drop(index=1), forecast).set_index(["model", "metric"])
    assert found.loc[("a", "mase"), "series"] == ITEMS - 2
    assert found.loc[("a", "wql"), "series"] == ITEMS
    rows = answers[answers["model"] == "a"]
    errors = (rows["p50"] - rows["actual"]).abs().groupby(rows["item_id"]).mean()
    kept = scales.set_index("item_id")["scale"].iloc[2:]
    assert found.loc[("a", "mase"), "value"] == pytest.approx((errors[kept.index] / kept).mean())


def test_ratios_are_null_without_demand(spark, answers, train, forecast):
    silent = answers.assign(actual=0.0)
    found = metrics_of(spark, silent, scales_of(train), forecast).set_index(["model", "metric"])["value"]
    for metric in ("wape", "wql", "bias"):
        assert np.isnan(found["a", metric])
    assert found["a", "mse"] > 0


@pytest.mark.parametrize(
    ("levels", "expected"),
    [((0.1, 0.5, 0.9), (0, 2)), ((0.05, 0.1, 0.5, 0.9), (1, 3)), ((0.3, 0.5, 0.9), None), ((0.5,), None)],
)
def test_outermost_interval_is_the_widest_symmetric_pair(levels, expected):
    assert outermost_interval(levels) == expected


def test_there_is_no_coverage_without_a_symmetric_pair(spark, answers, train, make_config):
    forecast = make_config("forecast.quantiles=[0.1,0.5]").forecast
    found = metrics_of(spark, answers.drop(columns="p90"), scales_of(train), forecast)
    assert not found["metric"].str.startswith(("coverage", "width")).any()


def test_segments_hold_their_own_rows(spark, answers, train, forecast):
    found = by_segment(spark, answers, scales_of(train), forecast).set_index(["model", "segment", "part", "metric"])[
        "value"
    ]
    own = answers[answers["model"] == "a"]
    lumpy = own[own["item_id"].isin(["i1", "i3"])]
    assert found["a", "demand_class", "lumpy", "mse"] == pytest.approx(((lumpy["mean"] - lumpy["actual"]) ** 2).mean())
    first = own[(own["item_id"] == "i0") & (own["horizon"] == 1)]
    assert found["a", "promotion", "promoted", "mae"] == pytest.approx((first["p50"] - first["actual"]).abs().mean())
    assert found["a", "ahead", "1-7", "wql"] == pytest.approx(found["a", "all", "all", "wql"])
    parts = {(segment, part) for _, segment, part, _ in found.index}
    assert parts == {
        ("all", "all"), ("demand_class", "smooth"), ("demand_class", "lumpy"), ("volume", "1 to 10"), ("history", "longer"),
        ("ahead", "1-7"), ("promotion", "promoted"), ("promotion", "not promoted"),
    }  # fmt: skip


def test_revision_is_how_far_the_median_moved_for_the_same_period(spark, forecast):
    def rows(origin, medians):
        values = [
            ("a", item, "ALL", origin, origin + timedelta(ahead + 1), 2.0, median)
            for item, own in medians.items()
            for ahead, median in enumerate(own)
        ]
        columns = ["model", "item_id", "location_id", "forecast_origin", "target_date", "actual", "p50"]
        return spark.createDataFrame(pd.DataFrame(values, columns=columns))

    earlier = rows(ORIGIN - timedelta(1), {"x": [9.0, 1.0, 2.0], "y": [9.0, 0.0, 0.0]})
    now = rows(ORIGIN, {"x": [2.0, 2.0, 9.0], "y": [0.0, 3.0, 9.0]})
    found = revisions(now, earlier, forecast).collect()
    assert [(row["metric"], row["segment"], row["series"]) for row in found] == [("revision", "all", 2)]
    assert found[0]["value"] == pytest.approx((1 + 0 + 0 + 3) / (4 * 2.0))
    assert revisions(now, rows(ORIGIN - timedelta(9), {"x": [1.0]}), forecast).isEmpty()
