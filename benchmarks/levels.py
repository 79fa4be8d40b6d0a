"""How accurate forecasts of totals are at every level, before levels are made to add up and after, on a held-out horizon.

make bench-levels ARGS="--folder DIR --set source.dataset=m5 --set source.path=FOLDER"

Tables and model are those of `make bench-accuracy` in DIR, if they are there. Forecasts are made from a horizon before the end of the data, as the
backtest does.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from pyspark.sql import functions as F
from rich.table import Table

from benchmarks.accuracy import configuration
from forecasting.lake import rows
from forecasting.origins import scoring_origins
from forecasting.runtime import Run, add_options, friendly_errors, start_run
from jobs.run import STAGES

NEEDED = ("ingest", "aggregate", "features", "train", "score")
SHOWN = ("base_error", "error", "base_rmse", "rmse", "base_bias", "bias", "wql")


def _forget(run: Run, table: str) -> None:
    """Deletes the rows of the measured origins."""
    if run.lake.exists(table):
        last = run.lake.read("sequences").agg(F.max("last_period").alias("last")).first()["last"]
        run.lake.delete(table, {"forecast_origin": scoring_origins(last, run.config)})


def show(run: Run, title: str) -> None:
    """Prints the view `level_accuracy` of the held-out origin."""
    view = run.lake.view("level_accuracy")
    oldest = view.agg(F.min("forecast_origin").alias("origin")).first()["origin"]
    table = Table("level", "nodes", *SHOWN, title=title, title_justify="left")
    for row in sorted(rows(view.where(F.col("forecast_origin") == F.lit(oldest))), key=lambda row: row["nodes"]):
        table.add_row(row["level"], f"{row['nodes']:,}", *(f"{row[name]:.4g}" for name in SHOWN))
        told = " ".join(f"{name} {row[name]:.4f}" for name in SHOWN)
        print(f"figure {title.replace(' ', '_')} {row['level'].replace(' ', '_')} {told}", flush=True)
    run.progress.console.print(table)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description="Measure the accuracy of totals before and after levels are made to add up."
    )
    parser.add_argument("--scale", choices=("small",), default="small", help="there is one")
    parser.add_argument("--folder", help="that of bench-accuracy; its tables and model are used if they are there")
    parser.add_argument(
        "--bases", nargs="*", default=["structural_regression"], help="reconciliation.base, one after the other"
    )
    parser.add_argument("--methods", nargs="*", default=["min_trace", "top_down", "bottom_up"])
    add_options(parser)
    options = parser.parse_args(argv)
    place = nullcontext(options.folder) if options.folder else tempfile.TemporaryDirectory(prefix="bench-levels-")
    with friendly_errors(), place as folder:
        config = configuration(Path(folder), options.conf, options.set)
        back = ["scoring.origins=2", f"scoring.step={config.forecast.horizon}"]
        config = configuration(Path(folder), options.conf, [*options.set, *back])
        run = start_run(config, "levels")
        for stage in NEEDED:
            if stage == "score":
                _forget(run, "forecasts")  # of an earlier model
            if stage in ("train", "score") or not run.lake.exists("sequences"):
                run.stage(stage, STAGES[stage])
        for base in options.bases:
            for method in options.methods:
                chosen = config.reconciliation.model_copy(update={"base": base, "method": method})
                _forget(run, "forecasts_by_level")
                own = start_run(config.model_copy(update={"reconciliation": chosen}), "levels")
                own.stage("reconcile", STAGES["reconcile"])
                show(own, f"{base} {method}")


if __name__ == "__main__":
    main()
