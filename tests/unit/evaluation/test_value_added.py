"""Series by series: the paired test against scipy's, and what too few periods or chance may not decide."""

from datetime import date, timedelta

import numpy as np
import pytest
from scipy import stats

from forecasting.evaluation.value_added import falls_back, reason, value_added

ORIGIN = date(2024, 1, 31)
HORIZON = 28
SCHEMA = "model string, item_id string, location_id string, forecast_origin date, target_date date, horizon int, actual double, mean double, p50 double"


@pytest.fixture(scope="module")
def config(make_config):
    return make_config("forecast.quantiles=[0.5]")


def answers(spark, errors: dict[str, dict[str, np.ndarray]]):
    """Rows of models whose median is off by errors[model][item], day by day."""
    rows = [
        (model, item, "l", ORIGIN, ORIGIN + timedelta(ahead + 1), ahead + 1, 10.0, 10.0 + off, 10.0 + off)
        for model, of_items in errors.items()
        for item, offs in of_items.items()
        for ahead, off in enumerate(offs.tolist())
    ]
    return spark.createDataFrame(rows, SCHEMA)


@pytest.fixture(scope="module")
def errors() -> dict[str, dict[str, np.ndarray]]:
    random = np.random.default_rng(1)
    small, large = ({i: random.gamma(2.0, scale, HORIZON) for i in ("ours", "theirs")} for scale in (1.0, 4.0))
    return {
        "net": {"a": small["ours"], "b": large["ours"], "short": large["ours"][:14], "same": small["ours"]},
        "floor": {"a": large["theirs"], "b": small["theirs"], "short": small["theirs"][:14], "same": small["ours"]},
    }


@pytest.fixture(scope="module")
def found(spark, errors, config):
    added = value_added(answers(spark, errors), "net", "floor", config)
    told = added.withColumns({"back": falls_back(0.05), "why": reason()})
    return {row["item_id"]: row for row in told.toLocalIterator()}


def test_the_p_value_is_that_of_a_paired_test_over_weeks(found, errors):
    for item in ("a", "b"):
        weeks = [errors[model][item].reshape(4, 7).mean(axis=1) / 2 for model in ("net", "floor")]
        expected = stats.ttest_rel(*weeks, alternative="greater").pvalue
        assert found[item]["p_value"] == pytest.approx(expected)
        assert found[item]["model_loss"] == pytest.approx(errors["net"][item].mean() / 2)
        assert found[item]["floor_loss"] == pytest.approx(errors["floor"][item].mean() / 2)
        assert found[item]["periods"] == HORIZON


def test_only_a_series_that_the_floor_clearly_forecasts_better_falls_back(found):
    assert {item: row["back"] for item, row in found.items()} == {"a": False, "b": True, "short": None, "same": False}


def test_origins_that_forecast_the_same_weeks_make_them_no_surer(spark, errors, config):
    """Six origins that each forecast the same three weeks, alike: three weeks are told apart, not eighteen."""
    offs = {model: errors[model]["b"][:21] for model in errors}
    rows = [
        (
            model,
            "b",
            "l",
            ORIGIN - timedelta(back),
            ORIGIN + timedelta(ahead + 1),
            back + ahead + 1,
            10.0,
            10.0,
            10.0 + off,
        )
        for model, values in offs.items()
        for back in range(6)
        for ahead, off in enumerate(values.tolist())
    ]
    first = [(model, "b", "l", ORIGIN - timedelta(7), ORIGIN, 7, 10.0, 10.0, 10.0) for model in offs]
    found = value_added(spark.createDataFrame(rows + first, SCHEMA), "net", "floor", config).first()
    weeks = [np.append(values.reshape(3, 7).mean(axis=1), 0.0) / 2 for values in offs.values()]
    assert found["p_value"] == pytest.approx(stats.ttest_rel(*weeks, alternative="greater").pvalue)


def test_two_weeks_tell_nothing(found):
    assert found["short"]["p_value"] is None


def test_the_reason_is_told_in_words(found, errors):
    less = 100 * (1 - errors["floor"]["b"].sum() / errors["net"]["b"].sum())
    words = f"over 28 held-out periods its loss was {less:.0f} % below that of net (p {found['b']['p_value']:.4f})"
    assert found["b"]["why"] == words


def test_chance_alone_rarely_makes_a_series_fall_back(spark, config):
    random = np.random.default_rng(2)
    series = [f"i{number}" for number in range(300)]
    errors = {model: {item: random.gamma(2.0, 1.0, HORIZON) for item in series} for model in ("net", "floor")}
    added = value_added(answers(spark, errors), "net", "floor", config)
    assert added.where(falls_back(0.05)).count() < 0.1 * len(series)
