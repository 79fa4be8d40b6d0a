"""Views over forecasts, on a lake of a few rows whose answers can be told by hand."""

from datetime import UTC, date, datetime, timedelta

import pytest

from forecasting.contracts import TABLES
from forecasting.evaluation.backtest import compare, series_as_of
from forecasting.evaluation.metrics import backtest_metrics
from forecasting.lake import rows
from forecasting.periods import shift
from forecasting.sqlshell import use_lake
from forecasting.views import VIEWS

LAST = date(2024, 3, 31)
DAYS = 60
HORIZON = 28
WHEN = datetime(2024, 4, 1, tzinfo=UTC)


@pytest.fixture
def run(make_run):
    return make_run(f"forecast.horizon={HORIZON}", "forecast.quantiles=[0.1, 0.5, 0.9]")


def sequence(item: str, quantity: list[float], observed: list[int] | None = None, price: float = 2.0, **ends) -> dict:
    """A row of `sequences` that ends with LAST, or with a `last` period of another `grain`."""
    length = len(quantity)
    columns = TABLES["sequences"].columns
    row = dict.fromkeys((column.name for column in columns), "-")
    row |= {c.name: [0.0] * length for c in columns if c.type == "array<float>"}
    row |= {c.name: [0] * length for c in columns if c.type in ("array<tinyint>", "array<smallint>")}
    last, grain = ends.get("last", LAST), ends.get("grain", "day")
    span = {"first_period": shift(last, 1 - length, grain), "last_period": last, "length": length}
    values = {"quantity": quantity, "observed": observed or [1] * length, "price": [price] * length}
    rest = {"promotion_kinds": {}, "launched_on": None, "category": None, "state": ends.get("state", [0] * length)}
    return row | span | values | rest | {"item_id": item, "location_id": "shop"}


def forecasts(item: str, origin: date, mean: float, spread: float = 1.0, grain: str = "day", **changes) -> list[dict]:
    """Rows of `forecasts` of the same demand in every period."""
    row = {
        "item_id": item,
        "location_id": "shop",
        "forecast_origin": origin,
        "mean": mean,
        "p10": mean - spread,
        "p50": mean,
        "p90": mean + spread,
        "method": "transformer",
        "reason": None,
        "model_version": "m",
        "data_version": "d",
        "run_id": "r",
        "created_at": WHEN,
    }
    return [
        row | {"target_date": shift(origin, ahead, grain), "horizon": ahead} | changes
        for ahead in range(1, HORIZON + 1)
    ]


def write(run, table: str, records: list[dict]) -> None:
    run.lake.write(run.lake.frame(records, table), table)


def view(run, name: str) -> list[dict]:
    return rows(run.lake.view(name))


def test_the_latest_forecast_is_that_of_the_newest_origin_whole(run):
    old, new = forecasts("a", LAST - timedelta(1), 1.0), forecasts("a", LAST, 2.0)
    write(run, "forecasts", [*old, *forecasts("gone", LAST - timedelta(1), 9.0), *new])
    found = sorted(view(run, "latest_forecasts"), key=lambda row: row["horizon"])
    assert [{name: row[name] for name in new[0]} | {"created_at": WHEN} for row in found] == new


def test_expected_units_add_up_the_days_of_a_week_and_of_four(run):
    write(run, "forecasts", [*forecasts("a", LAST - timedelta(1), 7.0), *forecasts("a", LAST, 2.0)])
    (found,) = view(run, "expected_units")
    told = {name: found[name] for name in ("next_7_days", "next_28_days", "whole_horizon", "periods")}
    assert told == {"next_7_days": 14.0, "next_28_days": 56.0, "whole_horizon": 56.0, "periods": 28}


@pytest.mark.parametrize(("grain", "week", "four_weeks"), [("week", 2.0, 8.0), ("month", None, 2.0)])
def test_expected_units_of_longer_periods(make_run, grain, week, four_weeks):
    run = make_run(f"forecast.horizon={HORIZON}", "forecast.quantiles=[0.1, 0.5, 0.9]", f"series.grain={grain}")
    write(run, "forecasts", forecasts("a", LAST, 2.0))
    (found,) = view(run, "expected_units")
    assert (found["next_7_days"], found["next_28_days"]) == (week, four_weeks)


def test_less_than_four_weeks_are_not_told_as_four_weeks(make_run):
    run = make_run("forecast.horizon=14", "forecast.quantiles=[0.1, 0.5, 0.9]")
    write(run, "forecasts", [row for row in forecasts("a", LAST, 2.0) if row["horizon"] <= 14])
    (found,) = view(run, "expected_units")
    assert (found["next_7_days"], found["next_28_days"], found["whole_horizon"]) == (14.0, None, 28.0)


def test_changes_are_over_the_days_that_both_forecasts_tell(run):
    before = [*forecasts("a", LAST - timedelta(7), 2.0), *forecasts("a", LAST - timedelta(9), 100.0)]
    write(run, "forecasts", [*before, *forecasts("a", LAST, 3.0), *forecasts("new", LAST, 1.0)])
    (found,) = view(run, "forecast_changes")
    assert (found["item_id"], found["earlier_origin"], found["periods"]) == ("a", LAST - timedelta(7), 21)
    assert (found["units"], found["units_before"], found["change"]) == (63.0, 42.0, 21.0)
    assert found["relative_change"] == pytest.approx(0.5)


def test_errors_are_of_days_that_came_and_could_be_seen(run):
    quantity, observed = [5.0] * DAYS, [1] * DAYS
    observed[-2] = 0
    write(run, "sequences", [sequence("a", quantity, observed)])
    write(run, "forecasts", [*forecasts("a", LAST - timedelta(3), 2.0), *forecasts("a", LAST, 2.0)])
    found = view(run, "forecast_errors")
    assert {row["target_date"] for row in found} == {LAST, LAST - timedelta(2)}
    assert {(row["actual"], row["error"], row["horizon"] - (row["target_date"] - LAST).days) for row in found} == {
        (5.0, -3.0, 3)
    }


@pytest.mark.parametrize(("grain", "last"), [("week", date(2024, 3, 25)), ("month", date(2024, 3, 1))])
def test_errors_and_exceptions_of_longer_periods(make_run, grain, last):
    run = make_run(f"forecast.horizon={HORIZON}", "forecast.quantiles=[0.1, 0.5, 0.9]", f"series.grain={grain}")
    quantity = [float(number) for number in range(20)]
    write(run, "sequences", [sequence("a", quantity, last=last, grain=grain)])
    back = [shift(last, -periods, grain) for periods in (3, 0)]
    write(run, "forecasts", [row for origin in back for row in forecasts("a", origin, 2.0, grain=grain)])
    errors = sorted(view(run, "forecast_errors"), key=lambda row: row["target_date"])
    assert [row["target_date"] for row in errors] == [shift(last, -periods, grain) for periods in (2, 1, 0)]
    assert [row["actual"] for row in errors] == [17.0, 18.0, 19.0]
    found = {row["exception"]: row["reason"] for row in view(run, "forecast_exceptions")}
    assert found["surprise"] == "3 of the last 3 periods lay outside the range of their forecast"


def test_accuracy_is_that_of_the_backtest(run):
    origin = LAST - timedelta(HORIZON)
    history = [
        sequence("a", [float(day % 7) for day in range(DAYS)]),
        sequence("b", [float(day % 3) for day in range(45)]),
    ]
    told = [*forecasts("a", origin, 3.0), *forecasts("b", origin, 0.5, spread=0.4)]
    write(run, "sequences", history)
    write(run, "forecasts", [*told, *forecasts("a", LAST, 1.0)])
    (found,) = view(run, "forecast_accuracy")
    config = run.config.model_copy(
        update={"backtest": run.config.backtest.model_copy(update={"models": ("transformer",)})}
    )
    sequences, of_origin = run.lake.read("sequences"), run.lake.read("forecasts").where(f"forecast_origin = '{origin}'")
    compared = compare(sequences, {"transformer": of_origin}, config, origin)
    metrics = backtest_metrics(compared, series_as_of(sequences, config, origin), config.forecast, 7)
    expected = {row["metric"]: row["value"] for row in rows(metrics.where("segment = 'all'"))}
    for name in ("wql", "wape", "rmse", "bias"):
        assert found[name] == pytest.approx(expected[name]), name
    assert found["inside"] == pytest.approx(expected["coverage_80"])
    assert (found["periods"], found["series"], found["last_target"]) == (2 * HORIZON, 2, LAST)


def test_exceptions_say_which_and_why(run):
    write(
        run,
        "sequences",
        [
            sequence("usual", [5.0] * DAYS),
            sequence("rises", [1.0] * DAYS, price=3.0),
            sequence("falls", [10.0] * DAYS),
            sequence("rare", [0.0] * (DAYS - 1) + [1.0]),
            sequence("new", [5.0] * 20),
            sequence("surprises", [5.0] * (DAYS - 7) + [20.0] * 7),
            sequence("by floor", [5.0] * DAYS),
            sequence("unseen", [0.0] * DAYS, [1] * (DAYS - 28) + [0] * 28, state=[0] * (DAYS - 28) + [3] * 28),
            sequence(
                "often closed",
                [10.0] * (DAYS - 20) + [0.0] * 20,
                [1] * (DAYS - 20) + [0] * 20,
                state=[0] * (DAYS - 20) + [2] * 20,
            ),
        ],
    )
    before = [*forecasts("surprises", LAST - timedelta(7), 5.0), *forecasts("usual", LAST - timedelta(7), 5.0)]
    now = {"usual": 5.0, "rises": 3.0, "falls": 1.0, "rare": 0.1, "new": 5.0, "surprises": 9.0, "unseen": 5.0}
    now["often closed"] = 80 / 28
    told = [row for item, mean in now.items() for row in forecasts(item, LAST, mean)]
    told += forecasts("by floor", LAST, 5.0, method="recent_quantiles", reason="the floor was better")
    write(run, "forecasts", [*before, *told])
    found = {row["item_id"]: row for row in view(run, "forecast_exceptions")}
    assert {item: row["exception"] for item, row in found.items()} == {
        "rises": "rise",
        "falls": "fall",
        "new": "new",
        "surprises": "surprise",
        "by floor": "method",
    }
    assert found["rises"]["reason"] == "expected 84.0 units, more than twice the 28.0 units of late"
    assert found["rises"]["money"] == pytest.approx(56 * 3.0)
    assert found["surprises"]["reason"] == "7 of the last 7 periods lay outside the range of their forecast"
    assert found["new"]["reason"] == "forecast from 20 periods of history"
    assert found["new"]["recent_units"] == 140.0  # 20 days seen, as 28
    assert found["by floor"]["reason"] == "forecast by recent_quantiles: the floor was better"


def of_level(node: str, mean: float, base: float, **attributes) -> list[dict]:
    """Rows of `forecasts_by_level` of the same demand in every period after an origin a week ago."""
    origin = LAST - timedelta(7)
    named = dict.fromkeys(c.name for c in TABLES["forecasts_by_level"].columns if c.type == "string") | attributes
    row = named | {
        "node": node,
        "mean": mean,
        "base_mean": base,
        "p10": mean - 1,
        "p50": mean,
        "p90": mean + 1,
        "forecast_origin": origin,
    }
    row |= {
        "base_method": "seasonal_naive",
        "method": "min_trace",
        "model_version": "m",
        "data_version": "d",
        "run_id": "r",
        "created_at": WHEN,
    }
    return [row | {"target_date": origin + timedelta(n), "horizon": n} for n in range(1, HORIZON + 1)]


def test_accuracy_of_levels_is_that_of_their_sums_where_all_series_were_seen(run):
    closed, gone = [0] * DAYS, [1] * DAYS
    closed[-1], gone[-2] = 2, 0  # a closed day sold nothing; of a day without records nobody knows
    series = [
        sequence("a", [5.0] * DAYS),
        sequence("b", [3.0] * (DAYS - 1) + [0.0], state=closed, observed=[1] * (DAYS - 1) + [0]),
    ]
    series.append(sequence("c", [2.0] * DAYS, observed=gone, state=[0] * (DAYS - 2) + [3, 0]))
    for row, category in zip(series, ("tea", "tea", None), strict=True):
        row["category"], row["department"] = category, "all"
    write(run, "sequences", series)
    told = [*of_level("total", 11.0, 12.0, level="total"), *of_level("tea", 9.0, 6.0, level="category", category="tea")]
    told += of_level("", 2.0, 2.0, level="category")
    told += of_level("a / shop", 5.0, 5.0, level="item_id x location_id", item_id="a", location_id="shop")
    write(run, "forecasts_by_level", told)
    found = {row["level"]: row for row in rows(run.lake.view("level_accuracy"))}
    assert set(found) == {"total", "category", "item_id x location_id"}
    total = found["total"]  # 10 units on five days and 7 on the last
    assert (total["periods"], total["demand"]) == (6, 57.0)
    assert total["error"] == pytest.approx((5 * 1 + 4) / 57) and total["base_bias"] == pytest.approx((5 * 2 + 5) / 57)
    assert total["rmse"] == pytest.approx(((5 * 1 + 16) / 6) ** 0.5)
    assert found["category"]["nodes"] == 2 and found["category"]["demand"] == 6 * 8 + 5 + 6 * 2.0
    assert found["item_id x location_id"]["error"] == 0
    assert rows(run.lake.view("latest_by_level").where("level = 'total'"))[0]["mean"] == 11.0


@pytest.mark.parametrize("odd", [{"mean": -0.1}, {"mean": float("nan")}, {"target_date": LAST}])
def test_no_row_that_is_no_forecast_gets_into_the_table(run, odd):
    write(run, "forecasts", forecasts("a", LAST, 5.0))
    with pytest.raises(Exception, match="CHECK constraint"):
        write(run, "forecasts", [row | odd for row in forecasts("a", LAST, 5.0)])
    assert run.lake.read("forecasts").agg({"mean": "min"}).first()[0] == 5.0


def test_every_view_is_registered_with_a_comment_on_each_column(run):
    write(run, "sequences", [sequence("a", [5.0] * DAYS)])
    write(run, "forecasts", forecasts("a", LAST, 5.0))
    elsewhere = {"price_history", "latest_by_level", "level_accuracy", "scenario_totals"}
    assert set(run.lake.views(["sequences", "forecasts"])) == set(VIEWS) - elsewhere
    use_lake(run.lake)
    for name in run.lake.views(["sequences", "forecasts"]):
        described = rows(run.spark.sql(f"DESCRIBE {name}"))
        assert [row["col_name"] for row in described] == run.lake.view(name).columns
        assert all(row["comment"] for row in described), name
