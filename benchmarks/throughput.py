"""How fast training learns: forecast origins a second, and GFLOP/s beside the peak of matrix multiplication of the same cores; and
windows a second of models of neuralforecast on the same series.

make bench-throughput ARGS="--folder DIR --set source.dataset=m5 --set source.path=FOLDER"
make bench-throughput                  # 150 items of The Complete Journey
... --peers NHITS TFT PatchTST         # after scripts/setup_peers.sh

Settings are those of `make bench-accuracy`, whose tables in DIR are used if they are there. An origin is one forecast of a series
that a step learns from, which is what neuralforecast calls a window. The floating-point operations are those of the matrix
products alone, forward and backward (as model FLOPs are counted by Chowdhery et al. 2022, PaLM).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from benchmarks.accuracy import configuration, export_series, peer_figures
from forecasting.config import TrainingConfig
from forecasting.models.batches import sequence_columns
from forecasting.models.build import build_model, use_threads
from forecasting.models.shared import SharedRows
from forecasting.models.spec import ModelSpec
from forecasting.origins import backtest_origins
from forecasting.periods import position
from forecasting.runtime import Run, add_options, friendly_errors, start_run
from forecasting.scoring.shared import shared_rows
from forecasting.training.ring import SingleRank
from forecasting.training.shard import Shard
from forecasting.training.specification import specify
from jobs.run import STAGES

if TYPE_CHECKING:
    from forecasting.training.loop import Trainer

NEEDED = ("ingest", "aggregate", "features")
SERIES = 4_096  # that steps draw from
WARM_UP = 5  # steps before time is taken


def known_series(run: Run) -> tuple[ModelSpec, SharedRows, int, DataFrame]:
    """Specification, shared rows, last period that training sees, and all series that had begun by then; makes the tables if they are
    not there."""
    if not run.lake.exists("sequences"):
        for name in NEEDED:
            run.stage(name, STAGES[name])
    sequences, shared = run.lake.read("sequences"), shared_rows(run.lake)
    last = sequences.agg(F.max("last_period").alias("last")).first()["last"]
    until = backtest_origins(last, run.config)[0]
    known = sequences.where(F.col("first_period") <= F.lit(until))
    spec = specify(known, shared, run.config, until, "benchmark")
    return spec, shared, int(position(np.datetime64(until), spec.grain)), known


def training_data(run: Run) -> tuple[ModelSpec, SharedRows, int, pa.Table]:
    """What `known_series` gives, of SERIES series alone."""
    spec, shared, origin, known = known_series(run)
    some = known.orderBy(F.xxhash64("item_id", "location_id")).limit(SERIES)
    return spec, shared, origin, some.select(*sequence_columns(spec.inputs)).toArrow()


def step_flops(model, series: int, origins: int) -> float:
    """Floating-point operations of the matrix products of one training step."""
    spec = model.spec
    ahead, tokens = series * origins * spec.horizon, series * spec.patches
    calendars = len(spec.inputs.calendars) * (spec.context + spec.horizon)
    rows = {"head_state": series * origins, "head_day": ahead, "head_hidden": ahead, "head_out": ahead}
    rows |= {"head_calendar": calendars, "head_events": calendars, "token_calendar": calendars / spec.patch}
    rows["static"] = series
    # In the last block of attention only origins ask.
    last = dict.fromkeys(("query", "out", "feed", "back"), series * origins)
    products = 0.0
    for layer in model._flatten_layers():
        if type(layer).__name__ == "Dense":
            own = rows | last if f"block_{spec.layers - 1}/" in layer.path else rows
            products += own.get(layer.name, tokens) * layer.kernel.shape[0] * layer.kernel.shape[1]
    if spec.encoder == "transformer":
        asking = (spec.layers - 1) * tokens + series * origins
        products += spec.members * 2 * asking * spec.patches * spec.width
    return 3 * 2 * products  # each product has two of its size in the backward pass


@contextmanager
def trainer_of(
    spec: ModelSpec, shared: SharedRows, origin: int, series: pa.Table, training: TrainingConfig
) -> Iterator[Trainer]:
    """One process ready to train on the series of `training_data`; the learning rate falls over 10,000 steps."""
    from forecasting.training.loop import Trainer

    with tempfile.TemporaryDirectory(prefix="bench-trainer-") as folder:
        shard = Shard(Path(folder), spec, shared.of(spec.inputs), origin)
        shard.fill(series.to_batches(max_chunksize=1_024))
        model = build_model(spec, shard.shared)
        yield Trainer(model, shard, training.model_copy(update={"ranks": 1}), SingleRank(), shard.rows)


def steps_per_second(
    spec: ModelSpec, shared: SharedRows, origin: int, series: pa.Table, training: TrainingConfig, seconds: float
) -> tuple[float, float, float]:
    """Steps a second of training on one process, operations a step, and the share of time that input takes."""
    from forecasting.training.loop import Spent

    with trainer_of(spec, shared, origin, series, training) as trainer:
        for step in range(WARM_UP):
            trainer.train(step, Spent())
        began, steps, took = time.monotonic(), 0, Spent()
        while time.monotonic() - began < seconds:
            trainer.train(WARM_UP + steps, took)
            _ = trainer.loss  # wait for it
            steps += 1
        spent = time.monotonic() - began
    origins = min(training.origins_per_series, spec.patches)
    return steps / spent, step_flops(trainer.model, training.batch_size, origins), took.waiting / spent


def matmul_peak(dtype: str, seconds: float = 3.0, size: int = 2_048) -> float:
    """GFLOP/s of the product of two square matrices."""
    import tensorflow as tf

    one = tf.cast(tf.random.normal([size, size]), dtype)
    product = tf.function(lambda x: tf.matmul(x, x))
    product(one)
    began, times = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        product(one).numpy()
        times += 1
    return 2 * size**3 * times / (time.monotonic() - began) / 1e9


def peer_rates(run: Run, folder: Path, peers: Sequence[str], batch: int, threads: int, seconds: float) -> list[str]:
    """Windows a second of models of neuralforecast, with as many series a batch and threads."""
    lake, config, found = run.lake, run.config, []
    sequences = lake.read("sequences")
    last = sequences.agg(F.max("last_period").alias("last")).first()["last"]
    until = backtest_origins(last, config)[0]
    some = sequences.where(F.col("first_period") <= F.lit(until)).orderBy(F.xxhash64("item_id", "location_id"))
    futures = export_series(some.limit(SERIES), lake.read("calendar_features"), until, config, folder)
    for peer in peers:
        own = ["--output", folder / f"{peer}.parquet", "--threads", threads, "--set", f"batch_size={batch}"]
        told = peer_figures(peer, folder, config, until, futures, seconds, own)
        found.append(f"figure {peer.lower()}_windows_per_second {told['windows_per_second']:.2f} windows/s")
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure how fast training learns.")
    parser.add_argument("--scale", choices=("small",), default="small", help="there is one")
    parser.add_argument("--folder", help="that of bench-accuracy; its tables are used if they are there")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=30, help="time of each measurement")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", nargs="*", default=[], choices=("NHITS", "TFT", "PatchTST"))
    add_options(parser)
    options = parser.parse_args(argv)
    place = nullcontext(options.folder) if options.folder else tempfile.TemporaryDirectory(prefix="bench-throughput-")
    with friendly_errors(), place as folder:
        run = start_run(configuration(Path(folder), options.conf, options.set), "throughput")
        data, config = training_data(run), run.config
        batch, origins = config.training.batch_size, config.training.origins_per_series
        use_threads(options.threads)
        for _ in range(options.repeats):
            peaks = {dtype: matmul_peak(dtype) for dtype in ("float32", "bfloat16")}
            rate, flops, waiting = steps_per_second(*data, config.training, options.seconds)
            print(f"figure origins_per_second {rate * batch * origins:,.0f} origins/s")
            print(f"figure step_seconds {1 / rate:.4f} s of {batch} series with {origins} origins")
            print(f"figure input_share {waiting:.3f} of the time")
            print(f"figure gflops {rate * flops / 1e9:.0f} GFLOP/s, {flops / 1e9:.1f} GFLOP a step")
            for dtype, peak in peaks.items():
                print(f"figure matmul_{dtype} {peak:.0f} GFLOP/s", flush=True)
        for line in peer_rates(run, Path(folder), options.peers, batch, options.threads, options.seconds):
            print(line)


if __name__ == "__main__":
    main()
