"""What forecasts each row: the model, a floor where that was seen to forecast a series better, or that the place is closed."""

from __future__ import annotations

from datetime import date

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting.config import Config
from forecasting.demand.aggregate import SERIES
from forecasting.evaluation.backtest import floor_forecasts
from forecasting.evaluation.value_added import reason
from forecasting.periods import shift

CLOSED = "closed"  # method of rows on days on which a place is closed


def with_fallback(
    forecasts: DataFrame, sequences: DataFrame, worse: DataFrame | None, config: Config, origin: date
) -> DataFrame:
    """Forecasts of the model, but of `worse` series those of `scoring.fallback`, each with its `method` and `reason`.

    Args:
        forecasts: as `scoring.score.forecast` gives them, of all series.
        sequences: gold `sequences`.
        worse: rows of `forecast_value_added`; None for none.
    """
    model, floor = config.scoring.model, config.scoring.fallback
    by_model = forecasts.withColumns(
        {
            "method": F.when(F.col("answered"), model).otherwise(config.scoring.stand_in),
            "reason": F.when(~F.col("answered"), f"{model} gave no number for this series"),
        }
    ).drop("answered")
    if worse is None:
        return by_model
    keys = list(SERIES)
    why = worse.select(*SERIES, reason().alias("reason"))
    targets = [shift(origin, ahead, config.series.grain) for ahead in range(1, config.forecast.horizon + 1)]
    by_floor = floor_forecasts(sequences.join(why, on=keys, how="left_semi"), [floor], config, origin)
    by_floor = by_floor.join(why, on=keys).withColumns(
        {
            "method": F.lit(floor),
            "forecast_origin": F.lit(origin),
            "target_date": F.element_at(F.lit(targets), F.col("horizon")),
        }
    )
    return by_model.join(why, on=keys, how="left_anti").unionByName(by_floor.select(*by_model.columns))


def without_closed_days(answers: DataFrame, calendar: DataFrame, config: Config) -> DataFrame:
    """Forecasts of 0 on days on which the calendar says that the place will be closed.

    Of series over several places (chain, group) only days on which all are closed count, and only days are told: a week has open
    ones.

    Args:
        answers: as `with_fallback` gives them. calendar: bronze `calendar`.
    """
    if config.series.grain != "day":
        return answers
    places = F.col("location_id").isNull()
    if config.series.location_level == "location":
        places = places | F.col("location_id").isNotNull()
    closed = calendar.where(F.coalesce("closed", F.lit(False)) & places)
    closed = closed.groupBy(F.col("date").alias("target_date"), F.col("location_id").alias("_closed")).agg(
        F.min("event").alias("_event")
    )
    everywhere = closed.where(F.col("_closed").isNull()).select("target_date", F.col("_event").alias("_everywhere"))
    here = closed.where(F.col("_closed").isNotNull()).withColumnRenamed("_closed", "location_id")
    told = answers.join(F.broadcast(everywhere), on="target_date", how="left")
    told = told.join(F.broadcast(here), on=["target_date", "location_id"], how="left")
    event = F.coalesce("_event", "_everywhere")
    nothing = {
        name: F.when(event.isNull(), F.col(name)).otherwise(0.0) for name in ("mean", *config.forecast.quantile_columns)
    }
    words = {
        "method": F.when(event.isNull(), F.col("method")).otherwise(CLOSED),
        "reason": F.when(event.isNull(), F.col("reason")).otherwise(F.concat(F.lit("closed by the calendar: "), event)),
    }
    return told.withColumns(nothing | words).select(*answers.columns)
