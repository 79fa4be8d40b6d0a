"""SQL over the lake for other programs, by the protocol of HiveServer2 that JDBC and ODBC drivers speak."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from pyspark.sql import SparkSession

from forecasting.errors import ConfigError

#: All clients share the session of the process, its jars, tables and functions. Static, so it is set when a session is built.
ONE_SESSION = {"spark.sql.hive.thriftServer.singleSession": "true"}


@contextmanager
def serving(spark: SparkSession, host: str, port: int) -> Iterator[None]:
    """While it lasts, the session answers queries at an address. Whoever reaches it may read and change every table.

    Raises:
        ConfigError: the address is not this machine's, or taken.
    """
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        raise ConfigError(
            f"{host}:{port}: expected an address of this machine and a free port, came: {error}"
        ) from error
    jvm, hadoop = spark.sparkContext._jvm, spark.sparkContext._jsc.hadoopConfiguration()
    jvm.java.lang.System.setProperty("derby.stream.error.file", "/dev/null")  # else a file appears where it was started
    hadoop.set("hive.server2.thrift.bind.host", host)
    hadoop.set("hive.server2.thrift.port", str(port))
    thrift = jvm.org.apache.spark.sql.hive.thriftserver.HiveThriftServer2
    # Delta 4.4 answers max(DATE) from its statistics by a date of Java's old kind, and the server asks for the new one.
    spark.conf.set("spark.databricks.delta.optimizeMetadataQuery.enabled", "false")
    server = thrift.startWithContext(spark._jsparkSession.sqlContext())
    try:
        yield
    finally:
        server.stop()
