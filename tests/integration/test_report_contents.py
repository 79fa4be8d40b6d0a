from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from forecasting.contracts import TABLES
from forecasting.report.contents import collect
from forecasting.report.fans import choose_series
from forecasting.report.reading import item_names, named

WHEN = datetime(2018, 1, 1, tzinfo=UTC)
STAGES = ("ingest", "train")


@pytest.fixture
def run(make_run):
    return make_run(
        "forecast.horizon=2", "forecast.quantiles=[0.1, 0.5, 0.9]", "report.top_series=1", "report.random_series=2"
    )


def forecast_rows(units: dict[str, float], origin: date, version: str, method="transformer", reason=None) -> list[dict]:
    return [
        {
            "method": method,
            "reason": reason,
            "item_id": item,
            "location_id": "ALL",
            "forecast_origin": origin,
            "target_date": origin + timedelta(ahead),
            "horizon": ahead,
            "mean": mean,
            "p10": 0.0,
            "p50": mean,
            "p90": 2 * mean,
            "model_version": version,
            "data_version": "d",
            "run_id": "r",
            "created_at": WHEN,
        }
        for item, mean in units.items()
        for ahead in (1, 2)
    ]


def write(run, table: str, records: list[dict]) -> None:
    run.lake.write(run.lake.frame(records, table), table)


def sequence(item: str, days: list[date]) -> dict:
    """A row of `sequences` of two units a day."""
    arrays = {c.name: [0.0] * len(days) for c in TABLES["sequences"].columns if c.type == "array<float>"}
    codes = {
        c.name: [0] * len(days) for c in TABLES["sequences"].columns if c.type in ("array<tinyint>", "array<smallint>")
    }
    row = dict.fromkeys((c.name for c in TABLES["sequences"].columns), "-") | arrays | codes
    span = {"first_period": days[0], "last_period": days[-1], "length": len(days)}
    rest = {"quantity": [2.0] * len(days), "promotion_kinds": {}, "launched_on": None}
    return row | span | rest | {"item_id": item, "location_id": "ALL"}


def test_an_empty_lake_gives_empty_parts(run):
    found = collect(run.lake, run.config, "r", WHEN, STAGES)
    assert (found.quality, found.demand, found.forecasts, found.accuracy, found.orders) == (None,) * 5
    assert (found.training, found.hardest) == (None, None)
    assert (found.rules, found.fans, found.stages) == ([], [], [])


def test_the_newest_origin_counts_and_series_are_chosen_by_size_then_by_hash(run):
    old, new = date(2017, 12, 1), date(2017, 12, 31)
    units = {"big": 9.0, "a": 1.0, "b": 2.0, "c": 3.0, "rare": 0.1}
    write(run, "forecasts", forecast_rows({"gone": 99.0}, old, "old") + forecast_rows(units, new, "new"))
    days = [new - timedelta(back) for back in range(9, -1, -1)]
    lineage = {"data_version": "d", "run_id": "r"}
    sold = {"returned": 0.0, "revenue": 0.0, "discount": 0.0, "lines": 1, "month": new.replace(day=1)} | lineage
    write(
        run,
        "demand",
        [
            {"item_id": item, "location_id": "ALL", "period_start": day, "quantity": 2.0} | sold
            for item in units
            for day in days
        ],
    )
    write(run, "sequences", [sequence(item, days) for item in units])
    found = collect(run.lake, run.config, "r", WHEN, STAGES)
    assert (found.forecasts.origin, found.forecasts.model_version, found.forecasts.series) == (new, "new", 5)
    assert found.forecasts.expected == pytest.approx(2 * sum(units.values()))
    assert found.forecasts.before == 2 * 2.0 * 5
    assert [(fan.item_id, fan.is_random) for fan in found.fans[:1]] == [("big", False)]
    others = {fan.item_id for fan in found.fans[1:]}
    assert len(others) == 2
    assert others < {"a", "b", "c"}, "rare sells less than a unit"
    assert [row["period_start"] for row in found.fans[0].history] == days[-6:], "two horizons before the held-out one"
    assert [row["target_date"] for row in found.fans[0].ahead] == [new + timedelta(1), new + timedelta(2)]
    again = choose_series(run.lake.read("forecasts").where(f"forecast_origin = '{new}'").repartition(3), 1, 2)
    assert {row["item_id"] for row in again.take(9)} == {"big", *others}


def test_of_each_source_and_stage_the_last_row_counts(run):
    def quality(when: datetime, run_id: str, rows: int) -> dict:
        return {
            "source": "sales",
            "delivery": "whole",
            "rows_in": rows,
            "rows_accepted": rows,
            "rows_quarantined": 0,
            "broken": {},
            "warnings": {},
            "first_day": None,
            "last_day": None,
            "age_days": None,
            "gap_days": None,
            "table_rows": rows,
            "hash_sum": Decimal(1),
            "checksum": "c",
            "table_version": 1,
            "run_id": run_id,
            "created_at": when,
        }

    def stage(when: datetime, run_id: str, name: str) -> dict:
        return {
            "run_id": run_id,
            "stage": name,
            "seconds": 1.0,
            "peak_memory_gib": 1.0,
            "figures": "{}",
            "finished_at": when,
            "created_at": when,
        }

    later = WHEN + timedelta(hours=1)
    write(run, "data_quality", [quality(later, "new", 2), quality(WHEN, "old", 1)])
    write(
        run,
        "run_stages",
        [
            stage(WHEN, "old", "train"),
            stage(WHEN, "old", "ingest"),
            stage(later, "new", "train"),
            stage(later, "new", "score"),
        ],
    )
    found = collect(run.lake, run.config, "r", WHEN, STAGES)
    assert [(row["run_id"], row["rows_in"]) for row in found.quality] == [("new", 2)]
    assert [(row["stage"], row["run_id"]) for row in found.stages] == [("ingest", "old"), ("train", "new")]


def test_an_item_that_the_catalogue_does_not_know_goes_by_its_id(run):
    assert item_names(run.lake, ["7"]) == {}
    assert named({"item_id": "7"}, {}) == {"name": "7", "category": None}
    assert named({"item_id": "7"}, {"7": {"name": None, "category": "DAIRY"}}) == {"name": "7", "category": "DAIRY"}


def test_the_version_is_that_of_the_model_that_scores_and_other_methods_say_why(run):
    new = date(2017, 12, 31)
    why = [f"its loss was {share} % below" for share in (9, 8, 7, 6)]
    by_floor = [
        row
        for number, item in enumerate("abcde")
        for row in forecast_rows({item: 1.0}, new, "zz_floor 0.1.0", "recent_quantiles", why[max(0, number - 1)])
    ]
    write(run, "forecasts", forecast_rows({"big": 9.0, "small": 1.0}, new, "abc123") + by_floor)
    found = collect(run.lake, run.config, "r", WHEN, STAGES).forecasts
    assert (found.model_version, found.series) == ("abc123", 7)
    assert found.methods == [
        {"method": "transformer", "series": 2, "units": 20.0, "reasons": []},
        {"method": "recent_quantiles", "series": 5, "units": 10.0, "reasons": [why[0], why[3], why[2]]},
    ], "the reason that most share, then in order of their words"
    write(run, "forecasts", by_floor)
    assert collect(run.lake, run.config, "r", WHEN, STAGES).forecasts.model_version == "zz_floor 0.1.0"


def metric(model: str, origin: date, value: float | None, run_id="new", metric="wql", segment="all") -> dict:
    made = {"model_version": f"{model} 1", "data_version": "d", "run_id": run_id, "created_at": WHEN}
    part = {"segment": segment, "part": "all", "metric": metric}
    return {"model": model, "forecast_origin": origin, "value": value, "series": 7} | part | made


def test_accuracy_is_the_mean_over_the_origins_of_the_newest_backtest(run):
    first, last = date(2017, 12, 1), date(2017, 12, 29)
    before, between = first - timedelta(28), date(2017, 12, 15)
    measured = [
        metric("transformer", before, 9.0, run_id="old"),
        metric("transformer", first, 0.5),
        metric("transformer", between, 0.8),
        metric("transformer", last, 0.8),
        metric("seasonal_naive", first, 1.0),
        metric("seasonal_naive", between, None),
        metric("seasonal_naive", last, 2.0),
        metric("transformer", last, None, metric="bias"),
        metric("transformer", last, 99.0, segment="category"),
    ]
    write(run, "backtest_metrics", measured)
    found = collect(run.lake, run.config, "r", WHEN, STAGES).accuracy
    assert (found.origins, found.origin, found.series) == ((first, between, last), last, 7)
    assert (found.models, found.model_version) == (("transformer", "seasonal_naive"), "transformer 1")
    assert found.values == {
        ("transformer", "wql"): pytest.approx(0.7),
        ("seasonal_naive", "wql"): 1.5,
        ("transformer", "bias"): None,
    }
    assert found.spread == {("transformer", "wql"): (0.5, 0.8), ("seasonal_naive", "wql"): (1.0, 2.0)}
    assert ("seasonal_naive", between) not in found.by_origin
    assert found.by_origin["seasonal_naive", last] == 2.0
    assert found.comparisons is None


def test_comparisons_are_those_of_the_newest_backtest_by_pinball_loss(run):
    last = date(2017, 12, 29)
    write(run, "backtest_metrics", [metric(model, last, 1.0) for model in ("transformer", "seasonal_naive")])

    def compared(loss: str, run_id: str, origin: date) -> dict:
        told = {"gain": 0.1, "gain_low": 0.05, "gain_high": 0.15, "p_value": 0.01, "better_series": 0.6}
        made = {"model_version": "m", "data_version": "d", "run_id": run_id, "created_at": WHEN}
        named = {"model": "transformer", "against": "seasonal_naive", "loss": loss, "forecast_origin": origin}
        return named | told | {"origins": 1, "series": 7} | made

    rows = [
        compared("pinball", "new", last),
        compared("squared_error", "new", last),
        compared("pinball", "new", last - timedelta(1)),
    ]
    write(run, "model_comparisons", rows)
    (found,) = collect(run.lake, run.config, "r", WHEN, STAGES).accuracy.comparisons
    assert (found["against"], found["gain"], found["better_series"]) == ("seasonal_naive", 0.1, 0.6)
    write(run, "model_comparisons", [compared("pinball", "old", last)])
    assert collect(run.lake, run.config, "r", WHEN, STAGES).accuracy.comparisons is None


def held_out(model: str, item: str, origin: date, actual: float, forecast: float) -> list[dict]:
    """Two periods of one series, all quantiles of a forecast being equal."""
    values = dict.fromkeys(("mean", "p10", "p50", "p90"), forecast) | {"actual": actual, "model": model}
    return [row | values for row in without_method(forecast_rows({item: forecast}, origin, "m"))]


def without_method(rows: list[dict]) -> list[dict]:
    return [{name: value for name, value in row.items() if name not in ("method", "reason")} for row in rows]


def test_the_hardest_series_lose_most_against_the_floor(run):
    origin = date(2017, 12, 29)
    misses = {f"item{number:02d}": float(number) for number in range(14)}
    rows = []
    for item, miss in misses.items():
        rows += held_out("transformer", item, origin, 10.0, 10.0 - miss)
        rows += held_out("recent_quantiles", item, origin, 10.0, 9.0)
        rows += held_out("seasonal_naive", item, origin, 10.0, 10.0)
        rows += held_out("transformer", item, origin - timedelta(28), 10.0, 1000.0)
    write(run, "backtest_forecasts", rows)
    days = [origin - timedelta(back) for back in range(9, -3, -1)]
    write(run, "sequences", [sequence("item13", days) | {"observed": [1] * len(days)}])
    found = collect(run.lake, run.config, "r", WHEN, STAGES).hardest
    assert (found.origin, found.model, found.floor) == (origin, "transformer", "recent_quantiles")
    assert [series.item_id for series in found.series] == [f"item{number:02d}" for number in range(13, 3, -1)]
    worst, second = found.series[:2]
    assert (worst.came, worst.expected, worst.name) == (20.0, -6.0, "item13")
    assert worst.model_loss == pytest.approx(2 * 13 * (0.1 + 0.5 + 0.9))
    assert worst.floor_loss == pytest.approx(2 * 1 * (0.1 + 0.5 + 0.9))
    assert (len(worst.course.before), worst.course.window.tolist()) == (10, [2.0, 2.0])
    assert second.course is None


@pytest.mark.parametrize(
    ("models", "fallback", "floor", "items"),
    [
        (("transformer", "seasonal_naive"), "recent_quantiles", "seasonal_naive", ["b"]),
        (("transformer", "seasonal_naive", "recent_quantiles"), "seasonal_naive", "seasonal_naive", ["b"]),
        (("transformer", "recent_quantiles"), "null", "recent_quantiles", ["b"]),
        (("transformer", "lstm"), "recent_quantiles", None, ["b", "a"]),
        (("lstm", "seasonal_naive"), "recent_quantiles", None, None),
    ],
)
def test_the_floor_is_one_that_was_compared(make_run, models, fallback, floor, items):
    run = make_run("forecast.horizon=2", "forecast.quantiles=[0.1, 0.5, 0.9]", f"scoring.fallback={fallback}")
    origin = date(2017, 12, 29)
    forecasts = {"a": {"transformer": 8.0}, "b": {"transformer": 5.0}}  # of 10, and others 7
    rows = [
        row
        for item, by_model in forecasts.items()
        for model in models
        for row in held_out(model, item, origin, 10.0, by_model.get(model, 7.0))
    ]
    write(run, "backtest_forecasts", rows)
    found = collect(run.lake, run.config, "r", WHEN, STAGES).hardest
    if items is None:
        assert found is None
    else:
        assert (found.floor, [series.item_id for series in found.series]) == (floor, items)
