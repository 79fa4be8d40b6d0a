import pytest

from forecasting.config import load_config
from forecasting.features.behaviour import behaviour_lists
from forecasting.features.places import calendars, places, with_places_of
from forecasting.features.prices import category_prices

FEATURES = load_config(settings=["features.country=DE", "features.region=BE"]).features
LOCATIONS = "location_id string, location_group string, country string, region string"


@pytest.fixture(scope="module")
def locations(spark):
    rows = [
        ("s1", "north", None, None),
        ("s2", "north", "DE", "BE"),
        ("s3", "south", "FR", None),
        ("s4", None, None, "BY"),
    ]
    return spark.createDataFrame(rows, LOCATIONS)


def test_every_country_and_region_has_a_calendar(locations):
    found = calendars([row.asDict() for row in locations.select("country", "region").collect()], FEATURES)
    assert found == [("DE-BE", "DE", "BE"), ("FR", "FR", None), ("DE-BY", "DE", "BY")]


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (
            "location",
            {"s1": ("north", "DE-BE"), "s2": ("north", "DE-BE"), "s3": ("south", "FR"), "s4": (None, "DE-BY")},
        ),
        ("group", {"north": (None, "DE-BE"), "south": (None, "FR"), "s4": (None, "DE-BY")}),
        ("chain", {"ALL": (None, "DE-BE")}),  # its locations differ
    ],
)
def test_a_series_has_the_calendar_that_its_places_share(locations, level, expected):
    found = places(locations, FEATURES, level).collect()
    assert {r["location_id"]: (r["location_group"], r["calendar"]) for r in found} == expected


def test_behaviour_adds_up_over_places_and_days(spark, locations):
    columns = "item_id string, location_id string, date string, views double, carts double, customers double"
    rows = [
        ("a", "s1", "2024-01-01", 5.0, None, 2.0),
        ("a", "s2", "2024-01-03", 1.0, 1.0, 1.0),
        ("a", None, "2024-01-03", 9.0, 9.0, 9.0),
    ]
    behaviour = spark.createDataFrame(rows, columns).selectExpr("* EXCEPT (date)", "cast(date AS date) AS date")
    (chain,) = behaviour_lists(behaviour, locations, "week", "chain").collect()
    assert [tuple(week)[1:] for week in chain["behaviour"]] == [(15.0, 10.0, 12.0)]
    (group,) = behaviour_lists(behaviour, locations, "day", "group").collect()
    assert [(day["period_start"].day, day["views"]) for day in group["behaviour"]] == [(1, 5.0), (3, 1.0)]


def test_the_price_of_a_category_is_the_mean_list_price_of_what_it_sold(spark):
    demand = [("a", "2024-01-01", 2.0, 8.0, 2.0), ("b", "2024-01-01", 1.0, 1.0, 0.0), ("c", "2024-01-01", 1.0, 9.0, 0.0),
              ("a", "2024-01-02", -1.0, -4.0, 0.0)]  # fmt: skip
    products = [("a", "tea"), ("b", "tea"), ("c", None)]
    columns = "item_id string, period_start string, quantity double, revenue double, discount double"
    found = category_prices(
        spark.createDataFrame(demand, columns), spark.createDataFrame(products, "item_id string, category string")
    )
    assert [(row["category"], row["price"], row["series"]) for row in found.collect()] == [("tea", 3.0, 2)]


def test_places_that_only_sales_name_are_places_too(spark, locations):
    sold = spark.createDataFrame([("s1",), ("s9",), ("s9",)], "location_id string")
    found = sorted((row["location_id"], row["location_group"]) for row in with_places_of(sold, locations).collect())
    assert found == [("s1", "north"), ("s2", "north"), ("s3", "south"), ("s4", None), ("s9", None)]
