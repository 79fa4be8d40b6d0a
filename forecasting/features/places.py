"""Where series are: their group, and the calendar of their country or region."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting.config import FeaturesConfig
from forecasting.demand.aggregate import at_location_level

Calendar = tuple[str, str, str | None]  # name, country, region


def calendars(found: Iterable[Mapping], features: FeaturesConfig) -> list[Calendar]:
    """Every calendar that a location needs, that of the configuration first.

    Args:
        found: `country` and `region` of locations, null for those of the configuration.
    """
    named = {features.calendar: (features.calendar, features.country, features.region)}
    for row in found:
        country, region = row["country"] or features.country, row["region"]
        region = region if row["country"] or region else features.region
        name = f"{country}-{region}" if region else country
        named[name] = (name, country, region)
    return list(named.values())


def places(locations: DataFrame, features: FeaturesConfig, level: str) -> DataFrame:
    """`location_id` at the level of series, `location_group`, `calendar`: the configuration's where locations differ."""
    country = F.coalesce("country", F.lit(features.country))
    region = F.when(F.col("country").isNull(), F.coalesce("region", F.lit(features.region))).otherwise(F.col("region"))
    calendar = F.when(region.isNull(), country).otherwise(F.concat_ws("-", country, region))
    group = F.col("location_group") if level == "location" else F.lit(None).cast("string")
    known = locations.select("location_id", "location_group", group.alias("_group"), calendar.alias("calendar"))
    at_level = (
        at_location_level(known, known, level)
        if level != "group"
        else known.withColumn("location_id", F.coalesce("location_group", "location_id"))
    )
    one = F.when(F.count_distinct("calendar") == 1, F.min("calendar")).otherwise(F.lit(features.calendar))
    return at_level.groupBy("location_id").agg(F.min("_group").alias("location_group"), one.alias("calendar"))


def with_places_of(location_days: DataFrame, locations: DataFrame) -> DataFrame:
    """Bronze `locations` and those that only sales lines name: what holds everywhere holds there too."""
    sold = location_days.select("location_id").distinct()
    unknown = sold.join(F.broadcast(locations.select("location_id")), on="location_id", how="left_anti")
    return locations.unionByName(unknown, allowMissingColumns=True)
