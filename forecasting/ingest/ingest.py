"""One source's files to contract rows: read, type, check, and tell accepted rows from quarantined ones."""

from __future__ import annotations

from urllib.parse import unquote

from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import Column, DataFrame, Observation, SparkSession, Window
from pyspark.sql import functions as F
from pyspark.sql.types import NumericType, StringType

from forecasting.config import SourceConfig
from forecasting.contracts import SOURCES
from forecasting.contracts import Column as ContractColumn
from forecasting.errors import SourceError
from forecasting.ingest.dataset import EPOCH_PER_SECOND, ColumnSpec, Dataset, SourceSpec
from forecasting.ingest.rules import RULES

RECORD, BROKEN, CORRUPT = "_record", "_broken", "_corrupt_record"
LINEAGE = ("source_file", "run_id")


def checked_source(spark: SparkSession, dataset: Dataset, name: str, config: SourceConfig) -> DataFrame:
    """The rows of a source as `check_source` gives them; none, if the dataset does not have it."""
    if name not in dataset.sources:
        columns = [f"{c.name} {c.type}" for c in SOURCES[name].columns if c.name != "run_id"]
        return spark.createDataFrame(
            [], ", ".join([*columns, f"{RECORD} string", f"{BROKEN} struct<rule: string, reason: string>"])
        )
    raw = read_source(spark, dataset, name, config.path)
    return check_source(raw, dataset, name, config.filter.get(name))


def read_source(spark: SparkSession, dataset: Dataset, name: str, path: str | None) -> DataFrame:
    """The raw rows of a source, with `source_file`.

    Args:
        path: folder that replaces the dataset's own, or None.

    Raises:
        SourceError: no such file, an empty file, a file of another format.
    """
    source = dataset.sources[name]
    location = f"{dataset.folder(path).rstrip('/')}/{source.path}"
    try:
        raw = _reader(spark, source, location)
    except (PySparkException, Py4JJavaError) as error:
        raise SourceError(
            f"Source {name}, {location}: expected readable {source.format} files, came: {_first_line(error)}. "
            "Check source.path and the path and format in the dataset's YAML."
        ) from error
    if not [column for column in raw.columns if column != CORRUPT]:
        raise SourceError(
            f"Source {name}, {location}: expected a {source.format} file with columns, came an empty one."
        )
    files = raw.inputFiles() if source.repartition else []
    if len(files) == 1:
        # One row group is one task; spread it, and name the file afterwards, so that its name is not shuffled with each row.
        # By hash: a round robin would sort every row first.
        return raw.repartition(source.repartition, *raw.columns).select(
            "*", F.lit(unquote(files[0])).alias("source_file")
        )
    return raw.select("*", F.col("_metadata.file_path").alias("source_file"))


def check_source(raw: DataFrame, dataset: Dataset, name: str, condition: str | None = None) -> DataFrame:
    """Contract columns of a source, and beside them what a row broke.

    Args:
        raw: rows as `read_source` gives them.
        condition: SQL condition over contract columns; other rows are left out before anything is counted.

    Returns:
        The contract's columns but `run_id`; `_record`, the original row as JSON; and `_broken`, null for an accepted row,
        else a struct of `rule` and `reason`.

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
        F.to_json(F.struct(*raw_columns)).alias(RECORD),
        *(f"_in_{key}" for key in values),
        *([CORRUPT] if CORRUPT in raw.columns else []),
    )
    if condition:
        typed = typed.where(condition)
    checked = typed.withColumn(BROKEN, _first_broken(typed, source, name, columns))
    checked = checked.select(*(c.name for c in columns), "source_file", RECORD, BROKEN)
    return _without_duplicates(checked, source.unique) if source.unique else checked


def accepted(checked: DataFrame) -> DataFrame:
    """The rows that broke no rule, in contract columns."""
    return checked.where(F.col(BROKEN).isNull()).drop(RECORD, BROKEN)


def quarantined(checked: DataFrame, name: str) -> DataFrame:
    """The rows that broke a rule, in the columns of `quarantine` but lineage."""
    return checked.where(F.col(BROKEN).isNotNull()).select(
        F.lit(name).alias("source"), f"{BROKEN}.rule", f"{BROKEN}.reason", "source_file", F.col(RECORD).alias("record")
    )


def counted(checked: DataFrame, observed: Observation) -> DataFrame:
    """`checked` without the original rows, counted on its way: `rows_in`, `rows_quarantined`, and `hash_sum`, which is the
    same for any order of rows."""
    lean = checked.drop(RECORD)  # an observed frame computes all its columns, and writing JSON for good rows costs most
    ok = F.col(BROKEN).isNull()
    content = [column for column in lean.columns if column not in (*LINEAGE, BROKEN)]
    return lean.observe(
        observed,
        F.count(F.lit(1)).alias("rows_in"),
        F.count_if(~ok).alias("rows_quarantined"),
        F.sum(F.when(ok, F.xxhash64(*content).cast("decimal(38,0)"))).alias("hash_sum"),
    )


def _reader(spark: SparkSession, source: SourceSpec, location: str) -> DataFrame:
    reader = spark.read.options(**source.options)
    if source.format == "csv":
        header = spark.read.options(**{"header": "true", "inferSchema": "false"} | source.options).csv(location)
        if not header.columns:
            return header
        # Each file's header is held against the first one's, and a line of the wrong length is kept as it came.
        schema = ", ".join(f"`{column}` string" for column in (*header.columns, CORRUPT))
        options = {
            "header": "true",
            "enforceSchema": "false",
            "mode": "PERMISSIVE",
            "columnNameOfCorruptRecord": CORRUPT,
        }
        return spark.read.schema(schema).options(**options | source.options).csv(location)
    if source.format == "json":
        return reader.option("primitivesAsString", "true").option("columnNameOfCorruptRecord", CORRUPT).json(location)
    return reader.format(source.format).load(location)


def _value(raw: DataFrame, dataset: Dataset, name: str, column: ContractColumn) -> Column:
    """The source's value of a contract column, before it is typed."""
    spec = dataset.sources[name].columns[column.name]
    value = F.expr(spec.expression)
    try:
        type_ = raw.select(value.alias("value")).schema["value"].dataType
    except AnalysisException as error:
        raise SourceError(
            f"Source {name}, column {column.name}: expected `{spec.expression}` to be computable from the source's columns "
            f"{[c for c in raw.columns if c != 'source_file']}, came: {_first_line(error)}. "
            f"Mend the file, or the mapping in dataset {dataset.name}."
        ) from error
    if spec.epoch and isinstance(type_, NumericType | StringType):
        micros = value.try_cast("decimal(38,0)") * 1_000_000 / EPOCH_PER_SECOND[spec.epoch]
        return F.timestamp_micros(micros.try_cast("bigint"))
    return value


def _typed(dataset: Dataset, source: SourceSpec, column: ContractColumn) -> Column:
    spec = source.columns.get(column.name)
    if spec is None and column.name == "sold_on":
        moment = _cast(dataset, source.columns["sold_at"], "sold_at", "timestamp")
        return F.to_date(F.from_utc_timestamp(moment, dataset.timezone)).alias("sold_on")
    if spec is None:
        return F.lit(None).cast(column.type).alias(column.name)
    return _cast(dataset, spec, column.name, column.type).alias(column.name)


def _cast(dataset: Dataset, spec: ColumnSpec, name: str, type_: str) -> Column:
    value = F.col(f"_in_{name}")
    if spec.format:
        value = F.try_to_timestamp(value.cast("string"), F.lit(spec.format))
    if type_ == "timestamp":
        return F.to_utc_timestamp(value.try_cast("timestamp"), dataset.stored_timezone)
    if type_ == "string":
        return F.nullif(F.trim(value.cast("string")), F.lit(""))
    return value.try_cast(type_)


def _first_broken(typed: DataFrame, source: SourceSpec, name: str, columns: list[ContractColumn]) -> Column:
    """The first rule that a row breaks as struct(rule, reason), or null."""
    checks = []
    if CORRUPT in typed.columns:
        checks.append(
            _break(F.col(CORRUPT).isNotNull(), "malformed_line", F.lit("expected a line with the header's columns"))
        )
    for column in columns:
        if column.name not in source.columns:
            continue
        if column.type == "string":
            continue
        came = F.col(f"_in_{column.name}")
        spec = source.columns[column.name]
        wanted = f"{column.type} in the format {spec.format}" if spec.format else column.type
        is_text = isinstance(typed.schema[f"_in_{column.name}"].dataType, StringType)
        given = came.isNotNull() & (F.trim(came) != "") if is_text else came.isNotNull()
        expected = F.concat(F.lit(f"{column.name}: expected {wanted}, came '"), came.cast("string"), F.lit("'"))
        checks.append(_break(given & F.col(column.name).isNull(), f"type_{column.name}", expected))
    for column in columns:
        if column.required:
            came_none = F.lit(f"{column.name}: expected a value, came none")
            checks.append(_break(F.col(column.name).isNull(), f"required_{column.name}", came_none))
    for rule in RULES[name]:
        shown = [F.concat(F.lit(f"{c} "), F.coalesce(F.col(c).cast("string"), F.lit("none"))) for c in rule.shown]
        reason = F.concat(F.lit(f"expected {rule.expected}, came "), F.concat_ws(", ", *shown))
        checks.append(_break(~F.coalesce(F.expr(rule.holds), F.lit(True)), rule.name, reason))
    return F.coalesce(*checks)


def _break(condition: Column, rule: str, reason: Column) -> Column:
    return F.when(condition, F.struct(F.lit(rule).alias("rule"), reason.alias("reason")))


def _without_duplicates(checked: DataFrame, unique: tuple[str, ...]) -> DataFrame:
    """Marks every further row with the same `unique` columns as a duplicate; which one stays does not depend on the order
    of files or rows."""
    broken = F.col(BROKEN).isNotNull()
    # Rows are grouped by 128 bits of hash, which sort faster than the columns themselves.
    same = Window.partitionBy(F.xxhash64(*unique, broken), F.xxhash64(broken, F.lit("other half"), *unique)).orderBy(
        F.xxhash64(*(column for column in checked.columns if column not in (RECORD, BROKEN)))
    )
    key = F.concat_ws(", ", *(F.concat(F.lit(f"{c} "), F.col(c).cast("string")) for c in unique))
    duplicate = F.struct(
        F.lit("duplicate").alias("rule"),
        F.concat(F.lit("expected one row with "), key, F.lit(", came another")).alias("reason"),
    )
    numbered = checked.withColumn("_copy", F.row_number().over(same))
    marked = F.when(F.col(BROKEN).isNull() & (F.col("_copy") > 1), duplicate).otherwise(F.col(BROKEN))
    return numbered.withColumn(BROKEN, marked).drop("_copy")


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
