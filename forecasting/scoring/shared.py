"""The small tables that all series share, for models to read: calendars, and covariates of places."""

from __future__ import annotations

from pyspark.sql import functions as F

from forecasting.features.covariates import EVERY
from forecasting.lake import Lake
from forecasting.models.shared import SharedRows

_SIGNAL = ("signal", "location_id", "first_period", "observed", "forecasts")


def shared_rows(lake: Lake) -> SharedRows:
    """Rows of `calendar_features`, and of `covariates` those that all items share; they grow with places and periods alone."""
    calendar = lake.read("calendar_features").toPandas()
    covariates = None
    if lake.exists("covariates"):
        of_places = lake.read("covariates").where(F.col("item_id") == EVERY)
        covariates = of_places.select(*_SIGNAL).orderBy("signal", "location_id").toArrow()
    return SharedRows(calendar, covariates, lake.config.series.grain)
