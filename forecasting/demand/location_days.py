"""Was a location open on a day, and did its records come? The part of "nothing sold" that all its items share."""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from forecasting.config import DemandConfig
from forecasting.demand.aggregate import at_location_level, period_start

RECENT_DAYS = 56  # days with lines from which the usual number of lines is taken
FEW_LINES = 0.1  # share of the usual number of lines up to which a declared closing day is believed
OPEN, CLOSED, MISSING = "open", "closed", "missing"


def lines_per_day(sales: DataFrame) -> DataFrame:
    """`location_id`, `date`, `lines`: days on which a location has sales lines."""
    return sales.groupBy("location_id", F.col("sold_on").alias("date")).agg(F.count(F.lit(1)).alias("lines"))


def build_location_days(
    lines: DataFrame, locations: DataFrame, calendar: DataFrame, demand: DemandConfig, last_day: date
) -> DataFrame:
    """One row per location and day, from its first day with lines to the last day of the data.

    A day is closed if the calendar or the catalogue says so and there are hardly any lines (a return booked at night). Else a
    day without any line was not open where the location usually has at least `demand.open_lines` lines a day: missing if the
    gap is longer than `demand.missing_after` days and that weekday ever has lines, closed if not. A smaller location may have
    been open and sold nothing.

    Args:
        lines: as `lines_per_day` gives them.
        locations: bronze `locations`. calendar: bronze `calendar`.

    Returns:
        Columns of `location_days` but lineage.
    """
    days = _without_gaps(lines.withColumn("_last", F.lit(last_day)))
    closing = calendar.where(F.coalesce("closed", F.lit(False))).select("date", "location_id", F.lit(True).alias("_is"))
    own = closing.where(F.col("location_id").isNotNull()).distinct()
    general = closing.where(F.col("location_id").isNull()).select("date", F.col("_is").alias("_all")).distinct()
    days = days.join(F.broadcast(own), on=["location_id", "date"], how="left")
    days = days.join(F.broadcast(general), on="date", how="left")
    days = days.join(F.broadcast(locations.select("location_id", "closed_on")), on="location_id", how="left")
    hardly_any = F.col("lines") <= FEW_LINES * F.col("_usual")
    declared = hardly_any & F.coalesce("_is", "_all", F.col("date") > F.col("closed_on"), F.lit(False))
    state = F.when(declared, CLOSED).otherwise(_inferred(demand))
    return days.select("location_id", "date", "lines", state.alias("state"), declared.alias("declared"))


def _inferred(demand: DemandConfig) -> Column:
    """State of a day of `_without_gaps` of which nothing was declared."""
    usually_busy = F.col("_usual") >= F.lit(demand.open_lines)
    lost = (F.col("_gap_days") > F.lit(demand.missing_after)) & F.col("_weekday_sells")
    return F.when((F.col("lines") > 0) | ~usually_busy, OPEN).when(lost, MISSING).otherwise(CLOSED)


def _without_gaps(lines: DataFrame) -> DataFrame:
    """Every day of each location, with the usual number of lines before it (`_usual`), the length of its gap (`_gap_days`), and
    whether any day of its weekday has lines (`_weekday_sells`)."""
    by_day = Window.partitionBy("location_id").orderBy("date")
    of_weekday = Window.partitionBy("location_id", F.dayofweek("date"))
    following = F.coalesce(F.lead("date").over(by_day), F.date_add("_last", 1))
    spread = lines.select(
        "location_id",
        F.col("date").alias("_from"),
        F.col("lines").alias("_lines"),
        F.percentile_approx("lines", 0.5).over(by_day.rowsBetween(1 - RECENT_DAYS, 0)).alias("_usual"),
        (F.datediff(following, "date") - 1).alias("_gap_days"),
        F.sequence("date", F.date_sub(following, 1)).alias("_days"),
    ).select("*", F.posexplode("_days").alias("_at", "date"))
    return spread.select(
        "location_id",
        "date",
        F.when(F.col("_at") == 0, F.col("_lines")).otherwise(F.lit(0)).alias("lines"),
        "_usual",
        "_gap_days",
        F.max(F.col("_at") == 0).over(of_weekday).alias("_weekday_sells"),
    )


def idle_periods(
    location_days: DataFrame, locations: DataFrame, grain: str, level: str, demand: DemandConfig
) -> DataFrame:
    """Periods in which no location of a series was open: `location_id`, `idle`: array of struct(period_start, state).

    A period is missing if records of any of its days and locations are; else it was closed. Of many small locations, each of
    which may have been open and sold nothing, a day without a line at any of them was open at none.
    """
    states: Column = F.max_by("state", _rank("state"))
    days = at_location_level(location_days, locations, level).groupBy("location_id", "date")
    days = days.agg(states.alias("state"), F.sum("lines").alias("lines"))
    if level != "location":
        days = _judged_together(days, demand)
    periods = days.groupBy("location_id", period_start(grain, "date").alias("period_start")).agg(states.alias("state"))
    idle = periods.where(F.col("state") != OPEN)
    return idle.groupBy("location_id").agg(
        F.array_sort(F.collect_list(F.struct("period_start", "state"))).alias("idle")
    )


def _judged_together(days: DataFrame, demand: DemandConfig) -> DataFrame:
    """Days that are open by the locations of a series, judged anew by the lines of all of them."""
    ends = days.groupBy("location_id").agg(F.max("date").alias("_last"))
    together = _without_gaps(days.where(F.col("lines") > 0).join(F.broadcast(ends), on="location_id"))
    inferred = together.select("location_id", "date", _inferred(demand).alias("_inferred"))
    known = days.join(inferred, on=["location_id", "date"], how="left")
    state = F.when(F.col("state") == OPEN, F.coalesce("_inferred", "state")).otherwise(F.col("state"))
    return known.withColumn("state", state)


def _rank(state: str) -> Column:
    return F.when(F.col(state) == OPEN, 2).when(F.col(state) == MISSING, 1).otherwise(0)
