"""Training and scoring on a GPU by the project's own rank and predictor, with each precision, with XLA and without.

python -m benchmarks.gpu TRAINING --lay-out --folder DIR --set source.dataset=m5 --set source.path=FOLDER   # where Spark is
python -m benchmarks.gpu TRAINING                                                                           # where the GPU is

The first writes a training as the job `train` lays one out: a task and the files of its series, by the settings of `make bench-accuracy`,
whose tables in DIR are used if they are there. The second needs neither tables nor Java, but TensorFlow with CUDA (docs/operations.md,
"GPUs"). It trains all epochs, then scores all series from Arrow batches with the model that came of it, each in a process of its own, and
holds the forecasts beside the CPU's with the same weights. `--device cpu` trains and scores without the GPU.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import pairwise, product
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from forecasting.errors import TrainingError
from forecasting.models import artifact
from forecasting.models.batches import sequence_columns
from forecasting.models.build import use_gpu, use_threads
from forecasting.runtime import Run, add_options, friendly_errors, start_run
from forecasting.scoring.predict import Predictor
from forecasting.training import rank
from forecasting.training.reports import Report
from forecasting.training.ring import SingleRank
from forecasting.training.series_files import SeriesFiles, lay_out

AT_ONCE = 10_000  # rows of an Arrow batch that Spark hands to a UDF
SCORE_SIZES = (1_024, 10_000)  # series a forward pass
COMPARED = 4_096  # series whose forecasts are held beside the CPU's
SWITCH = {"on": True, "off": False}


@dataclass(frozen=True)
class Case:
    """A training of the task in `folder` with these settings, and scoring with its model. epochs: None for those of the task."""

    folder: str
    device: str
    precision: str
    xla: bool
    batch: int
    members: int
    epochs: int | None = None

    @property
    def name(self) -> str:
        """In the names of figures."""
        return f"{self.device}_{self.precision}_{'xla' if self.xla else 'plain'}_{self.batch}_members{self.members}"

    def task(self, place: str) -> rank.RankTask:
        """The task of its only rank, with the series that all share and a folder of its own."""
        laid_out = rank.RankTask.load(self.folder)
        settings = {"ranks": 1, "launcher": "in_process", "xla": self.xla, "batch_size": self.batch, "max_minutes": 600}
        settings |= {"epochs": self.epochs} if self.epochs else {}
        (Path(place) / "series").symlink_to((Path(self.folder) / "series").resolve())
        return replace(
            laid_out,
            spec=replace(laid_out.spec, precision=self.precision, members=self.members),
            config=laid_out.config.model_copy(update=settings),
            folder=place,
            threads=os.cpu_count() or 1,
        )


def lay_out_training(run: Run, folder: Path) -> None:
    """Writes the task and the series of a training up to the first origin of the backtest."""
    from benchmarks.throughput import known_series

    spec, shared, origin, known = known_series(run)
    task = rank.RankTask(spec, shared, origin, run.config.training, str(folder.resolve()), {}, threads=1)
    lay_out(known, sequence_columns(spec.inputs), task.series, run.lake)
    task.save()


def train(case: Case, place: str) -> dict[str, Any]:
    """Trains as the launcher `in_process` does; what the rank told of itself. `step_...` are of steps in which nothing was compiled,
    validated or saved."""
    use(case.device)
    told: list[dict] = []

    class Noted(Report):
        def __call__(self, message: dict[str, Any]) -> None:
            told.append(message)
            super().__call__(message)

    rank.Report = Noted
    task = case.task(place)
    began = time.monotonic()
    rank.run_rank(task, nullcontext(SingleRank()))
    seconds = time.monotonic() - began
    origins = case.batch * min(task.config.origins_per_series, task.spec.patches)
    result = next(message for message in told if "history" in message)
    last = [message for message in told if "loss" in message][-1]
    step, waiting = settled(told)
    return {
        "wql": result["validation_wql"],
        "wql_of_validations": [validation["wql"] for validation in result["history"]],
        "steps": result["steps"],
        "left_out": last["left_out"],
        "rank_seconds": seconds,
        "seconds": result["seconds"],
        "origins_per_second": result["steps"] * origins / result["seconds"],
        "waiting": last["waiting"],
        "step_ms": 1000 * step,
        "step_origins_per_second": origins / step,
        "step_waiting": waiting,
        "mib": peak_memory(case.device),
    }


def settled(told: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Of what a rank reports: seconds a step, the middle of all pairs of reports with no validation between them, and the share of them in
    which steps waited for their input. What is compiled is so before the first report."""
    stood = [message for message in told if "loss" in message or "validated" in message]
    pairs = [(a, b) for a, b in pairwise(stood) if "loss" in a and "loss" in b and b["step"] > a["step"]]
    if not pairs:
        return float("nan"), float("nan")
    spent = [b["seconds"] - a["seconds"] for a, b in pairs]
    waited = sum(b["waiting"] * b["seconds"] - a["waiting"] * a["seconds"] for a, b in pairs)
    steps = [seconds / (b["step"] - a["step"]) for seconds, (a, b) in zip(spent, pairs, strict=True)]
    return statistics.median(steps), waited / sum(spent)


def score(case: Case, model: bytes, size: int, repeats: int) -> dict[str, Any]:
    """Series a second from Arrow batches to forecasts, all series in each of some repeats, and forecasts of the first COMPARED."""
    use(case.device)
    task = rank.RankTask.load(case.folder)
    series = pa.Table.from_batches(SeriesFiles(f"{case.folder}/series").share(0, 1)).combine_chunks()
    batches = series.to_batches(AT_ONCE)
    predictor = Predictor(model, task.shared, task.origin, size, xla=case.xla)
    answers = predictor.predict(batches[0].slice(0, COMPARED))
    rates = []
    for _ in range(repeats):
        began = time.monotonic()
        for batch in batches:
            predictor.predict(batch)
        rates.append(series.num_rows / (time.monotonic() - began))
    return {"series_per_second": rates, "mib": peak_memory(case.device), "answers": answers}


def use(device: str) -> None:
    """Before TensorFlow starts: the GPU or none, and all cores."""
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    use_threads(os.cpu_count() or 1)
    use_gpu(0)


def peak_memory(device: str) -> float:
    """MiB of GPU memory that this process has held at most; nan without a GPU."""
    import tensorflow as tf

    return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20 if device == "gpu" else float("nan")


def gpu_name() -> str:
    """Of the first GPU that TensorFlow can use; empty where there is none."""
    use_threads(1)
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU") if gpus else ""


def alone(function: Callable, *arguments: Any) -> Any:
    """What a function gives in a process of its own, which leaves no memory behind."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def difference(answers: Sequence[np.ndarray], expected: Sequence[np.ndarray]) -> dict[str, float]:
    """How far forecasts are from others of the same series: the share of quantiles that are off by more than a hundredth of a unit and of
    themselves, and by how much of their sum the means are off."""
    (mean, quantiles), (other, others) = answers, expected
    off = np.abs(quantiles - others) > 0.01 * np.maximum(1.0, np.abs(others))
    return {"quantiles_off": float(off.mean()), "means_off": float(np.abs(mean - other).sum() / np.abs(other).sum())}


def measure(case: Case, sizes: Sequence[int], repeats: int) -> dict[str, dict[str, Any]]:
    """Figures of training and of scoring with each size of a forward pass, printed as they come."""
    with tempfile.TemporaryDirectory(prefix="bench-gpu-") as place:
        found = {"train": alone(train, case, place)}
        print_figures(f"train_{case.name}", found["train"])
        model = artifact.read_bytes(f"{place}/{artifact.FILE}")
    answers = []
    for size in sizes:
        told = alone(score, case, model, size, repeats)
        answers.append(told.pop("answers"))
        found[f"score {size}"] = told
        print_figures(f"score_{case.name}_{size}", told)
    if answers and case.device == "gpu":
        cpu = alone(score, replace(case, device="cpu", xla=False), model, sizes[0], 0)["answers"]
        found["apart"] = difference(answers[0], cpu)
        print_figures(f"score_{case.name}", found["apart"])
    return found


def print_figures(name: str, told: dict[str, Any]) -> None:
    """One line a figure."""
    for what, value in told.items():
        values = value if isinstance(value, list) else [value]
        print(f"figure {name}_{what} {' '.join(f'{v:,.0f}' if v >= 1000 else f'{v:.5g}' for v in values)}", flush=True)


def table(found: dict[Case, dict[str, dict[str, Any]]]) -> Table:
    """A row a training, with what scoring with its model gave."""
    shown = Table(title="Training and scoring", title_justify="left")
    words = ("", "precision", "XLA")
    numbers = ("series a step", "members", "origins/s", "ms a step", "of a step origins/s", "waits for input", "WQL")
    for name in (*words, *numbers, "GPU MiB", "scored series/s", "means off"):
        shown.add_column(name, justify="left" if name in words else "right")
    for case, parts in found.items():
        own, scored = parts["train"], [part for part in parts.values() if "series_per_second" in part]
        shown.add_row(
            *(case.device, case.precision, "on" if case.xla else "off", f"{case.batch:,}", str(case.members)),
            f"{own['origins_per_second']:,.0f}",
            f"{own['step_ms']:.2f}",
            f"{own['step_origins_per_second']:,.0f}",
            f"{own['step_waiting']:.2f}",
            f"{own['wql']:.4f}",
            f"{own['mib']:,.0f}",
            ", ".join(f"{statistics.median(part['series_per_second']):,.0f}" for part in scored) or "-",
            f"{parts['apart']['means_off']:.1e}" if "apart" in parts else "-",
        )
    return shown


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure training and scoring on a GPU.")
    parser.add_argument("training", type=Path, help="folder of a training that --lay-out has written")
    parser.add_argument("--lay-out", action="store_true", help="write it, with Spark, and end")
    parser.add_argument(
        "--folder", type=Path, help="of bench-accuracy, for --lay-out; its tables are used if they are there"
    )
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu")
    parser.add_argument("--precision", nargs="+", choices=("float32", "bfloat16"), default=["float32", "bfloat16"])
    parser.add_argument("--xla", nargs="+", choices=SWITCH, default=list(SWITCH))
    parser.add_argument(
        "--batch", nargs="+", type=int, help="series a step; as laid out if not given, as are the next two"
    )
    parser.add_argument("--members", type=int, help="networks that learn together")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--score", nargs="*", type=int, default=SCORE_SIZES, help="series a forward pass of scoring")
    parser.add_argument("--repeats", type=int, default=3, help="of scoring")
    add_options(parser)
    options = parser.parse_args(argv)
    with friendly_errors():
        if options.lay_out:
            from benchmarks.accuracy import configuration

            folder = options.folder or options.training / "tables"
            lay_out_training(start_run(configuration(folder, options.conf, options.set), "gpu"), options.training)
            return
        if options.device == "gpu":
            if not (name := alone(gpu_name)):
                raise TrainingError(
                    "TensorFlow: expected a GPU that it can use, came none. Install it as docs/operations.md says, or use --device cpu."
                )
            print(f"figure device {name}", flush=True)
        task, found = rank.RankTask.load(str(options.training)), {}
        batches, members = options.batch or [task.config.batch_size], options.members or task.spec.members
        for batch, precision, xla in product(batches, options.precision, options.xla):
            case = Case(str(options.training), options.device, precision, SWITCH[xla], batch, members, options.epochs)
            found[case] = measure(case, options.score, options.repeats)
        Console(width=200).print("", table(found))


if __name__ == "__main__":
    main()
