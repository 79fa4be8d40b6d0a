from datetime import date, timedelta

import pandas as pd
import pytest
from chispa import assert_df_equality
from pyspark.sql import functions as F

from forecasting.config import SeriesConfig, load_config
from forecasting.demand.aggregate import at_location_level, build_demand, data_version, last_day_of
from forecasting.errors import SourceError

GROUPS = {"s1": "north", "s2": "north", "s3": "south", "s4": None}
LAST = date(2024, 3, 20)
COLUMNS = "item_id string, location_id string, period_start date, quantity double, revenue double, discount double, lines bigint"


def sale(item, location, day, quantity, revenue=None, discount=None):
    return (item, location, date(2024, 1, 1) + timedelta(day), quantity, revenue, discount)


SALES = [
    sale("a", "s1", 0, 2.0, 5.0, 1.0),
    sale("a", "s1", 0, 1.0, 2.5),
    sale("a", "s2", 0, 1.0),
    sale("a", "s1", 40, -1.0, -2.5),  # a return on a day of its own, a month later
    sale("a", "s3", 33, 4.0, 8.0, 0.5),
    sale("a", "s9", 60, 1.0, 2.0),  # a location that nobody knows
    sale("b", "s4", 58, 3.0, 9.0),
    sale("b", "s4", 79, 0.0, 0.0),  # the last day
]


@pytest.fixture(scope="module")
def frames(spark):
    columns = "item_id string, location_id string, sold_on date, quantity double, revenue double, discount double"
    locations = spark.createDataFrame(list(GROUPS.items()), "location_id string, location_group string")
    return spark.createDataFrame(SALES, columns).cache(), locations


def slow_demand(grain: str, level: str) -> list[tuple]:
    """One row at a time, one period after the other."""

    def place(location):
        return {"chain": "ALL", "location": location, "group": GROUPS.get(location) or location}[level]

    def first_day(day):
        return {"day": day, "week": day - timedelta(day.weekday()), "month": day.replace(day=1)}[grain]

    found = {}
    for item, location, day, quantity, revenue, discount in SALES:
        periods = found.setdefault((item, place(location)), {})
        sums = periods.setdefault(first_day(day), [0.0, 0.0, 0.0, 0])
        for at, value in enumerate((quantity, revenue or 0.0, discount or 0.0, 1)):
            sums[at] += value
    rows = []
    for series, periods in found.items():
        day = min(periods)
        while day <= LAST:
            if day == first_day(day):
                rows.append((*series, day, *periods.get(day, [0.0, 0.0, 0.0, 0])))
            day += timedelta(1)
    return rows


@pytest.mark.parametrize(
    ("grain", "level"),
    [("day", "chain"), ("day", "location"), ("week", "group"), ("month", "chain"), ("month", "location")],
)
def test_demand_is_what_the_slow_loop_finds(spark, frames, grain, level):
    demand = build_demand(*frames, SeriesConfig(grain=grain, location_level=level), LAST)
    expected = spark.createDataFrame(slow_demand(grain, level), COLUMNS)
    order = ["item_id", "location_id", "period_start"]
    assert_df_equality(demand.orderBy(*order), expected.orderBy(*order), ignore_nullable=True)


def test_no_row_is_lost_where_a_location_has_no_group(frames):
    sales, locations = frames
    grouped = at_location_level(sales, locations, "group").groupBy("location_id").agg(F.count(F.lit(1)).alias("rows"))
    found = grouped.toPandas().set_index("location_id")["rows"].to_dict()
    assert found == {"north": 4, "south": 1, "s4": 2, "s9": 1}


def test_series_reach_the_last_day_without_gaps(frames):
    demand = build_demand(*frames, SeriesConfig(grain="day", location_level="chain"), LAST).toPandas()
    for _, series in demand.groupby("item_id"):
        days = pd.to_datetime(series["period_start"]).sort_values()
        assert list(days) == list(pd.date_range(days.min(), LAST))
    assert (demand["lines"] > 0).sum() == 6
    assert demand.loc[demand["lines"] == 0, ["quantity", "revenue", "discount"]].eq(0).all(axis=None)


def test_the_last_day_is_that_of_the_last_sale(frames):
    assert last_day_of(frames[0]) == LAST
    with pytest.raises(SourceError, match="came none"):
        last_day_of(frames[0].limit(0))


def test_the_data_version_follows_input_and_the_shape_of_series():
    config, sums = load_config(), {"sales": "1", "products": "2"}
    version = data_version(sums, config)
    assert version == data_version(dict(reversed(sums.items())), load_config(settings=["training.epochs=9"]))
    assert version != data_version(sums | {"sales": "3"}, config)
    for setting in ("series.grain=week", "series.location_level=location", "features.country=DE", "forecast.horizon=7"):
        assert version != data_version(sums, load_config(settings=[setting]))
