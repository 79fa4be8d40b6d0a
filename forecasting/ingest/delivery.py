"""A delivery's rows to their tables: accepted ones to bronze, the rest to quarantine, and what it was like to data_quality.

A delivery is all files of a source that arrives whole, a batch of one that arrives as a stream, or rows replayed from
quarantine. Whatever is killed and started again ends in the same tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any

from pyspark.sql import DataFrame, Observation
from pyspark.sql import functions as F

from forecasting.commits import History
from forecasting.config import QualityConfig
from forecasting.contracts import SOURCES
from forecasting.errors import QualityError
from forecasting.ingest import check
from forecasting.ingest.copies import Judged, superseded, without_copies
from forecasting.ingest.dataset import Dataset
from forecasting.ingest.measures import Measures, content_in, content_of, told
from forecasting.ingest.quality import Content, Days, Quality, delivered, quality_of, stop_if_bad
from forecasting.lake import Lake, rows, with_lineage

WHOLE = "whole"
Lineage = Mapping[str, Any]


@dataclass(frozen=True)
class Whole:
    """One source after all its files were read into its bronze table."""

    name: str
    measured: Mapping[str, Any]
    judged: Judged
    version_before: int  # of its bronze table; -1: there was none


def write_whole(lake: Lake, dataset: Dataset, name: str, checked: DataFrame, lineage: Lineage) -> Whole:
    """Replaces a bronze table by the accepted rows of a source."""
    judged = Judged(checked, check.quarantined(checked, name))
    if name in dataset.sources:
        judged = without_copies(checked, dataset.sources[name], name)
    before, observed = lake.newest_version(name), Observation()
    passing = Measures.of(dataset, name).on_the_way(judged.rows, observed)
    lake.write(_accepted(passing, dataset, name, lineage), name)
    return Whole(name, told(observed.get), judged, before)


def finish_whole(lake: Lake, sources: list[Whole], limits: QualityConfig, lineage: Lineage) -> list[Quality]:
    """Replaces the quarantine of these sources, and notes what each was like.

    Raises:
        QualityError: one of them is too bad; the bronze tables of all are then as they were.
    """
    if not sources:
        return []
    names = [source.name for source in sources]
    refused = [source.judged.refused for source in sources if source.measured["rows_quarantined"]]
    if refused:  # only sources with such rows are read once more
        _quarantine(lake, reduce(DataFrame.union, refused), {"source": names}, WHOLE, lineage)
    else:
        lake.delete("quarantine", {"source": names})
    for source in sources:
        source.judged.release()
    broken = broken_rules(lake, names, WHOLE)
    found = [
        quality_of(
            source.name,
            WHOLE,
            source.measured,
            broken.get(source.name, {}),
            delivered(source.measured),
            lake.version(source.name),
            days_of(lake, source.name, source.measured),
            lineage["created_at"],
        )
        for source in sources
    ]
    try:
        for quality in found:
            stop_if_bad(quality, limits)
    except QualityError:
        for source in sources:
            lake.restore(source.name, max(source.version_before, 0))
        raise
    note_quality(lake, found, lineage, run_id=lineage["run_id"])
    return found


def deliver(
    lake: Lake,
    dataset: Dataset,
    name: str,
    checked: DataFrame,
    note: dict[str, Any],
    limits: QualityConfig | None,
    lineage: Lineage,
    first: bool = False,
    taken: str | None = None,
) -> Quality:
    """Adds a delivery's rows to a bronze table, once, however often it is called with the same note.

    Args:
        checked: rows as `check.check_source` gives them.
        note: names the delivery, and is kept with its commit.
        limits: None refuses no delivery.
        first: the table is replaced, since this is the first delivery of a stream.
        taken: delivery under which the same rows are in quarantine, which they leave once all else is written.

    Raises:
        QualityError: the delivery is too bad; the bronze table is then as it was.
    """
    source, delivery, before = dataset.sources[name], _id(note), _Before.of(lake, name, note, first)
    known = None if before.rows is None or not source.unique else _comparable(before.rows, checked, source.unique)
    judged, gone, broken = without_copies(checked, source, name, known), Content(), {}
    refused = judged.refused
    replaced = superseded(judged.rows, known, source) if source.latest_by and known is not None else None
    try:
        measured, version = _write(lake, dataset, name, judged.rows, note, lineage, before.history, first, replaced)
        if replaced is not None:
            gone = content_in(replaced, name)
            refused = refused.unionByName(_superseded_rows(replaced, name))
        mine = {"source": name} if first else {"source": name, "delivery": delivery}
        if gone.rows or measured["rows_quarantined"]:
            _quarantine(lake, refused, mine, delivery, lineage)
            broken = broken_rules(lake, [name], delivery).get(name, {})
        else:
            lake.delete("quarantine", mine)
    finally:
        judged.release()
    quality = quality_of(
        name,
        delivery,
        measured,
        broken,
        before.content + delivered(measured) - gone,
        version,
        days_of(lake, name, measured),
        lineage["created_at"],
    )
    try:
        if limits:
            stop_if_bad(quality, limits)
    except QualityError:
        lake.restore(name, max(before.version, 0))
        raise
    note_quality(lake, [quality], lineage)
    if taken:
        lake.delete("quarantine", {"source": name, "delivery": taken})
    return quality


def note_quality(lake: Lake, found: list[Quality], lineage: Lineage, **of: Any) -> None:
    """Writes rows of `data_quality`, in place of those of the same sources and deliveries, and of what else is given."""
    records = lake.frame([quality | dict(lineage) for quality in found], "data_quality")
    replacing = {
        "source": [quality["source"] for quality in found],
        "delivery": sorted({quality["delivery"] for quality in found}),
    }
    lake.write(records, "data_quality", replacing | of)


def broken_rules(lake: Lake, names: list[str], delivery: str) -> dict[str, dict[str, int]]:
    """Rows in quarantine of one delivery, by source and rule."""
    mine = lake.read("quarantine").where(F.col("source").isin(names) & (F.col("delivery") == delivery))
    found: dict[str, dict[str, int]] = {}
    for row in rows(mine.groupBy("source", "rule").agg(F.count(F.lit(1)).alias("rows"))):
        found.setdefault(row["source"], {})[row["rule"]] = row["rows"]
    return found


def days_of(lake: Lake, name: str, measured: Mapping[str, Any]) -> Days:
    """Newest day of a bronze table as it stands, and the days between the first and the last of a delivery without a row."""
    if SOURCES[name].day is None:
        return Days()
    day, first, last = F.col(SOURCES[name].day), measured["first_day"], measured["last_day"]
    inside = F.when(day.between(F.lit(first), F.lit(last)), day)
    found = lake.read(name).agg(F.max(day).alias("newest"), F.count_distinct(inside).alias("sold")).first()
    return Days(found["newest"], (last - first).days + 1 - found["sold"] if first else None)


@dataclass(frozen=True)
class _Before:
    """The bronze table as a delivery finds it, also if that was written before a run was cut short."""

    history: History
    version: int  # -1: there was none
    rows: DataFrame | None  # None if none of them stays
    content: Content

    @classmethod
    def of(cls, lake: Lake, name: str, note: dict[str, Any], first: bool) -> _Before:
        history = lake.history(name)
        done = history.noted(note)
        version = history.newest if done is None else done - 1
        if first or version < 0:
            return cls(history, version, None, Content())
        found = lake.read(name, version)
        return cls(history, version, found, _content(lake, name, history.version if done is None else version, found))


def _id(note: Mapping[str, Any]) -> str:
    return " ".join(f"{key} {value}" for key, value in note.items())


def _write(
    lake: Lake,
    dataset: Dataset,
    name: str,
    checked: DataFrame,
    note: dict[str, Any],
    lineage: Lineage,
    history: History,
    first: bool,
    replaced: DataFrame | None,
) -> tuple[Mapping[str, Any], int]:
    """Writes the accepted rows, unless that was done before a run was cut short; what was measured of all rows, and the
    version of the table that holds them."""
    measures, observed, version = Measures.of(dataset, name), Observation(), None
    passing = _accepted(measures.on_the_way(checked, observed), dataset, name, lineage)
    if replaced is not None and not replaced.isEmpty():
        lake.merge(passing, name, dataset.sources[name].unique, note)
    elif not first:
        version = lake.append(passing, name, note, history)
    elif history.noted(note) is None:
        lake.write(passing, name, note=note)
        version = lake.version(name)
    if version is not None:
        return told(observed.get), version
    return measures.by_query(checked), lake.noted(name, note)


def _accepted(counted: DataFrame, dataset: Dataset, name: str, lineage: Lineage) -> DataFrame:
    """The rows that broke no rule, in those columns of the contract that the dataset delivers."""
    mapped = dataset.sources[name].columns if name in dataset.sources else ()
    wanted = [c.name for c in SOURCES[name].columns if c.name in mapped or c.required or c.name == "source_file"]
    passing = with_lineage(counted.where(check.OK), run_id=lineage["run_id"])
    return passing.select(*wanted)


def _comparable(earlier: DataFrame, checked: DataFrame, unique: tuple[str, ...]) -> DataFrame:
    """Earlier rows that may share a key with one of the delivery: those of its days, where a day is part of the key."""
    for column in ("sold_on", "sold_at", "date", "counted_on"):
        if column in unique:
            ends = checked.where(check.OK).agg(F.min(column).alias("first"), F.max(column).alias("last")).first()
            inside = F.col(column).between(F.lit(ends["first"]), F.lit(ends["last"]))
            return earlier.where(inside | F.col(column).isNull())
    return earlier


def _content(lake: Lake, name: str, version: int, table: DataFrame) -> Content:
    """Content of a bronze table at a version: as noted, or counted where a run was cut short before it noted it."""
    noted = lake.read_or_empty("data_quality").where((F.col("source") == name) & (F.col("table_version") == version))
    for row in rows(noted.orderBy(F.col("created_at").desc()).limit(1)):
        return Content(row["table_rows"], int(row["hash_sum"]))
    return content_in(table, name)


def _superseded_rows(replaced: DataFrame, name: str) -> DataFrame:
    reason = "expected the newest row of its key, came a newer one"
    return replaced.select(
        F.lit(name).alias("source"),
        F.lit("superseded").alias("rule"),
        F.lit(reason).alias("reason"),
        "source_file",
        F.to_json(F.struct(*content_of(name))).alias("record"),
    )


def _quarantine(lake: Lake, refused: DataFrame, where: dict[str, Any], delivery: str, lineage: Lineage) -> None:
    lake.write(with_lineage(refused, delivery=delivery, **lineage), "quarantine", replacing=where)
