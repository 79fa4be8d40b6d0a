"""What every job shares: its command line, its run (configuration, session, lake, lineage), and how a stage is shown."""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pyspark.errors import PySparkException
from pyspark.sql import SparkSession
from rich.console import Console
from rich.markup import escape

from forecasting.config import Config, load_config
from forecasting.errors import ForecastingError
from forecasting.lake import Lake
from forecasting.progress import Progress
from forecasting.session import build_session

Figures = dict[str, Any]
SHUFFLED_BYTES = 16 * 2**20  # of files a partition of a shuffle: some five times as much in memory
FEW_BYTES = 4 * 2**20  # of files that a task is started for
TASKS_A_CORE = 4  # with one or two, a core idles while the last task ends


@dataclass(frozen=True)
class Run:
    """One run: its settings, where its tables are, and what it writes on every row."""

    config: Config
    spark: SparkSession
    lake: Lake
    progress: Progress
    id: str
    created_at: datetime

    def lineage(self, **more: Any) -> dict[str, Any]:
        """The columns that say where a row comes from."""
        return {"run_id": self.id, "created_at": self.created_at, **more}

    @contextmanager
    def shuffling(self, data_bytes: int) -> Iterator[None]:
        """While it lasts, shuffles have partitions enough for data of this size in files, and for every core."""
        conf, cores = self.spark.conf, self.spark.sparkContext.defaultParallelism
        key, least = "spark.sql.shuffle.partitions", "spark.sql.adaptive.coalescePartitions.minPartitionNum"
        usual = {key: conf.get(key), least: conf.get(least, None)}
        tasks = min(TASKS_A_CORE * cores, -(-data_bytes // FEW_BYTES))
        conf.set(key, max(int(usual[key]), tasks, -(-data_bytes // SHUFFLED_BYTES)))
        conf.set(least, max(int(usual[least] or 1), tasks))
        try:
            yield
        finally:
            for name, value in usual.items():
                if value is None:
                    conf.unset(name)
                else:
                    conf.set(name, value)

    def stage(self, name: str, execute: Callable[[Run], Figures]) -> Figures:
        """Runs one stage, shows it, and notes it in `run_stages`."""
        started = time.monotonic()
        with self.progress.stage(name):
            figures = execute(self)
        seconds = time.monotonic() - started
        self.progress.say(f"[bold]{name:<10}[/bold] {seconds:6.1f} s   {escape(describe(figures))}")
        note_stage(self, name, seconds, figures)
        return figures


def start_run(config: Config, name: str) -> Run:
    """The run of a job: a session, the lake, and an id."""
    started = datetime.now(UTC).replace(microsecond=0)
    spark = build_session(config, name)
    console = Console(soft_wrap=True)
    run_id = config.run.id or started.strftime("%Y%m%dT%H%M%SZ")
    return Run(config, spark, Lake(spark, config), Progress(console, spark), run_id, started)


def note_stage(run: Run, name: str, seconds: float, figures: Figures) -> None:
    """One row of `run_stages`."""
    row = run.lineage(
        stage=name,
        seconds=seconds,
        peak_memory_gib=run.progress.peak_memory,
        figures=json.dumps(figures, default=str),
        finished_at=datetime.now(UTC),
    )
    run.lake.log(run.lake.frame([row], "run_stages"), "run_stages")


def describe(figures: Figures) -> str:
    """Figures as one line: `1,234 rows, 5 series`."""
    parts = []
    for name, value in figures.items():
        shown = f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)
        parts.append(f"{name.replace('_', ' ')} {shown}")
    return ", ".join(parts)


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that every job takes."""
    parser.add_argument(
        "--conf", action="append", default=[], metavar="FILE", help="YAML file of settings; repeatable, later wins"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="one setting; repeatable, wins over files"
    )


def entry_point(name: str, execute: Callable[[Run], Figures]) -> Callable[[Sequence[str] | None], None]:
    """The `main` of a job: what spark-submit, Databricks' wheel tasks and console scripts call."""

    def main(argv: Sequence[str] | None = None) -> None:
        parser = argparse.ArgumentParser(prog=f"forecasting {name}", description=execute.__doc__)
        add_options(parser)
        options = parser.parse_args(argv)
        with friendly_errors():
            run_job(name, execute, load_config(options.conf, options.set))

    return main


def run_job(name: str, execute: Callable[[Run], Figures], config: Config) -> Figures:
    """Starts a run of one stage and carries it out."""
    return start_run(config, name).stage(name, execute)


class friendly_errors:  # lower case, since it reads as a statement: `with friendly_errors():`
    """Prints an error that the user can mend as one message instead of a traceback, and exits with status 2."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> bool:
        own = str(error) if isinstance(error, ForecastingError) else None
        message = own or _told_by_a_worker(error) or _told_by_another_run(error) or _told_by_the_disk(error)
        if message:
            Console(stderr=True, soft_wrap=True).print(f"[bold red]error[/bold red] {escape(message)}", highlight=False)
            raise SystemExit(2) from error
        return False


def _told_by_a_worker(error: BaseException | None) -> str | None:
    """The message of a ForecastingError that was raised in a Spark task; Spark passes on only its text, in a traceback."""
    found = re.findall(r"^\s*forecasting\.errors\.\w+: (.+)$", str(error), re.MULTILINE)
    return found[-1] if found and isinstance(error, PySparkException) else None


def _told_by_another_run(error: BaseException | None) -> str | None:
    """What to do when another run wrote the same rows of a table meanwhile."""
    found = re.search(r"\[(DELTA_CONCURRENT_\w+|DELTA_METADATA_CHANGED|DELTA_PROTOCOL_CHANGED)[\].]", str(error))
    return found and (
        f"Expected a table that no other run writes meanwhile, came another run's write of the same rows ({found[1]}). The table is as that "
        "run left it, and nothing of this write is in it. Start the same command again once the other has ended."
    )


def _told_by_the_disk(error: BaseException | None) -> str | None:
    """What to do when there was no room to write."""
    found = re.search("No space left on device|Disk quota exceeded|File too large", str(error))
    return found and (
        f"Expected room to write tables (lake.path) and intermediate files (SPARK_LOCAL_DIRS, or spark.local.dir), came: "
        f"{found[0]}. Every table is as the last finished write left it. Make room, then start the same command again."
    )
