"""Scenarios on the small run: beside the published forecast, repeatable, and of the named series alone."""

from datetime import timedelta

import pytest
from deltalake import DeltaTable

from forecasting.lake import rows
from jobs import scenario

KEY = ["item_id", "location_id", "target_date"]


@pytest.fixture(scope="module")
def settings(small_run, tmp_path_factory):
    """A copy of the small run's lake in which the model answers for all series."""
    return (*small_run.copied_to(tmp_path_factory.mktemp("scenario")), "scoring.fallback=null")


@pytest.fixture
def planned(settings, tmp_path):
    """Runs a plan of CSV lines as a scenario; its rows."""

    def run(header: str, *lines: str, name: str = "plan"):
        file = tmp_path / f"{name}.csv"
        file.write_text("\n".join([header, *lines]) + "\n")
        options = [part for setting in settings for part in ("--set", setting)]
        scenario.main([*options, "--file", str(file)])
        lake = dict(setting.split("=", 1) for setting in settings)["lake.path"]
        found = DeltaTable(f"{lake}/scenario_forecasts").to_pandas()
        return found[found["scenario"] == name].sort_values(KEY).reset_index(drop=True)

    return run


@pytest.fixture(scope="module")
def published(small_run):
    frame = DeltaTable(small_run.run.lake.path("forecasts")).to_pandas().sort_values(KEY).reset_index(drop=True)
    return frame[frame["method"] == "transformer"]


def test_stock_that_runs_out_sells_nothing_and_costs_what_was_expected(planned, published):
    first = published["target_date"].min()
    item, other = published["item_id"].drop_duplicates().iloc[:2]
    told = planned("item_id,starts_on,ends_on,in_stock", f"{item},{first},{first + timedelta(2)},false")
    assert set(told["item_id"]) == {item} and other not in set(told["item_id"])
    expected = published[published["item_id"] == item].sort_values(KEY).reset_index(drop=True)
    assert told["baseline_mean"].to_numpy() == pytest.approx(expected["mean"].to_numpy(), rel=1e-4, abs=1e-5)
    out = told["target_date"] <= first + timedelta(2)
    assert (told.loc[out, "mean"] == 0).all() and (told.loc[out, "changes"] == "out of stock").all()
    assert told.loc[out, "difference"].to_numpy() == pytest.approx(-told.loc[out, "baseline_mean"].to_numpy())
    kept = told[~out]
    assert kept["mean"].equals(kept["baseline_mean"]) and kept["changes"].isna().all()
    lost = -(told["baseline_mean"] * told["baseline_price"])[out]
    assert told.loc[out, "revenue_difference"].to_numpy() == pytest.approx(lost.to_numpy())


def test_a_promotion_changes_the_forecast_of_its_days_and_the_same_plan_again_the_same(planned, published, small_run):
    first = published["target_date"].min()
    promoted = [
        row["item_id"]
        for row in rows(small_run.run.lake.read("sequences").where("display IS NOT NULL").select("item_id").distinct())
    ]
    item = next(item for item in published["item_id"].unique() if item in promoted)
    line = f"{item},{first},{first + timedelta(6)},display,1"
    told = planned("item_id,starts_on,ends_on,promotion,display", line, name="display")
    of_days = told["target_date"] <= first + timedelta(6)
    assert (told.loc[of_days, "difference"] != 0).any() and (told.loc[of_days, "changes"] == "promotion display").all()
    assert told.loc[~of_days, "changes"].isna().all() and set(told["method"]) == {"transformer"}
    again = planned("item_id,starts_on,ends_on,promotion,display", line, name="display")
    lineage = ["run_id", "created_at"]
    assert again.drop(columns=lineage).equals(told.drop(columns=lineage))


def test_a_price_that_no_list_announced_is_refused_in_words(planned, published, capsys):
    first = published["target_date"].min()
    with pytest.raises(SystemExit):
        planned("starts_on,ends_on,price", f"{first},{first},2.5")
    assert "expected a dataset that delivers the source `prices`" in capsys.readouterr().err
