"""The one place that builds a SparkSession."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.resources import as_file
from pathlib import Path
from urllib.parse import urlparse

from pyspark.sql import SparkSession

from forecasting.config import Config
from forecasting.settings_files import conf_file
from forecasting.sqlserver import ONE_SESSION

DELTA_VERSION = "4.4.0"
DELTA_SETTINGS = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
}
# What a business day is follows from the sources' YAML; the session itself always counts in UTC.
SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.legacy.parquet.nanosAsLong": "true",  # nanosecond timestamps arrive as integers; the dataset's YAML says so
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",  # the old default has no statistics to skip row groups by
    "spark.sql.csv.parser.columnPruning.enabled": "false",  # a malformed line is found whichever columns are read
    "spark.sql.execution.arrow.pyspark.enabled": "true",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "100000",  # of narrow rows; rows with arrays are limited by their bytes
    "spark.sql.execution.arrow.maxBytesPerBatch": "16m",
    "spark.sql.maxConcurrentOutputFileWriters": "64",  # months are written side by side; else rows are sorted by month first
}
LOCAL_SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.databricks.delta.snapshotPartitions": "2",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "4",
    "spark.driver.host": "localhost",
    "spark.driver.bindAddress": "127.0.0.1",
}


def build_session(config: Config, name: str) -> SparkSession:
    """The session of a job.

    Under `spark-submit` or on Databricks the settings given there stand and ours are added. In a plain Python process it
    starts an embedded Spark with Delta's jars from the local cache, or through Spark's package resolver if that is empty.
    """
    builder = SparkSession.builder.appName(f"forecasting-{name}")
    for key, value in (SETTINGS | DELTA_SETTINGS | ONE_SESSION).items():
        builder = builder.config(key, value)
    # Ranks that Spark has started wait for one another, by default for a year.
    builder = builder.config("spark.barrier.sync.timeout", config.training.start_timeout)
    if config.spark.shuffle_partitions:
        builder = builder.config("spark.sql.shuffle.partitions", config.spark.shuffle_partitions)
    if _is_embedded():
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else Spark starts its workers with any python3
        cores = os.cpu_count() or 1
        builder = builder.master(config.spark.master or f"local[{max(cores, config.training.ranks)}]")
        builder = builder.config("spark.driver.memory", config.spark.driver_memory)
        builder = builder.config("spark.sql.shuffle.partitions", config.spark.shuffle_partitions or 2 * cores)
        # With a task or two a core, a core idles while the last task ends.
        builder = builder.config("spark.sql.files.minPartitionNum", 4 * cores)
        if config.lake.path and not urlparse(config.lake.path).scheme:  # else Spark makes a folder where it was started
            builder = builder.config("spark.sql.warehouse.dir", str(Path(config.lake.path).resolve() / "_warehouse"))
        for key, value in (LOCAL_SETTINGS | delta_jars(config.spark.packages)).items():
            builder = builder.config(key, value)
        with as_file(conf_file("log4j2.properties")) as quiet:
            builder = builder.config(
                "spark.driver.extraJavaOptions", f'-Dlog4j2.configurationFile="{quiet.resolve().as_uri()}"'
            )
            return builder.getOrCreate()
    elif config.spark.master:
        builder = builder.master(config.spark.master)
    return builder.getOrCreate()


def delta_jars(packages: Sequence[str] = ()) -> dict[str, str]:
    """The settings that bring Delta's jars, files of the local cache if they are there, else by Maven; and further packages."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = Path(
        os.environ.get("FORECASTING_DELTA_JARS") or cache / "demand-forecasting" / f"delta-jars-{DELTA_VERSION}"
    )
    jars = sorted(folder.glob("*.jar"))
    if not jars:
        packages = (f"io.delta:delta-spark_4.2_2.13:{DELTA_VERSION}", *packages)
    settings = {
        "spark.jars": ",".join(jar.resolve().as_uri() for jar in jars),
        "spark.jars.packages": ",".join(packages),
    }
    return {key: value for key, value in settings.items() if value}


def _is_embedded() -> bool:
    """Whether this process must start Spark itself: neither spark-submit nor a running session provides one."""
    submitted = "PYSPARK_GATEWAY_PORT" in os.environ or "DATABRICKS_RUNTIME_VERSION" in os.environ
    return not submitted and SparkSession.getActiveSession() is None
