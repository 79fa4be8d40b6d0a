"""What of a generated log's truth the tables tell, and what they tell that is not true."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting.demand.cleaning import Treatment
from forecasting.lake import rows
from forecasting.runtime import Run
from forecasting.states import State

Figure = tuple[str, float, str]
SERIES = ["item_id", "location_id"]
NEAR = 60  # days by which a change of level may be confirmed after it began
#: Lines a day that a series expects, before anything happened to it.
PACES = {"under_1_a_day": "rate < 1", "1_to_5_a_day": "rate BETWEEN 1 AND 5", "over_5_a_day": "rate > 5"}


def found_of_truth(run: Run, log: Path) -> list[Figure]:
    """Shares of duplicates, lost and closed days, stock-outs, outliers and level shifts found, and false alarms."""
    days = _days(run).cache()
    told: list[Figure] = [*_duplicates(run, log), *_idle_days(run, log)]
    told += _stock_outs(run, log, days)
    told += _events(run, log, days, "outliers", Treatment.FLAGGED, 0, {})
    told += _events(run, log, days, "shifts", Treatment.LEVEL_SHIFT, NEAR, PACES)
    return told


def _truth(run: Run, log: Path, name: str) -> DataFrame:
    return run.spark.read.parquet(str(log / "truth" / f"{name}.parquet"))


def _one(frame: DataFrame, **columns) -> dict:
    (row,) = rows(frame.agg(*(column.alias(name) for name, column in columns.items())))
    return row


def _days(run: Run) -> DataFrame:
    """`item_id`, `location_id`, `day`, `state`, `treatment` of days that are neither sold nor a plain zero, or were treated."""
    unfolded = run.lake.read("sequences").select(
        *SERIES, "first_period", F.posexplode(F.arrays_zip("state", "treatment")).alias("at", "was")
    )
    seen = unfolded.select(*SERIES, F.expr("date_add(first_period, at)").alias("day"), "was.state", "was.treatment")
    return seen.where((F.col("state") > State.ZERO) | (F.col("treatment") > Treatment.NONE))


def _duplicates(run: Run, log: Path) -> list[Figure]:
    truth = json.loads((log / "truth" / "counts.json").read_text())["demand_totals_before_last_day"]
    refused = run.lake.read("quarantine").where(F.col("source") == "sales").groupBy("rule").count()
    found = {row["rule"]: row["count"] for row in rows(refused)}
    return [
        ("duplicates_found", found.get("duplicate", 0) / truth["duplicates"], "of those delivered"),
        ("broken_lines_found", sum(n for rule, n in found.items() if rule != "duplicate") / truth["quarantined"], "of those delivered"),
    ]  # fmt: skip


def _idle_days(run: Run, log: Path) -> list[Figure]:
    told: list[Figure] = []
    days = run.lake.read("location_days").withColumnRenamed("date", "day")
    for state, name in (("closed", "closed"), ("missing", "lost")):
        truth = _truth(run, log, name).select("location_id", "day", F.lit(True).alias("true"))
        both = days.join(truth, on=["location_id", "day"], how="left")
        is_so, true = F.col("state") == state, F.col("true").isNotNull()
        counted = _one(both, hit=F.count_if(is_so & true), true=F.count_if(true), told=F.count_if(is_so))
        told.append((f"{state}_days_found", counted["hit"] / max(1, counted["true"]), "of the location-days that were"))
        told.append((f"{state}_days_false", 1 - counted["hit"] / max(1, counted["told"]), "of those told"))
    return told


def _stock_outs(run: Run, log: Path, days: DataFrame) -> list[Figure]:
    spells = _truth(run, log, "stockouts").withColumn("spell", F.monotonically_increasing_id())
    true = spells.select(*SERIES, "spell", "snapshots", "rate", F.expr("explode(sequence(first_day, date_add(first_day, int(days) - 1)))").alias("day"))  # fmt: skip
    told_days = days.where(F.col("state") >= State.OUT_OF_STOCK).select(*SERIES, "day", "state")
    both = true.join(told_days, on=[*SERIES, "day"], how="left")
    found = F.count_if(F.col("state").isNotNull()) >= F.count(F.lit(1)) / 2
    per_spell = both.groupBy("spell", "snapshots", "rate").agg(found.alias("found")).cache()
    told = _found(per_spell.where("snapshots"), "stock_outs_counted")
    for pace, chosen in PACES.items():
        told += _found(per_spell.where(f"NOT snapshots AND {chosen}"), f"stock_outs_inferred_{pace}")
    inferred = told_days.where(F.col("state") == State.OUT_OF_STOCK_INFERRED)
    false = inferred.join(true.select(*SERIES, "day"), on=[*SERIES, "day"], how="left_anti").count()
    total = _one(run.lake.read("sequences"), days=F.sum("length"))["days"]
    told.append(("stock_out_days_false", false / max(1, inferred.count()), "of the days inferred"))
    told.append(("stock_out_days_false_of_all", false / total, "of all series-days"))
    return told


def _found(events: DataFrame, name: str) -> list[Figure]:
    """Share of events with `found`, if there are any."""
    counted = _one(events, hit=F.count_if("found"), true=F.count(F.lit(1)))
    return [(f"{name}_found", counted["hit"] / counted["true"], f"of {counted['true']}")] if counted["true"] else []


def _events(
    run: Run, log: Path, days: DataFrame, name: str, treatment: Treatment, near: int, parts: Mapping[str, str]
) -> list[Figure]:
    """Events of single days that were found within `near` days, all and in parts; and marks without an event as a rate per
    series and year."""
    true = _truth(run, log, name).withColumnRenamed("day", "began")
    marked = days.where(F.col("treatment") == treatment).select(*SERIES, "day")
    pairs = true.join(marked, on=SERIES, how="inner").where(F.datediff("day", "began").between(0, near))
    hits = pairs.select(*SERIES, "began", F.lit(True).alias("found")).distinct()
    events = true.join(hits, on=[*SERIES, "began"], how="left").cache()
    told = _found(events, name)
    for part, chosen in parts.items():
        told += _found(events.where(chosen), f"{name}_{part}")
    total = _one(run.lake.read("sequences"), days=F.sum("length"))["days"]
    false = marked.count() - pairs.select(*SERIES, "day").distinct().count()
    return [*told, (f"{name}_false", false / (total / 365.25), "a series and year")]
