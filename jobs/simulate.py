"""What stock policies would have come to: past periods played through with the orders that forecasts made then would have led to.

spark-submit --py-files dist/forecasting.zip jobs/simulate.py --conf conf/prod.yml --set scoring.origins=13 --set scoring.step=7
"""

from datetime import date
from functools import reduce
from operator import or_

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting.config import Config
from forecasting.demand.stock import stock_now
from forecasting.errors import LakeError
from forecasting.inventory.simulate import simulate
from forecasting.lake import rows, with_lineage
from forecasting.origins import scoring_origins
from forecasting.runtime import Figures, Run, entry_point


def execute(run: Run) -> Figures:
    """Play past periods through with the orders of each policy of simulation.policies, from the forecasts of the job score."""
    lake, config = run.lake, run.config
    sequences = lake.read("sequences")
    data = sequences.agg(F.max("data_version").alias("version"), F.max("last_period").alias("last")).first()
    origins = scoring_origins(data["last"], config)[:-1]  # of what follows the last one nothing has come
    forecasts = lake.read("forecasts").where(F.col("forecast_origin").isin(origins))
    _check(forecasts, origins, config)
    stock = stock_now(lake.read_or_empty("stock"), lake.read_or_empty("locations"), config.series.location_level)
    told = simulate(forecasts, sequences, stock, config, origins, data["last"])
    lake.write(
        with_lineage(told, **run.lineage(data_version=data["version"])),
        "stock_simulation",
        {"simulation": config.simulation.name},
    )
    return _figures(run)


def _check(forecasts: DataFrame, origins: list[date], config: Config) -> None:
    """Raises LakeError unless there are forecasts from every origin, each series' of all periods of the horizon and with all quantiles."""
    null = reduce(or_, (F.col(name).isNull() for name in ("mean", *config.forecast.quantile_columns)))
    counts = (F.max("horizon").alias("longest"), F.count(F.lit(1)).alias("rows"), F.count_if(null).alias("null"))
    series = F.count_if(F.col("horizon") == 1).alias("series")
    found = {row["forecast_origin"]: row for row in rows(forecasts.groupBy("forecast_origin").agg(series, *counts))}
    horizon = config.forecast.horizon
    for origin in origins:
        row = found.get(origin)
        if row is None:
            came = "none"
        elif row["longest"] != horizon or row["rows"] != horizon * row["series"] or row["null"]:
            came = f"{row['rows']:,} rows of {row['series']:,} series, up to {row['longest']} periods ahead, {row['null']:,} without a quantile"
        else:
            continue
        raise LakeError(
            f"Table forecasts: expected from {origin} forecasts of {horizon} periods with the quantiles of forecast.quantiles, came {came}. Run the "
            "job score with the same --set scoring.origins and --set scoring.step; delete rows of other settings from that origin first."
        )


def _figures(run: Run) -> Figures:
    """Of each policy the share of demand that was met, and what it cost."""
    own = run.lake.read("stock_simulation").where(F.col("simulation") == run.config.simulation.name)
    found = own.groupBy("policy").agg(
        F.count(F.lit(1)).alias("series"),
        F.try_divide(F.sum("met"), F.sum("demand")).alias("fill_rate"),
        (1 - F.try_divide(F.sum("cycles_short"), F.sum("cycles"))).alias("cycle_service"),
        F.sum("average_stock").alias("average_stock"),
        (F.sum("holding_cost") + F.sum("shortage_cost")).alias("cost"),
    )
    figures: Figures = {}
    for row in sorted(rows(found), key=lambda row: row["policy"]):
        figures["series"] = row["series"]
        for name in ("fill_rate", "cycle_service", "average_stock", "cost"):
            figures[f"{row['policy']}_{name}"] = None if row[name] is None else round(row[name], 4)
    return figures


main = entry_point("simulate", execute)

if __name__ == "__main__":
    main()
