"""Sales lines to demand per series and period.

spark-submit --py-files dist/forecasting.zip jobs/aggregate.py --conf conf/prod.yml
"""

from pyspark.sql import functions as F

from forecasting.contracts import SOURCES
from forecasting.demand.aggregate import build_demand, data_version, last_day_of
from forecasting.ingest.quality import checksums
from forecasting.lake import with_lineage
from forecasting.runtime import Figures, Run, entry_point


def execute(run: Run) -> Figures:
    """Sum the sales log into demand per series and period."""
    lake = run.lake
    shaping = [name for name in SOURCES if name != "stock"]  # new stock alone must not ask for a new model
    found = checksums(lake.read("data_quality"), {name: lake.version(name) for name in shaping})
    version = data_version(found, run.config)
    sales, locations = lake.read("sales"), lake.read("locations")
    last_day = last_day_of(sales)
    demand = build_demand(sales, locations, run.config.series, last_day)
    lake.write(with_lineage(demand, run_id=run.id, data_version=version), "demand")
    written = lake.read("demand")
    last_period = written.agg(F.max("period_start").alias("day")).first()["day"]
    return {
        "rows": written.count(),
        "series": written.where(F.col("period_start") == F.lit(last_period)).count(),  # all reach the last period
        "last_day": last_day,
        "data_version": version,
    }


main = entry_point("aggregate", execute)

if __name__ == "__main__":
    main()
