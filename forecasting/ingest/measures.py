"""What the rows of a delivery come to: counted and summed up on their way into a table, or by a query of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

from pyspark.sql import Column, DataFrame, Observation
from pyspark.sql import functions as F

from forecasting.contracts import LINEAGE, SOURCES
from forecasting.ingest.check import BROKEN, OK, RECORD
from forecasting.ingest.dataset import Dataset
from forecasting.ingest.quality import Content

_HASH, _DAY, _WARNED, _BITS = "_hash", "_day", "_warned_", 32
_HIGH, _LOW = "hash_high", "hash_low"


@dataclass(frozen=True)
class Measures:
    """Of checked rows: `rows_in`, `rows_quarantined`, `first_day`, `last_day`, `warnings` (rows that break a rule of that
    severity, by rule), and `hash_sum` of accepted rows, which is the same for any order of rows.

    Each row is marked first, in the code that Spark generates for the whole plan; an observation, which is not part of that
    code, is left with sums of plain columns.
    """

    marks: dict[str, Column]
    totals: tuple[Column, ...]

    @classmethod
    def of(cls, dataset: Dataset, name: str) -> Measures:
        """What is measured of a source."""
        ok, day = F.col(OK), SOURCES[name].day
        warnings = (
            [rule for rule in dataset.rules(name) if rule.severity == "warning"] if name in dataset.sources else []
        )
        broken = {rule.name: ok & ~F.coalesce(F.expr(rule.expression), F.lit(True)) for rule in warnings}
        marks = {
            _HASH: F.when(ok, hash_of(name)),
            _DAY: F.when(ok, F.col(day)) if day else F.lit(None).cast("date"),
            "_refused": (~ok).cast("bigint"),
            **{_WARNED + rule: breaks.cast("bigint") for rule, breaks in broken.items()},
        }
        totals = (
            F.count(F.lit(1)).alias("rows_in"),
            F.sum("_refused").alias("rows_quarantined"),
            *_halves(F.col(_HASH)),
            F.min(_DAY).alias("first_day"),
            F.max(_DAY).alias("last_day"),
            *(F.sum(_WARNED + rule).alias(_WARNED + rule) for rule in broken),
        )
        return cls(marks, totals)

    def on_the_way(self, checked: DataFrame, observed: Observation) -> DataFrame:
        """`checked` without originals and reasons, which cost most; what passes is measured into `observed`."""
        passing = checked.drop(RECORD, BROKEN).withColumns(self.marks).observe(observed, *self.totals)
        return passing.drop(*self.marks)

    def by_query(self, checked: DataFrame) -> dict[str, Any]:
        """What `checked` comes to."""
        return told(checked.withColumns(self.marks).agg(*self.totals).first().asDict())


def told(totals: Mapping[str, Any]) -> dict[str, Any]:
    """What an observation found, as `Measures` names it; sums of no rows are 0."""
    warned = {name.removeprefix(_WARNED): rows or 0 for name, rows in totals.items() if name.startswith(_WARNED)}
    counts = {name: totals[name] or 0 for name in ("rows_in", "rows_quarantined")}
    days = {name: totals[name] for name in ("first_day", "last_day")}
    return counts | days | {"warnings": warned, "hash_sum": _joined(totals)}


def content_of(name: str) -> list[str]:
    """Columns of a source that say something about the world, and not where the row comes from."""
    return [column.name for column in SOURCES[name].columns if column.name not in LINEAGE]


def hash_of(name: str) -> Column:
    """A number that stands for what a row of a source says."""
    content, required = content_of(name), {column.name for column in SOURCES[name].columns if column.required}
    # A hash passes over nulls: without their places, a value would count the same in whichever column it is.
    places = [F.col(c).isNull().cast("int") * 2**place for place, c in enumerate(content) if c not in required]
    return F.xxhash64(*content, reduce(add, places, F.lit(0)))


def content_in(table: DataFrame, name: str) -> Content:
    """Content of rows of a bronze table."""
    hashed = table.select(hash_of(name).alias(_HASH))
    found = hashed.agg(F.count(F.lit(1)).alias("rows"), *_halves(F.col(_HASH))).first().asDict()
    return Content(found["rows"], _joined(found))


def _halves(hash_: Column) -> tuple[Column, Column]:
    """The sum of 64-bit numbers as two sums that do not overflow below two thousand million rows; a decimal costs more."""
    low = hash_.bitwiseAND(F.lit(2**_BITS - 1))
    return F.sum(F.shiftright(hash_, _BITS)).alias(_HIGH), F.sum(low).alias(_LOW)


def _joined(halves: Mapping[str, Any]) -> int:
    return ((halves[_HIGH] or 0) << _BITS) + (halves[_LOW] or 0)
