"""Demand to model-ready sequences, one row per series, and the calendar they share.

spark-submit --py-files dist/forecasting.zip jobs/features.py --conf conf/prod.yml
"""

from pyspark.sql import functions as F

from forecasting.features.calendar import calendar_features
from forecasting.features.sequences import build_sequences, promotion_spans
from forecasting.lake import rows, with_lineage
from forecasting.periods import position
from forecasting.runtime import Figures, Run, entry_point


def execute(run: Run) -> Figures:
    """Turn demand, promotions and product attributes into one row of arrays per series."""
    lake, config = run.lake, run.config
    grain, horizon = config.series.grain, config.forecast.horizon
    demand, promotions = lake.read("demand"), lake.read("promotions")
    span = demand.agg(F.min("period_start").alias("first"), F.max("period_start").alias("last")).first()
    data_version = demand.select("data_version").first()["data_version"]
    lineage = {"run_id": run.id, "data_version": data_version}

    spans = promotion_spans(promotions, lake.read("locations"), config.series.location_level)
    sequences = build_sequences(demand, lake.read("products"), spans, grain, horizon, span["last"])
    lake.write(with_lineage(sequences, **lineage), "sequences")

    periods = int(position(span["last"], grain) - position(span["first"], grain)) + 1 + horizon
    planned_until = promotions.agg(F.max("ends_on").alias("day")).first()["day"]
    events = rows(lake.read("calendar").select("date", "event"))
    calendar = calendar_features(span["first"], periods, grain, config.features, events, planned_until)
    lake.write(with_lineage(run.spark.createDataFrame(calendar), **lineage), "calendar_features")
    return {"series": lake.read("sequences").count(), "periods": periods - horizon, "data_version": data_version}


main = entry_point("features", execute)

if __name__ == "__main__":
    main()
