from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from forecasting.contracts import TABLES
from forecasting.report.contents import choose_series, collect, item_names, named

WHEN = datetime(2018, 1, 1, tzinfo=UTC)
STAGES = ("ingest", "train")


@pytest.fixture
def run(make_run):
    return make_run(
        "forecast.horizon=2", "forecast.quantiles=[0.1, 0.5, 0.9]", "report.top_series=1", "report.random_series=2"
    )


def forecast_rows(units: dict[str, float], origin: date, version: str) -> list[dict]:
    return [
        {
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
