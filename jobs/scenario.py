"""What would sell with other prices, promotions, events or stock: the series that a plan names, forecast with it and without.

spark-submit --py-files dist/forecasting.zip jobs/scenario.py --conf conf/prod.yml --file plan.csv
"""

import argparse
from collections.abc import Sequence
from pathlib import PurePosixPath

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting.config import load_config
from forecasting.lake import with_lineage
from forecasting.models.artifact import trained_model, unpack
from forecasting.models.shared import SharedRows
from forecasting.origins import trained_until
from forecasting.runtime import Figures, Run, add_options, friendly_errors, start_run
from forecasting.scenarios.changes import comparable, shared_with_plan, touched, with_plan
from forecasting.scenarios.compare import beside_baseline
from forecasting.scenarios.plan import Ahead, checked, fits_model, read_plan
from forecasting.scoring.methods import final_forecasts
from forecasting.scoring.score import forecast
from forecasting.scoring.shared import shared_rows


def execute(run: Run, plan: DataFrame, name: str) -> Figures:
    """Forecast the series that a plan names from the end of the data, with the plan and without, into scenario_forecasts.

    Args:
        plan: as `scenarios.plan.read_plan` gives it. name: of the scenario, whose former rows are replaced.
    """
    lake, config = run.lake, run.config
    sequences, shared = lake.read("sequences"), shared_rows(lake)
    data = sequences.agg(F.max("data_version").alias("version"), F.max("last_period").alias("last")).first()
    ahead = Ahead(data["last"], config.forecast.horizon, config.series.grain)
    until = trained_until(ahead.origin, ahead.origin, config)
    artifact, model_version = trained_model(config.of_network(config.scoring.model), data["version"], until)
    plan = checked(plan, name, ahead)
    fits_model(plan, name, unpack(artifact)[0].inputs, sequences, priced=lake.exists("prices"))
    before = comparable(touched(sequences, plan, name, ahead), ahead.horizon).persist()
    after = with_plan(before, ahead.horizon)

    calendar = lake.read("calendar") if lake.exists("calendar") else None

    def forecasts(series: DataFrame, known: SharedRows) -> DataFrame:
        answers = forecast(series, known, artifact, config, ahead.origin)
        return final_forecasts(answers, series, None, calendar, config, ahead.origin, model_version)

    without, having = shared_with_plan(shared, plan, ahead)
    told = beside_baseline(forecasts(before, without), forecasts(after, having), before, after, config)
    lineage = run.lineage(data_version=data["version"])
    lake.write(with_lineage(told, scenario=name, **lineage), "scenario_forecasts", replacing={"scenario": name})
    before.unpersist()
    return _figures(run, name)


def _figures(run: Run, name: str) -> Figures:
    of_it = run.lake.read("scenario_forecasts").where(F.col("scenario") == name)
    totals = of_it.agg(
        F.count(F.lit(1)).alias("rows"),
        F.count_distinct("item_id", "location_id").alias("series"),
        *(F.sum(column).alias(column) for column in ("baseline_mean", "mean", "revenue_difference")),
    ).first()
    money = totals["revenue_difference"]
    return {
        "rows": totals["rows"],
        "series": totals["series"],
        "units_expected": round(totals["mean"]),
        "units_without_the_plan": round(totals["baseline_mean"]),
        "difference_in_money": "unknown, since no price is" if money is None else round(money),
    }


def main(argv: Sequence[str] | None = None) -> None:
    """Forecast what would sell if prices, promotions, events or stock were otherwise for some series and days."""
    parser = argparse.ArgumentParser(prog="forecasting scenario", description=main.__doc__)
    add_options(parser)
    plan = parser.add_mutually_exclusive_group()
    plan.add_argument("--file", help="CSV file of the plan, with a header; docs/scenarios.md tells its columns")
    plan.add_argument("--table", help="table or view with the same columns, and `line`, by which its rows are in order")
    parser.add_argument(
        "--name", help="of the scenario, whose former rows are replaced; default: that of the file or table"
    )
    options = parser.parse_args(argv)
    with friendly_errors():
        config = load_config(options.conf, options.set)
        if not (options.file or options.table):
            parser.error("expected --file or --table, came none")
        run = start_run(config, "scenario")
        own = PurePosixPath(options.file).stem if options.file else options.table.split(".")[-1]
        plan = read_plan(run.spark, options.file, options.table)
        run.stage("scenario", lambda run: execute(run, plan, options.name or own))


if __name__ == "__main__":
    main()
