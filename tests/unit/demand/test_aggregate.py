from datetime import date, timedelta

import pytest
from chispa import assert_df_equality
from pyspark.sql import functions as F

from forecasting.config import SeriesConfig, load_config
from forecasting.demand.aggregate import (
    at_location_level,
    build_demand,
    data_version,
    in_months,
    in_own_units,
    last_day_of,
)
from forecasting.errors import SourceError

GROUPS = {"s1": "north", "s2": "north", "s3": "south", "s4": None}
LAST = date(2024, 3, 20)
COLUMNS = (
    "item_id string, location_id string, period_start date, quantity double, returned double, revenue double, discount double, "
    "lines bigint, month date"
)
NET = load_config().demand


def sale(item, location, day, quantity, revenue=None, discount=None, kind=None):
    return (item, location, date(2024, 1, 1) + timedelta(day), quantity, revenue, discount, kind, None)


SALES = [
    sale("a", "s1", 0, 2.0, 5.0, 1.0),
    sale("a", "s1", 0, 1.0, 2.5),
    sale("a", "s2", 0, 1.0),
    sale("a", "s1", 40, -1.0, -2.5),  # a return on a day of its own, a month later
    sale("a", "s3", 33, 4.0, 8.0, 0.5),
    sale("a", "s9", 60, 1.0, 2.0),  # a location that nobody knows
    sale("b", "s4", 58, 3.0, 9.0),
    sale("b", "s4", 58, -2.0, -6.0, 0.1, "cancellation"),
    sale("b", "s4", 59, -1.0, -3.0, 0.0, "return"),
    sale("b", "s4", 79, 0.0, 0.0),  # the last day
]


@pytest.fixture(scope="module")
def frames(spark):
    columns = (
        "item_id string, location_id string, sold_on date, quantity double, revenue double, discount double, kind string, "
        "unit string"
    )
    locations = spark.createDataFrame(list(GROUPS.items()), "location_id string, location_group string")
    return spark.createDataFrame(SALES, columns).cache(), locations


def slow_demand(grain: str, level: str, ignored: tuple[str, ...] = ()) -> list[tuple]:
    """One row at a time."""

    def place(location):
        return {"chain": "ALL", "location": location, "group": GROUPS.get(location) or location}[level]

    def first_day(day):
        return {"day": day, "week": day - timedelta(day.weekday()), "month": day.replace(day=1)}[grain]

    found = {}
    for item, location, day, quantity, revenue, discount, kind, _ in SALES:
        start = first_day(day)
        sums = found.setdefault((item, place(location), start), [0.0, 0.0, 0.0, 0.0, 0, start.replace(day=1)])
        kind = kind or ("return" if quantity < 0 else "sale")
        if kind not in ignored:
            for at, value in ((0, quantity), (2, revenue or 0.0), (3, discount or 0.0)):
                sums[at] += value
        sums[1] += -quantity if kind != "sale" else 0.0
        sums[4] += 1
    return [(*key, *sums) for key, sums in found.items()]


@pytest.mark.parametrize(
    ("grain", "level"),
    [("day", "chain"), ("day", "location"), ("week", "group"), ("month", "chain"), ("month", "location")],
)
def test_demand_is_what_the_slow_loop_finds(spark, frames, grain, level):
    demand = build_demand(*frames, SeriesConfig(grain=grain, location_level=level), NET)
    expected = spark.createDataFrame(slow_demand(grain, level), COLUMNS)
    order = ["item_id", "location_id", "period_start"]
    assert_df_equality(demand.orderBy(*order), expected.orderBy(*order), ignore_nullable=True)


@pytest.mark.parametrize("ignored", [("return",), ("cancellation",), ("return", "cancellation")])
def test_returns_and_cancellations_count_as_configured_and_are_told_apart(spark, frames, ignored):
    settings = load_config(settings=[f"demand.{kind}s=ignore" for kind in ignored]).demand
    demand = build_demand(*frames, SeriesConfig(grain="day", location_level="chain"), settings)
    expected = spark.createDataFrame(slow_demand("day", "chain", ignored), COLUMNS)
    order = ["item_id", "location_id", "period_start"]
    assert_df_equality(demand.orderBy(*order), expected.orderBy(*order), ignore_nullable=True)


def test_sums_do_not_depend_on_the_order_of_lines(spark):
    lines = [
        ("a", "s", date(2024, 1, 1), 0.1 * (i % 7 + 1), 1e9 if i == 3 else 0.07 * i, 0.01, None, None)
        for i in range(99)
    ]
    columns = (
        "item_id string, location_id string, sold_on date, quantity double, revenue double, discount double, kind string, "
        "unit string"
    )
    locations = spark.createDataFrame([], "location_id string, location_group string")
    settings = SeriesConfig(grain="day", location_level="location")
    found = [
        build_demand(spark.createDataFrame(some, columns).repartition(parts), locations, settings, NET).first()
        for some, parts in ((lines, 1), (lines[::-1], 1), (lines, 5))
    ]
    assert found[0] == found[1] == found[2]
    assert found[0]["revenue"] == pytest.approx(sum(line[4] for line in lines), rel=1e-12)


def test_a_case_counts_as_its_units_from_the_day_on_which_it_holds(spark, frames):
    columns = "item_id string, sold_on date, quantity double, unit string"
    day = date(2024, 1, 10)
    sold = [
        ("a", day, 2.0, "case"),
        ("a", day + timedelta(1), 2.0, "case"),
        ("a", day, 2.0, None),
        ("b", day, 2.0, "case"),
    ]
    units = spark.createDataFrame(
        [("a", "case", None, 12.0), ("a", "case", day + timedelta(1), 10.0), ("b", None, None, 3.0)],
        "item_id string, unit string, valid_from date, factor double",
    )
    found = in_own_units(spark.createDataFrame(sold, columns), units)
    assert sorted(row["quantity"] for row in found.collect()) == [2.0, 2.0, 20.0, 24.0]


def test_no_row_is_lost_where_a_location_has_no_group(frames):
    sales, locations = frames
    grouped = at_location_level(sales, locations, "group").groupBy("location_id").agg(F.count(F.lit(1)).alias("rows"))
    found = grouped.toPandas().set_index("location_id")["rows"].to_dict()
    assert found == {"north": 4, "south": 1, "s4": 4, "s9": 1}


def test_months_are_those_of_the_period(frames):
    sales, _ = frames

    def days(grain):
        rows = sales.where(in_months([date(2024, 2, 1)], grain)).select("sold_on").distinct().collect()
        return sorted((row["sold_on"] - date(2024, 1, 1)).days for row in rows)

    assert days("day") == [33, 40, 58, 59]
    assert days("week") == [
        40,
        58,
        59,
        60,
    ]  # Friday, 1 March lies in a week of February, Saturday, 3 February in one of January


def test_the_last_day_is_that_of_the_last_sale(frames):
    assert last_day_of(frames[0]) == LAST
    with pytest.raises(SourceError, match="came none"):
        last_day_of(frames[0].limit(0))


def test_the_data_version_follows_input_and_the_shape_of_series():
    config, sums = load_config(), {"sales": "1", "products": "2"}
    version = data_version(sums, config)
    assert version == data_version(dict(reversed(sums.items())), load_config(settings=["training.epochs=9"]))
    assert version != data_version(sums | {"sales": "3"}, config)
    for setting in (
        "series.grain=week",
        "series.location_level=location",
        "features.country=DE",
        "forecast.horizon=7",
        "demand.returns=ignore",
    ):
        assert version != data_version(sums, load_config(settings=[setting]))
