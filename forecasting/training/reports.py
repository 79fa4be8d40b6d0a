"""What ranks tell of themselves: a small file each, which says every few seconds that the rank lives and where it stands."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from contextlib import suppress
from typing import Any

import psutil

from forecasting.models import artifact

EVERY = 3  # seconds between two signs of life


class Report:
    """The file of one rank. Inside `with`, a thread keeps it fresh; calling it adds to what it says."""

    def __init__(self, folder: str, rank: int, ranks: int) -> None:
        self._path = f"{folder}/{_name(rank)}"
        self._now: dict[str, Any] = {"rank": rank, "ranks": ranks, "host": own_host(), "pid": os.getpid()}
        self._over, self._thread = threading.Event(), threading.Thread(target=self._keep_fresh, daemon=True)

    def __call__(self, message: dict[str, Any]) -> None:
        self._now |= message

    @property
    def now(self) -> dict[str, Any]:
        """What it says."""
        return self._now

    def __enter__(self) -> Report:
        self._write()
        self._thread.start()
        return self

    def __exit__(self, *of_error: object) -> None:
        self._over.set()
        self._thread.join()
        self._write()

    def _keep_fresh(self) -> None:
        while not self._over.wait(EVERY):
            with suppress(OSError):  # a sign of life is no reason to die
                self._write()

    def _write(self) -> None:
        artifact.write_bytes(self._path, json.dumps(self._now | {"alive": time.time()}).encode())


def own_host() -> str:
    """The name by which the ranks know this machine."""
    return os.environ.get("HOROVOD_HOSTNAME") or socket.gethostname()


def read_reports(folder: str) -> dict[int, dict[str, Any]]:
    """The newest report of each rank."""
    found = (read_report(folder, int(name[5:9])) for name in artifact.list_files(folder) if name.endswith(".json"))
    return {report["rank"]: report for report in found if report}


def read_report(folder: str, rank: int) -> dict[str, Any] | None:
    """The newest report of a rank; None if there is none yet."""
    try:
        return json.loads(artifact.read_bytes(f"{folder}/{_name(rank)}"))
    except (OSError, ValueError):
        return None


def add_to_report(folder: str, rank: int, ranks: int, message: dict[str, Any]) -> None:
    """Adds to what a rank said last, once its `Report` has ended or where there was none."""
    report = (read_report(folder, rank) or Report(folder, rank, ranks).now | {"alive": time.time()}) | message
    artifact.write_bytes(f"{folder}/{_name(rank)}", json.dumps(report).encode())


def fatal_fault(folder: str) -> str | None:
    """What a rank says of a fault that another attempt would not mend; None if none does."""
    told = (r["failed"] for r in read_reports(folder).values() if "failed" in r and not r["again"])
    return next(told, None)


def clear_reports(folder: str) -> None:
    """Deletes what an earlier start has left."""
    for name in artifact.list_files(folder):
        artifact.delete(f"{folder}/{name}")


def _name(rank: int) -> str:
    return f"rank-{rank:04d}.json"


def who_is_missing(folder: str, patience: float) -> str:
    """Which ranks are gone, gave no sign of life for some seconds, or are behind the others; empty where all are well. Takes some seconds
    where it is none of the first two: until all that live have told where they stand."""
    going, now = _going(folder), time.time()
    for lost in (_is_gone, lambda r: now - r["alive"] > patience):
        if found := [report for report in going if lost(report)]:
            return _named(found)
    time.sleep(EVERY + 1)
    going = _going(folder)
    furthest = max((report.get("step", 0) for report in going), default=0)
    return _named([report for report in going if report.get("step", 0) < furthest])


def _going(folder: str) -> list[dict[str, Any]]:
    """Reports of the ranks of this start that have not ended."""
    reports = read_reports(folder)
    ranks = reports[0]["ranks"] if 0 in reports else len(reports)
    return [report for report in reports.values() if "ended" not in report and report["rank"] < ranks]


def _named(reports: list[dict[str, Any]]) -> str:
    now = time.time()
    return ", ".join(
        f"rank {r['rank']} on {r['host']}, last sign {now - r['alive']:.0f} s ago, at step {r.get('step', 0)}"
        for r in reports
    )


def _is_gone(report: dict[str, Any]) -> bool:
    """Whether its process was on this machine and is no more."""
    if report["host"] != own_host():
        return False
    try:
        return psutil.Process(report["pid"]).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
