"""How training scales with its ranks on one machine: one core a rank and each rank held to its core, beside ranks that do not speak with
one another and beside a plain TensorFlow loop; the memory of a rank as the series grow; and whether any number of ranks learns the same.

make bench-training ARGS="--folder DIR --set source.dataset=m5 --set source.path=FOLDER"
make bench-training                    # 150 items of The Complete Journey
... --parts scaling                    # or: crowded, plain, memory, learnt, input, all-reduce

Settings are those of `make bench-accuracy`, whose tables in DIR are used if they are there. Every rank draws as many series a step as
`training.batch_size` says, whatever their number (weak scaling); in the part learnt all ranks together do.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.accuracy import configuration
from benchmarks.throughput import training_data
from forecasting.config import TrainingConfig
from forecasting.runtime import add_options, friendly_errors, start_run
from forecasting.training.horovod_ring import settings_of_ranks
from forecasting.training.rank import RankTask
from forecasting.training.reports import clear_reports, read_report

PARTS = ("scaling", "crowded", "plain", "memory", "learnt", "input", "all-reduce")
SEEDS = (1, 2, 3)  # of the part learnt
SETTLED = 10  # seconds after a rank's first report from which time is taken
AT_ONCE = 64  # input batches of the plain loop, made before it begins
GENERATED = (10_000, 100_000, 1_000_000)  # series of the memory part
CORES = os.cpu_count() or 1


@dataclass(frozen=True)
class Rates:
    """What all ranks together learnt once they had settled: origins a second, and of rank 0 the shares of its time that it waited
    for input and that averaging took. memory: of the largest rank, MiB that no file backs."""

    origins: float
    waiting: float
    averaging: float
    memory: float


def task_of(
    folder: Path, data: tuple, training: TrainingConfig, ranks: int, seconds: float | None, **more: Any
) -> RankTask:
    """A training of so many ranks on the series of `throughput.training_data`: of so many seconds, each rank with a batch of its own; or,
    with None, as the settings say. more: settings."""
    spec, shared, origin, series = data
    settings = {"ranks": ranks, "launcher": "horovodrun" if ranks > 1 else "in_process", **more}
    if seconds is not None:
        settings |= {
            "batch_size": training.batch_size * ranks,
            "epochs": 1_000_000,
            "validate_every": 1_000_000_000,
            "validation_series": 64,
            "max_minutes": seconds / 60,
        }
    task = RankTask(spec, shared, origin, training.model_copy(update=settings), str(folder), {}, threads=1)
    if not Path(task.series).exists():
        Path(task.series).mkdir(parents=True)
        pq.write_table(series, f"{task.series}/part-00000.parquet")
    clear_reports(task.reports)
    for left in Path(task.checkpoints).glob("*"):
        left.unlink()
    task.save()
    return task


def started(task: RankTask, core: int) -> subprocess.Popen:
    """The ranks of a task, each on one core: from `core` on, in turn."""
    rank = f"{sys.executable} -m forecasting.training.rank {task.folder}"
    number = f"$(( ({core} + ${{HOROVOD_RANK:-0}}) % {CORES} ))"
    command = ["bash", "-c", f"exec taskset -c {number} {rank}"]
    if task.config.ranks > 1:
        own = [str(Path(sys.executable).with_name("horovodrun")), "--gloo", "-np", str(task.config.ranks)]
        command = [*own, *command]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)} | settings_of_ranks(task.config)
    return subprocess.Popen(command, env=environment, **quiet)


def rates(tasks: Sequence[RankTask]) -> Rates:
    """Runs trainings beside one another, each from a core of its own, and adds up what they learn."""
    processes = [started(task, core) for core, task in enumerate(tasks)]
    seen: list[list[dict]] = [[] for _ in tasks]
    memory = 0.0
    while any(process.poll() is None for process in processes):
        for process, task, reports in zip(processes, tasks, seen, strict=True):
            report = read_report(task.reports, 0)
            if report and "loss" in report and (not reports or report["step"] > reports[-1]["step"]):
                reports.append(report)
            memory = max(memory, anonymous_memory(process.pid))
        time.sleep(0.5)
    if any(process.returncode for process in processes):
        raise RuntimeError(f"A rank failed; see {[task.folder for task in tasks]}")
    found = [settled(task, reports) for task, reports in zip(tasks, seen, strict=True)]
    return Rates(sum(f.origins for f in found), found[0].waiting, found[0].averaging, memory)


def settled(task: RankTask, reports: Sequence[dict]) -> Rates:
    """What a training did between its first report after SETTLED seconds and its last."""
    since = [report for report in reports if report["seconds"] > reports[0]["seconds"] + SETTLED]
    first, last = since[0], since[-1]
    seconds = last["seconds"] - first["seconds"]
    origins = min(task.config.origins_per_series, task.spec.patches)
    learnt = (last["step"] - first["step"]) * task.config.batch_size * origins
    share = {
        name: (last[name] * last["seconds"] - first[name] * first["seconds"]) / seconds
        for name in ("waiting", "averaging")
    }
    return Rates(learnt / seconds, share["waiting"], share["averaging"], 0.0)


def anonymous_memory(pid: int) -> float:
    """MiB of the largest process from `pid` on that no file backs: what is mapped from a file the system may take back."""
    try:
        own = psutil.Process(pid)
        processes = [own, *own.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    most = 0.0
    for process in processes:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
        except OSError:
            continue
        kib = next((line.split()[1] for line in status.splitlines() if line.startswith("RssAnon:")), "0")
        most = max(most, int(kib) / 1024)
    return most


def plain_rate(folder: str, seconds: float) -> float:
    """Origins a second of a loop of TensorFlow alone: the same network, loss, optimiser and batches, which lie ready."""
    import tensorflow as tf
    from keras import optimizers

    from forecasting.models.build import build_model, use_threads
    from forecasting.models.loss import training_loss
    from forecasting.training.loop import tensors
    from forecasting.training.series_files import SeriesFiles
    from forecasting.training.shard import Shard

    use_threads(1)
    task = RankTask.load(folder)
    shared = task.shared.of(task.spec.inputs)
    config = task.config
    with tempfile.TemporaryDirectory() as place:
        shard = Shard(Path(place), task.spec, shared, task.origin)
        shard.fill(SeriesFiles(task.series).share(0, 1))
        model = build_model(task.spec, shared, 1)
        batches = [
            tensors(
                shard.training_batch(
                    shard.training_rows(step, config.batch_size, 1), np.random.default_rng(step), config
                )
            )
            for step in range(AT_ONCE)
        ]
        optimizer = optimizers.AdamW(1e-3, weight_decay=config.weight_decay)
        optimizer.build(model.trainable_variables)

        @tf.function(jit_compile=config.xla)
        def learn(inputs, origins, actual, counts, censored, seed):
            with tf.GradientTape() as tape:
                said = model.demand(inputs, origins, seed)
                losses = [
                    training_loss(actual, counts, censored, demand, model.head, task.spec.mean_power) for demand in said
                ]
                loss = tf.add_n(losses) / len(losses)
            gradients = tape.gradient(loss, [v.value for v in model.trainable_variables])
            clipped, _ = tf.clip_by_global_norm([tf.convert_to_tensor(g) for g in gradients], config.clip_norm)
            optimizer.apply(clipped, model.trainable_variables)
            return loss

        for step in range(10):
            learn(*batches[step % AT_ONCE], tf.constant([1, step])).numpy()
        began, steps = time.monotonic(), 0
        while time.monotonic() - began < seconds:
            learn(*batches[steps % AT_ONCE], tf.constant([1, steps])).numpy()
            steps += 1
        spent = time.monotonic() - began
    return steps * config.batch_size * min(config.origins_per_series, task.spec.patches) / spent


def plain_in_own_process(task: RankTask, seconds: float) -> float:
    """`plain_rate` in a process of its own on the first core."""
    code = f"from benchmarks.training import plain_rate; print('origins', plain_rate({task.folder!r}, {seconds!r}))"
    return told_by(["taskset", "-c", "0", sys.executable, "-c", code], "origins")[0][0]


def generated(folder: Path, task: RankTask, series: pa.Table, count: int) -> None:
    """Files of so many series: those given, again and again (one file under many names)."""
    place = Path(task.series)
    for old in place.glob("*.parquet"):
        old.unlink()
    once = folder / "once.parquet"
    pq.write_table(series.slice(0, 2_000), once)
    for number in range(count // 2_000):
        os.link(once, place / f"part-{number:05d}.parquet")


def show(name: str, values: Sequence[float], unit: str) -> None:
    """The median of repeats, and their range."""
    middle = statistics.median(values)
    digits = 0 if middle >= 100 else 3
    spread = f" of {len(values)}: {min(values):.{digits}f} to {max(values):.{digits}f}" if len(values) > 1 else ""
    print(f"figure {name} {middle:.{digits}f} {unit}{spread}", flush=True)


def measure_scaling(folder: Path, data: tuple, training: TrainingConfig, seconds: float, repeats: int) -> None:
    """One rank alone, two that do not speak with one another, and two in a ring; in turn, so that all see the same machine."""
    one, both, ring = [], [], []
    for _ in range(repeats):
        one.append(rates([task_of(folder / "alone", data, training, 1, seconds)]))
        both.append(rates([task_of(folder / name, data, training, 1, seconds) for name in ("alone", "beside")]))
        ring.append(rates([task_of(folder / "ring", data, training, 2, seconds)]))
    show("one_rank", [r.origins for r in one], "origins/s")
    show("two_apart", [r.origins for r in both], "origins/s")
    show("two_ranks", [r.origins for r in ring], "origins/s")
    show("weak_scaling_efficiency", [r.origins / 2 / o.origins for r, o in zip(ring, one, strict=True)], "of one rank")
    show("ring_efficiency", [r.origins / b.origins for r, b in zip(ring, both, strict=True)], "of two apart")
    show("two_ranks_averaging", [r.averaging for r in ring], "of the time, waiting for the other rank included")
    show("two_ranks_input_wait", [r.waiting for r in ring], "of the time")


def measure_crowded(folder: Path, data: tuple, training: TrainingConfig, seconds: float, repeats: int) -> None:
    """Two, four and eight ranks on the cores that there are."""
    found: dict[int, list[float]] = {2: [], 4: [], 8: []}
    for _ in range(repeats):
        for ranks, told in found.items():
            told.append(rates([task_of(folder / f"ranks{ranks}", data, training, ranks, seconds)]).origins)
    for ranks, told in found.items():
        show(f"ranks_{ranks}", told, "origins/s")
        share = [mine / two for mine, two in zip(told, found[2], strict=True)]
        show(f"ranks_{ranks}_share", share, "of two ranks")


def measure_plain(folder: Path, data: tuple, training: TrainingConfig, seconds: float, repeats: int) -> None:
    """One rank of ours beside the plain loop, in turn."""
    ours, theirs = [], []
    for _ in range(repeats):
        task = task_of(folder / "plain", data, training, 1, seconds)
        ours.append(rates([task]).origins)
        theirs.append(plain_in_own_process(task, seconds))
    show("one_rank_beside_plain", ours, "origins/s")
    show("plain_tensorflow", theirs, "origins/s")
    show("overhead", [1 - mine / other for mine, other in zip(ours, theirs, strict=True)], "of the plain loop's rate")


def measure_memory(folder: Path, data: tuple, training: TrainingConfig, seconds: float, repeats: int) -> None:
    """Anonymous memory of the larger of two ranks, with ever more series."""
    for count in GENERATED:
        task = task_of(folder / "memory", data, training, 2, seconds)
        generated(folder, task, data[3], count)
        show(f"rank_memory_{count}_series", [rates([task]).memory], "MiB")


def held_out_wql(task: RankTask) -> float:
    """WQL of a trained model over all series, in the horizon behind what training saw."""
    from forecasting.models import artifact
    from forecasting.models.build import build_model
    from forecasting.training.loop import State, Trainer
    from forecasting.training.ring import SingleRank
    from forecasting.training.series_files import SeriesFiles
    from forecasting.training.shard import Shard

    spec, weights, _ = artifact.unpack(artifact.read_bytes(f"{task.folder}/{artifact.FILE}"))
    shared = task.shared.of(spec.inputs)
    with tempfile.TemporaryDirectory() as place:
        shard = Shard(Path(place), spec, shared, task.origin + spec.horizon)
        shard.fill(SeriesFiles(task.series).share(0, 1))
        model = build_model(spec, shared, 1)
        everything = task.config.model_copy(update={"validation_share": 1.0, "validation_series": shard.rows})
        trainer = Trainer(model, shard, everything, SingleRank(), shard.rows)
        for average, weight in zip(trainer.averages, weights, strict=True):
            average.assign(weight)
        state = State()
        trainer.validate(state, lambda message: None)
    return state.best


def measure_learnt(folder: Path, data: tuple, training: TrainingConfig, seconds: float, repeats: int) -> None:
    """What one, two and four ranks have learnt with the same effective batch, several seeds each: WQL on what none has seen."""
    found: dict[int, list[float]] = {1: [], 2: [], 4: []}
    for seed in SEEDS:
        for ranks, told in found.items():
            task = task_of(folder / f"learnt{ranks}", data, training, ranks, None, seed=seed, max_minutes=60)
            if started(task, 0).wait():
                raise RuntimeError(f"A rank failed; see {task.folder}")
            told.append(held_out_wql(task))
    for ranks, told in found.items():
        show(f"wql_of_{ranks}_ranks", told, "on the held-out horizon")
        print(
            f"figure wql_of_{ranks}_ranks_mean {statistics.mean(told):.4f} standard deviation {statistics.stdev(told):.4f}"
        )


def input_rate(folder: str, seconds: float) -> float:
    """Series a second of which one core makes training batches."""
    from forecasting.training.loop import tensors
    from forecasting.training.series_files import SeriesFiles
    from forecasting.training.shard import Shard

    task = RankTask.load(folder)
    config = task.config
    with tempfile.TemporaryDirectory() as place:
        shard = Shard(Path(place), task.spec, task.shared.of(task.spec.inputs), task.origin)
        shard.fill(SeriesFiles(task.series).share(0, 1))
        steps, began = 0, 0.0
        while not began or time.monotonic() - began < seconds:
            rows = shard.training_rows(steps, config.batch_size, 1)
            tensors(shard.training_batch(rows, np.random.default_rng(steps), config))
            steps, began = (steps + 1, began) if began else (0, time.monotonic())
        return steps * config.batch_size / (time.monotonic() - began)


#: Milliseconds of an all-reduce of so many float32 in a ring whose ranks do nothing else, by HorovodRing.
ALL_REDUCE = """
import sys, time
import tensorflow as tf
from forecasting.training.horovod_ring import launched_ring
with launched_ring() as ring:
    for count in map(int, sys.argv[1:]):
        average, gradients = tf.function(ring.average), [tf.ones(count)]
        spent = []
        for number in range(60):
            ring.sum([0.0])  # so that no rank is late
            began = time.perf_counter()
            average(gradients)[0].numpy()
            spent.append(time.perf_counter() - began)
        if ring.rank == 0:
            print("took", count, 1000 * sorted(spent)[30])
"""


def measure_input(folder: Path, data: tuple, training: TrainingConfig, seconds: float, repeats: int) -> None:
    """How fast one core makes input."""
    task = task_of(folder / "input", data, training, 1, seconds)
    code = f"from benchmarks.training import input_rate; print('rate', input_rate({task.folder!r}, {seconds / 4!r}))"
    command = ["taskset", "-c", "0", sys.executable, "-c", code]
    told = [told_by(command, "rate")[0][0] for _ in range(repeats)]
    show("input_series_per_second_of_a_core", told, "series/s")


def measure_all_reduce(folder: Path, data: tuple, training: TrainingConfig, seconds: float, repeats: int) -> None:
    """An all-reduce of two ranks on this machine, by the size of what is averaged."""
    found: dict[int, list[float]] = {}
    sizes = [str(count) for count in (1_000, 100_000, 1_000_000, 10_000_000)]
    command = [
        str(Path(sys.executable).with_name("horovodrun")),
        "--gloo",
        "-np",
        "2",
        sys.executable,
        "-c",
        ALL_REDUCE,
    ]
    for _ in range(repeats):
        for count, spent in told_by([*command, *sizes], "took"):
            found.setdefault(int(count), []).append(spent)
    for count, told in found.items():
        show(f"all_reduce_of_{count}_numbers", told, "ms")


def told_by(command: Sequence[str], word: str) -> list[list[float]]:
    """The numbers of the lines of a command's output that begin with a word."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    lines = (line.partition(f"{word} ")[2] for line in done.stdout.splitlines() if f"{word} " in line)
    return [[float(number) for number in line.split()] for line in lines]


MEASURES = {
    "scaling": measure_scaling,
    "crowded": measure_crowded,
    "plain": measure_plain,
    "memory": measure_memory,
    "learnt": measure_learnt,
    "input": measure_input,
    "all-reduce": measure_all_reduce,
}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure how training scales with its ranks.")
    parser.add_argument("--scale", choices=("small",), default="small", help="there is one")
    parser.add_argument("--folder", help="that of bench-accuracy; its tables are used if they are there")
    parser.add_argument("--seconds", type=float, default=60, help="time of each training")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    add_options(parser)
    options = parser.parse_args(argv)
    place = nullcontext(options.folder) if options.folder else tempfile.TemporaryDirectory(prefix="bench-training-")
    with friendly_errors(), place as folder, tempfile.TemporaryDirectory(prefix="bench-ranks-") as own:
        run = start_run(configuration(Path(folder), options.conf, options.set), "training")
        data, training = training_data(run), run.config.training
        run.spark.stop()  # a JVM beside the ranks would have its share of the cores
        for part in options.parts:
            MEASURES[part](Path(own), data, training, options.seconds, options.repeats)


if __name__ == "__main__":
    main()
