"""Forecasts and stock to what should be ordered now.

spark-submit --py-files dist/forecasting.zip jobs/inventory.py --conf conf/prod.yml
"""

from pyspark.sql import functions as F

from forecasting.demand.stock import stock_now
from forecasting.inventory.plan import build_plan
from forecasting.lake import with_lineage
from forecasting.runtime import Figures, Run, entry_point


def execute(run: Run) -> Figures:
    """Turn the newest forecasts and the stock into orders, safety stocks and stock-out risks."""
    lake = run.lake
    forecasts = lake.read("forecasts")
    newest = forecasts.agg(
        F.max("forecast_origin").alias("origin"),
        F.max_by("model_version", "forecast_origin").alias("model_version"),
        F.max_by("data_version", "forecast_origin").alias("data_version"),
    ).first()
    origin = newest["origin"]

    stock = stock_now(lake.read_or_empty("stock"), lake.read_or_empty("locations"), run.config.series.location_level)
    plan = build_plan(forecasts.where(F.col("forecast_origin") == F.lit(origin)), stock, run.config)
    lineage = run.lineage(model_version=newest["model_version"], data_version=newest["data_version"])
    lake.write(with_lineage(plan, **lineage), "inventory_plan", replacing={"plan_date": origin})

    written = lake.read("inventory_plan").where(F.col("plan_date") == F.lit(origin))
    totals = written.agg(
        F.count(F.lit(1)).alias("series"),
        F.count_if(F.col("order_quantity") > 0).alias("orders"),
        F.coalesce(F.sum("order_quantity"), F.lit(0.0)).alias("units_ordered"),
    )
    return totals.first().asDict()


main = entry_point("inventory", execute)

if __name__ == "__main__":
    main()
