"""Whether a scenario's promotion moves the forecast as promotions that came later moved sales: Rossmann's last 48 days, which no model sees.

make bench-scenarios ARGS="--folder DIR --set source.path=FOLDER"

The data end 48 days early. Two scenarios are forecast from there, one without any promotion and one with it from Monday to Friday of every week,
and their ratio, by weekday and by type of store, is held against that of the turnover that came on days with and without promotion.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import date, timedelta
from pathlib import Path

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from rich.table import Table

from benchmarks.accuracy import configuration
from forecasting.lake import rows
from forecasting.runtime import Run, add_options, friendly_errors, start_run
from forecasting.scenarios.plan import read_plan
from jobs import scenario
from jobs.run import STAGES

NEEDED = ("ingest", "aggregate", "features", "train")
LAST, HELD_OUT = date(2015, 7, 31), 48
ORIGIN = LAST - timedelta(HELD_OUT)
BY = ("weekday", "location_group")


def plans(folder: Path) -> dict[str, Path]:
    """A plan without any promotion, and one with a promotion from Monday to Friday of every week."""
    first, mondays = ORIGIN + timedelta(1), [ORIGIN + timedelta(n) for n in range(1 - 7, HELD_OUT + 1)]
    weeks = [day for day in mondays if day.weekday() == 0 and day + timedelta(4) >= first]
    lines = {
        "without": [f"{first},{LAST},none"],
        "with": [f"{first},{LAST},none", *(f"{monday},{monday + timedelta(4)},Promo" for monday in weeks)],
    }
    files = {}
    for name, of_plan in lines.items():
        files[name] = folder / f"{name}.csv"
        files[name].write_text("\n".join(["starts_on,ends_on,promotion", *of_plan]) + "\n")
    return files


def expected(run: Run, name: str) -> DataFrame:
    """What a scenario expects of working days: `location_id`, `day`, `turnover`."""
    of_it = run.lake.read("scenario_forecasts").where((F.col("scenario") == name) & (F.col("mean") > 0))
    return of_it.select("location_id", F.col("target_date").alias("day"), F.col("mean").alias("turnover"))


def came(run: Run, source: str) -> tuple[DataFrame, DataFrame]:
    """What came on held-out working days without promotion and with it."""
    sold = run.spark.read.parquet(f"{source}/sales_open_days.parquet").withColumn(
        "day", F.expr("CAST(timestamp_micros(Date div 1000) AS DATE)")
    )
    sold = sold.where((F.col("day") > F.lit(ORIGIN)) & (F.col("Sales") > 0))
    sold = sold.select(
        F.col("Store").cast("string").alias("location_id"), "day", F.col("Sales").alias("turnover"), "Promo"
    )
    return tuple(sold.where(F.col("Promo") == flag).drop("Promo") for flag in (0, 1))


def lift(run: Run, without: DataFrame, having: DataFrame, by: str) -> dict:
    """Mean turnover of a store's day with promotion over that without, less one, by weekday or type of store."""
    types = run.lake.read("locations").select("location_id", "location_group")

    def means(days: DataFrame, name: str) -> DataFrame:
        days = days.withColumn("weekday", F.date_format("day", "E")).where(~F.col("weekday").isin("Sat", "Sun"))
        of_store = days.join(types, on="location_id").groupBy("location_id", "weekday", "location_group")
        return of_store.agg(F.avg("turnover").alias(name))

    both = means(without, "plain").join(means(having, "promoted"), on=["location_id", "weekday", "location_group"])
    found = both.groupBy(by).agg((F.sum("promoted") / F.sum("plain") - 1).alias("lift"))
    return {row[by]: row["lift"] for row in rows(found)}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Hold the promotions of scenarios against those that came.")
    parser.add_argument("--scale", choices=("small",), default="small", help="there is one")
    parser.add_argument("--folder", help="for tables; those that are there are used")
    add_options(parser)
    options = parser.parse_args(argv)
    place = nullcontext(options.folder) if options.folder else tempfile.TemporaryDirectory(prefix="bench-scenarios-")
    cut = [f"{source}=\"{column} <= DATE'{ORIGIN}'\"" for source, column in (("sales", "sold_on"), ("signals", "date"))]
    own = [
        "source.dataset=rossmann",
        f"forecast.horizon={HELD_OUT}",
        "backtest.origins=1",
        *(f"source.filter.{each}" for each in cut),
    ]
    with friendly_errors(), place as name:
        folder = Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        run = start_run(configuration(folder, options.conf, [*own, *options.set]), "scenarios")
        for stage in NEEDED:
            if stage == "train" or not run.lake.exists("sequences"):
                run.stage(stage, STAGES[stage])
        for plan, file in plans(folder).items():
            lines = read_plan(run.spark, str(file), None)
            run.stage(f"scenario {plan}", lambda run, lines=lines, plan=plan: scenario.execute(run, lines, plan))
        show(run, run.config.source.path)


def show(run: Run, source: str) -> None:
    """Prints the lift of promotions as forecast and as it came."""
    forecast, true = (expected(run, "without"), expected(run, "with")), came(run, source)
    table = Table("", "of", "as forecast", "as it came")
    for by in BY:
        told, was = lift(run, *forecast, by), lift(run, *true, by)
        for part in sorted(was):
            table.add_row(by, part, f"{told[part]:+.1%}", f"{was[part]:+.1%}")
            print(f"figure lift_{by}_{part.replace(' ', '_')} {told[part]:+.4f} forecast, {was[part]:+.4f} came")
    everywhere = [pd.Series(lift(run, *pair, "location_id")) for pair in (forecast, true)]
    both = pd.concat(everywhere, axis=1, keys=["forecast", "came"]).dropna()
    print(f"figure lift_of_stores {both['forecast'].mean():+.4f} forecast, {both['came'].mean():+.4f} came")
    print(f"figure lift_correlation_over_stores {both['forecast'].corr(both['came']):.3f} over {len(both)} stores")
    run.progress.console.print(table)


if __name__ == "__main__":
    main()
