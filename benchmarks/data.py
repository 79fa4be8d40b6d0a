"""From files to sequences: a generated sales log of known truth through ingest, aggregate and features, beside DuckDB,
Polars and bare Spark on the same files; what the next day costs; and what of the truth was found.

make bench-data                        # a million lines
make bench-data SCALE=full             # a hundred million
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from benchmarks.found import found_of_truth
from benchmarks.peers import run_engine
from benchmarks.saleslog import LogSpec, generate
from forecasting.config import load_config
from forecasting.lake import rows
from forecasting.runtime import Run, friendly_errors, start_run
from jobs import aggregate, features, ingest

LINES = {"small": 1_000_000, "medium": 10_000_000, "full": 100_000_000}
STAGES = {"ingest": ingest.execute, "aggregate": aggregate.execute, "features": features.execute}
TABLES = ("demand", "location_days", "sequences")
DATASET = Path(__file__).with_name("saleslog.yml")
#: Stages of the peers that stand beside our ingest and aggregate.
SAME_WORK = {
    "duckdb": ("ingest", "aggregate"),
    "polars": ("ingest", "aggregate"),
    "spark-floor": ("scan_write", "scan_group_write"),
}
PARTS = ("peers", "next-day", "truth")
Figure = tuple[str, float, str]


def run_of(log: Path, lake: Path, settings: Sequence[str] = ()) -> Run:
    """A run on the log with a lake of its own."""
    own = [f"source.dataset={DATASET}", f"source.path={log}", f"lake.path={lake}", f"lake.schema={lake.name}"]
    return start_run(load_config(settings=[*own, *settings]), "benchmark")


def stages_inside(log: Path, lake: Path, settings: Sequence[str]) -> dict[str, dict[str, float]]:
    """Runs ingest, aggregate and features in this process; seconds and memory of each."""
    run = run_of(log, lake, settings)
    # The first commit of a cold JVM is nobody's work.
    run.spark.range(1).write.format("delta").mode("overwrite").save(f"{lake}/_floor")
    told = {}
    for name, execute in STAGES.items():
        began = time.monotonic()
        run.stage(name, execute)
        seconds = time.monotonic() - began
        told[name] = {"seconds": seconds, "peak_gib": run.progress.peak_memory} | driver_memory(run)
    return told


def driver_memory(run: Run) -> dict[str, float]:
    """What the driver holds on to between stages, MiB: live objects of the JVM, and the Python process."""
    gc.collect()
    runtime = run.spark.sparkContext._jvm.java.lang.Runtime.getRuntime()
    runtime.gc()
    time.sleep(2)  # Spark gives up what it broadcast once a first collection has found that nobody holds it
    runtime.gc()
    heap = (runtime.totalMemory() - runtime.freeMemory()) / 2**20
    return {"driver_heap_mib": heap, "driver_python_mib": psutil.Process().memory_info().rss / 2**20}


def in_own_process(function: str, *arguments: object) -> Any:
    """Calls a function of this module in a process of its own; what it returns."""
    with tempfile.NamedTemporaryFile("r", suffix=".json") as told:
        call = (
            "import json; from pathlib import Path, PosixPath; from benchmarks import data; "
            f"Path({told.name!r}).write_text(json.dumps(data.{function}(*{arguments!r})))"
        )
        subprocess.run([sys.executable, "-c", call], check=True, env=os.environ)
        return json.load(told)


def fingerprints(log: Path, lake: Path) -> dict[str, list]:
    """Rows and sum of hashes of what the tables say, whatever the order of rows; not of who wrote it when."""
    run = run_of(log, lake)
    return {name: _fingerprint(run.lake.read(name).drop("run_id", "data_version")) for name in TABLES}


def _fingerprint(table: DataFrame) -> list:
    plain = [F.map_entries(c).alias(c) if kind.startswith("map") else F.col(c) for c, kind in table.dtypes]
    hashes = F.sum(F.xxhash64(*plain).cast("decimal(38,0)")).cast("string")
    (row,) = rows(table.agg(F.count(F.lit(1)).alias("rows"), hashes.alias("hash")))
    return [row["rows"], row["hash"]]


def seconds_to_rewrite(log: Path, lake: Path, table: str) -> float:
    """What bare Spark takes to read a table and write it elsewhere: the least that any change of all its rows can cost."""
    run, copy = run_of(log, lake), lake / "_rewritten"
    whole = run.lake.read(table)
    whole.limit(1).write.format("delta").mode("overwrite").save(str(copy))  # a cold JVM is nobody's work
    began = time.monotonic()
    whole.write.format("delta").mode("overwrite").save(str(copy))
    seconds = time.monotonic() - began
    shutil.rmtree(copy)
    return seconds


def share_with_another_past(log: Path, lake: Path) -> float:
    """Share of the series of the last run before, of which the last run changed a value of a period that was there already."""
    run = run_of(log, lake)
    newest = run.lake.version("sequences")
    before, after = (run.lake.read("sequences", version) for version in (newest - 1, newest))
    of_periods = [name for name, kind in after.dtypes if kind.startswith("array")]
    joined = before.alias("was").join(after.alias("now"), on=["item_id", "location_id"], how="left")
    # Plans reach past the end of the data: a period that was ahead may be planned otherwise by now, too.
    same = [
        F.col(f"was.{name}").eqNullSafe(F.slice(f"now.{name}", F.lit(1), F.size(f"was.{name}"))) for name in of_periods
    ]
    (told,) = rows(joined.agg(F.avg((~F.forall(F.array(*same), lambda each: each)).cast("double")).alias("share")))
    return told["share"]


def stage_figures(prefix: str, told: dict, lines: int) -> list[Figure]:
    """Seconds, rate and memory of each stage."""
    found: list[Figure] = []
    for name in STAGES:
        stage = told[name]
        found += [
            (f"{prefix}{name}_seconds", stage["seconds"], "s"),
            (f"{prefix}{name}_rate", lines / stage["seconds"], "lines/s"),
            (f"{prefix}{name}_peak_memory", stage["peak_gib"], "GiB"),
            (f"{prefix}{name}_driver_heap", stage["driver_heap_mib"], "MiB"),
            (f"{prefix}{name}_driver_python", stage["driver_python_mib"], "MiB"),
        ]
    return found


def peer_figures(log: Path, folder: Path, lines: int, ours: dict) -> list[Figure]:
    """Seconds and rate of each stage of each peer, and how much of our time they take; a stage that fails is told with its
    reason."""
    found: list[Figure] = []
    mine = ours["ingest"]["seconds"] + ours["aggregate"]["seconds"]
    for engine in SAME_WORK:
        out = folder / engine
        stages = run_engine(engine, log, out)
        for name, stage in stages.items():
            label = f"{engine.replace('-', '_')}_{name}"
            if "failed" in stage:
                print(f"{label} failed: {stage['failed']}", flush=True)
                continue
            found += [
                (f"{label}_seconds", stage["seconds"], "s"),
                (f"{label}_rate", lines / stage["seconds"], "lines/s"),
                (f"{label}_peak_memory", stage["peak_gib"], "GiB"),
            ]
        if not any("failed" in stages[name] for name in SAME_WORK[engine]):
            seconds = sum(stages[name]["seconds"] for name in SAME_WORK[engine])
            found.append((f"{engine.replace('-', '_')}_share", seconds / mine, "of our ingest and aggregate"))
        shutil.rmtree(out, ignore_errors=True)
    return found


def next_day(log: Path, folder: Path, settings: Sequence[str]) -> list[Figure]:
    """Adds the last day to the log and runs again; then all of it anew in another lake, which must come to the same."""
    last = [log / "sales" / f"{file.stem}-last.parquet" for file in (log / "last_day").iterdir()]
    try:
        for file, copy in zip((log / "last_day").iterdir(), last, strict=True):
            shutil.copy(file, copy)
        added = in_own_process("stages_inside", log, folder / "lake", settings)
        mine = in_own_process("fingerprints", log, folder / "lake")
        show([(f"next_day_{name}_seconds", added[name]["seconds"], "s") for name in STAGES])
        past = in_own_process("share_with_another_past", log, folder / "lake")
        show([("next_day_series_with_another_past", past, "of all series")])
        least = in_own_process("seconds_to_rewrite", log, folder / "lake", "sequences")
        show([("next_day_features_floor_seconds", least, "s to read and write sequences")])
        anew = in_own_process("stages_inside", log, folder / "anew", settings)
        theirs = in_own_process("fingerprints", log, folder / "anew")
    finally:
        for copy in last:
            copy.unlink(missing_ok=True)
    shutil.rmtree(folder / "anew")
    share = {name: added[name]["seconds"] / anew[name]["seconds"] for name in STAGES}
    total = sum(added[name]["seconds"] for name in STAGES) / sum(anew[name]["seconds"] for name in STAGES)
    return [
        *((f"next_day_{name}_share", value, "of a full run") for name, value in share.items()),
        ("next_day_share", total, "of a full run"),
        *((f"next_day_{name}_same", float(mine[name] == theirs[name]), "1: as a full run") for name in TABLES),
    ]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=LINES, default="small")
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS, help="what to measure beside the stages")
    parser.add_argument("--folder", type=Path, help="where to work, and where a log may lie already in `log`")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="one setting; repeatable")
    options = parser.parse_args(argv)
    with friendly_errors(), tempfile.TemporaryDirectory(prefix="bench-data-") as temporary:
        measure(options.folder or Path(temporary), LINES[options.scale], options.parts, options.set)


def measure(folder: Path, lines: int, parts: Sequence[str], settings: Sequence[str]) -> None:
    """Prints `figure NAME VALUE UNIT` lines as they come."""
    log = folder / "log"
    if not log.exists():
        generate(log, LogSpec.of(lines))
    counts = json.loads((log / "truth" / "counts.json").read_text())["demand_totals_before_last_day"]
    told = in_own_process("stages_inside", log, folder / "lake", settings)
    show([("log_lines", counts["lines"], "lines"), *stage_figures("", told, counts["lines"])])
    steps: dict[str, Callable[[], list[Figure]]] = {
        "truth": lambda: [tuple(figure) for figure in in_own_process("found_in", log, folder / "lake")],
        "peers": lambda: peer_figures(log, folder / "peers", counts["lines"], told),
        "next-day": lambda: next_day(log, folder, settings),
    }
    for name, step in steps.items():
        if name in parts:
            show(step())


def found_in(log: Path, lake: Path) -> list[Figure]:
    """What of the log's truth the tables tell."""
    return found_of_truth(run_of(log, lake), log)


def show(figures: Sequence[Figure]) -> None:
    """Prints figures, one a line."""
    for name, value, unit in figures:
        print(
            f"figure {name} {value:.4g} {unit}" if abs(value) < 1000 else f"figure {name} {value:,.0f} {unit}",
            flush=True,
        )


if __name__ == "__main__":
    main()
