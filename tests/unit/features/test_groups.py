from datetime import date, timedelta

import pytest

from forecasting.features.groups import group_lists

DEMAND = "item_id string, location_id string, period_start date, quantity double"
ROWS = [
    ("a", "s", 0, 1.0),
    ("a", "t", 0, 2.5),
    ("a", "t", 3, 4.0),
    ("b", "s", 3, 8.0),
    ("b", "s", 1, -1.0),
    ("c", "s", 1, 16.0),
]


@pytest.fixture
def lists(spark):
    def of(told, level, order=1):
        rows = [(item, place, date(2024, 1, 5) + timedelta(day), units) for item, place, day, units in ROWS[::order]]
        products = spark.createDataFrame([("a", "x"), ("b", "x"), ("c", None)], "item_id string, category string")
        found = group_lists(spark.createDataFrame(rows, DEMAND), products, told, level)
        return [
            {tuple(row[key] for key in frame.columns[:-1]): days_of(row[-1]) for row in frame.collect()}
            for frame in found
        ]

    return of


def days_of(events):
    return {(day - date(2024, 1, 5)).days: units for day, units in events}


@pytest.mark.parametrize("order", [1, -1])
def test_demand_of_items_and_of_categories_at_a_place_adds_up(lists, order):
    items, categories = lists(("item", "category"), "location", order)
    assert items == {("a",): {0: 3.5, 3: 4.0}, ("b",): {1: -1.0, 3: 8.0}, ("c",): {1: 16.0}}
    assert categories == {("x", "s"): {0: 1.0, 1: -1.0, 3: 8.0}, ("x", "t"): {0: 2.5, 3: 4.0}}


def test_what_nobody_wants_is_not_summed(lists):
    items, categories = lists(("item", "category"), "chain")
    assert not items and categories
    items, categories = lists((), "location")
    assert not items and not categories
