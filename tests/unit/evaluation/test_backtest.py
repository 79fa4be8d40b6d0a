"""What each series is compared on, and what a floor may know."""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from forecasting.baselines.floors import recent_quantiles
from forecasting.contracts import BACKTEST_FORECASTS
from forecasting.evaluation.backtest import actuals_after, compare, series_as_of, split

LAST = date(2024, 3, 31)
HORIZON = 4
ORIGIN = LAST - timedelta(days=HORIZON)
# Lengths of the series: two with history, one that begins at the origin, one inside the window.
SERIES = {"old": 20, "young": 9, "at_origin": HORIZON + 1, "inside": 2}


@pytest.fixture(scope="module")
def config(make_config):
    return make_config("forecast.horizon=4", "forecast.quantiles=[0.1,0.5,0.9]")


@pytest.fixture(scope="module")
def quantities() -> dict[str, np.ndarray]:
    random = np.random.default_rng(5)
    return {item: random.poisson(2.0, length).astype(float) for item, length in SERIES.items()}


def promotion(item: str, length: int) -> list[float] | None:
    """The oldest series is promoted on the first day after the origin, the others never."""
    return [float(at == length - HORIZON) for at in range(length + HORIZON)] if item == "old" else None


def sequences_of(spark, quantities):
    values = [
        (item, "ALL", LAST - timedelta(days=n - 1), LAST, n, quantity.tolist(), [1] * n, promotion(item, n), "toys")
        for item, quantity in quantities.items()
        for n in [len(quantity)]
    ]
    schema = "item_id string, location_id string, first_period date, last_period date, length int"
    schema += ", quantity array<float>, observed array<tinyint>, promotion array<float>, category string"
    return spark.createDataFrame(values, schema)


@pytest.fixture(scope="module")
def sequences(spark, quantities):
    return sequences_of(spark, quantities)


@pytest.fixture(scope="module")
def forecasts(spark):
    """A model's answers: 1 unit for every period of all but the series that begins inside the window."""
    values = [
        (item, "ALL", ORIGIN, ORIGIN + timedelta(days=ahead), ahead, 1.0, 0.5, 1.0, 1.5)
        for item in SERIES
        if item != "inside"
        for ahead in range(HORIZON, 0, -1)  # the order of rows must not matter
    ]
    schema = "item_id string, location_id string, forecast_origin date, target_date date, horizon int"
    return spark.createDataFrame(values, schema + ", mean double, p10 double, p50 double, p90 double")


@pytest.fixture(scope="module")
def answers(sequences, forecasts, config):
    return compare(sequences, {"transformer": forecasts}, config, ORIGIN).toPandas()


def test_columns_are_those_of_the_contract(answers, config):
    lineage = {"model_version", "data_version", "run_id", "created_at"}
    contract = [column.name for column in BACKTEST_FORECASTS.columns_with(config.forecast.quantile_columns)]
    assert list(answers.columns) == [name for name in contract if name not in lineage]


def test_every_model_answers_for_each_period_that_came_and_no_other(answers, quantities):
    for _, rows in answers.groupby("model"):
        for item, quantity in quantities.items():
            own = rows[rows["item_id"] == item].sort_values("target_date")
            count = min(HORIZON, len(quantity))
            assert own["actual"].tolist() == quantity[-count:].tolist()
            assert own["target_date"].tolist() == [LAST - timedelta(days=count - 1 - i) for i in range(count)]
            assert own["horizon"].tolist() == list(range(HORIZON - count + 1, HORIZON + 1))
    assert sorted(answers["model"].unique()) == ["recent_quantiles", "seasonal_naive", "transformer"]


def test_a_series_without_a_forecast_counts_as_a_forecast_of_nothing(answers):
    values = answers[answers["item_id"] == "inside"][["mean", "p10", "p50", "p90"]]
    assert (values == 0).all(axis=None)
    kept = answers[(answers["model"] == "transformer") & (answers["item_id"] != "inside")]
    assert kept[["mean", "p10", "p50", "p90"]].drop_duplicates().values.tolist() == [[1.0, 0.5, 1.0, 1.5]]


def test_floors_through_spark_are_those_of_numpy(answers, quantities, config):
    history = quantities["old"][None, :-HORIZON]
    mean, quantiles = recent_quantiles(history, 7, HORIZON, config.forecast.quantiles)
    own = answers[(answers["model"] == "recent_quantiles") & (answers["item_id"] == "old")].sort_values("horizon")
    np.testing.assert_allclose(own["mean"], mean[0])
    np.testing.assert_allclose(own[["p10", "p50", "p90"]], quantiles[0])


def test_floors_do_not_see_past_the_origin(spark, answers, quantities, make_config):
    floors = make_config(
        "forecast.horizon=4", "forecast.quantiles=[0.1,0.5,0.9]", "backtest.models=[seasonal_naive,recent_quantiles]"
    )
    changed = {item: np.r_[quantity[:-HORIZON], quantity[-HORIZON:] + 1000] for item, quantity in quantities.items()}
    after = compare(sequences_of(spark, changed), {}, floors, ORIGIN).toPandas()
    by = ["model", "item_id", "horizon"]
    before = answers[answers["model"] != "transformer"].drop(columns="actual").sort_values(by, ignore_index=True)
    assert before.equals(after.drop(columns="actual").sort_values(by, ignore_index=True))


def by_item(rows) -> dict:
    return {row["item_id"]: row for row in rows.toLocalIterator()}


def test_actuals_are_the_periods_behind_the_origin(sequences, quantities, config):
    rows = by_item(actuals_after(sequences, config, ORIGIN))
    assert rows["inside"]["actuals"] == [None, None, *quantities["inside"].tolist()]
    assert rows["old"]["actuals"] == quantities["old"][-HORIZON:].tolist()


def test_scales_are_those_of_the_history(sequences, quantities, config):
    rows = by_item(series_as_of(sequences, config, ORIGIN))
    history = quantities["old"][:-HORIZON]
    assert rows["old"]["scale"] == pytest.approx(np.abs(history[7:] - history[:-7]).mean())
    assert rows["old"]["squared_scale"] == pytest.approx((np.diff(history) ** 2).mean())
    assert rows["inside"]["scale"] == rows["inside"]["squared_scale"] == 0.0


def test_segments_are_told_as_of_the_origin(spark, sequences, quantities, config):
    rows = by_item(series_as_of(sequences, config, ORIGIN))
    assert rows["old"]["promoted"] == ["promoted", *["not promoted"] * (HORIZON - 1)]
    assert rows["young"]["promoted"] == [None] * HORIZON
    assert rows["inside"]["demand_class"] == "no demand"
    assert rows["inside"]["volume"] == "under 0.1"
    assert {row["history"] for row in rows.values()} == {"new"}
    assert rows["old"]["category"] == "toys"
    later = {item: np.r_[quantity[:-HORIZON], quantity[-HORIZON:] + 1000] for item, quantity in quantities.items()}
    changed = by_item(series_as_of(sequences_of(spark, later), config, ORIGIN))
    for item, row in rows.items():
        for name in ("scale", "squared_scale", "demand_class", "volume", "history"):
            assert changed[item][name] == row[name]


@pytest.mark.parametrize(
    ("grain", "first", "origin"),
    [("week", date(2023, 12, 25), date(2024, 1, 15)), ("month", date(2023, 10, 1), date(2024, 1, 1))],
)
def test_split_counts_in_periods(grain, first, origin):
    batch = pa.RecordBatch.from_pydict(
        {"first_period": pa.array([first]), "quantity": pa.array([[1.0, 2, 3, 4, 5, 6]], pa.list_(pa.float32()))}
    )
    history, actuals = split(batch, grain, origin, 3)
    assert history.tolist() == [[1, 2, 3, 4]]
    np.testing.assert_equal(actuals, [[5, 6, np.nan]])


def test_quantities_in_a_slice_of_a_batch_are_its_own(config):
    batch = pa.RecordBatch.from_pydict(
        {"first_period": pa.array([LAST] * 3), "quantity": pa.array([[1.0], [2.0], [3.0]], pa.list_(pa.float32()))}
    )
    history, actuals = split(batch.slice(1, 1), "day", LAST - timedelta(days=1), 1)
    assert history.shape == (1, 0)
    assert actuals.tolist() == [[2.0]]
