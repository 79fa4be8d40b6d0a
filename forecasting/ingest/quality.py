"""Counts of one source, and the threshold that stops a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting.config import QualityConfig, fingerprint
from forecasting.errors import LakeError, QualityError
from forecasting.lake import rows

Quality = dict[str, Any]


def quality_of(source: str, observed: Mapping[str, Any], table_version: int) -> Quality:
    """Columns of `data_quality` but lineage, from what `ingest.counts` observed."""
    rows_in, bad = observed["rows_in"], observed["rows_quarantined"]
    content = {"rows": rows_in - bad, "hash_sum": str(observed["hash_sum"])}
    return {
        "source": source,
        "rows_in": rows_in,
        "rows_accepted": rows_in - bad,
        "rows_quarantined": bad,
        "checksum": fingerprint(content),
        "table_version": table_version,
    }


def stop_if_bad(quality: Quality, limits: QualityConfig) -> None:
    """Raises QualityError if too large a share of the source's rows was quarantined, or if there is no sale at all."""
    source, rows_in, bad = quality["source"], quality["rows_in"], quality["rows_quarantined"]
    if rows_in and bad / rows_in > limits.max_quarantined_share:
        raise QualityError(
            f"Source {source}: expected at most {limits.max_quarantined_share:.1%} of its rows to break the contract, came "
            f"{bad:,} of {rows_in:,} ({bad / rows_in:.1%}). The rows and reasons are in the table quarantine: SELECT rule, "
            f"reason, count(*) FROM quarantine WHERE source = '{source}' GROUP BY ALL. Mend the source or its mapping, or raise "
            "quality.max_quarantined_share."
        )
    if source == "sales" and quality["rows_accepted"] == 0:
        raise QualityError("Source sales: expected at least one row, came none. Check source.path and source.filter.")


def checksums(data_quality: DataFrame, table_versions: Mapping[str, int]) -> dict[str, str]:
    """Checksum of every bronze table as it stands.

    Raises:
        LakeError: a bronze table holds something else than the last finished ingest wrote.
    """
    now = (
        F.col("table_version")
        == F.create_map(*(F.lit(part) for pair in table_versions.items() for part in pair))[F.col("source")]
    )
    newest = data_quality.where(now).groupBy("source").agg(F.max_by("checksum", "created_at").alias("checksum"))
    found = {row["source"]: row["checksum"] for row in rows(newest)}
    for source in table_versions:
        if source not in found:
            raise LakeError(f"Table {source}: its last ingest was cut short. Run the job ingest again, then this one.")
    return found
