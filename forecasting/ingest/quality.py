"""What a delivery was like, and the thresholds that stop a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting.config import QualityConfig, fingerprint
from forecasting.errors import LakeError, QualityError
from forecasting.lake import rows

Quality = dict[str, Any]
COPIES = ("duplicate", "superseded")  # rules that good rows break by coming more than once


@dataclass(frozen=True)
class Content:
    """What a bronze table holds: how many rows, and the sum of their hashes."""

    rows: int = 0
    hash_sum: int = 0

    def __add__(self, other: Content) -> Content:
        return Content(self.rows + other.rows, self.hash_sum + other.hash_sum)

    def __sub__(self, other: Content) -> Content:
        return Content(self.rows - other.rows, self.hash_sum - other.hash_sum)

    @property
    def checksum(self) -> str:
        """The same for the same rows, whatever their order, files and deliveries."""
        return fingerprint({"rows": self.rows, "hash_sum": str(self.hash_sum)})


@dataclass(frozen=True)
class Days:
    """Of a bronze table: its newest day, and the days without a row between the first and the last of a delivery."""

    newest: date | None = None
    gaps: int | None = None


def delivered(measured: Mapping[str, Any]) -> Content:
    """Content of a delivery's accepted rows, as `measures.Measures` tells them."""
    return Content(measured["rows_in"] - measured["rows_quarantined"], measured["hash_sum"])


def quality_of(
    source: str,
    delivery: str,
    measured: Mapping[str, Any],
    broken: Mapping[str, int],
    table: Content,
    table_version: int,
    days: Days,
    started: datetime,
) -> Quality:
    """Columns of `data_quality` but lineage.

    Args:
        measured: `measures.Measures` of the delivery.
        broken: its quarantined rows by rule.
        table: content of the bronze table after it.
        days: of the bronze table after it.
        started: when the run started.
    """
    return {
        "source": source,
        "delivery": delivery,
        "rows_in": measured["rows_in"],
        "rows_accepted": measured["rows_in"] - measured["rows_quarantined"],
        "rows_quarantined": measured["rows_quarantined"],
        "broken": dict(broken),
        "warnings": {rule: rows for rule, rows in measured["warnings"].items() if rows},
        "first_day": measured["first_day"],
        "last_day": measured["last_day"],
        "age_days": (started.date() - days.newest).days if days.newest else None,
        "gap_days": days.gaps,
        "table_rows": table.rows,
        "hash_sum": Decimal(table.hash_sum),
        "checksum": table.checksum,
        "table_version": table_version,
    }


def stop_if_bad(quality: Quality, limits: QualityConfig) -> None:
    """Raises QualityError if a delivery is worse than the configuration allows, or if there is no sale at all."""
    source, rows_in = quality["source"], quality["rows_in"]
    bad = sum(count for rule, count in quality["broken"].items() if rule not in COPIES)
    copies = (
        quality["rows_quarantined"] - bad
    )  # not `broken`: rows that left the table for newer ones were not delivered
    look = (
        f"The rows and reasons are in the table quarantine: SELECT rule, reason, count(*) FROM quarantine WHERE "
        f"source = '{source}' GROUP BY ALL. Mend the source or its mapping, or raise "
    )
    if rows_in and bad / rows_in > limits.max_quarantined_share:
        raise QualityError(
            f"Source {source}: expected at most {limits.max_quarantined_share:.1%} of its rows to break the contract, came "
            f"{bad:,} of {rows_in:,} ({bad / rows_in:.1%}). {look}quality.max_quarantined_share."
        )
    if limits.max_duplicate_share is not None and rows_in and copies / rows_in > limits.max_duplicate_share:
        raise QualityError(
            f"Source {source}: expected at most {limits.max_duplicate_share:.1%} of its rows to be duplicates, came "
            f"{copies:,} of {rows_in:,} ({copies / rows_in:.1%}). {look}quality.max_duplicate_share."
        )
    if source == "sales":
        _stop_if_bad_sales(quality, limits)


def _stop_if_bad_sales(quality: Quality, limits: QualityConfig) -> None:
    if quality["table_rows"] == 0:
        raise QualityError("Source sales: expected at least one row, came none. Check source.path and source.filter.")
    age, gaps = quality["age_days"], quality["gap_days"]
    if limits.max_age_days is not None and age is not None and age > limits.max_age_days:
        raise QualityError(
            f"Source sales: expected a newest sale at most {limits.max_age_days} days old, came one {age} days old. "
            "Deliver the days since, or raise quality.max_age_days."
        )
    if limits.max_gap_days is not None and gaps is not None and gaps > limits.max_gap_days:
        raise QualityError(
            f"Source sales: expected at most {limits.max_gap_days} days without any sale, came {gaps} between "
            f"{quality['first_day']} and {quality['last_day']}. Deliver them, or raise quality.max_gap_days."
        )


def checksums(data_quality: DataFrame, table_versions: Mapping[str, int]) -> dict[str, str]:
    """Checksum of every bronze table as it stands.

    Raises:
        LakeError: a bronze table holds something else than the last finished ingest wrote.
    """
    return {name: content.checksum for name, content in contents(data_quality, table_versions).items()}


def contents(data_quality: DataFrame, table_versions: Mapping[str, int]) -> dict[str, Content]:
    """Content of every bronze table as it stands, as its last finished ingest noted it.

    Raises:
        LakeError: a bronze table holds something else than the last finished ingest wrote.
    """
    now = (
        F.col("table_version")
        == F.create_map(*(F.lit(part) for pair in table_versions.items() for part in pair))[F.col("source")]
    )
    newest = data_quality.where(now).groupBy("source")
    noted = F.max_by(F.struct("table_rows", "hash_sum"), "created_at").alias("noted")
    found = {row["source"]: row["noted"] for row in rows(newest.agg(noted))}
    for source in table_versions:
        if source not in found:
            raise LakeError(f"Table {source}: its last ingest was cut short. Run the job ingest again, then this one.")
    return {name: Content(noted["table_rows"], int(noted["hash_sum"])) for name, noted in found.items()}
