"""What forecasts each row: the model, a floor where that was seen to forecast a series better, or nothing: of what is closed, not launched or
ended."""

from __future__ import annotations

from datetime import date

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from forecasting import __version__
from forecasting.config import Config
from forecasting.demand.aggregate import SERIES
from forecasting.evaluation.backtest import floor_forecasts, periods_from
from forecasting.evaluation.value_added import reason
from forecasting.periods import periods_between, shift
from forecasting.states import State

CLOSED = "closed"  # method of rows on days on which a place is closed
NOT_LAUNCHED = "not launched"  # of rows before the first day on which an item can be sold
ENDED = "ended"  # of series that have not sold for scoring.ended_after periods
NOTHING = (CLOSED, NOT_LAUNCHED, ENDED)  # methods that forecast 0, which is no judgement of the model


def final_forecasts(
    forecasts: DataFrame,
    sequences: DataFrame,
    worse: DataFrame | None,
    calendar: DataFrame | None,
    config: Config,
    origin: date,
    model_version: str,
) -> DataFrame:
    """What is published of the model's forecasts: with `method`, `reason`, and the `model_version` of each row.

    Args:
        forecasts: as `scoring.score.forecast` gives them, of `sequences`. worse: as `with_fallback` takes them. calendar: bronze `calendar`; None
            where the dataset has none.
    """
    answers = with_fallback(forecasts, sequences, worse, config, origin)
    if calendar is not None:
        answers = without_closed_days(answers, calendar, config)
    answers = without_dead_items(answers, sequences, config, origin)
    by_floor = F.col("method") == config.scoring.stand_in
    version = F.when(by_floor, F.concat_ws(" ", "method", F.lit(__version__))).otherwise(model_version)
    return answers.withColumn("model_version", version)


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
    by_floor = floor_forecasts(sequences.join(why, on=keys, how="left_semi"), [floor], config, origin)
    by_floor = by_floor.join(why, on=keys).withColumns({"method": F.lit(floor)} | periods_from(origin, config))
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
    closed = F.concat(F.lit("closed by the calendar: "), event)
    return _nothing(told, event.isNotNull(), CLOSED, closed, config).select(*answers.columns)


def without_dead_items(answers: DataFrame, sequences: DataFrame, config: Config, origin: date) -> DataFrame:
    """Forecasts of 0 before the first day of an item that has not sold yet, and of series that have not sold for scoring.ended_after
    periods although they could.

    Args:
        answers: as `with_fallback` gives them, of `sequences`.
    """
    # Of an item that sells it does not count what is said of its launch. What has not sold: see `features.launches`.
    unsold = F.get("state", F.lit(0)) == State.MISSING.value
    launched = unsold & (F.col("launched_on") > F.lit(shift(origin, 1, config.series.grain)))
    after, ended = config.scoring.ended_after, F.lit(False)
    if after:
        known = F.expr(periods_between("first_period", f"DATE'{origin}'", config.series.grain)) + 1
        begin = F.greatest(known - after + 1, F.lit(1))
        units, seen = (F.slice(name, begin, F.lit(after)) for name in ("quantity", "observed"))
        sold, could_sell = F.exists(units, lambda unit: unit > 0), F.exists(seen, lambda flag: flag == 1)
        ended = (known >= after) & ~sold & could_sell
    dead = sequences.select(
        *SERIES, F.when(launched, F.col("launched_on")).alias("_launched"), ended.alias("_ended")
    ).where(F.col("_launched").isNotNull() | F.col("_ended"))
    told = answers.join(dead, on=list(SERIES), how="left")
    ended_for = F.lit(f"nothing sold for {after} {config.series.grain}s or longer")
    told = _nothing(told, F.coalesce("_ended", F.lit(False)), ENDED, ended_for, config)
    early = F.coalesce(F.col("target_date") < F.col("_launched"), F.lit(False))
    on = F.concat(F.lit("launched on "), F.col("_launched").cast("string"))
    return _nothing(told, early, NOT_LAUNCHED, on, config).select(*answers.columns)


def _nothing(answers: DataFrame, chosen: Column, method: str, reason: Column, config: Config) -> DataFrame:
    """The chosen rows with a forecast of 0, and what says so."""
    names = ("mean", *config.forecast.quantile_columns)
    values = {name: F.when(chosen, 0.0).otherwise(F.col(name)) for name in names}
    words = {"method": F.lit(method), "reason": reason}
    return answers.withColumns(
        values | {name: F.when(chosen, word).otherwise(F.col(name)) for name, word in words.items()}
    )
