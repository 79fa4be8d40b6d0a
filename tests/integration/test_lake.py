import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest

from forecasting.contracts import SOURCES
from forecasting.errors import LakeError
from forecasting.lake import Lake, rows, with_lineage

EVENTS = [
    {"date": date(2024, 5, day), "event": name, "location_id": None, "closed": None, "source_file": "f", "run_id": "r"}
    for day, name in ((1, "a"), (2, "b"))
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


def dated(run, name: str, day: int = 1):
    return run.lake.frame([EVENTS[0] | {"date": date(2024, 5, day), "event": name}], "calendar")


def test_a_delivery_is_appended_once_unless_it_was_taken_back(make_run):
    run = make_run()
    lake = run.lake
    assert (lake.noted("calendar", {"batch": 0}), lake.note_of("calendar")) == (None, None)
    first = lake.append(dated(run, "a"), "calendar", {"batch": 0})
    assert lake.append(dated(run, "a"), "calendar", {"batch": 0}) is None
    second = lake.append(dated(run, "b"), "calendar", {"batch": 1})
    assert (lake.noted("calendar", {"batch": 0}), lake.noted("calendar", {"batch": 1})) == (first, second)
    assert lake.note_of("calendar") == {"batch": 1}
    assert events(run) == [(1, "a"), (1, "b")]

    lake.restore("calendar", first)
    assert lake.version("calendar") == first
    assert lake.newest_version("calendar") == second + 1
    assert (lake.noted("calendar", {"batch": 1}), lake.note_of("calendar")) == (None, {"batch": 0})
    again = lake.append(dated(run, "b", 2), "calendar", {"batch": 1})
    assert events(run) == [(1, "a"), (2, "b")]

    lake.merge(dated(run, "b", 9), "calendar", ["event"], {"batch": 2})
    assert events(run) == [(1, "a"), (9, "b")]
    assert not lake.merge(dated(run, "b", 8), "calendar", ["event"], {"batch": 2})
    lake.restore("calendar", again)
    lake.restore("calendar", first)  # twice taken back
    assert (lake.version("calendar"), lake.note_of("calendar")) == (first, {"batch": 0})
    lake.spark.sql(f"OPTIMIZE delta.`{lake.path('calendar')}`")
    assert lake.version("calendar") == first  # files that are put in order are no news

    time = lake.spark.sql(f"DESCRIBE HISTORY delta.`{lake.path('calendar')}`").where(f"version = {second}").first()
    lake.spark.sql(f"RESTORE delta.`{lake.path('calendar')}` TO TIMESTAMP AS OF '{time['timestamp']}'")
    with pytest.raises(LakeError, match=r"TO VERSION AS OF"):
        lake.note_of("calendar")


def test_two_who_append_the_same_delivery_at_the_same_time_add_it_once(make_run, monkeypatch):
    """Each looks whether it is there before the other one has written it."""
    run = make_run()
    run.lake.append(dated(run, "before"), "calendar", {"batch": 0})
    both_looked, save = threading.Barrier(2), Lake._save

    def save_once_both_looked(*args):
        both_looked.wait(timeout=60)
        return save(*args)

    def append() -> int | str | None:
        try:
            return run.lake.append(dated(run, "new"), "calendar", {"batch": 1})
        except Exception as error:
            return type(error).__name__

    monkeypatch.setattr(Lake, "_save", save_once_both_looked)
    with ThreadPoolExecutor(2) as pool:
        found = [each.result() for each in [pool.submit(append), pool.submit(append)]]
    assert events(run) == [(1, "before"), (1, "new")]
    assert len([each for each in found if isinstance(each, int)]) == 1, found  # the other one knows that it did not


def test_an_append_that_delta_passes_over_is_not_taken_for_one(make_run, monkeypatch):
    """The other one has finished between the look and the write."""
    run = make_run()
    run.lake.append(dated(run, "before"), "calendar", {"batch": 0})
    save = Lake._save

    def another_is_quicker(*args):
        monkeypatch.setattr(Lake, "_save", save)
        assert run.lake.append(dated(run, "new"), "calendar", {"batch": 1}) is not None
        return save(*args)

    monkeypatch.setattr(Lake, "_save", another_is_quicker)
    assert run.lake.append(dated(run, "new"), "calendar", {"batch": 1}) is None
    assert events(run) == [(1, "before"), (1, "new")]


def test_the_note_of_a_stream_is_found_behind_other_writes_of_some_rows(make_run):
    run = make_run()
    lake = run.lake
    lake.append(dated(run, "a"), "calendar", {"stream": "s", "batch": 0})
    lake.append(dated(run, "b"), "calendar", {"by": "hand"})
    assert lake.note_of("calendar") == {"by": "hand"}
    assert lake.note_of("calendar", "stream") == {"stream": "s", "batch": 0}
    lake.write(dated(run, "c"), "calendar")
    assert lake.note_of("calendar", "stream") is None


def test_changes_are_told_until_the_whole_table_was_replaced(make_run):
    run = make_run()
    lake = run.lake

    def sale(item: str, quantity: float):
        values = dict.fromkeys(column.name for column in SOURCES["sales"].columns)
        record = values | {
            "item_id": item,
            "location_id": "s",
            "sold_on": date(2024, 5, 1),
            "quantity": quantity,
            "run_id": "r",
        }
        return lake.frame([record], "sales").drop("discount", "currency")  # as a source without these columns

    def changes() -> list[tuple] | None:
        found = lake.changed_since("sales", before)
        return found and sorted((row["item_id"], row["quantity"], row["_change_type"]) for row in found.collect())

    lake.append(sale("a", 1.0), "sales", {"batch": 0})
    before = lake.version("sales")
    assert changes() is None  # nothing: who asks knows by the version
    lake.append(sale("b", 2.0), "sales", {"batch": 1})
    assert changes() == [("b", 2.0, "insert")]
    lake.merge(sale("a", 3.0).union(sale("c", 4.0)), "sales", ["item_id", "unit"], {"batch": 2})  # no unit is a unit
    assert changes() == [
        ("a", 1.0, "update_preimage"),
        ("a", 3.0, "update_postimage"),
        ("b", 2.0, "insert"),
        ("c", 4.0, "insert"),
    ]
    assert lake.read("sales").count() == 3
    lake.write(sale("a", 1.0), "sales")
    assert changes() is None


def test_a_table_that_was_never_written_is_read_as_an_empty_one(make_run):
    run = make_run()
    assert run.lake.read_or_empty("calendar").count() == 0
    assert run.lake.commits("calendar", 5) == []
    run.lake.write(run.lake.frame(EVENTS, "calendar"), "calendar", note={"of": "a write"})
    assert run.lake.read_or_empty("calendar").count() == 2
    assert run.lake.note_of("calendar") == {"of": "a write"}
    assert run.lake.bytes_of("calendar") > 0


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
        "mean": 1.0, "method": "transformer", "reason": None, "model_version": "m", "data_version": "d", "run_id": "r",
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
    assert run.spark.sql("SHOW TABLES IN managed").where("NOT isTemporary").count() == 1
