"""How fast all series are scored from Delta to Delta, beside the bare network on the same batches; and the memory that it takes.

make bench-scoring ARGS="--folder DIR --set source.dataset=m5 --set source.path=FOLDER"
make bench-scoring                     # 150 items of The Complete Journey

Settings are those of `make bench-accuracy`, whose tables and model in DIR are used if they are there. The floor is the network alone: as
many processes as the run has task slots, each with its share of the series as tensors in memory, on one thread as in a task.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from benchmarks.accuracy import configuration
from benchmarks.data import driver_memory
from forecasting.lake import Lake, with_lineage
from forecasting.models.artifact import trained_model, unpack
from forecasting.models.batches import network_input, sequence_columns, to_block
from forecasting.models.shared import SharedRows
from forecasting.origins import trained_until
from forecasting.periods import position
from forecasting.runtime import Run, add_options, friendly_errors, start_run
from forecasting.scoring.methods import with_fallback
from forecasting.scoring.predict import Predictor
from forecasting.scoring.score import forecast
from forecasting.scoring.shared import shared_rows
from jobs.run import STAGES

NEEDED = ("ingest", "aggregate", "features", "train")
HELD = 2_048  # series of a process of the floor, over which it goes again and again: all as tensors would not fit
SECONDS = 10.0  # of each measurement of the floor
PARTS = ("rate", "memory")


class Scoring:
    """A trained model and the series of a lake, ready to be scored into a lake of their own, so that the folder's stays as it is."""

    def __init__(self, run: Run, folder: Path) -> None:
        for name in NEEDED:
            if not run.lake.exists("sequences") or name == "train":
                run.stage(name, STAGES[name])  # a model that is there is used as it is
        self.run, self.config = run, run.config
        self.sequences, self.shared = run.lake.read("sequences"), shared_rows(run.lake)
        data = self.sequences.agg(F.max("data_version").alias("version"), F.max("last_period").alias("last")).first()
        self.origin, self.data_version = data["last"], data["version"]
        until = trained_until(self.origin, self.origin, self.config)
        network = self.config.of_network(self.config.scoring.model)
        self.artifact, self.version = trained_model(network, self.data_version, until)
        own = self.config.lake.model_copy(update={"path": str(folder / "scored"), "schema_": "scored"})
        self.lake = Lake(run.spark, self.config.model_copy(update={"lake": own}))

    def score(self, sequences: DataFrame) -> None:
        """Forecasts of series, written as the job `score` does."""
        answers = forecast(sequences, self.shared, self.artifact, self.config, self.origin)
        answers = with_fallback(answers, sequences, None, self.config, self.origin)
        lineage = self.run.lineage(model_version=self.version, data_version=self.data_version)
        self.lake.write(with_lineage(answers, **lineage), "forecasts", replacing={"forecast_origin": self.origin})

    def times(self, series: int) -> DataFrame:
        """About so many series: some of the lake's, or all of them several times under other names."""
        have = self.sequences.count()
        if series < have:
            return self.sequences.where(F.pmod(F.xxhash64("item_id", "location_id"), F.lit(have)) < series)
        copies = self.sequences.withColumn("copy", F.explode(F.sequence(F.lit(1), F.lit(round(series / have)))))
        return copies.withColumn("item_id", F.concat_ws("-", "item_id", "copy")).drop("copy")


def network_rate(artifact: bytes, shared: SharedRows, origin: int, batch_size: int, series: pa.RecordBatch) -> float:
    """Series a second of the network alone, in this process and on one thread."""
    from forecasting.models.build import use_threads

    use_threads(1)
    predictor = Predictor(artifact, shared, origin, batch_size)
    spec, tf = predictor.spec, predictor._tf
    block = to_block(series, spec, predictor._shared, origin, spec.context)
    last = np.array([spec.patches - 1], np.int32)
    inputs = [
        {
            name: tf.constant(value)
            for name, value in network_input(
                block,
                np.resize(np.arange(at, min(at + batch_size, len(block))), batch_size),
                0,
                last,
                spec,
                predictor._shared,
                origin - spec.context + 1,
            ).items()
        }
        for at in range(0, len(block), batch_size)
    ]
    ahead = tf.constant(last)
    for batch in inputs:
        predictor._forward(batch, ahead)
    began, done = time.monotonic(), 0
    while time.monotonic() - began < SECONDS:
        for batch in inputs:
            quantiles, mean = predictor._forward(batch, ahead)
            quantiles.numpy(), mean.numpy()
            done += batch_size
    return done / (time.monotonic() - began)


def floor(scoring: Scoring, slots: int) -> float:
    """Series a second of the network alone, in as many processes at once."""
    read = sequence_columns(unpack(scoring.artifact)[0].inputs)
    some = scoring.sequences.select(*read).limit(HELD * slots).toArrow().combine_chunks()
    share = -(-len(some) // slots)
    shares = [some.slice(share * slot, share).to_batches()[0] for slot in range(slots) if share * slot < len(some)]
    last, batch = int(position(np.datetime64(scoring.origin), scoring.config.series.grain)), scoring.config.scoring
    with ProcessPoolExecutor(slots, mp_context=get_context("spawn")) as pool:
        found = [
            pool.submit(network_rate, scoring.artifact, scoring.shared, last, batch.batch_size, share)
            for share in shares
        ]
        return sum(each.result() for each in found)


def show_rate(scoring: Scoring, repeats: int) -> None:
    """Prints rates from Delta to Delta beside the floor, one after the other in each repeat."""
    series, slots = scoring.sequences.count(), scoring.run.spark.sparkContext.defaultParallelism
    scoring.score(scoring.sequences)  # starts the workers, which load the model once
    rates, floors = [], []
    for _ in range(repeats):
        began = time.monotonic()
        scoring.score(scoring.sequences)
        rates.append(series / (time.monotonic() - began))
        floors.append(floor(scoring, slots))
        print(f"figure scored_rate {rates[-1]:,.0f} series/s, {rates[-1] / slots:,.0f} a task slot", flush=True)
        print(f"figure network_rate {floors[-1]:,.0f} series/s", flush=True)
    shares = [rate / bare for rate, bare in zip(rates, floors, strict=True)]
    print(
        f"figure scored_share {statistics.median(shares):.3f} of the network's ({min(shares):.3f} to {max(shares):.3f})"
    )


def show_memory(scoring: Scoring, sizes: Sequence[int]) -> None:
    """Prints time and memory of scoring more and more series."""
    for series in sizes:
        began = time.monotonic()
        with scoring.run.progress.stage(f"score {series:,}"):
            scoring.score(scoring.times(series))
        seconds = time.monotonic() - began
        scored = scoring.lake.read("forecasts").where(F.col("horizon") == 1).count()
        print(
            f"figure scored_{series}_seconds {seconds:.1f} s, {scored:,} series, {scored / seconds:,.0f} a second",
            flush=True,
        )
        print(f"figure scored_{series}_peak_memory {scoring.run.progress.peak_memory:.2f} GiB of all processes")
        for name, value in driver_memory(scoring.run).items():
            print(f"figure scored_{series}_{name} {value:,.0f} MiB", flush=True)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Measure how fast all series are scored, and the memory that it takes."
    )
    parser.add_argument("--scale", choices=("small",), default="small", help="there is one")
    parser.add_argument("--folder", help="that of bench-accuracy; its tables and model are used if they are there")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--parts", nargs="*", choices=PARTS, default=PARTS)
    parser.add_argument(
        "--sizes", nargs="*", type=int, default=[10_000, 100_000, 1_000_000], help="series, of the part memory"
    )
    add_options(parser)
    options = parser.parse_args(argv)
    place = nullcontext(options.folder) if options.folder else tempfile.TemporaryDirectory(prefix="bench-scoring-")
    with friendly_errors(), place as folder:
        run = start_run(configuration(Path(folder), options.conf, options.set), "scoring")
        scoring = Scoring(run, Path(folder))
        if "rate" in options.parts:
            show_rate(scoring, options.repeats)
        if "memory" in options.parts:
            show_memory(scoring, options.sizes)


if __name__ == "__main__":
    main()
