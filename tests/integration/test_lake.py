from datetime import date

import pytest

from forecasting.errors import LakeError
from forecasting.lake import rows, with_lineage

EVENTS = [
    {"date": date(2024, 5, day), "event": name, "source_file": "f", "run_id": "r"} for day, name in ((1, "a"), (2, "b"))
]


def events(run):
    return [(row["date"].day, row["event"]) for row in run.lake.read("calendar").orderBy("date", "event").collect()]


def test_a_write_replaces_all_or_the_given_rows_and_can_be_taken_back(make_run):
    run = make_run()
    lake = run.lake
    assert not lake.exists("calendar")
    assert lake.version("calendar") == -1
    with pytest.raises(LakeError, match=r"calendar.*came none"):
        lake.read("calendar")

    frame = lake.frame(EVENTS, "calendar")
    lake.write(frame.select(*reversed(frame.columns)), "calendar")  # columns go by name
    lake.write(frame, "calendar")
    assert events(run) == [(1, "a"), (2, "b")]

    before = lake.version("calendar")
    changed = lake.frame([EVENTS[1] | {"date": date(2024, 5, 9)}], "calendar")
    lake.write(changed, "calendar", replacing={"event": "b"})
    lake.write(changed, "calendar", replacing={"event": "b"})
    assert events(run) == [(1, "a"), (9, "b")]
    assert lake.read("calendar", before).count() == 2
    lake.restore("calendar", before)
    assert events(run) == [(1, "a"), (2, "b")]

    assert lake.spark.table(lake.name("calendar")).schema["event"].metadata["comment"] == "name of the event"


def test_rows_outside_of_what_they_replace_are_refused(make_run):
    run = make_run()
    run.lake.write(run.lake.frame(EVENTS, "calendar"), "calendar")
    with pytest.raises(Exception, match=r"REPLACE_WHERE|replaceWhere"):
        run.lake.write(run.lake.frame(EVENTS, "calendar"), "calendar", replacing={"event": "b"})
    assert len(events(run)) == 2


def test_columns_beside_the_contract_are_refused(make_run):
    run = make_run()
    frame = run.lake.frame(EVENTS, "calendar")
    with pytest.raises(LakeError, match=r"calendar: .*missing \['event'\], one too many \['evnt'\]"):
        run.lake.write(frame.withColumnRenamed("event", "evnt"), "calendar")
    assert not run.lake.exists("calendar")


def test_two_lakes_do_not_share_a_schema(make_run, tmp_path):
    first = make_run()
    first.lake.write(first.lake.frame(EVENTS, "calendar"), "calendar")
    other = make_run(f"lake.path={tmp_path / 'other lake'}")
    with pytest.raises(LakeError, match=r"expected to lie at .*other lake.*lake\.schema"):
        other.lake.write(other.lake.frame(EVENTS, "calendar"), "calendar")


def test_changed_quantile_levels_change_the_columns_of_a_table(make_run):
    values = {
        "item_id": "a", "location_id": "s", "forecast_origin": date(2024, 5, 1), "target_date": date(2024, 5, 2), "horizon": 1,
        "mean": 1.0, "model_version": "m", "data_version": "d", "run_id": "r",
    }  # fmt: skip
    for levels in ("[0.5]", "[0.5, 0.9]"):
        run = make_run(f"forecast.quantiles={levels}")
        record = values | run.lineage() | dict.fromkeys(run.config.forecast.quantile_columns, 1.0)
        run.lake.write(run.lake.frame([record], "forecasts"), "forecasts")
    assert "p90" in run.lake.read("forecasts").columns


def test_results_for_the_driver_stay_small(spark):
    assert rows(spark.range(3)) == [{"id": 0}, {"id": 1}, {"id": 2}]
    with pytest.raises(LakeError, match="at most 2 rows"):
        rows(spark.range(3), most=2)


def test_lineage_is_the_same_on_every_row(spark):
    assert rows(with_lineage(spark.range(2), run_id="r")) == [{"id": 0, "run_id": "r"}, {"id": 1, "run_id": "r"}]


def test_tables_may_be_managed_by_the_catalog(make_run):
    run = make_run("lake.path=null", "lake.schema=managed", "lake.model_path=models")
    with pytest.raises(LakeError, match=r"`spark_catalog`\.`managed`\.`calendar`.*came none"):
        run.lake.read("calendar")
    for _ in range(2):
        run.lake.write(run.lake.frame(EVENTS, "calendar"), "calendar")
    assert events(run) == [(1, "a"), (2, "b")]
    assert run.spark.sql("SHOW TABLES IN managed").count() == 1
