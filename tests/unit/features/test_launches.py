"""Items that are launched about now and have not sold are series of one period of which nothing was seen."""

from datetime import date, timedelta

from forecasting.features.launches import STILL_NEW, launched_about, launches
from forecasting.lake import rows

LAST, HORIZON = date(2024, 3, 31), 14


def test_only_items_launched_about_now_that_never_sold_are_new(spark):
    days = {
        "soon": 5,
        "today": 0,
        "just begun": -STILL_NEW,
        "long ago": -STILL_NEW - 1,
        "at the end": HORIZON,
        "too late": HORIZON + 1,
        "sells": -3,
    }
    products = [(item, LAST + timedelta(ahead)) for item, ahead in days.items()]
    products = spark.createDataFrame([*products, ("unknown", None)], "item_id string, launched_on date")
    demand = spark.createDataFrame([("sells", "s1")], "item_id string, location_id string")
    places = spark.createDataFrame([("s1",), ("s2",), ("s1",)], "location_id string")
    found = rows(launches(launched_about(products, LAST, HORIZON, "day"), demand, places, LAST))
    new = {"soon", "today", "just begun", "at the end"}
    assert {(row["item_id"], row["location_id"]) for row in found} == {
        (item, place) for item in new for place in ("s1", "s2")
    }
    assert len(found) == 2 * len(new)
    assert all(row["first_period"] == LAST and row["offset"] == row["quantity"] == [] for row in found)
