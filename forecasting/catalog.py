"""Where the tables of a lake are, and what the catalog knows of them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlparse

from delta.tables import DeltaTable
from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession

from forecasting.config import Config
from forecasting.contracts import TABLES, Table
from forecasting.errors import LakeError
from forecasting.sqltext import create_table, create_view, text_literal
from forecasting.views import VIEWS

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Catalog:
    """The tables and views of one configuration, in the catalog and, where `lake.path` is set, as folders `<lake.path>/<table>`."""

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
        return [*known, *(name for name, statement in self.views(known).items() if self._registers(name, statement))]

    def _registers(self, view: str, statement: str) -> bool:
        """Whether the tables are such that the view could be created."""
        try:
            self.spark.sql(statement)
        except AnalysisException as error:  # quantiles that were not yet forecast when the table was written
            _log.warning("View %s is left out, since a table lacks what it shows: %s", view, str(error).splitlines()[0])
            return False
        return True

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

    def _create(self, contract: Table) -> None:
        """Creates an empty table with the contract's columns and comments, if there is none, and registers it."""
        if not self.exists(contract.name):
            self._create_schema()
            # By its folder if the catalog knows the name already: its folder is gone, or it is another lake's table.
            known = self.spark.catalog.tableExists(self.name(contract.name))
            name = self._reference(contract.name) if known else self.name(contract.name)
            place = None if known else self.path(contract.name)
            self.spark.sql(create_table(contract, name, place, self.config.forecast.quantile_columns))
            if not known:
                self._registered.add(contract.name)
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
            told = self.spark.sql(f"DESCRIBE TABLE EXTENDED {name}")  # DESCRIBE DETAIL would read the table's whole log
            registered = told.where("col_name = 'Location'").first()["data_type"]
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

    def _reference(self, table: str) -> str:
        path = self.path(table)
        return self.name(table) if path is None else f"delta.`{path}`"

    def _must_exist(self, table: str) -> None:
        if not self.exists(table):
            raise LakeError(
                f"Table {self._reference(table)}: expected to exist, came none. Run the job that writes it first; "
                "`forecasting run` runs them all."
            )


def _plain(location: str) -> str:
    """A folder's path without scheme and escapes, to compare `file:/a%20b` with `/a b`."""
    parts = urlparse(location)
    path = unquote(parts.path) if parts.scheme == "file" else location
    return path.rstrip("/")
