"""All Delta access: every table is read and written here, checked against its contract, in one atomic commit each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse
from uuid import uuid4

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from forecasting.catalog import Catalog
from forecasting.commits import TOKEN, Commit, History
from forecasting.contracts import TABLES, Source, Table
from forecasting.errors import LakeError
from forecasting.sqltext import among

FILE = 2**30  # bytes of the files that Delta's OPTIMIZE makes
ROW_GROUP = 16 * 2**20  # bytes of an exported file that whoever reads it holds at once


class Lake(Catalog):
    """The tables of one configuration, to read and to write."""

    def read(self, table: str, version: int | None = None) -> DataFrame:
        """A table, at its newest version or at the given one.

        Raises:
            LakeError: it has not been written yet.
        """
        self._must_exist(table)
        at_version = "" if version is None else f" VERSION AS OF {version}"
        return self.spark.sql(f"SELECT * FROM {self._reference(table)}{at_version}")

    def read_or_empty(self, table: str) -> DataFrame:
        """A table, or one without rows if it has not been written: a source that the dataset does not have."""
        return self.read(table) if self.exists(table) else self.frame([], table)

    def holds(self, table: str, column: str, values: Sequence[Any]) -> set[Any]:
        """Those of some values that a column of a table has; none before it was first written."""
        if not values or not self.exists(table):
            return set()
        found = self.read(table).where(F.col(column).isin(list(values))).select(column).distinct()
        return {row[column] for row in rows(found)}

    def version(self, table: str) -> int:
        """Version in which the rows of a table last changed, or to which they were taken back; -1 before it was first
        written."""
        return self.history(table).version

    def history(self, table: str) -> History:
        """The commits of a table as they stand."""
        return History(lambda most: self.commits(table, most))

    def newest_version(self, table: str) -> int:
        """Newest version of a table, whatever made it: the one that stays readable longest; -1 before it was first written."""
        return next((commit.version for commit in self.commits(table, 1)), -1)

    def bytes_of(self, table: str) -> int:
        """Size of a table's files."""
        return self.spark.sql(f"DESCRIBE DETAIL {self._reference(table)}").select("sizeInBytes").first()["sizeInBytes"]

    def commits(self, table: str, most: int) -> list[Commit]:
        """The newest commits of a table, newest first; none before it was first written."""
        if not self.exists(table):
            return []
        history = self.spark.sql(f"DESCRIBE HISTORY {self._reference(table)} LIMIT {most}")
        age = (F.unix_timestamp(F.current_timestamp()) - F.unix_timestamp("timestamp")) / 3600
        found = history.select("version", "operation", "operationParameters", "userMetadata", age.alias("age_hours"))
        newest_first = sorted(rows(found), key=lambda row: -row["version"])  # a cluster may hand them over in any order
        return [
            Commit(
                row["version"],
                row["operation"],
                row["operationParameters"] or {},
                row["userMetadata"],
                row["age_hours"],
            )
            for row in newest_first
        ]

    def restore(self, table: str, version: int) -> None:
        """Takes a table back to an earlier version."""
        self.spark.sql(f"RESTORE TABLE {self._reference(table)} TO VERSION AS OF {version}")

    def write(
        self, df: DataFrame, table: str, replacing: dict[str, Any] | None = None, note: dict[str, Any] | None = None
    ) -> None:
        """Writes a table in one atomic commit, so that a second write of the same leaves one copy.

        Args:
            df: columns of the contract, by name; order and types are brought in line.
            replacing: `{column: value, or list of values}` of the rows that this write replaces; None replaces the whole table.
            note: what `note_of` gives back for this state of the table.

        Raises:
            LakeError: a column of the contract is missing or one too many came.
        """
        condition = _all_among(replacing or {})
        options = {"replaceWhere": condition, "mergeSchema": "true"} if condition else {"overwriteSchema": "true"}
        if note is not None:
            options["userMetadata"] = json.dumps(note)
        self._save(df, TABLES[table], "overwrite", options)

    def delete(self, table: str, of: dict[str, Any]) -> None:
        """Takes the rows with these values, `{column: value, or list of values}`, out of a table, which is there afterwards."""
        self._create(TABLES[table])
        self._target(table).delete(_all_among(of))

    def delete_before(self, table: str, column: str, first: date) -> None:
        """Takes the rows whose date lies before `first` out of a table."""
        self._target(table).delete(F.col(column) < F.lit(first))

    def log(self, df: DataFrame, table: str) -> None:
        """Adds rows about what happened, to a table of which no row is ever replaced."""
        self._save(df, TABLES[table], "append", {"mergeSchema": "true"})

    def append(self, df: DataFrame, table: str, note: dict[str, Any], history: History | None = None) -> int | None:
        """Appends the rows of a delivery in one atomic commit, once: its version, or None if the table holds those of this
        note already.

        Two who append the same at the same time do not both succeed: Delta refuses the second.

        Args:
            history: of the table, if it has been looked at.
        """
        contract = TABLES[table]
        self._create(contract)
        before = history if history and history.newest >= 0 else self.history(table)
        if before.noted(note) is not None:
            return None
        token = uuid4().hex
        once = {"txnAppId": f"{json.dumps(note)} after {before.newest}", "txnVersion": "1"}
        text = json.dumps(note | {TOKEN: token})
        self._save(df, contract, "append", {"userMetadata": text, "mergeSchema": "true"} | once)
        # Delta passes over a write without a word where another one finished the same since that look.
        return self.history(table).written_as(token)

    def merge(self, df: DataFrame, table: str, on: Sequence[str], note: dict[str, Any]) -> bool:
        """Rows of a delivery take the place of those with the same `on`, or are added, in one atomic commit, once."""
        if self.noted(table, note) is not None:
            return False
        contract = TABLES[table]
        self._create(contract)
        target = self._target(table)
        new, same = self._conform(df, contract), " AND ".join(f"old.`{column}` <=> new.`{column}`" for column in on)
        # Not `UpdateAll`, which asks for every column of the table, also for those that no source delivers.
        values = {f"`{column}`": f"new.`{column}`" for column in new.columns}
        merge = target.alias("old").merge(new.alias("new"), same).withSchemaEvolution()
        key = "spark.databricks.delta.commitInfo.userMetadata"
        self.spark.conf.set(key, json.dumps(note))
        try:
            merge.whenMatchedUpdate(set=values).whenNotMatchedInsert(values=values).execute()
        finally:
            self.spark.conf.unset(key)
        return True

    def replace_rows(self, df: DataFrame, table: str, within: dict[str, Any]) -> None:
        """Rows take the place of those with the same key, or are added, in one atomic commit; all others stay.

        Args:
            df: columns of the contract, by name; no two rows of the same key.
            within: `{column: value}` that all of these rows share, by which the rest of the table need not be looked at.

        Raises:
            LakeError: a column of the contract is missing or one too many came.
        """
        contract = TABLES[table]
        self._create(contract)
        same = [f"old.`{column}` <=> new.`{column}`" for column in contract.key]
        same += [f"old.{among(column, value)}" for column, value in within.items()]
        merge = self._target(table).alias("old").merge(self._conform(df, contract).alias("new"), " AND ".join(same))
        merge.withSchemaEvolution().whenMatchedUpdateAll().whenNotMatchedInsertAll().execute()

    def compact(self, table: str) -> int:
        """Makes few large files of the many small ones that writes leave, one commit a table; no row changes.

        In a partitioned table a partition of more files than its size asks for is put in the order of the first of the table's `skipping`
        columns, by which a query for few items reads little. One that is as it was left here has no more.

        Returns:
            Files that were made anew.
        """
        contract, statement = TABLES[table], f"OPTIMIZE {self._reference(table)}"
        if contract.partitioned_by:
            (column,) = contract.partitioned_by
            if not (scattered := self._scattered(table, column)):
                return 0
            statement += f" WHERE {among(column, scattered)} ZORDER BY (`{contract.skipping[0]}`)"
        return self.spark.sql(statement).select("metrics.numFilesRemoved").first()["numFilesRemoved"]

    def _scattered(self, table: str, column: str) -> list[str]:
        """Partitions with more files than their size asks for."""
        files = [unquote(file) for file in self.read(table).inputFiles()]
        if not files:
            return []
        sizes = self.spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(files)
        partition = F.regexp_extract("path", f"{column}=([^/]+)/", 1).alias("partition")
        of_partition = sizes.groupBy(partition).agg(F.count(F.lit(1)).alias("files"), F.sum("length").alias("bytes"))
        scattered = of_partition.where(F.col("files") > F.floor(F.col("bytes") / FILE) + 1)
        return sorted(row["partition"] for row in rows(scattered.select("partition")))

    def vacuum(self, table: str, hours: int) -> None:
        """Deletes files that no version of the last so many hours needs."""
        self.spark.sql(f"VACUUM {self._reference(table)} RETAIN {hours} HOURS")

    def update(self, table: str, chosen: Column, values: dict[str, str]) -> None:
        """Sets text columns of the chosen rows, in one atomic commit."""
        self._target(table).update(chosen, {column: F.lit(value) for column, value in values.items()})

    def noted(self, table: str, note: dict[str, Any]) -> int | None:
        """Version by which a write with this note changed a table; None if there is none, or if it was taken back."""
        return self.history(table).noted(note)

    def note_of(self, table: str, key: str | None = None) -> dict[str, Any] | None:
        """What the last write that changed rows noted, as `History.note` tells."""
        return self.history(table).note(key)

    def changed_since(self, table: str, version: int) -> DataFrame | None:
        """Rows that came into a table or left it after a version; None if all of it was replaced or the feed is gone."""
        newer = self.commits(table, max(self.newest_version(table) - version, 0))
        complete = bool(newer) and min(commit.version for commit in newer) == version + 1
        if not complete or not all(map(Commit.is_partial, newer)):
            return None
        vacuumed = any(commit.operation.startswith("VACUUM") for commit in newer)
        if vacuumed and max(commit.age_hours for commit in newer) >= self.config.maintenance.vacuum_hours:
            return None  # files that tell of the oldest of them may be gone
        reader = self.spark.read.option("readChangeFeed", "true").option("startingVersion", version + 1)
        path = self.path(table)
        return reader.table(self.name(table)) if path is None else reader.format("delta").load(path)

    def export(self, df: DataFrame, folder: str) -> None:
        """Writes rows as plain Parquet files, for those who read them without Spark; replaces what lay in the folder.

        Args:
            folder: path or URI as `models.artifact.filesystem` takes it.
        """
        df.write.mode("overwrite").option("parquet.block.size", ROW_GROUP).parquet(_for_spark(folder))

    def frame(self, records: list[dict[str, Any]], table: str) -> DataFrame:
        """A few records as a frame with the columns and types of a table."""
        columns = TABLES[table].columns_with(self.config.forecast.quantile_columns)
        values = [tuple(record[column.name] for column in columns) for record in records]
        made = self.spark.createDataFrame(values, ", ".join(f"`{c.name}` {c.type}" for c in columns))
        return made if records else made.limit(0)  # by which Spark knows that nothing is to be done for it

    def _save(self, df: DataFrame, contract: Table, mode: str, options: dict[str, str]) -> None:
        conforming = self._conform(df, contract)
        self._create(contract)
        if contract.partitioned_by:
            self._divide(contract)
        if isinstance(contract, Source) and "overwriteSchema" in options:
            options = {**options, "mergeSchema": "true"}
            del options["overwriteSchema"]  # columns that did not come stay in the schema
        self._put(conforming, contract, mode, options)

    def _divide(self, contract: Table) -> None:
        """Brings a table into the partitions of its contract, if an earlier version of the code wrote it into others."""
        detail = self.spark.sql(f"DESCRIBE DETAIL {self._reference(contract.name)}").select("partitionColumns").first()
        if tuple(detail["partitionColumns"]) != contract.partitioned_by:
            # First, since Delta takes no statistics of columns that divide a table.
            statistics = f"'delta.dataSkippingStatsColumns' = '{','.join(contract.skipping)}'"
            self.spark.sql(f"ALTER TABLE {self._reference(contract.name)} SET TBLPROPERTIES ({statistics})")
            self._put(self.read(contract.name), contract, "overwrite", {"overwriteSchema": "true"})

    def _put(self, df: DataFrame, contract: Table, mode: str, options: dict[str, str]) -> None:
        writer = df.write.format("delta").mode(mode).options(**options)
        if contract.partitioned_by:
            writer = writer.partitionBy(*contract.partitioned_by)
        path = self.path(contract.name)
        if path is None:
            writer.saveAsTable(self.name(contract.name))
        else:
            writer.save(path)

    def _conform(self, df: DataFrame, contract: Table) -> DataFrame:
        columns, came = contract.columns_with(self.config.forecast.quantile_columns), set(df.columns)
        # A column that no source delivers is null for all rows; it is not written, since that costs as much as a value.
        optional = isinstance(contract, Source)
        expected = {column.name for column in columns if column.required or not optional}
        if missing_or_too_many := (expected - came) | (came - {column.name for column in columns}):
            raise LakeError(
                f"Table {contract.name}: expected the columns of its contract; missing {sorted(missing_or_too_many - came)}, "
                f"one too many {sorted(missing_or_too_many & came)}."
            )
        columns = [column for column in columns if column.name in came]
        return df.select(*(F.col(c.name).cast(c.type).alias(c.name, metadata={"comment": c.doc}) for c in columns))

    def _target(self, table: str) -> DeltaTable:
        path = self.path(table)
        return DeltaTable.forPath(self.spark, path) if path else DeltaTable.forName(self.spark, self.name(table))


def _all_among(values: dict[str, Any]) -> str:
    return " AND ".join(among(column, value) for column, value in values.items())


def with_lineage(df: DataFrame, **values: Any) -> DataFrame:
    """`df` with the given constants as columns: run_id, data_version and the like."""
    return df.withColumns({name: F.lit(value) for name, value in values.items()})


def rows(df: DataFrame, most: int = 10_000) -> list[dict[str, Any]]:
    """A result that is small by its nature (metrics, a calendar, a handful of series) as dictionaries.

    Raises:
        LakeError: it has more than `most` rows, so that it may grow with the data and does not belong on the driver.
    """
    found = [row.asDict() for row in df.limit(most + 1).toLocalIterator()]
    if len(found) > most:
        raise LakeError(f"Expected a result of at most {most} rows on the driver, came more.")
    return found


def _for_spark(folder: str) -> str:
    """What Spark calls a place that pyarrow knows by this name: Hadoop's name for S3, and no other file system than the local one
    for a plain path (but for volumes of Databricks, which are at the same path for both)."""
    if folder.startswith("s3://"):
        return f"s3a://{folder.removeprefix('s3://')}"
    plain = not urlparse(folder).scheme and not folder.startswith("/Volumes/")
    return Path(folder).resolve().as_uri() if plain else folder
