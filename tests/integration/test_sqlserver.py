"""The JDBC endpoint, asked by Hive's own client."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from forecasting.errors import ConfigError
from forecasting.sqlserver import serving
from forecasting.sqlshell import spark_home
from tests.integration.test_views import HORIZON, LAST, forecasts, write


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def beeline(address: str, query: str) -> list[str]:
    """The lines of a query's result."""
    command = [
        str(spark_home() / "bin" / "beeline"),
        "-u",
        address,
        "--silent=true",
        "--outputformat=csv2",
        "-e",
        query,
    ]
    done = subprocess.run(
        command, env=os.environ | {"SPARK_HOME": str(spark_home())}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[:3000]
    return [line.rpartition("> ")[2] for line in done.stdout.splitlines()]  # some versions print their prompt, too


@pytest.fixture
def settings(make_run):
    """Settings of a lake with the forecasts of one series."""
    own = (f"forecast.horizon={HORIZON}", "forecast.quantiles=[0.1, 0.5, 0.9]")
    run = make_run(*own)
    write(run, "forecasts", forecasts("a", LAST, 2.5))
    lake = run.config.lake
    return (*own, f"lake.path={lake.path}", f"lake.schema={lake.schema_}", "spark.driver_memory=1g")


def test_other_programs_ask_the_views_over_jdbc_until_the_endpoint_is_stopped(settings, tmp_path):
    port, told = free_port(), tmp_path / "told"
    arguments = [part for setting in settings for part in ("--set", setting)]
    command = [sys.executable, "-m", "jobs.cli", "serve", *arguments, "--port", str(port)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PYTHONUNBUFFERED": "1"}
    started_in = tmp_path / "started here"
    started_in.mkdir()
    with told.open("w") as output:
        server = subprocess.Popen(command, env=environment, cwd=started_in, stdout=output, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + 120
        while "jdbc:hive2" not in told.read_text():
            assert server.poll() is None and time.monotonic() < deadline, told.read_text()
            time.sleep(0.2)
        address = next(word for word in told.read_text().split() if word.startswith("jdbc:hive2"))
        query = "SELECT item_id, next_28_days FROM expected_units; SELECT max(mean) AS most FROM latest_forecasts"
        assert beeline(address, query)[-4:] == ["item_id,next_28_days", "a,70.0", "most", "2.5"]
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=60) == 0, told.read_text()
    finally:
        server.kill()
    assert list(started_in.iterdir()) == []


def test_a_port_that_is_taken_is_told(spark):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(ConfigError, match=rf"127.0.0.1:{port}: expected .* free port"),
            serving(spark, "127.0.0.1", port),
        ):
            pass
