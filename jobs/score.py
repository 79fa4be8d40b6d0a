"""Forecast every series from the end of the data.

spark-submit --py-files dist/forecasting.zip jobs/score.py --conf conf/prod.yml
"""

from pyspark.sql import functions as F

from forecasting.lake import with_lineage
from forecasting.models.artifact import trained_model
from forecasting.origins import training_ends
from forecasting.runtime import Figures, Run, entry_point
from forecasting.scoring.score import forecast
from forecasting.scoring.shared import shared_rows


def execute(run: Run) -> Figures:
    """Score every series into forecasts; rows of the same origin are replaced."""
    sequences, shared = run.lake.read("sequences"), shared_rows(run.lake)
    data = sequences.agg(F.max("data_version").alias("version"), F.max("last_period").alias("origin")).first()
    artifact, model_version = trained_model(run.config, data["version"], training_ends(data["origin"], run.config)[-1])
    forecasts = forecast(sequences, shared, artifact, run.config, data["origin"])
    lineage = run.lineage(model_version=model_version, data_version=data["version"])
    run.lake.write(with_lineage(forecasts, **lineage), "forecasts", replacing={"forecast_origin": data["origin"]})
    written = run.lake.read("forecasts").where(F.col("forecast_origin") == F.lit(data["origin"]))
    totals = written.agg(F.count(F.lit(1)).alias("rows"), F.sum("mean").alias("units")).first()
    return {
        "rows": totals["rows"],
        "series": totals["rows"] // run.config.forecast.horizon,
        "origin": data["origin"],
        "units_expected": round(totals["units"]),
    }


main = entry_point("score", execute)

if __name__ == "__main__":
    main()
