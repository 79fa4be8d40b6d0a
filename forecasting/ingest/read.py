"""A source's files or stream to raw rows: one row per record, with the columns that the dataset's expressions name."""

from __future__ import annotations

import re
from urllib.parse import unquote

from py4j.protocol import Py4JJavaError
from pyspark import __version__ as spark_version
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from forecasting.errors import SourceError
from forecasting.ingest.dataset import Dataset, Lookup, SourceSpec

CORRUPT, FILE = "_corrupt_record", "source_file"
EVER = "36500d"


def read_source(spark: SparkSession, dataset: Dataset, name: str, path: str | None) -> DataFrame:
    """The raw rows of a source that arrives whole, with `source_file`.

    Args:
        path: folder that replaces the dataset's own, or None.

    Raises:
        SourceError: no such file, an empty file, a file of another format, a column that is not there.
    """
    source = dataset.sources[name]
    location = location_of(dataset, source, path)
    raw = _readable(spark, name, source.format, source.options, location)
    return shaped(_with_file(raw, source), dataset, name, path)


def read_stream(spark: SparkSession, dataset: Dataset, name: str, path: str | None) -> DataFrame:
    """The raw rows of a source that arrives as a stream, as they are delivered, with `source_file`; not yet `shaped`.

    Raises:
        SourceError: no file yet, an empty file, a file of another format, no connector to Kafka.
    """
    source = dataset.sources[name]
    if source.format == "kafka":
        received = _received(spark, name, source.options)
        origin = F.concat_ws(" ", F.lit("kafka"), "topic", F.col("partition").cast("string"))
        return received.select(F.col("value").cast("string").alias("value"), origin.alias(FILE))
    location = location_of(dataset, source, path)
    reader = spark.readStream.options(**source.options)
    if source.format == "delta":
        return reader.format("delta").load(location).withColumn(FILE, F.lit(location))
    # A stream does not look at files to find columns, and passes over one that is a week older than the newest.
    known = _readable(spark, name, source.format, source.options, location)
    reader = reader.options(**_options(source.format), maxFileAge=EVER).options(**source.options)
    raw = reader.schema(known.schema).format(source.format).load(location)
    return raw.select("*", F.col("_metadata.file_path").alias(FILE))


def shaped(raw: DataFrame, dataset: Dataset, name: str, path: str | None) -> DataFrame:
    """Raw rows after the dataset's payload, unpivot, lookups and filter.

    Raises:
        SourceError: one of them names a column that is not there.
    """
    source = dataset.sources[name]
    try:
        if source.payload and "value" in raw.columns:
            options = {"columnNameOfCorruptRecord": CORRUPT}
            message = F.from_json("value", f"{source.payload}, {CORRUPT} string", options)
            raw = raw.select(message.alias("_message"), FILE).select("_message.*", FILE)
        if source.unpivot:
            raw = _unpivoted(raw, source, name)
        for lookup in source.lookups:
            raw = _looked_up(raw, dataset, name, lookup, path)
        return raw.where(source.filter) if source.filter else raw
    except PySparkException as error:
        raise SourceError(
            f"Source {name}: expected payload, unpivot, lookups and filter to fit its columns {raw.columns}, came: "
            f"{first_line(error)}. Mend dataset {dataset.name}."
        ) from error


def location_of(dataset: Dataset, source: SourceSpec | Lookup, path: str | None) -> str:
    """Where a source's files are."""
    return f"{dataset.folder(path).rstrip('/')}/{source.path}"


def first_line(error: Exception) -> str:
    """What an error says, without its trace."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def _with_file(raw: DataFrame, source: SourceSpec) -> DataFrame:
    files = raw.inputFiles() if source.repartition else []
    if len(files) == 1:
        # One row group is one task; spread it, and name the file afterwards, so that its name is not shuffled with each row.
        # By hash: a round robin would sort every row first.
        return raw.repartition(source.repartition, *raw.columns).select("*", F.lit(unquote(files[0])).alias(FILE))
    return raw.select("*", F.col("_metadata.file_path").alias(FILE))


def _readable(spark: SparkSession, name: str, format_: str, options: dict[str, str], location: str) -> DataFrame:
    try:
        raw = _loaded(spark, format_, options, location)
    except (PySparkException, Py4JJavaError) as error:
        raise SourceError(
            f"Source {name}, {location}: expected readable {format_} files, came: {first_line(error)}. "
            "Check source.path and the path and format in the dataset's YAML."
        ) from error
    if not [column for column in raw.columns if column != CORRUPT]:
        raise SourceError(f"Source {name}, {location}: expected a {format_} file with columns, came an empty one.")
    return raw


def _received(spark: SparkSession, name: str, options: dict[str, str]) -> DataFrame:
    """Messages of topics, from the first one on that they still hold."""
    try:
        return spark.readStream.format("kafka").options(**{"startingOffsets": "earliest"} | options).load()
    except PySparkException as error:
        raise SourceError(
            f"Source {name}: expected messages of Kafka, came: {first_line(error)}. Check the source's options, such as "
            "kafka.bootstrap.servers and subscribe. Spark's connector comes with --set 'spark.packages=["
            f"org.apache.spark:spark-sql-kafka-0-10_2.13:{spark_version}]', on a cluster with --packages."
        ) from error


def _loaded(spark: SparkSession, format_: str, options: dict[str, str], location: str) -> DataFrame:
    reader = spark.read.options(**_options(format_)).options(**options)
    if format_ == "csv":
        header = spark.read.options(**{"header": "true", "inferSchema": "false"} | options).csv(location)
        if not header.columns:
            return header
        reader = reader.schema(", ".join(f"`{column}` string" for column in (*header.columns, CORRUPT)))
    return reader.format(format_).load(location)


def _options(format_: str) -> dict[str, str]:
    """Options under which a malformed line is kept as it came, and each file's header is held against the first one's."""
    corrupt = {"columnNameOfCorruptRecord": CORRUPT}
    if format_ == "csv":
        return {"header": "true", "enforceSchema": "false", "mode": "PERMISSIVE"} | corrupt
    return {"primitivesAsString": "true"} | corrupt if format_ == "json" else {}


def _unpivoted(raw: DataFrame, source: SourceSpec, name: str) -> DataFrame:
    wide = source.unpivot
    values = [column for column in raw.columns if re.fullmatch(wide.columns, column)]
    if not values:
        raise SourceError(f"Source {name}, unpivot: expected columns like {wide.columns!r}, came {raw.columns}")
    kept = [column for column in raw.columns if column not in values]
    return raw.unpivot(kept, values, wide.name, wide.value)


def _looked_up(raw: DataFrame, dataset: Dataset, name: str, lookup: Lookup, path: str | None) -> DataFrame:
    spark, location = raw.sparkSession, location_of(dataset, lookup, path)
    found = _readable(spark, name, lookup.format, lookup.options, location)
    if missing := sorted(set(lookup.on.values()) - set(found.columns)):
        raise SourceError(f"Source {name}, {location}: expected columns {missing} to look up by, came {found.columns}.")
    keys = {theirs: f"_on_{ours}" for ours, theirs in lookup.on.items()}
    found = found.drop(CORRUPT).withColumnsRenamed(keys)
    matches = [raw[ours] == found[f"_on_{ours}"] for ours in lookup.on]
    return raw.join(F.broadcast(found), on=matches, how="left").drop(*keys.values())
