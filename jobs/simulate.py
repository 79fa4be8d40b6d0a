"""What stock policies would have come to: past periods replayed with the orders that forecasts made then would have led to.

spark-submit --py-files dist/forecasting.zip jobs/simulate.py --conf conf/prod.yml --set scoring.origins=13 --set scoring.step=7
"""

from pyspark.sql import functions as F

from forecasting.demand.stock import stock_now
from forecasting.errors import LakeError
from forecasting.inventory.simulate import simulate
from forecasting.lake import rows, with_lineage
from forecasting.origins import scoring_origins
from forecasting.runtime import Figures, Run, entry_point


def execute(run: Run) -> Figures:
    """Replay past periods with the orders of each policy of simulation.policies, from the forecasts of the job score."""
    lake, config = run.lake, run.config
    sequences = lake.read("sequences")
    data = sequences.agg(F.max("data_version").alias("version"), F.max("last_period").alias("last")).first()
    origins = scoring_origins(data["last"], config)[:-1]  # of what follows the last one nothing has come
    if missing := sorted(set(origins) - lake.holds("forecasts", "forecast_origin", origins)):
        raise LakeError(
            f"Table forecasts: expected forecasts from {len(origins)} origins, came none from {missing[0]}. Run the job score first, with "
            "the same --set scoring.origins and --set scoring.step."
        )
    stock = stock_now(lake.read_or_empty("stock"), lake.read_or_empty("locations"), config.series.location_level)
    told = simulate(lake.read("forecasts"), sequences, stock, config, origins, data["last"])
    lake.write(with_lineage(told, **run.lineage(data_version=data["version"])), "stock_simulation")
    return _figures(run)


def _figures(run: Run) -> Figures:
    """Of each policy the share of demand that was met, and what it cost."""
    found = (
        run.lake.read("stock_simulation")
        .groupBy("policy")
        .agg(
            F.count(F.lit(1)).alias("series"),
            (F.sum("met") / F.greatest(F.sum("demand"), F.lit(1e-9))).alias("fill_rate"),
            (1 - F.sum("reviews_short") / F.sum("reviews")).alias("cycle_service"),
            F.sum("average_stock").alias("average_stock"),
            (F.sum("holding_cost") + F.sum("shortage_cost")).alias("cost"),
        )
    )
    figures: Figures = {}
    for row in sorted(rows(found), key=lambda row: row["policy"]):
        figures["series"] = row["series"]
        for name in ("fill_rate", "cycle_service", "average_stock", "cost"):
            figures[f"{row['policy']}_{name}"] = round(row[name], 4)
    return figures


main = entry_point("simulate", execute)

if __name__ == "__main__":
    main()
