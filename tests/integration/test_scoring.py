"""Scoring of past origins and of some series, on the small run: exact, and nothing else is touched."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from deltalake import DeltaTable

from forecasting.config import load_config
from forecasting.errors import ConfigError
from forecasting.lake import rows
from forecasting.runtime import start_run
from forecasting.scoring.function import calls_forecast, register_forecast
from forecasting.sqlshell import use_lake
from jobs import cli, score

KEY = ["item_id", "location_id", "forecast_origin", "target_date"]
LINEAGE = ["run_id", "created_at"]


@pytest.fixture(scope="module")
def settings(small_run, tmp_path_factory):
    """A copy of the small run's lake, in which the model answers for all series. Tests leave its newest forecasts as they were."""
    return (
        *small_run.copied_to(tmp_path_factory.mktemp("scoring")),
        "scoring.fallback=null",
        "scoring.ended_after=null",
    )


@pytest.fixture(scope="module")
def before(settings):
    """The forecasts of that lake, all of one origin, and what the job told of them."""
    run, figures = scored(settings, run_id="whole")
    return forecasts(run), figures


def scored(settings, *more: str, run_id: str = "again"):
    """A run of the job score with these settings; its figures."""
    run = start_run(load_config(settings=[*settings, *more, f"run.id={run_id}"]), "score")
    return run, score.execute(run)


def forecasts(run):
    return DeltaTable(run.lake.path("forecasts")).to_pandas().sort_values(KEY).reset_index(drop=True)


def newest(frame):
    return frame[frame["forecast_origin"] == frame["forecast_origin"].max()].reset_index(drop=True)


def values(frame):
    return frame.drop(columns=LINEAGE)


def test_a_past_origin_is_scored_as_the_backtest_did_and_its_accuracy_is_that_of_the_backtest(settings, before):
    before, _ = before
    two = ("scoring.origins=2", "scoring.step=14")
    run, figures = scored(settings, *two)
    assert figures["origins_filled_in"] == 1 and scored(settings, *two)[1]["origins_filled_in"] == 0
    after = forecasts(run)
    assert values(newest(after)).equals(values(before))
    filled = after[after["forecast_origin"] < before["forecast_origin"].max()]
    backtest = DeltaTable(run.lake.path("backtest_forecasts")).to_pandas()
    backtest = backtest[backtest["model"] == "transformer"]
    both = filled.merge(backtest, on=KEY, suffixes=("", "_backtest"))
    assert len(both) == len(backtest) and set(filled["run_id"]) == {"again"}
    assert set(newest(after)["run_id"]) == {"whole"}
    for name in ("mean", *run.config.forecast.quantile_columns):
        assert both[name].to_numpy() == pytest.approx(both[f"{name}_backtest"].to_numpy(), rel=1e-5, abs=1e-6)
    (told,) = (row for row in rows(run.lake.view("forecast_accuracy")))
    metrics = DeltaTable(run.lake.path("backtest_metrics")).to_pandas()
    metrics = metrics[(metrics["model"] == "transformer") & (metrics["segment"] == "all")].set_index("metric")["value"]
    for name in ("wql", "wape", "rmse", "bias"):
        assert told[name] == pytest.approx(metrics[name], rel=1e-5), name


def test_some_series_alone_are_scored_anew_and_all_others_stay(settings, before):
    before, whole = before
    item = before["item_id"].iloc[0]
    version = start_run(load_config(settings=[*settings]), "score").lake.newest_version("forecasts")
    run, figures = scored(settings, f"scoring.only=item_id = '{item}'", run_id="part")
    assert {row["item_id"] for row in rows(run.lake.changed_since("forecasts", version))} == {
        item
    }  # its feed of changes
    after = newest(forecasts(run))
    assert values(after).equals(values(before)) and figures == whole
    assert set(after.loc[after["item_id"] == item, "run_id"]) == {"part"}
    assert "part" not in set(after.loc[after["item_id"] != item, "run_id"])


def test_series_that_were_not_there_are_added(settings, before):
    before, _ = before
    item = before["item_id"].iloc[-1]
    run = start_run(load_config(settings=[*settings]), "score")
    run.lake.delete("forecasts", {"item_id": item})
    run, _ = scored(settings, f"scoring.only=item_id = '{item}'", run_id="part")
    assert values(newest(forecasts(run))).equals(values(before))


def test_two_scorers_at_once_lose_nothing_and_double_nothing(settings, before):
    before, _ = before

    def attempt(run_id: str) -> str:
        try:
            scored(settings, run_id=run_id)
        except Exception as error:
            return str(error)
        return "written"

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(attempt, ("first", "second")))
    run = start_run(load_config(settings=[*settings]), "score")
    after = newest(forecasts(run))
    assert values(after).equals(values(before)) and after["run_id"].nunique() == 1
    assert "written" in found
    assert all(told == "written" or "DELTA_CONCURRENT" in told for told in found), found


@pytest.mark.parametrize("only", ["nothing = 1", "item_id = 'no such item'", "item_id ="])
def test_a_condition_that_chooses_nothing_is_told(settings, only):
    with pytest.raises(ConfigError, match=r"scoring\.only: expected"):
        scored(settings, f"scoring.only={only}")


def test_some_series_alone_are_not_scored_where_all_others_are_missing(settings, before):
    with pytest.raises(ConfigError, match=r"scoring\.only: expected forecasts of all series from .*, came none"):
        scored(settings, "scoring.only=item_id IS NOT NULL", "scoring.origins=2", "scoring.step=7")


def test_an_origin_before_the_first_model_is_refused_before_anything_is_written(settings):
    run = start_run(load_config(settings=[*settings, "scoring.origins=3", "scoring.step=14"]), "score")
    before = run.lake.newest_version("forecasts")
    with pytest.raises(ConfigError, match=r"scoring\.origins: expected origins from .* backtest\.origins"):
        score.execute(run)
    assert run.lake.newest_version("forecasts") == before


def test_sql_forecasts_any_table_of_sequences(settings, before):
    before, _ = before
    run = start_run(load_config(settings=[*settings]), "sql")
    use_lake(run.lake)
    register_forecast(run.lake)
    query = "SELECT item_id, location_id, f.mean, f.p90 FROM (SELECT *, forecast(struct(*)) AS f FROM {rows})"
    found = run.spark.sql(query, rows=run.lake.read("sequences")).toPandas()
    expected = before.groupby(["item_id", "location_id"])
    assert len(found) == len(expected)
    for row in found.itertuples():
        of_series = expected.get_group((row.item_id, row.location_id))
        assert row.mean == pytest.approx(of_series["mean"].to_numpy(), rel=1e-6)
        assert row.p90 == pytest.approx(of_series["p90"].to_numpy(), rel=1e-6)


def test_a_query_on_the_command_line_may_forecast(settings, capsys):
    arguments = [part for setting in settings for part in ("--set", setting)]
    cli.main(["sql", *arguments, "SELECT count_if(size(forecast(struct(*)).mean) = 14) AS series FROM sequences"])
    assert " 150 " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("query", "calls"),
    [
        ("SELECT forecast(struct(*)) FROM sequences", True),
        ("select Forecast (struct(*))", True),
        ("SELECT * FROM forecasts WHERE forecast_origin IN (SELECT 1)", False),
    ],
)
def test_a_model_is_loaded_only_for_queries_that_call_it(query, calls):
    assert calls_forecast(query) == calls
