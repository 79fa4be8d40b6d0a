"""Spark's standalone cluster on this machine, for tests."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

from forecasting.sqlshell import spark_home


def environment(**more: str) -> dict[str, str]:
    """Spark of the Python package, Python of this environment, everything on the loopback interface."""
    own = {"SPARK_HOME": str(spark_home()), "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    return {**os.environ, **own, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **more}


@contextmanager
def daemon(log: Path, started: str, *arguments: str, within: Sequence[str] = (), **variables: str):
    """A Spark daemon, started by the command `within` if given; yields what the group of `started` matched in its log."""
    command = [*within, str(spark_home() / "bin" / "spark-class"), *arguments]
    own = environment(SPARK_DAEMON_MEMORY="512m", **variables)
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=own)
    try:
        for _ in range(600):
            if found := re.search(started, log.read_text()):
                break
            assert process.poll() is None, log.read_text()[-3000:]
            time.sleep(0.2)
        assert found, log.read_text()[-3000:]
        yield found.group(1)
    finally:
        process.terminate()
        process.wait(30)
