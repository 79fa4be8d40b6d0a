"""What a contract is made of: columns, rules and tables. Types are Spark SQL types; nothing here needs Spark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

#: How a model may use a column: fixed for the series; known up to the forecast origin; known beyond it; what is forecast.
Role = Literal["static", "past", "known future", "target"]
#: An `error` sends the row to quarantine; a `warning` is counted in `data_quality` and the row is accepted.
Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Column:
    """A column: `required` means never null; `role` is set where a model reads the table."""

    name: str
    type: str
    doc: str
    required: bool = False
    role: Role | None = None


@dataclass(frozen=True)
class Rule:
    """A rule of a source, as data.

    `expression` is a Spark SQL condition over contract columns; null counts as held, since `required` is a rule of its own.
    `expected` says it in words. `shown` are the columns whose values the reason quotes.
    """

    name: str
    expression: str
    expected: str
    shown: tuple[str, ...] = ()
    severity: Severity = "error"


@dataclass(frozen=True)
class Table:
    """A Delta table.

    `key` columns together are unique. `skipping` columns have file statistics, by which queries skip files: statistics of
    every column would double the cost of a write. `quantiles` adds one column per level behind `mean`. A table with `feed`
    keeps a feed of its changes, from which a later stage, or whoever follows the table, learns what is new. `constraints` hold for every
    row: Delta refuses a write that breaks one, whoever writes.
    """

    name: str
    layer: str
    doc: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    skipping: tuple[str, ...] = ()
    quantiles: bool = False
    partitioned_by: tuple[str, ...] = ()
    feed: bool = False
    constraints: tuple[Rule, ...] = ()

    def columns_with(self, quantile_columns: Sequence[str]) -> tuple[Column, ...]:
        """The columns, in order, with the configured quantile levels in their place."""
        if not self.quantiles:
            return self.columns
        levels = tuple(
            Column(name, "double", f"quantile {name[1:].replace('_', '.')} % of demand, units")
            for name in quantile_columns
        )
        after_mean = [column.name for column in self.columns].index("mean") + 1
        return self.columns[:after_mean] + levels + self.columns[after_mean:]

    def with_role(self, role: Role) -> tuple[str, ...]:
        """Names of the columns that a model may use in this way, in order."""
        return tuple(column.name for column in self.columns if column.role == role)


@dataclass(frozen=True)
class Source(Table):
    """A bronze table that a dataset delivers. `day` is the column that tells how fresh and how complete it is.

    `shapes_demand` is false where new rows must not ask for a new model.
    """

    rules: tuple[Rule, ...] = ()
    day: str | None = None
    shapes_demand: bool = True


def required(name: str, type_: str, doc: str, role: Role | None = None) -> Column:
    """A column that is never null."""
    return Column(name, type_, doc, required=True, role=role)


ITEM = required("item_id", "string", "item (SKU)")
LOCATION = required(
    "location_id", "string", "location, or group of locations, at series.location_level; ALL for the whole chain"
)
PLACE = required("location_id", "string", "location")
ANYWHERE = Column("location_id", "string", "location; null: every location")
SOURCE_FILE = Column("source_file", "string", "file or stream that delivered the row")
RUN = required("run_id", "string", "run that wrote the row")
DATA_VERSION = required(
    "data_version", "string", "fingerprint of the accepted input and the settings that shape series"
)
MODEL_VERSION = required("model_version", "string", "fingerprint of the trained model")
CREATED_AT = required("created_at", "timestamp", "when the run started, UTC")
#: Columns that say where a row comes from; they are no part of what the row says.
LINEAGE = ("source_file", "run_id")
