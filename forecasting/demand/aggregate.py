"""Demand per series and period: sums of the sales lines, without gaps from the first sale to the last day of the data."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from forecasting.config import Config, SeriesConfig, fingerprint
from forecasting.errors import SourceError

SERIES = ("item_id", "location_id")
WHOLE_CHAIN = "ALL"
_STEP = {"day": "INTERVAL 1 DAY", "week": "INTERVAL 7 DAY", "month": "INTERVAL 1 MONTH"}


def data_version(checksums: Mapping[str, str], config: Config) -> str:
    """Fingerprint of the accepted input and of the settings that shape series: the same again for the same input."""
    shape = config.fingerprint("series", "features")
    return fingerprint({"sources": dict(checksums), "shape": shape, "horizon": config.forecast.horizon})


def build_demand(sales: DataFrame, locations: DataFrame, series: SeriesConfig, last_day: date) -> DataFrame:
    """One row per series and period, gap-free.

    Args:
        sales: bronze `sales`.
        locations: bronze `locations`.
        last_day: last day of the data; every series reaches its period.

    Returns:
        Columns of `demand` but lineage. A period without sales has zeros and `lines` 0.
    """
    sold = sales.withColumn("period_start", _period_start(series.grain))
    sold = at_location_level(sold, locations, series.location_level)
    totals = sold.groupBy(*SERIES, "period_start").agg(
        F.sum("quantity").alias("quantity"),
        F.sum(F.coalesce("revenue", F.lit(0.0))).alias("revenue"),
        F.sum(F.coalesce("discount", F.lit(0.0))).alias("discount"),
        F.count(F.lit(1)).alias("lines"),
    )
    return _without_gaps(totals, series.grain, last_day)


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


def _period_start(grain: str) -> F.Column:
    return F.col("sold_on") if grain == "day" else F.trunc("sold_on", grain)


def _without_gaps(totals: DataFrame, grain: str, last_day: date) -> DataFrame:
    """Each row becomes itself and one empty row per period until the series' next row: no join, and only rows with sales
    are shuffled."""
    in_series = Window.partitionBy(*SERIES).orderBy("period_start")
    end = F.lit(last_day) if grain == "day" else F.trunc(F.lit(last_day), grain)
    step = F.expr(_STEP[grain])
    following = F.lead("period_start").over(in_series)
    until = F.when(following.isNull(), end).otherwise((following - step).cast("date"))
    spread = totals.withColumn("_until", until).select(
        *SERIES,
        "quantity",
        "revenue",
        "discount",
        "lines",
        F.posexplode(F.sequence("period_start", "_until", step)).alias("_gap", "period_start"),
    )
    sold = F.col("_gap") == 0
    return spread.select(
        *SERIES,
        "period_start",
        *(F.when(sold, F.col(c)).otherwise(F.lit(0.0)).alias(c) for c in ("quantity", "revenue", "discount")),
        F.when(sold, F.col("lines")).otherwise(F.lit(0)).alias("lines"),
    )
