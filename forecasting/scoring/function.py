"""The SQL function `forecast`: forecasts of any table of sequences, in a query."""

from __future__ import annotations

import re

from pyspark.sql import functions as F

from forecasting.lake import Lake
from forecasting.models.artifact import trained_model
from forecasting.origins import trained_until
from forecasting.scoring.score import forecast_udf
from forecasting.scoring.shared import shared_rows

FUNCTION = "forecast"


def calls_forecast(query: str) -> bool:
    """Whether a query may call the function, for which a model must be loaded."""
    return re.search(rf"\b{FUNCTION}\s*\(", query, re.IGNORECASE) is not None


def register_forecast(lake: Lake) -> None:
    """Makes `forecast(struct(*))` known to the session: of rows with the columns of `sequences`, the forecasts of `scoring.model` from the
    end of the data.

    It answers with a struct of arrays over the horizon, `mean` and one for each quantile, units, and `answered`, see `score.forecast`. Rows
    need not be those of the table: with other planned prices or promotions it says what would sell then. The model alone answers: not
    scoring.fallback where that is better, nor is a day 0 on which the calendar says that the place will be closed.

    Raises:
        LakeError: there are no sequences yet.
        ArtifactError: the model has not been trained.
    """
    config, sequences = lake.config, lake.read("sequences")
    data = sequences.agg(F.max("data_version").alias("version"), F.max("last_period").alias("last")).first()
    until = trained_until(data["last"], data["last"], config)
    artifact, _ = trained_model(config.of_network(config.scoring.model), data["version"], until)
    lake.spark.udf.register(FUNCTION, forecast_udf(artifact, shared_rows(lake), data["last"], config, None))
