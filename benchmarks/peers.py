"""The first stages' work in DuckDB and Polars, and the least that bare Spark takes to read the same files and write tables.

    python -m benchmarks.peers FOLDER --engine duckdb|polars|spark-floor --out DIR

FOLDER holds a log of `benchmarks.saleslog`, of which `sales/` is read. The stages are those of both engines: `ingest` sorts
out duplicates and broken lines and finds the business day, `aggregate` sums up by item, location and day, `sequences` makes
one row a series with arrays over every day. The floor of Spark is `scan_group_write` and `scan_write`; `scan_distinct_write`
also drops duplicates, by Spark's own means. Each stage has a process of its own: its seconds begin when that has started, its
peak of memory is that of it and its children. One line of JSON tells these, and whether the results hold the figures of the
log's truth. A stage that fails is reported as such.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import duckdb
import psutil
import pyarrow.parquet as pq

from benchmarks.engines import ENGINES, THREADS

MEMORY_LIMIT = 20.0  # GiB; a stage that takes more is ended before it takes the machine's last
RESULTS = {"ingest": "accepted.parquet", "aggregate": "demand.parquet", "sequences": "sequences.parquet"}


def run_engine(engine: str, folder: Path, out: Path, memory_limit: float = MEMORY_LIMIT) -> dict[str, dict]:
    """Runs all stages of an engine; returns seconds, rows written and peak memory of each, or why it failed."""
    out.mkdir(parents=True, exist_ok=True)
    stages: dict[str, dict] = {}
    for name in ENGINES[engine].stages:
        if engine != "spark-floor" and any("failed" in stage for stage in stages.values()):
            stages[name] = {"failed": "needs the stage before"}
            continue
        stages[name] = _run_stage(engine, name, folder, out, memory_limit)
        if "failed" not in stages[name]:
            stages[name]["rows"] = _rows(out / RESULTS.get(name, name))
    return stages


def _run_stage(engine: str, stage: str, folder: Path, out: Path, memory_limit: float) -> dict:
    """Runs one stage in a process of its own and watches its memory."""
    command = [sys.executable, "-m", "benchmarks.peers", str(folder), "--engine", engine, "--out", str(out)]
    environment = os.environ | {"POLARS_MAX_THREADS": str(THREADS)}
    with tempfile.TemporaryFile("w+") as told, tempfile.TemporaryFile("w+") as complaints:
        process = subprocess.Popen([*command, "--stage", stage], stdout=told, stderr=complaints, env=environment)
        peak = 0.0
        while process.poll() is None:
            asked = time.monotonic()
            now = tree_memory_gib(process.pid)
            peak = max(peak, now)
            if now > memory_limit:
                _end(process)
                return {"failed": f"took more than {memory_limit:g} GiB", "peak_gib": round(peak, 2)}
            # The kernel walks through all pages for an answer, and holds up the process meanwhile.
            time.sleep(max(0.1, 10 * (time.monotonic() - asked)))
        told.seek(0)
        complaints.seek(0)
        lines, tail = told.read().splitlines(), complaints.read()[-2000:]
    report = {"peak_gib": round(peak, 2)}
    if process.returncode < 0:  # the kernel ends what takes the machine's last memory with signal 9
        return report | {"failed": f"ended by signal {-process.returncode}"}
    if process.returncode:
        return report | {"failed": tail.strip().splitlines()[-1] if tail.strip() else f"status {process.returncode}"}
    return json.loads(lines[-1]) | report


def _end(process: subprocess.Popen) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(process.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
    process.kill()
    process.wait()


def tree_memory_gib(pid: int) -> float:
    """Memory of a process and all its children; pages that processes share are counted once."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        for one in [process, *process.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, OSError):
                total += one.memory_full_info().pss
    return total / 2**30


def inside(engine: str, stage: str, folder: Path, out: Path) -> None:
    """Runs one stage in this process and prints its seconds."""
    began = time.monotonic()
    context = ENGINES[engine].start(out)
    started = time.monotonic()
    ENGINES[engine].stages[stage](context, folder, out)
    took = time.monotonic() - started
    print(json.dumps({"seconds": round(took, 2), "start_seconds": round(started - began, 2)}), flush=True)


def _rows(path: Path) -> int:
    """Rows of a Parquet file, or of a Delta table just written."""
    files = path.rglob("part-*.parquet") if path.is_dir() else [path]
    return sum(pq.read_metadata(file).num_rows for file in files)


def figures(folder: Path, out: Path, done: set[str]) -> dict[str, int]:
    """What the results of the stages done hold, named as in `truth/counts.json`."""
    con = duckdb.connect()
    con.execute(f"SET threads = {THREADS}")
    found = {"lines": sum(pq.read_metadata(file).num_rows for file in (folder / "sales").glob("*.parquet"))}

    def ask(stage: str, file: str, **expressions: str) -> None:
        if stage in done:
            columns = ", ".join(f"{expression}::BIGINT" for expression in expressions.values())
            found.update(zip(expressions, con.execute(f"SELECT {columns} FROM '{out / file}'").fetchone(), strict=True))

    ask("ingest", "accepted.parquet", accepted="count(*)", units_of_lines="sum(quantity)")
    ask("ingest", "quarantine.parquet", quarantined="count(*)")
    if "ingest" in done:
        found["duplicates"] = found["lines"] - found["accepted"] - found["quarantined"]
    cents = {"net_revenue_cents": "round(sum(revenue) * 100)", "discount_cents": "round(sum(discount) * 100)"}
    ask(
        "aggregate",
        "demand.parquet",
        groups="count(*)",
        net_units="sum(quantity)",
        lines_of_groups="sum(lines)",
        **cents,
    )
    total = "sum(list_sum(list_transform(quantity, lambda x: x::DOUBLE)))"
    ask("sequences", "sequences.parquet", series="count(*)", days_of_series="sum(len(quantity))", units_of_series=total)
    return found


def floor_figures(folder: Path, out: Path, done: set[str]) -> dict[str, int]:
    """Lines and units in the log and in the tables of the stages done."""
    con = duckdb.connect()
    con.execute(f"SET threads = {THREADS}")
    found = {}
    for name, files, lines in (
        ("log", folder / "sales", "count(*)"),
        ("scan_group_write", out / "scan_group_write", "sum(lines)"),
        ("scan_write", out / "scan_write", "count(*)"),
    ):
        if name == "log" or name in done:
            query = f"SELECT {lines}::BIGINT, sum(quantity)::BIGINT FROM '{files}/*.parquet'"
            found[f"{name}_lines"], found[f"{name}_units"] = con.execute(query).fetchone()
    return found


def differences(engine: str, found: dict[str, int], truth: dict[str, int]) -> dict[str, list[int]]:
    """Figures that are not what they must be: [found, expected]."""
    if engine == "spark-floor":
        expected = {name: found[f"log_{name.rsplit('_', 1)[1]}"] for name in found}
        expected |= {"log_lines": truth["lines"]}
    else:
        same = {"units_of_lines": "net_units", "units_of_series": "net_units", "lines_of_groups": "accepted"}
        expected = truth | {name: truth[other] for name, other in same.items()}
    return {name: [count, expected[name]] for name, count in found.items() if expected.get(name, count) != count}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--engine", choices=ENGINES, required=True)
    parser.add_argument("--out", type=Path, required=True, help="a new folder for the results, which stay there")
    parser.add_argument("--memory-limit", type=float, default=MEMORY_LIMIT, help="GiB at which a stage is ended")
    parser.add_argument("--stage", help=argparse.SUPPRESS)  # this process is that of the stage
    options = parser.parse_args(argv)
    folder, out = options.folder.resolve(), options.out.resolve()
    if options.stage:
        return inside(options.engine, options.stage, folder, out)
    if out.exists() and any(out.iterdir()):
        parser.error(f"{out} is not empty")
    stages = run_engine(options.engine, folder, out, options.memory_limit)
    done = {name for name, stage in stages.items() if "failed" not in stage}
    found = (floor_figures if options.engine == "spark-floor" else figures)(folder, out, done)
    truth = json.loads((folder / "truth" / "counts.json").read_text())["demand_totals_before_last_day"]
    differing = differences(options.engine, found, truth)
    report = {"engine": options.engine, "stages": stages, "figures": found, "differing": differing}
    report["agrees"] = not differing and len(done) == len(stages)
    print(json.dumps(report))


if __name__ == "__main__":
    main()
