"""Training across two hosts, each a network namespace with an address of its own, of which one is cut off for a while."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from small_training import small_task, weights_of
from standalone import daemon, environment

from forecasting.training.reports import read_reports

DRIVER, HOSTS = "10.77.0.1", ("10.77.0.11", "10.77.0.12")
LONG = (
    "training.ranks=2",
    "training.epochs=600",
    "training.validate_every=60",
    "training.rank_timeout=10",
    "training.start_timeout=60",
)
#: What a driver on the first host does with the task in the folder that it is given.
TRAIN = """
import json, sys
from pyspark.sql import SparkSession
from rich.console import Console
from forecasting.progress import Progress
from forecasting.training.rank import RankTask
from forecasting.training.train import run_ranks
task = RankTask.load(sys.argv[1])
spark = SparkSession.builder.getOrCreate()
result = run_ranks(task, spark, Progress(Console(stderr=True, width=300), spark))
print(json.dumps(result))
"""

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("ip"), reason="network namespaces need root and the command ip"
)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@contextmanager
def network():
    """A bridge with the driver's address, and behind it a namespace for each host: `host0`, `host1`."""
    ip("link", "add", "hosts", "type", "bridge")
    try:
        ip("addr", "add", f"{DRIVER}/24", "dev", "hosts")
        ip("link", "set", "hosts", "up")
        for number, address in enumerate(HOSTS):
            name, outside = f"host{number}", f"to-host{number}"
            ip("netns", "add", name)
            ip("link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", name)
            ip("link", "set", outside, "master", "hosts", "up")
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
            ip("-n", name, "link", "set", "eth0", "up")
            ip("-n", name, "link", "set", "lo", "up")
            names = Path("/etc/netns", name, "hosts")  # what its processes see as /etc/hosts
            names.parent.mkdir(parents=True, exist_ok=True)
            lines = [f"{address} host{other}" for other, address in enumerate(HOSTS)]
            names.write_text("\n".join(["127.0.0.1 localhost", f"{DRIVER} {socket.gethostname()}", *lines, ""]))
        yield
    finally:
        for number in range(len(HOSTS)):
            subprocess.run(
                ["ip", "link", "del", f"to-host{number}"], check=False
            )  # or it stays while a process is within
            subprocess.run(["ip", "netns", "del", f"host{number}"], check=False)
            shutil.rmtree(f"/etc/netns/host{number}", ignore_errors=True)
        subprocess.run(["ip", "link", "del", "hosts"], check=False)


def on_host(name: str) -> tuple[str, ...]:
    """What starts a command on a host, under its name."""
    named = ("unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', name)
    return ("ip", "netns", "exec", name, *named)


@pytest.fixture
def master(tmp_path):
    """Address of a master beside the driver, with a worker of one core on each host."""
    package = "org.apache.spark.deploy"
    with ExitStack() as stack:
        stack.enter_context(network())
        at = ("--host", DRIVER, "--port", "0", "--webui-port", "0")
        started = r"Starting Spark master at (spark://\S+)"
        url = stack.enter_context(
            daemon(tmp_path / "master.log", started, f"{package}.master.Master", *at, SPARK_LOCAL_IP=DRIVER)
        )
        for number, address in enumerate(HOSTS):
            size = ("--cores", "1", "--memory", "1g", "--work-dir", str(tmp_path / f"work-{number}"))
            worker = (f"{package}.worker.Worker", "--host", address, "--port", "0", "--webui-port", "0", *size, url)
            stack.enter_context(
                daemon(
                    tmp_path / f"worker-{number}.log",
                    r"(Successfully registered) with master",
                    *worker,
                    within=on_host(f"host{number}"),
                    SPARK_LOCAL_IP=address,
                    PYTHONPATH=os.pathsep.join(sys.path),
                )
            )
        yield url


@contextmanager
def driver(master: str, folder: str, log: Path):
    """A training on the cluster; yields its process."""
    spark = {
        "spark.master": master,
        "spark.driver.host": DRIVER,
        "spark.driver.bindAddress": DRIVER,
        "spark.ui.enabled": "false",
        "spark.executor.cores": "1",
        "spark.executor.memory": "512m",
        "spark.network.timeout": "20s",
        "spark.network.timeoutInterval": "5s",
        "spark.executor.heartbeatInterval": "5s",
        "spark.default.parallelism": "2",
    }
    arguments = " ".join(f"--conf {key}={value}" for key, value in spark.items())
    own = environment(
        SPARK_LOCAL_IP=DRIVER,
        PYTHONPATH=os.pathsep.join(sys.path),
        PYSPARK_SUBMIT_ARGS=f"{arguments} pyspark-shell",
    )
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-c", TRAIN, folder], env=own, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def least_step(reports: dict[int, dict]) -> int:
    return min(report.get("step", 0) for report in reports.values())


def wait_for(reports: str, seen, process: subprocess.Popen, log: Path) -> dict[int, dict]:
    """The ranks' reports, once `seen` is true of them."""
    for _ in range(2400):
        found = read_reports(reports)
        if 0 in found and seen(found):
            return found
        assert process.poll() is None, log.read_text()[-4000:]
        time.sleep(0.1)
    raise AssertionError(log.read_text()[-4000:])


@contextmanager
def cut_off(number: int):
    """A host that nobody reaches."""
    ip("link", "set", f"to-host{number}", "down")
    try:
        yield
    finally:
        ip("link", "set", f"to-host{number}", "up")


@pytest.mark.timeout(600)
@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["spark", "elastic"])
def test_a_host_is_cut_off_for_a_while_and_training_ends(master, tmp_path, launcher):
    task = small_task(tmp_path / "task", f"training.launcher={launcher}", *LONG)
    task.save()
    log = tmp_path / "driver.log"
    with driver(master, task.folder, log) as process:
        wait_for(task.reports, lambda found: len(found) == 2 and least_step(found) > 300, process, log)
        began = time.monotonic()
        with cut_off(1):
            time.sleep(40)
        told, _ = process.communicate(timeout=400)
        assert process.returncode == 0, log.read_text()[-4000:]
    result = json.loads(told.splitlines()[-1])
    print(f"{launcher}: ended {time.monotonic() - began:.0f} s after the cut, {result}")
    assert int(result["began"].split()[-1]) >= 300
    assert np.isfinite(weights_of(task)).all()


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_a_host_is_cut_off_training_goes_on_with_the_other_and_takes_the_first_back(master, tmp_path):
    task = small_task(
        tmp_path / "task", "training.fewest_ranks=1", *LONG, "training.epochs=6000", "training.max_minutes=3"
    )
    task.save()
    log = tmp_path / "driver.log"
    with driver(master, task.folder, log) as process:
        found = wait_for(task.reports, lambda found: len(found) == 2 and least_step(found) > 300, process, log)
        reached, began = least_step(found), time.monotonic()
        with cut_off(1):
            wait_for(task.reports, lambda found: found[0]["ranks"] == 1 and least_step(found) > reached, process, log)
            alone = time.monotonic() - began
        began = time.monotonic()
        wait_for(task.reports, lambda found: found[0]["ranks"] == 2 and least_step(found) > reached, process, log)
        together = time.monotonic() - began
        told, _ = process.communicate(timeout=400)
        assert process.returncode == 0, log.read_text()[-4000:]
    print(f"went on alone {alone:.0f} s after the cut, together {together:.0f} s after its end; {told}")
    result = json.loads(told.splitlines()[-1])
    assert result["ranks"] == 2
    assert result["began"].startswith("resumed at step ") and int(result["began"].split()[-1]) > reached
    assert np.isfinite(weights_of(task)).all()
