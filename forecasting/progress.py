"""What a person sees while a stage runs: a live line on a terminal, a plain line every few seconds in a log."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil
from pyspark.sql import SparkSession
from rich.console import Console

LOG_SECONDS = 15  # between two lines of a stage in a log
LIVE_SECONDS = 1  # between two looks on a terminal
MEMORY_SHARE = 0.01  # of a core, at most, that looking at the memory takes: of large processes that is slow


class Progress:
    """Shows what Spark's tasks, or a stage itself, are doing, and measures the memory of this machine's processes."""

    def __init__(self, console: Console, spark: SparkSession) -> None:
        self.console = console
        self._spark = spark
        self._detail: Callable[[], str] | None = None
        self.peak_memory = 0.0

    def say(self, text: str) -> None:
        """Prints a line that stays."""
        self.console.print(text, highlight=False)

    @contextmanager
    def detail(self, detail: Callable[[], str]) -> Iterator[None]:
        """While it lasts, `detail()` is shown instead of Spark's tasks."""
        self._detail = detail
        try:
            yield
        finally:
            self._detail = None

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Shows the progress of everything inside; afterwards `peak_memory` holds its peak in GiB."""
        self.peak_memory = memory_gib()
        stopped = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(name, stopped), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stopped.set()
            watcher.join()
            self.peak_memory = max(self.peak_memory, memory_gib())

    def _watch(self, name: str, stopped: threading.Event) -> None:
        live = self.console.status(name) if self.console.is_terminal else None
        if live:
            live.start()
        started = shown = time.monotonic()
        try:
            due = started
            while not stopped.wait(LIVE_SECONDS):
                now = time.monotonic()
                if now >= due:
                    self.peak_memory = max(self.peak_memory, memory_gib())
                    due = now + (time.monotonic() - now) / MEMORY_SHARE
                if live:
                    live.update(f"{name}  {now - started:.0f} s  {self._describe()}")
                elif now - shown >= LOG_SECONDS and (text := self._describe()):
                    self.say(f"  {name}  {now - started:.0f} s  {text}")
                    shown = now
        finally:
            if live:
                live.stop()

    def _describe(self) -> str:
        return self._detail() if self._detail else spark_tasks(self._spark)


def spark_tasks(spark: SparkSession) -> str:
    """Tasks and rows of the Spark stages that run now; empty where Spark does not tell (Spark Connect)."""
    try:
        stages = spark.sparkContext._jsc.sc().statusStore().activeStages()
        running = [stages.apply(index) for index in range(stages.size())]
        done, tasks = sum(s.numCompleteTasks() for s in running), sum(s.numTasks() for s in running)
        read = sum(s.inputRecords() + s.shuffleReadRecords() for s in running)
        written = sum(s.outputRecords() + s.shuffleWriteRecords() for s in running)
    except Exception:  # progress is a courtesy: a Spark that cannot tell must not stop a job
        return ""
    return f"{done}/{tasks} tasks, {read:,} rows read, {written:,} written" if tasks else ""


def memory_gib() -> float:
    """Memory of this process and all its children in GiB; pages that processes share are counted once."""
    total = 0
    own = psutil.Process()
    for process in [own, *own.children(recursive=True)]:
        try:
            full = process.memory_full_info()
            total += getattr(full, "pss", full.rss)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total / 2**30
