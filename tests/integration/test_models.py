"""Every model in one backtest: the same rows, sane forecasts, and nothing of the future in any of them."""

import numpy as np
import pytest
from pandas.testing import assert_frame_equal
from pyspark.sql import functions as F

from forecasting.config import BASELINES, FLOORS
from forecasting.runtime import start_run
from jobs import aggregate, backtest, features, ingest, score, train
from tests.integration.test_faults import table, with_more_sold_after

NETWORKS = ("transformer", "rnn")
MODELS = (*NETWORKS, *BASELINES)
SETTINGS = (
    f"backtest.models=[{', '.join(MODELS)}]",
    "scoring.ended_after=null",
    "trees={rounds: 8, leaves: 7, min_data_in_leaf: 20, rows_per_rank: 10000}",
)


@pytest.fixture(scope="module")
def compared(small_run, make_config, tmp_path_factory):
    """A lake in which all models were trained and compared, and its settings."""
    folder = tmp_path_factory.mktemp("models")
    settings = (*small_run.copied_to(folder), *SETTINGS)
    for job in (train, backtest):
        job.execute(start_run(make_config(*settings), "models"))
    return folder, settings


@pytest.fixture(scope="module")
def forecasts(compared):
    return table(compared[0] / "lake", "backtest_forecasts")


def test_every_model_answers_for_the_same_rows(forecasts):
    assert set(forecasts["model"]) == set(MODELS)
    keys = ["item_id", "location_id", "target_date", "actual"]
    first, *others = (forecasts.loc[forecasts["model"] == name, keys].sort_values(keys) for name in MODELS)
    for other in others:
        assert_frame_equal(other.reset_index(drop=True), first.reset_index(drop=True))


@pytest.mark.parametrize("model", MODELS)
def test_quantiles_rise_and_nothing_is_negative(forecasts, model):
    own = forecasts[forecasts["model"] == model]
    quantiles = own[[name for name in own if name.startswith("p") and name[1:].isdigit()]].to_numpy()
    assert np.isfinite(quantiles).all() and np.isfinite(own["mean"]).all()
    assert (np.diff(quantiles, axis=1) >= 0).all() and (quantiles >= 0).all() and (own["mean"] >= 0).all()
    assert own["mean"].nunique() > 10


@pytest.mark.parametrize("model", ["lightgbm", "structural_regression", "auto_ets", "croston_sba"])
def test_models_are_better_than_forecasting_nothing(forecasts, model):
    own = forecasts[forecasts["model"] == model]
    assert ((own["mean"] - own["actual"]) ** 2).mean() < (own["actual"] ** 2).mean()


def test_rows_say_which_version_of_which_model_made_them(forecasts):
    versions = forecasts.groupby("model")["model_version"].agg(set)
    assert all(len(found) == 1 for found in versions)
    for name in (*FLOORS, "lagged_regression", "auto_ets"):
        assert versions[name].pop().startswith(f"{name} ")
    assert len(set.union(*(versions[name] for name in (*NETWORKS, "lightgbm")))) == len(NETWORKS) + 1


def test_equations_tell_what_they_fitted(compared, forecasts):
    found = table(compared[0] / "lake", "equation_parameters")
    assert set(found["model"]) == {"lagged_regression", "structural_regression"}
    assert (found.groupby("model")["item_id"].nunique() == forecasts["item_id"].nunique()).all()
    assert (found[["a", "b", "g"]] >= 0).all(axis=None) and (found[["a", "b", "g"]].sum(axis=1) < 1).all()
    assert {"weekday_1", "holiday"} <= dict(found["coefficients"].iloc[0]).keys()


def test_series_that_a_floor_forecasts_better_come_from_it_and_say_why(compared, make_config):
    folder, settings = compared
    run = start_run(make_config(*settings), "models")
    added = table(folder / "lake", "forecast_value_added")
    assert added["p_value"].isna().all()  # two weeks tell nothing
    chosen = added["item_id"].iloc[0]
    told = run.lake.read("forecast_value_added").withColumn("p_value", F.when(F.col("item_id") == chosen, 0.0001))
    run.lake.write(told.localCheckpoint(), "forecast_value_added")
    assert score.execute(run)["by_fallback"] == 1
    found = table(folder / "lake", "forecasts")
    by_floor = found["item_id"] == chosen
    assert set(found.loc[by_floor, "method"]) == {"recent_quantiles"}
    assert found.loc[by_floor, "reason"].str.contains("below that of transformer").all()
    assert set(found.loc[by_floor, "model_version"].str.split().str[0]) == {"recent_quantiles"}
    assert set(found.loc[~by_floor, "method"]) == {"transformer"}
    assert found.loc[~by_floor, "reason"].isna().all()
    assert not found.duplicated(["item_id", "location_id", "target_date"]).any()


def test_the_future_changes_no_forecast_of_any_model(
    compared, forecasts, make_config, small_sales, tmp_path, monkeypatch
):
    folder, settings = compared
    monkeypatch.setattr(ingest, "SOURCES", ("sales",))  # the others are in the copy
    changed = with_more_sold_after(forecasts["forecast_origin"].iloc[0], small_sales, tmp_path / "source")
    kept = [name for name in MODELS if name != "rnn"]  # it reads what the other network reads
    more = (f"source.path={changed}", f"backtest.models=[{', '.join(kept)}]")
    for job in (ingest, aggregate, features, train, backtest):
        job.execute(start_run(make_config(*settings, *more), "changed"))
    other = table(folder / "lake", "backtest_forecasts")
    mine = forecasts[forecasts["model"] != "rnn"].reset_index(drop=True)
    assert other["actual"].sum() > 1.5 * mine["actual"].sum()  # the change did arrive
    seen = [
        name for name in forecasts if name not in ("actual", "model_version", "data_version", "run_id", "created_at")
    ]
    assert_frame_equal(other[seen], mine[seen], rtol=1e-6)
