"""The paired comparison against an obvious loop, and against chance."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from forecasting.evaluation import comparison
from forecasting.evaluation.comparison import compare_models

ORIGIN = date(2024, 1, 31)
ITEMS, PLACES, DAYS = 6, 2, 10


@pytest.fixture(scope="module")
def forecast(make_config):
    return make_config("forecast.quantiles=[0.5]").forecast


def answers(error_of) -> pd.DataFrame:
    """Forecasts of models `ours` and `theirs`: `error_of(model)` is what each mean and median is off, [items, places, days]."""
    rows = []
    for model in ("ours", "theirs"):
        errors = error_of(model)
        for item, place, day in np.ndindex(ITEMS, PLACES, DAYS):
            value = 10 + errors[item, place, day]
            rows.append((model, f"i{item}", f"l{place}", ORIGIN, ORIGIN + timedelta(day + 1), 10.0, value, value))
    columns = ["model", "item_id", "location_id", "forecast_origin", "target_date", "actual", "mean", "p50"]
    return pd.DataFrame(rows, columns=columns)


def compared(spark, frame, forecast) -> dict[str, dict]:
    return {row["loss"]: row for row in compare_models(spark.createDataFrame(frame), ["ours", "theirs"], forecast)}


@pytest.fixture
def many_items(monkeypatch):
    monkeypatch.setattr(comparison, "FEWEST_ITEMS", ITEMS)


def clustered_variance(difference: np.ndarray) -> float:
    by_item, by_day, cells = difference.sum(axis=(1, 2)), difference.sum(axis=(0, 1)), difference.sum(axis=1)
    return sum(sign * ((part - part.mean()) ** 2).sum() for sign, part in ((1, by_item), (1, by_day), (-1, cells)))


def test_gain_interval_and_p_value_agree_with_a_loop(spark, forecast, many_items):
    random = np.random.default_rng(3)
    days, items = random.normal(size=(1, 1, DAYS)), random.normal(size=(ITEMS, 1, 1))
    errors = {
        "ours": 1.0 * random.normal(size=(ITEMS, PLACES, DAYS)) + days,
        "theirs": 1.5 * random.normal(size=(ITEMS, PLACES, DAYS)) + days + items,
    }
    found = compared(spark, answers(errors.get), forecast)
    for loss, of in {"squared_error": np.square, "pinball": lambda error: np.abs(error) / 2}.items():
        own, other = of(errors["ours"]), of(errors["theirs"])
        error = clustered_variance(own - other) ** 0.5
        row = found[loss]
        assert row["gain"] == pytest.approx(1 - own.sum() / other.sum())
        half = stats.t(min(ITEMS, DAYS) - 1).ppf(0.975) * error / other.sum()
        assert (row["gain_low"], row["gain_high"]) == pytest.approx((row["gain"] - half, row["gain"] + half))
        expected = 2 * stats.t(min(ITEMS, DAYS) - 1).sf(abs((own - other).sum()) / error)
        assert row["p_value"] == pytest.approx(expected)
        assert row["series"] == ITEMS * PLACES
        assert row["better_series"] == pytest.approx((own.sum(axis=2) < other.sum(axis=2)).mean())


def test_with_few_items_series_count_for_themselves(spark, forecast, monkeypatch):
    random = np.random.default_rng(6)
    errors = {model: random.normal(size=(ITEMS, PLACES, DAYS)) for model in ("ours", "theirs")}
    frame = answers(errors.get)
    by_series = compared(spark, frame, forecast)["pinball"]
    as_items = frame.assign(item_id=frame["item_id"] + frame["location_id"])
    monkeypatch.setattr(comparison, "FEWEST_ITEMS", 2)
    by_item = compared(spark, frame, forecast)["pinball"]
    assert by_series["p_value"] == pytest.approx(compared(spark, as_items, forecast)["pinball"]["p_value"])
    assert by_item["p_value"] != pytest.approx(by_series["p_value"])


def test_a_model_is_no_better_than_itself(spark, forecast):
    noise = np.random.default_rng(4).normal(size=(ITEMS, PLACES, DAYS))
    row = compared(spark, answers(lambda model: noise), forecast)["pinball"]
    assert row["gain"] == 0
    assert row["p_value"] is None


def test_one_lucky_day_does_not_make_a_model_better(spark, forecast):
    """All series gain on the one day that all share: a test that took rows for independent draws would be sure."""
    random = np.random.default_rng(5)
    ours = random.normal(size=(ITEMS, PLACES, DAYS))
    theirs = ours + 0.01 * random.normal(size=ours.shape)
    theirs[:, :, 3] += 3
    found = compared(spark, answers({"ours": ours, "theirs": theirs}.get), forecast)["squared_error"]
    difference = (np.square(ours) - np.square(theirs)).ravel()
    assert stats.ttest_1samp(difference, 0).pvalue < 0.01
    assert found["p_value"] > 0.05
