"""Rows that were delivered more than once, and rows that correct earlier ones: one of each counts, whatever came first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyspark import StorageLevel
from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from forecasting.ingest.check import BROKEN, OK, RECORD, quarantined
from forecasting.ingest.dataset import SourceSpec
from forecasting.ingest.measures import hash_of

SLICES = 64  # ranges of hashes, spread over the tasks of a shuffle: 8 bytes a row over the number of them in each
FEW = 4_000_000  # repeated hashes that every executor may hold, some 100 MB; more are joined by a shuffle
KEPT = "_kept"  # 1 for a row of the table as it was, 0 for one that is delivered now


@dataclass(frozen=True)
class Judged:
    """The rows of a delivery: `rows` are all of them with `_ok`, `refused` those that are not, in columns of `quarantine`.

    `held` are set aside until both are written.
    """

    rows: DataFrame
    refused: DataFrame
    held: tuple[DataFrame, ...] = ()

    def release(self) -> None:
        """Gives back what is set aside. Spark would also answer from it when the same files are read again."""
        for frame in self.held:
            frame.unpersist()


def without_copies(checked: DataFrame, source: SourceSpec, name: str, before: DataFrame | None = None) -> Judged:
    """`checked` with all but one of the rows that share `source.unique` refused.

    The newest by `source.latest_by` counts. Without it, or among equals, a row that the table holds already, or else one
    that does not depend on the order of files or rows.

    Only rows whose key occurs more than once are compared: finding them takes a hash of each row instead of a sort of all.
    They and the broken rows are set aside once, for both tables.

    Args:
        before: rows of the table from earlier deliveries that may share a key with one of these; None if there are none.
    """
    if not source.unique:
        return Judged(checked, quarantined(checked, name))
    key = F.xxhash64(*source.unique)
    hashes = checked.select(key.alias("hash"))
    if before is not None:
        hashes = hashes.union(before.select(key.alias("hash")))
    repeated = repeated_hashes(hashes).cache()
    count = repeated.count()
    if not count:
        return Judged(checked, quarantined(checked, name), (repeated,))
    few = F.broadcast(repeated) if count <= FEW else repeated
    single = checked.join(few, on=key == F.col("hash"), how="left_anti")
    aside = checked.join(few, on=key == F.col("hash"), how="left")
    aside = aside.where(~F.col(OK) | F.col("hash").isNotNull()).persist(StorageLevel.DISK_ONLY)
    best = _best_of(aside.where(F.col("hash").isNotNull()).drop("hash"), source, name, before, few)
    broken = aside.where(F.col("hash").isNull()).drop("hash")
    return Judged(single.unionByName(best), quarantined(broken.unionByName(best), name), (repeated, aside))


def superseded(rows: DataFrame, before: DataFrame, source: SourceSpec) -> DataFrame:
    """Rows of the table that a newer version among the accepted rows of a delivery replaces."""
    newer = rows.where(OK).select(*(F.col(column).alias(f"_{column}") for column in source.unique))
    same = [F.col(column).eqNullSafe(F.col(f"_{column}")) for column in source.unique]
    return before.join(newer, on=same, how="left_semi")  # a row that is accepted beside one of the table is newer


def _best_of(
    several: DataFrame, source: SourceSpec, name: str, before: DataFrame | None, repeated: DataFrame
) -> DataFrame:
    rows = several.withColumn(KEPT, F.lit(0))
    if before is not None:
        kept = before.join(repeated, on=F.xxhash64(*source.unique) == F.col("hash"), how="left_semi")
        none = F.lit(None)
        kept = kept.drop("run_id").withColumns(
            {
                RECORD: none.cast("string"),
                OK: F.lit(True),
                BROKEN: none.cast("struct<rule: string, reason: string>"),
                KEPT: F.lit(1),
            }
        )
        rows = rows.unionByName(kept)
    order = [F.col(KEPT).desc(), hash_of(name), F.xxhash64(RECORD)]
    if source.latest_by:
        order.insert(0, F.col(source.latest_by).desc_nulls_last())
    best = Window.partitionBy(*source.unique, OK).orderBy(*order)
    ranked = rows.withColumns({"_rank": F.row_number().over(best), "_best": _first_value(source, best)})
    further = F.col(OK) & (F.col("_rank") > 1)
    marked = ranked.withColumns(
        {BROKEN: F.when(further, _verdict(source)).otherwise(F.col(BROKEN)), OK: F.col(OK) & (F.col("_rank") == 1)}
    )
    return marked.where(F.col(KEPT) == 0).drop("_rank", "_best", KEPT)


def _first_value(source: SourceSpec, best: object) -> Column:
    return F.first(source.latest_by).over(best) if source.latest_by else F.lit(None)


def _verdict(source: SourceSpec) -> Column:
    key = F.concat_ws(
        ", ", *(F.concat(F.lit(f"{c} "), F.coalesce(F.col(c).cast("string"), F.lit("none"))) for c in source.unique)
    )
    duplicate = F.struct(
        F.lit("duplicate").alias("rule"),
        F.concat(F.lit("expected one row with "), key, F.lit(", came another")).alias("reason"),
    )
    if not source.latest_by:
        return duplicate
    newest = F.concat(F.lit("expected the newest row with "), key, F.lit(f", which has {source.latest_by} "))
    corrected = F.struct(
        F.lit("superseded").alias("rule"), F.concat(newest, F.col("_best").cast("string")).alias("reason")
    )
    return F.when(F.col(source.latest_by).eqNullSafe(F.col("_best")), duplicate).otherwise(corrected)


def repeated_hashes(hashes: DataFrame) -> DataFrame:
    """`hash`: every value that occurs more than once in the one column `hash` of int64.

    Each task sorts its own and hands them on in slices, so that the shuffle moves blocks of bytes and not rows.
    """
    slices = hashes.mapInArrow(_sliced, "slice int, hashes binary")
    return slices.repartition("slice").mapInArrow(_repeated, "hash bigint")


def _sliced(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    found = [batch.column(0).to_numpy(zero_copy_only=False) for batch in batches if batch.num_rows]
    if not found:
        return
    values = np.sort(np.concatenate(found))
    edges = np.linspace(-(2.0**63), 2.0**63, SLICES + 1)[1:-1].astype(np.int64)
    parts = np.split(values, np.searchsorted(values, edges))
    blocks = pa.array([part.tobytes() for part in parts], pa.binary())
    yield pa.RecordBatch.from_pydict({"slice": pa.array(range(SLICES), pa.int32()), "hashes": blocks})


def _repeated(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    by_slice: dict[int, list[np.ndarray]] = {}
    for batch in batches:
        for slice_, block in zip(batch["slice"].to_pylist(), batch["hashes"], strict=True):
            by_slice.setdefault(slice_, []).append(np.frombuffer(block.as_buffer(), np.int64))
    for parts in by_slice.values():
        values = np.sort(np.concatenate(parts))
        again = values[1:][values[1:] == values[:-1]]
        yield pa.RecordBatch.from_pydict({"hash": np.unique(again)})
