"""Raw rows to contract rows: typed, held against the rules, and marked with what they broke."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import reduce
from operator import or_
from zoneinfo import available_timezones

from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import NumericType, StringType

from forecasting.contracts import LINEAGE, SOURCES
from forecasting.contracts import Column as ContractColumn
from forecasting.errors import SourceError
from forecasting.ingest.dataset import EPOCH_PER_SECOND, ColumnSpec, Dataset, SourceSpec
from forecasting.ingest.read import CORRUPT, first_line
from forecasting.lake import rows

RECORD, BROKEN = "_record", "_broken"
OK = "_ok"  # beside _broken, since a write of accepted rows that reads _ok alone computes no reasons
MONEY = ("revenue", "discount")
#: Times in JSON keep their microseconds, so that a record read from it is the one that was written.
JSON_TIMES = {
    "timestampFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSSXXX",
    "timestampNTZFormat": "yyyy-MM-dd'T'HH:mm:ss.SSSSSS",
}


@dataclass(frozen=True)
class Zones:
    """Time zones of locations: `by_location` has `location_id` and `timezone`; `names` are all that occur in it."""

    by_location: DataFrame
    names: tuple[str, ...]


def time_zones(locations: DataFrame, dataset: Dataset) -> Zones | None:
    """Locations whose time zone is not the dataset's; None if there are none.

    Raises:
        SourceError: a location has a time zone that does not exist, or two.
    """
    own = locations.where(F.col("timezone").isNotNull() & (F.col("timezone") != dataset.timezone))
    named = own.groupBy("timezone").agg(F.min("location_id").alias("location_id")).orderBy("timezone")
    found = {row["timezone"]: row["location_id"] for row in rows(named)}
    for zone, location in found.items():
        if zone not in available_timezones():
            raise SourceError(
                f"Source locations, location {location}: expected an IANA time zone like Europe/Berlin, came {zone!r}. "
                "Mend the source or its mapping."
            )
    given = F.coalesce("timezone", F.lit(dataset.timezone))
    zones = locations.groupBy("location_id").agg(F.min(given).alias("timezone"), F.max(given).alias("other"))
    for row in rows(zones.where("timezone != other").orderBy("location_id").limit(1)):
        raise SourceError(
            f"Source locations, location {row['location_id']}: expected one time zone, came {row['timezone']} and "
            f"{row['other']}. Mend the source or its mapping."
        )
    return Zones(zones.where(F.col("timezone").isin(*found)).drop("other"), tuple(found)) if found else None


def empty_source(spark: SparkSession, name: str) -> DataFrame:
    """What `check_source` gives for a source that the dataset does not have: no rows."""
    columns = [f"{column.name} {column.type}" for column in SOURCES[name].columns if column.name != "run_id"]
    return spark.createDataFrame(
        [], ", ".join([*columns, f"{RECORD} string", f"{OK} boolean", f"{BROKEN} struct<rule: string, reason: string>"])
    )


def check_source(
    raw: DataFrame, dataset: Dataset, name: str, condition: str | None = None, zones: Zones | None = None
) -> DataFrame:
    """Contract columns of a source, and beside them what a row broke.

    Args:
        raw: rows as `read.shaped` gives them.
        condition: SQL condition over contract columns; other rows are left out before anything is counted.
        zones: locations with a time zone of their own; None if all have the dataset's.

    Returns:
        The contract's columns but `run_id`; `_record`, the original row as JSON; `_ok`; and `_broken`, null for an accepted
        row, else a struct of `rule` and `reason`.

    Raises:
        SourceError: an expression of the dataset's YAML names a column that the files lack.
    """
    source = dataset.sources[name]
    columns = [column for column in SOURCES[name].columns if column.name not in LINEAGE]
    raw_columns = [column for column in raw.columns if column != "source_file"]
    values = {c.name: _value(raw, dataset, name, c) for c in columns if c.name in source.columns}
    if source.distinct:
        raw = raw.select(
            *(value.alias(f"_in_{key}") for key, value in values.items()),
            F.lit(None).cast("string").alias("source_file"),
        )
        raw = raw.distinct()
        raw_columns = [f"_in_{key}" for key in values]
    else:
        raw = raw.select("*", *(value.alias(f"_in_{key}") for key, value in values.items()))
    typed = raw.select(
        *(_typed(dataset, source, column) for column in columns),
        "source_file",
        F.to_json(F.struct(*raw_columns), JSON_TIMES).alias(RECORD),
        *(f"_in_{key}" for key in values),
        *([CORRUPT] if CORRUPT in raw.columns else []),
    )
    typed = _in_one_currency(typed, dataset, source)
    if name == "sales" and "sold_on" not in source.columns:
        typed = _with_business_day(typed, dataset, zones)
    if condition:
        typed = typed.where(condition)
    try:
        checks = _checks(typed, dataset, name, columns)
        typed.select(*(~F.expr(rule.expression) for rule in dataset.rules(name)))  # warnings are conditions too
        broken = F.coalesce(*(check.verdict() for check in checks))
        checked = typed.withColumns({OK: ~reduce(or_, (check.breaks for check in checks)), BROKEN: broken})
    except AnalysisException as error:
        raise SourceError(
            f"Source {name}: expected its rules to be conditions over {[c.name for c in columns]}, came: {first_line(error)}. "
            f"Mend sources.{name}.rules of dataset {dataset.name}."
        ) from error
    return checked.select(*(column.name for column in columns), "source_file", RECORD, OK, BROKEN)


def quarantined(checked: DataFrame, name: str) -> DataFrame:
    """The rows that broke a rule, in the columns of `quarantine` but lineage."""
    return checked.where(~F.col(OK)).select(
        F.lit(name).alias("source"), f"{BROKEN}.rule", f"{BROKEN}.reason", "source_file", F.col(RECORD).alias("record")
    )


def _with_business_day(typed: DataFrame, dataset: Dataset, zones: Zones | None) -> DataFrame:
    """`sold_on`: the location's local date of `sold_at`, the hours before `day_starts` counting to the day before."""
    own = F.lit(dataset.timezone)
    if zones is not None:
        typed = typed.join(F.broadcast(zones.by_location), on="location_id", how="left")
    moment = F.col("sold_at")
    local = F.from_utc_timestamp(moment, own)
    for zone in zones.names if zones else ():
        # A literal zone is looked up once and not for each row.
        local = F.when(F.col("timezone") == zone, F.from_utc_timestamp(moment, F.lit(zone))).otherwise(local)
    if dataset.day_starts_minutes:
        local = local - F.expr(f"INTERVAL {dataset.day_starts_minutes} MINUTE")
    return typed.withColumn("sold_on", F.to_date(local)).drop("timezone")


def _in_one_currency(typed: DataFrame, dataset: Dataset, source: SourceSpec) -> DataFrame:
    """Money in the dataset's currency; null where the line's own has no rate, which `currency_known` then tells."""
    if "currency" not in source.columns or not dataset.exchange:
        return typed
    rate = F.when(F.col("currency").isNull() | (F.col("currency") == dataset.currency), F.lit(1.0))
    for currency, worth in dataset.exchange.items():
        rate = rate.when(F.col("currency") == currency, F.lit(worth))
    return typed.withColumns({name: F.col(name) * rate for name in MONEY if name in source.columns})


def _value(raw: DataFrame, dataset: Dataset, name: str, column: ContractColumn) -> Column:
    """The source's value of a contract column, before it is typed."""
    spec = dataset.sources[name].columns[column.name]
    value = F.expr(spec.expression)
    try:
        type_ = raw.select(value.alias("value")).schema["value"].dataType
    except AnalysisException as error:
        raise SourceError(
            f"Source {name}, column {column.name}: expected `{spec.expression}` to be computable from the source's columns "
            f"{[c for c in raw.columns if c != 'source_file']}, came: {first_line(error)}. "
            f"Mend the file, or the mapping in dataset {dataset.name}."
        ) from error
    if spec.epoch and isinstance(type_, NumericType | StringType):
        micros = value.try_cast("decimal(38,0)") * 1_000_000 / EPOCH_PER_SECOND[spec.epoch]
        return F.timestamp_micros(micros.try_cast("bigint"))
    return value


def _typed(dataset: Dataset, source: SourceSpec, column: ContractColumn) -> Column:
    spec = source.columns.get(column.name)
    if spec is None:
        return F.lit(None).cast(column.type).alias(column.name)
    return _cast(dataset, spec, column.name, column.type).alias(column.name)


def _cast(dataset: Dataset, spec: ColumnSpec, name: str, type_: str) -> Column:
    value = F.col(f"_in_{name}")
    if spec.format:
        value = F.try_to_timestamp(value.cast("string"), F.lit(spec.format))
    if type_ == "timestamp":
        moment = value.try_cast("timestamp")
        if dataset.stored_timezone == "UTC" or re.search("[XxZzVO]", spec.format or ""):
            return moment
        names_its_own = F.col(f"_in_{name}").cast("string").rlike(r"\d{2}:\d{2}.*(Z|[+-]\d{2}(:?\d{2})?)$")
        return F.when(names_its_own, moment).otherwise(F.to_utc_timestamp(moment, dataset.stored_timezone))
    if type_ == "string":
        return F.nullif(F.trim(value.cast("string")), F.lit(""))
    return value.try_cast(type_)


@dataclass(frozen=True)
class _Check:
    """A condition under which a row breaks a rule, and what is then said."""

    breaks: Column
    rule: str
    reason: Column

    def verdict(self) -> Column:
        """struct(rule, reason) if the row breaks it, else null."""
        return F.when(self.breaks, F.struct(F.lit(self.rule).alias("rule"), self.reason.alias("reason")))


def _checks(typed: DataFrame, dataset: Dataset, name: str, columns: list[ContractColumn]) -> list[_Check]:
    """What an accepted row must pass, in the order in which a broken rule is named."""
    source, checks = dataset.sources[name], []
    if CORRUPT in typed.columns:
        told = F.lit("expected a line with the header's columns")
        checks.append(_Check(F.col(CORRUPT).isNotNull(), "malformed_line", told))
    if "currency" in source.columns and (dataset.currency or dataset.exchange):
        known = sorted({dataset.currency, *dataset.exchange} - {None})
        came = F.concat(F.lit(f"expected one of {', '.join(known)}, came "), F.col("currency"))
        unknown = ~F.coalesce(F.col("currency").isin(known), F.lit(True))
        checks.append(_Check(unknown, "currency_known", came))
    mapped = [column for column in columns if column.name in source.columns and column.type != "string"]
    checks += [_type_check(typed, source.columns[column.name], column) for column in mapped]
    for column in columns:
        if column.required:
            came_none = F.lit(f"{column.name}: expected a value, came none")
            checks.append(_Check(F.col(column.name).isNull(), f"required_{column.name}", came_none))
    for rule in dataset.rules(name):
        if rule.severity == "error":
            shown = [F.concat(F.lit(f"{c} "), F.coalesce(F.col(c).cast("string"), F.lit("none"))) for c in rule.shown]
            reason = F.concat(F.lit(f"expected {rule.expected}, came "), F.concat_ws(", ", *shown))
            checks.append(_Check(~F.coalesce(F.expr(rule.expression), F.lit(True)), rule.name, reason))
    return checks


def _type_check(typed: DataFrame, spec: ColumnSpec, column: ContractColumn) -> _Check:
    came = F.col(f"_in_{column.name}")
    wanted = f"{column.type} in the format {spec.format}" if spec.format else column.type
    is_text = isinstance(typed.schema[f"_in_{column.name}"].dataType, StringType)
    given = came.isNotNull() & (F.trim(came) != "") if is_text else came.isNotNull()
    told = F.concat(F.lit(f"{column.name}: expected {wanted}, came '"), came.cast("string"), F.lit("'"))
    return _Check(given & F.col(column.name).isNull(), f"type_{column.name}", told)
