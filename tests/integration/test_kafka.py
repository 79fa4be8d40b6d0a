"""A source that arrives through Kafka, from a real broker on this machine."""

from __future__ import annotations

import json
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import pyspark
import pytest
from pyspark.sql import SparkSession
from small_shop import HEADER
from stream_shop import CutShort, Shop, line

from forecasting.errors import SourceError
from forecasting.ingest import delivery
from jobs import ingest

CONNECTOR = f"org.apache.spark:spark-sql-kafka-0-10_2.13:{pyspark.__version__}"
SPARKS_OWN = (
    "org.apache.hadoop:hadoop-client-api,org.apache.hadoop:hadoop-client-runtime"  # and the largest of its jars
)
BROKER = "org.apache.kafka:kafka_2.13:3.9.1"
PAYLOAD = ", ".join(f"{column} string" for column in (*HEADER.split(","), "recorded"))


@pytest.fixture
def shop(tmp_path, make_run, monkeypatch) -> Shop:
    monkeypatch.setattr(ingest, "SOURCES", ("sales",))
    return Shop(tmp_path, make_run)


@pytest.fixture
def broker(tmp_path, spark) -> Iterator[str]:
    """A broker of one node; its address. From then on the session of this process has the connector."""
    spark.sql(f"ADD JAR 'ivy://{CONNECTOR}?transitive=true&exclude={SPARKS_OWN}'")
    port, control = free_port(), free_port()
    settings, log = tmp_path / "broker.properties", tmp_path / "broker.log"
    settings.write_text(
        "process.roles=broker,controller\nnode.id=1\ncontroller.listener.names=CONTROLLER\nnum.partitions=2\n"
        f"listeners=PLAINTEXT://localhost:{port},CONTROLLER://localhost:{control}\n"
        f"controller.quorum.voters=1@localhost:{control}\nlog.dirs={tmp_path / 'broker'}\n"
        "offsets.topic.replication.factor=1\nlog.cleaner.enable=false\n"
    )
    java = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", classes_of_the_broker(spark)]
    storage = [*java, "kafka.tools.StorageTool", "format", "-t", "AAAAAAAAQAAAAAAAAAAAAA", "-c", settings]
    subprocess.run(storage, check=True, stdout=subprocess.DEVNULL)
    with log.open("w") as told, subprocess.Popen([*java, "kafka.Kafka", settings], stdout=told, stderr=told) as process:
        try:
            wait_for(port, process, log)
            yield f"localhost:{port}"
        finally:
            process.kill()


@pytest.fixture
def send(spark, broker) -> Callable[..., None]:
    """Sends messages, one argument each."""

    def send(*messages: str) -> None:
        values = spark.createDataFrame([(message,) for message in messages], "value string")
        values.write.format("kafka").option("kafka.bootstrap.servers", broker).option("topic", "sales").save()

    return send


def test_a_session_without_the_connector_says_how_to_get_it(shop):
    shop.describes(**topic("localhost:1"))
    with pytest.raises(
        SourceError, match=r"Source sales: expected messages of Kafka.*spark\.packages.*spark-sql-kafka"
    ):
        shop.ingests()


def test_messages_are_taken_once_and_corrected_ones_replaced(shop, broker, send):
    shop.describes(**topic(broker), unique=["order_id"], latest_by="recorded_at")
    # What was sent before the first run counts too.
    send(message("o1", 3), message("o2", 4), message("o2", 4), message("o3", 4, "many"), '{"order": "o4", ')
    assert shop.ingests() == {"rows": 5, "quarantined": 3, "sales": 2}
    assert shop.refused() == Counter({("o2", "duplicate"): 1, ("o3", "type_quantity"): 1, (None, "malformed_line"): 1})
    assert shop.ingests() == {"rows": 0, "quarantined": 0, "sales": 0}

    send(message("o5", 1), message("o1", 3, 7, recorded=1))  # late; corrected
    with patch.object(delivery, "note_quality", side_effect=CutShort), pytest.raises(CutShort):
        shop.ingests()  # the table is written, and nothing of it noted
    send(message("o6", 5))
    shop.ingests()
    assert shop.sold() == [("o1", 3, 7), ("o2", 4, 1), ("o5", 1, 1), ("o6", 5, 1)]
    assert shop.totals()["in"] == 8
    origins = {row["source_file"] for row in shop.lake.read("sales").select("source_file").collect()}
    assert origins <= {"kafka sales 0", "kafka sales 1"}


def topic(address: str) -> dict:
    """How the dataset describes the source."""
    options = {"kafka.bootstrap.servers": address, "subscribe": "sales"}
    return {"path": "", "format": "kafka", "options": options, "payload": PAYLOAD}


def message(*args, **kwargs) -> str:
    """A sales line as the JSON text of a message."""
    names = (*HEADER.split(","), "recorded")
    return json.dumps(dict(zip(names, line(*args, **kwargs).split(","), strict=True)))


def classes_of_the_broker(spark: SparkSession) -> str:
    """Class path; Scala's own library is that of Spark."""
    jvm = spark.sparkContext._jvm
    uri = jvm.java.net.URI(f"ivy://{BROKER}?transitive=true")
    jars = jvm.org.apache.spark.util.DependencyUtils.resolveMavenDependencies(uri).mkString(":")
    return f"{jars}:{Path(pyspark.__file__).parent}/jars/*"


def wait_for(port: int, process: subprocess.Popen, log: Path) -> None:
    for _ in range(600):
        assert process.poll() is None, log.read_text()[-2000:]
        with socket.socket() as probe:
            if probe.connect_ex(("localhost", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(log.read_text()[-2000:])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]
