"""All Delta access: every table is read and written here, checked against its contract, in one atomic commit each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse
from uuid import uuid4

from delta.tables import DeltaTable
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from forecasting.commits import TOKEN, Commit, History
from forecasting.config import Config
from forecasting.contracts import TABLES, Source, Table
from forecasting.errors import LakeError
from forecasting.sqltext import among, create_table, create_view, text_literal
from forecasting.views import VIEWS

ROW_GROUP = 16 * 2**20  # bytes of an exported file that whoever reads it holds at once


@dataclass(frozen=True)
class Lake:
    """The tables of one configuration, in the catalog and, where `lake.path` is set, as folders `<lake.path>/<table>`."""

    spark: SparkSession
    config: Config
    _registered: set[str] = field(default_factory=set, compare=False, repr=False)  # in this session's catalog

    def name(self, table: str) -> str:
        """Full name of a table for SQL."""
        lake = self.config.lake
        return ".".join(f"`{part}`" for part in (lake.catalog, lake.schema_, table))

    @property
    def folder(self) -> str | None:
        """Absolute folder or URI of all tables; None for managed tables."""
        root = self.config.lake.path
        if root is None:
            return None
        return (root if urlparse(root).scheme else str(Path(root).resolve())).rstrip("/")

    def path(self, table: str) -> str | None:
        """Folder or URI of a table; None for a managed table."""
        return None if self.folder is None else f"{self.folder}/{table}"

    def exists(self, table: str) -> bool:
        """Whether the table has been written."""
        path = self.path(table)
        if path is None:
            return self.spark.catalog.tableExists(self.name(table))
        return DeltaTable.isDeltaTable(self.spark, path)

    def register(self) -> list[str]:
        """Makes every table that has been written, and the views over them, known to the catalog; returns their names."""
        known = [table for table in TABLES if self.exists(table)]
        for table in known:
            self._register(table)
        views = self.views(known)
        for statement in views.values():
            self.spark.sql(statement)
        return [*known, *views]

    def view(self, name: str) -> DataFrame:
        """What a view shows.

        Raises:
            LakeError: one of its tables has not been written yet.
        """
        for table in VIEWS[name].needs:
            self._must_exist(table)
        return self.spark.sql(VIEWS[name].query(self._reference, self.config))

    def views(self, known: Sequence[str]) -> dict[str, str]:
        """The statement that creates each view whose tables are known."""
        return {
            name: create_view(view, self.name(name), self.name, self.config)
            for name, view in VIEWS.items()
            if set(view.needs) <= set(known)
        }

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
        found = history.select("version", "operation", "operationParameters", "userMetadata")
        newest_first = sorted(rows(found), key=lambda row: -row["version"])  # a cluster may hand them over in any order
        return [
            Commit(row["version"], row["operation"], row["operationParameters"] or {}, row["userMetadata"])
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
        same += [among(f"old`.`{column}", value) for column, value in within.items()]
        merge = self._target(table).alias("old").merge(self._conform(df, contract).alias("new"), " AND ".join(same))
        merge.withSchemaEvolution().whenMatchedUpdateAll().whenNotMatchedInsertAll().execute()

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
        if isinstance(contract, Source) and "overwriteSchema" in options:
            options = {**options, "mergeSchema": "true"}
            del options["overwriteSchema"]  # columns that did not come stay in the schema
        self._put(conforming, contract, mode, options)

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

    def _create(self, contract: Table) -> None:
        """Creates an empty table with the contract's columns and comments, if there is none, and registers it; one whose files an
        earlier version of the code divided otherwise is divided anew."""
        if not self.exists(contract.name):
            self._create_schema()
            # By its folder if the catalog knows the name already: its folder is gone, or it is another lake's table.
            known = self.spark.catalog.tableExists(self.name(contract.name))
            name = self._reference(contract.name) if known else self.name(contract.name)
            place = None if known else self.path(contract.name)
            self.spark.sql(create_table(contract, name, place, self.config.forecast.quantile_columns))
            if not known:
                self._registered.add(contract.name)
        elif contract.partitioned_by:
            detail = (
                self.spark.sql(f"DESCRIBE DETAIL {self._reference(contract.name)}").select("partitionColumns").first()
            )
            if tuple(detail["partitionColumns"]) != contract.partitioned_by:
                self._put(self.read(contract.name), contract, "overwrite", {"overwriteSchema": "true"})
        self._register(contract.name)

    def _register(self, table: str) -> None:
        """Makes a table in the lake's folder known to the catalog under its name.

        Raises:
            LakeError: the catalog holds another table under this name.
        """
        name, path = self.name(table), self.path(table)
        if path is None or table in self._registered:
            return
        self._create_schema()
        if self.spark.catalog.tableExists(name):
            registered = self.spark.sql(f"DESCRIBE DETAIL {name}").select("location").first()["location"]
            if _plain(registered) != _plain(path):
                raise LakeError(
                    f"Table {name}: expected to lie at {path}, but the catalog says {registered}. "
                    "Give this lake a schema of its own with --set lake.schema=NAME, or drop the other table."
                )
        else:
            self.spark.sql(f"CREATE TABLE {name} USING delta LOCATION {text_literal(path)}")
        self._registered.add(table)

    def _create_schema(self) -> None:
        lake = self.config.lake
        self.spark.sql(f"CREATE SCHEMA IF NOT EXISTS `{lake.catalog}`.`{lake.schema_}`")

    def _target(self, table: str) -> DeltaTable:
        path = self.path(table)
        return DeltaTable.forPath(self.spark, path) if path else DeltaTable.forName(self.spark, self.name(table))

    def _reference(self, table: str) -> str:
        path = self.path(table)
        return self.name(table) if path is None else f"delta.`{path}`"

    def _must_exist(self, table: str) -> None:
        if not self.exists(table):
            raise LakeError(
                f"Table {self._reference(table)}: expected to exist, came none. Run the job that writes it first; "
                "`forecasting run` runs them all."
            )


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


def _plain(location: str) -> str:
    """A folder's path without scheme and escapes, to compare `file:/a%20b` with `/a b`."""
    parts = urlparse(location)
    path = unquote(parts.path) if parts.scheme == "file" else location
    return path.rstrip("/")
