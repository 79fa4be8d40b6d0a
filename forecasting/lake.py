"""All Delta access: every table is read and written here, checked against its contract, in one atomic commit each."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from forecasting.config import Config
from forecasting.contracts import TABLES, Table
from forecasting.errors import LakeError


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
        """Makes every table that has been written known to the catalog, for SQL; returns their names."""
        known = [table for table in TABLES if self.exists(table)]
        for table in known:
            self._register(table)
        return known

    def read(self, table: str, version: int | None = None) -> DataFrame:
        """A table, at its newest version or at the given one.

        Raises:
            LakeError: it has not been written yet.
        """
        self._must_exist(table)
        at_version = "" if version is None else f" VERSION AS OF {version}"
        return self.spark.sql(f"SELECT * FROM {self._reference(table)}{at_version}")

    def version(self, table: str) -> int:
        """Newest version of a table; -1 before it was first written."""
        if not self.exists(table):
            return -1
        return self.spark.sql(f"DESCRIBE HISTORY {self._reference(table)} LIMIT 1").select("version").first()["version"]

    def restore(self, table: str, version: int) -> None:
        """Takes a table back to an earlier version."""
        self.spark.sql(f"RESTORE TABLE {self._reference(table)} TO VERSION AS OF {version}")

    def write(self, df: DataFrame, table: str, replacing: dict[str, Any] | None = None) -> None:
        """Writes a table in one atomic commit, so that a second write of the same leaves one copy.

        Args:
            df: columns of the contract, by name; order and types are brought in line.
            replacing: `{column: value}` of the rows that this write replaces; None replaces the whole table.

        Raises:
            LakeError: a column of the contract is missing or one too many came.
        """
        contract = TABLES[table]
        conforming = self._conform(df, contract)
        self._create(contract)
        condition = " AND ".join(f"`{column}` = {_literal(value)}" for column, value in (replacing or {}).items())
        writer = conforming.write.format("delta").mode("overwrite")
        if condition:
            writer = writer.option("replaceWhere", condition).option("mergeSchema", "true")
        else:
            writer = writer.option("overwriteSchema", "true")
        if self.path(table) is None:
            writer.saveAsTable(self.name(table))
        else:
            writer.save(self.path(table))

    def frame(self, records: list[dict[str, Any]], table: str) -> DataFrame:
        """A few records as a frame with the columns and types of a table."""
        columns = TABLES[table].columns_with(self.config.forecast.quantile_columns)
        values = [tuple(record[column.name] for column in columns) for record in records]
        return self.spark.createDataFrame(values, ", ".join(f"`{c.name}` {c.type}" for c in columns))

    def _conform(self, df: DataFrame, contract: Table) -> DataFrame:
        columns = contract.columns_with(self.config.forecast.quantile_columns)
        expected, came = {column.name for column in columns}, set(df.columns)
        if expected != came:
            raise LakeError(
                f"Table {contract.name}: expected the columns of its contract; missing {sorted(expected - came)}, "
                f"one too many {sorted(came - expected)}."
            )
        return df.select(*(F.col(c.name).cast(c.type).alias(c.name, metadata={"comment": c.doc}) for c in columns))

    def _create(self, contract: Table) -> None:
        """Creates an empty table with the contract's columns and comments, if there is none, and registers it."""
        if not self.exists(contract.name):
            self._create_schema()
            # By its folder if the catalog knows the name already: its folder is gone, or it is another lake's table.
            known = self.spark.catalog.tableExists(self.name(contract.name))
            self.spark.sql(self._create_statement(contract, self._reference(contract.name) if known else None))
            if not known:
                self._registered.add(contract.name)
        self._register(contract.name)

    def _create_statement(self, contract: Table, reference: str | None) -> str:
        columns = ", ".join(
            f"`{column.name}` {column.type} COMMENT '{_quoted(column.doc)}'"
            for column in contract.columns_with(self.config.forecast.quantile_columns)
        )
        path = self.path(contract.name)
        place = f" LOCATION '{_quoted(path)}'" if path and not reference else ""
        statistics = f"'delta.dataSkippingStatsColumns' = '{','.join(contract.skipping)}'"
        return (
            f"CREATE TABLE IF NOT EXISTS {reference or self.name(contract.name)} ({columns}) USING delta{place} "
            f"COMMENT '{_quoted(contract.doc)}' TBLPROPERTIES ({statistics})"
        )

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
            self.spark.sql(f"CREATE TABLE {name} USING delta LOCATION '{_quoted(path)}'")
        self._registered.add(table)

    def _create_schema(self) -> None:
        lake = self.config.lake
        self.spark.sql(f"CREATE SCHEMA IF NOT EXISTS `{lake.catalog}`.`{lake.schema_}`")

    def _reference(self, table: str) -> str:
        path = self.path(table)
        return self.name(table) if path is None else f"delta.`{path}`"

    def _must_exist(self, table: str) -> None:
        if not self.exists(table):
            raise LakeError(
                f"Table {self._reference(table)}: expected to exist, came none. Run the job that writes it first; "
                "`forecasting run` runs them all."
            )


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


def _literal(value: Any) -> str:
    if isinstance(value, bool | int | float):
        return str(value).lower()
    return f"'{_quoted(str(value))}'"


def _plain(location: str) -> str:
    """A folder's path without scheme and escapes, to compare `file:/a%20b` with `/a b`."""
    parts = urlparse(location)
    path = unquote(parts.path) if parts.scheme == "file" else location
    return path.rstrip("/")


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")
