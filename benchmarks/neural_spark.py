"""How fast neuralforecast learns when it trains over Spark in its own way, two processes by pyspark's TorchDistributor.

    .venv-peers/bin/python -m benchmarks.neural_spark --model NHITS --input FOLDER/series --until 2017-10-31 \
        --static-input FOLDER/static --static department,category --future price,promotion

Input and models are those of neural_peers.py. Starting the processes and reading the series count nothing: the rate is that of the steps by
which a longer training differs from a shorter one.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from neuralforecast import DistributedConfig, NeuralForecast
from neuralforecast.losses.pytorch import MQLoss
from pyspark.sql import SparkSession

from benchmarks.neural_peers import CONTEXT, FREQUENCY, MODELS, SETTINGS, calendar, listed, read_series, read_static


def seconds_of(
    options: argparse.Namespace, spark: SparkSession, folder: Path, futures: Sequence[str], steps: int
) -> float:
    """Seconds of a whole training of so many steps."""
    kind = MODELS[options.model]
    series, static = (spark.read.parquet(str(folder / name)) for name in ("series", "static"))
    model = kind(
        h=options.horizon,
        input_size=CONTEXT * options.horizon,
        loss=MQLoss(quantiles=[n / 10 for n in range(1, 10)]),
        max_steps=steps,
        start_padding_enabled=True,
        futr_exog_list=list(futures),
        stat_exog_list=[name for name in static.columns if name != "unique_id"],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **SETTINGS[kind],
    )
    forecaster = NeuralForecast([model], freq=FREQUENCY[options.grain])
    place = DistributedConfig(partitions_path=str(folder / "partitions"), num_nodes=1, devices=options.processes)
    began = time.monotonic()
    forecaster.fit(df=series, static_df=static, distributed_config=place)
    return time.monotonic() - began


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, required=True, help="a Parquet file or a folder of them")
    parser.add_argument("--model", choices=("NHITS", "TFT"), required=True)
    parser.add_argument("--until", required=True, help="the last period of training")
    parser.add_argument("--grain", choices=FREQUENCY, default="day", help="what a period is")
    parser.add_argument("--horizon", type=int, default=28)
    parser.add_argument(
        "--static-input", type=Path, required=True, help="a Parquet file with unique_id and static columns"
    )
    parser.add_argument("--static", type=listed, default=[], help="columns of --static-input")
    parser.add_argument("--future", type=listed, default=[], help="columns of --input that are known ahead")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--steps", type=int, nargs=2, default=(20, 220), help="of the shorter and the longer training")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args(argv)
    os.environ["PYSPARK_PYTHON"] = sys.executable
    with tempfile.TemporaryDirectory(prefix="bench-neural-spark-") as place:
        folder = Path(place)
        frame = read_series(options.input, options.future, options.grain)
        frame = frame[frame["ds"] <= options.until].drop(columns="number")
        frame = frame.assign(**calendar(frame["ds"]))
        frame.to_parquet(folder / "series", index=False, coerce_timestamps="us", allow_truncated_timestamps=True)
        read_static(options.static_input, options.static).to_parquet(folder / "static", index=False)
        futures = [name for name in frame.columns if name not in ("unique_id", "ds", "y", "available_mask")]
        spark = SparkSession.builder.master(f"local[{options.processes}]").getOrCreate()
        windows = SETTINGS[MODELS[options.model]]["windows_batch_size"] * options.processes
        rates = []
        for _ in range(options.repeats):
            short, long = (seconds_of(options, spark, folder, futures, steps) for steps in options.steps)
            rates.append((options.steps[1] - options.steps[0]) * windows / (long - short))
        middle = sorted(rates)[len(rates) // 2]
        print(
            f"figure spark_windows_per_second {middle:.0f} windows/s of {len(rates)}: {min(rates):.0f} to {max(rates):.0f}"
        )


if __name__ == "__main__":
    main()
