"""Demand per series and period: exact sums of the sales lines, for the periods that have any."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from forecasting.config import Config, DemandConfig, SeriesConfig, fingerprint
from forecasting.errors import SourceError

SERIES = ("item_id", "location_id")
WHOLE_CHAIN = "ALL"
# Sums of doubles depend on their order, and so on files and partitions; sums of whole millionths do not.
UNIT_PARTS, MONEY_PARTS = 1_000_000, 10_000


def data_version(checksums: Mapping[str, str], config: Config) -> str:
    """Fingerprint of the accepted input and of the settings that shape series: the same again for the same input."""
    shape = config.fingerprint("series", "demand", "features")
    return fingerprint({"sources": dict(checksums), "shape": shape, "horizon": config.forecast.horizon})


def build_demand(
    sales: DataFrame, locations: DataFrame, series: SeriesConfig, demand: DemandConfig, units: DataFrame | None = None
) -> DataFrame:
    """One row per series and period with sales lines.

    Args:
        sales: bronze `sales`, or the lines of some months of it.
        locations: bronze `locations`.
        units: bronze `units`; None if there are none.

    Returns:
        Columns of `demand` but lineage. The same for any order and partitioning of the lines.
    """
    lines = in_own_units(sales, units) if units is not None else sales
    lines = at_location_level(lines, locations, series.location_level)
    returned, counted = _returned(lines), _counted(demand)
    totals = lines.groupBy(*SERIES, period_start(series.grain).alias("period_start")).agg(
        exact_sum(F.when(counted, F.col("quantity")), UNIT_PARTS).alias("quantity"),
        exact_sum(F.when(returned, -F.col("quantity")), UNIT_PARTS).alias("returned"),
        exact_sum(F.when(counted, F.col("revenue")), MONEY_PARTS).alias("revenue"),
        exact_sum(F.when(counted, F.col("discount")), MONEY_PARTS).alias("discount"),
        F.count(F.lit(1)).alias("lines"),
    )
    return totals.select(
        *SERIES,
        "period_start",
        *("quantity", "returned", "revenue", "discount", "lines"),
        F.trunc("period_start", "month").alias("month"),
    )


def exact_sum(value: Column, parts: int) -> Column:
    """Sum to a 1/`parts` of a unit, whatever the order of rows; null counts as 0."""
    whole = F.sum(F.rint(value * parts).cast("bigint"))
    return F.coalesce(whole, F.lit(0)) / F.lit(float(parts))


def in_own_units(sales: DataFrame, units: DataFrame) -> DataFrame:
    """`sales` with quantities in each item's own unit; a line without a matching unit keeps its quantity.

    Of several rows of one item and unit, the newest that is valid on the day of the sale counts.
    """
    always = F.lit(date(1900, 1, 1))
    of_unit = Window.partitionBy("item_id", "unit").orderBy("_from", "factor")
    spans = units.select(
        "item_id",
        F.coalesce("unit", F.lit("")).alias("unit"),
        F.coalesce("valid_from", always).alias("_from"),
        "factor",
    ).withColumn("_until", F.lead("_from").over(of_unit))
    spans = spans.withColumnsRenamed({"item_id": "_item", "unit": "_unit"})
    day, until = F.col("sold_on"), F.col("_until")
    matches = (
        (F.col("item_id") == F.col("_item"))
        & (F.coalesce("unit", F.lit("")) == F.col("_unit"))
        & (day >= F.col("_from"))
        & (until.isNull() | (day < until))
    )
    joined = sales.join(F.broadcast(spans), on=matches, how="left")
    factor = F.coalesce("factor", F.lit(1.0))
    return joined.withColumn("quantity", F.col("quantity") * factor).select(*sales.columns)


def _is_return() -> Column:
    return F.col("quantity") < 0


def _returned(lines: DataFrame) -> Column:
    kind = F.coalesce("kind", F.lit("sale"))
    return _is_return() | kind.isin("return", "cancellation")


def _counted(demand: DemandConfig) -> Column:
    """Whether a line counts as demand: every line, but for those that the settings ignore."""
    kind = F.coalesce("kind", F.when(_is_return(), F.lit("return")).otherwise(F.lit("sale")))
    ignored = [
        name for name, way in (("return", demand.returns), ("cancellation", demand.cancellations)) if way == "ignore"
    ]
    return ~kind.isin(ignored) if ignored else F.lit(True)


def at_location_level(df: DataFrame, locations: DataFrame, level: str) -> DataFrame:
    """`df` with `location_id` brought to the level that series are kept at.

    A location without a group keeps its own id, so that no row is lost.
    """
    if level == "chain":
        return df.withColumn("location_id", F.lit(WHOLE_CHAIN))
    if level == "location":
        return df
    groups = locations.select("location_id", "location_group")
    grouped = df.join(F.broadcast(groups), on="location_id", how="left")
    return grouped.withColumn("location_id", F.coalesce("location_group", "location_id")).drop("location_group")


def last_day_of(sales: DataFrame) -> date:
    """Last business day with a sale.

    Raises:
        SourceError: there is no sale at all.
    """
    day = sales.agg(F.max("sold_on").alias("day")).first()["day"]
    if day is None:
        raise SourceError(
            "Table sales: expected at least one accepted row, came none. See the quarantine table for reasons."
        )
    return day


def period_start(grain: str, day: str = "sold_on") -> Column:
    """First day of the period that holds a day."""
    return F.col(day) if grain == "day" else F.trunc(day, grain)


def in_months(months: Collection[date], grain: str, day: str = "sold_on") -> Column:
    """Whether a day's period belongs to one of the months that `demand` is partitioned by."""
    return F.trunc(period_start(grain, day), "month").isin(sorted(months))
