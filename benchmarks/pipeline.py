"""Time, rows a second and peak memory of every stage of the main job; and as a floor what no run can do without: the start
of Spark and the first Delta commit of a cold JVM.

make bench-pipeline                    # 150 items of the real data
make bench-pipeline SCALE=full         # the default run
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from pyspark.sql import functions as F

from benchmarks.cut import cut_sales
from forecasting.config import Config, load_config
from forecasting.lake import rows
from forecasting.runtime import Figures, Run, add_options, friendly_errors, start_run
from jobs.run import STAGES, run_stages

SMALL = (
    "forecast.horizon=14",
    "model.width=16",
    "model.layers=1",
    "model.heads=2",
    "model.head_width=16",
    "training.epochs=1",
    "training.batch_size=32",
    "training.validate_every=10",
    "training.xla=false",
)


def rows_of(stage: str, figures: dict[str, Figures], run: Run) -> int | None:
    """The rows that a stage worked through, where its time depends on them."""
    config = run.config
    return {
        "ingest": figures["ingest"]["rows"],
        "aggregate": figures["ingest"]["sales"],
        "features": figures["aggregate"]["rows"],
        "train": figures["train"]["steps"] * config.training.batch_size,  # series, each with its drawn origins
        "score": figures["score"]["rows"],
        "inventory": figures["inventory"]["series"],
    }.get(stage)


def lines(run: Run, figures: dict[str, Figures]) -> list[str]:
    """`figure NAME VALUE UNIT`, one a line."""
    mine = run.lake.read("run_stages").where(F.col("run_id") == run.id).orderBy("finished_at")
    noted = {row["stage"]: row for row in rows(mine)}  # of a stage that ran twice, the last one
    found = []
    for stage in STAGES:
        seconds = noted[stage]["seconds"]
        found.append(f"figure {stage}_seconds {seconds:.1f} s")
        if count := rows_of(stage, figures, run):
            unit = "series/s" if stage in ("train", "inventory") else "rows/s"
            found.append(f"figure {stage}_rate {count / seconds:.0f} {unit}")
        found.append(f"figure {stage}_peak_memory {noted[stage]['peak_memory_gib']:.2f} GiB")
    found.append(f"figure pipeline_seconds {sum(noted[stage]['seconds'] for stage in STAGES):.1f} s")
    found.append(f"figure pipeline_peak_memory {max(noted[stage]['peak_memory_gib'] for stage in STAGES):.2f} GiB")
    return found


def configuration(scale: str, folder: Path, conf_files: Sequence[str], settings: Sequence[str]) -> Config:
    """The settings of a scale, with tables in `folder` alone; those given win."""
    own = [f"lake.path={folder / 'lake'}", "lake.schema=benchmark", f"report.path={folder / 'output'}"]
    if scale == "small":
        own += [*SMALL, f"source.path={cut_sales(folder / 'source', 150)}"]
    return load_config(conf_files, [*own, *settings])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure every stage of the main job.")
    parser.add_argument("--scale", choices=("small", "full"), default="small")
    add_options(parser)
    options = parser.parse_args(argv)
    with friendly_errors(), tempfile.TemporaryDirectory(prefix="bench-pipeline-") as folder:
        config = configuration(options.scale, Path(folder), options.conf, options.set)
        started = time.monotonic()
        run = start_run(config, "benchmark")
        run.spark.range(1).write.format("delta").save(f"{folder}/floor")
        floor = time.monotonic() - started
        for line in [*lines(run, run_stages(run)), f"figure start_floor_seconds {floor:.1f} s"]:
            print(line)


if __name__ == "__main__":
    main()
