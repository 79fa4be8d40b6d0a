from datetime import date

import pytest

from forecasting.demand.stock import empty_periods, stock_now

COLUMNS = (
    "item_id string, location_id string, counted_on date, on_hand double, on_order double, lead_time int, review_period int, "
    "pack_size double"
)
MONDAY = date(2024, 1, 1)


@pytest.fixture(scope="module")
def frames(spark):
    snapshots = [
        ("a", "s1", MONDAY, 0.0, 5.0, 3, 7, 6.0),
        ("a", "s2", MONDAY, 0.0, None, 5, 7, 2.0),
        ("a", "s1", date(2024, 1, 3), 0.0, 1.0, 3, 7, 6.0),
        ("a", "s2", date(2024, 1, 3), 4.0, 2.0, 5, 7, 2.0),
        ("b", "s1", MONDAY, 0.0, None, None, None, None),
        ("b", "s1", None, 9.0, None, None, None, None),  # now
    ]
    locations = spark.createDataFrame([("s1", "g"), ("s2", "g")], "location_id string, location_group string")
    return spark.createDataFrame(snapshots, COLUMNS), locations


@pytest.mark.parametrize(
    ("grain", "level", "expected"),
    [
        ("day", "location", {("a", "s1"): [1, 3], ("a", "s2"): [1], ("b", "s1"): [1]}),
        ("day", "chain", {("a", "ALL"): [1], ("b", "ALL"): [1]}),  # on the third there was some at s2
        ("week", "location", {("a", "s1"): [1], ("a", "s2"): [1], ("b", "s1"): [1]}),
    ],
)
def test_a_series_is_out_of_stock_where_nothing_was_counted_anywhere(frames, grain, level, expected):
    found = empty_periods(*frames, grain, level).collect()
    assert {(r["item_id"], r["location_id"]): [d.day for d in r["out_of_stock"]] for r in found} == expected


def test_the_newest_snapshot_is_the_stock_now_and_locations_add_up(frames):
    found = {row["item_id"]: row.asDict() for row in stock_now(*frames, "chain").collect()}
    assert found["a"] == {
        "item_id": "a", "location_id": "ALL", "on_hand": 4.0, "on_order": 3.0, "lead_time": 5, "review_period": 7, "pack_size": 6.0,
    }  # fmt: skip
    assert (found["b"]["on_hand"], found["b"]["lead_time"]) == (9.0, None)
