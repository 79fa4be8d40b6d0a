"""Forecast every series from the end of the data, and from earlier origins where those are to be filled in.

spark-submit --py-files dist/forecasting.zip jobs/score.py --conf conf/prod.yml
"""

from datetime import date

from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from forecasting.errors import ConfigError
from forecasting.evaluation.value_added import falls_back
from forecasting.lake import with_lineage
from forecasting.models.artifact import trained_model
from forecasting.models.shared import SharedRows
from forecasting.origins import scoring_origins, trained_until
from forecasting.periods import shift
from forecasting.runtime import Figures, Run, entry_point
from forecasting.scoring.methods import final_forecasts
from forecasting.scoring.score import forecast
from forecasting.scoring.shared import shared_rows


def execute(run: Run) -> Figures:
    """Score all series from the end of the data, in place of what was forecast from there; or some of them; or what is missing of the past."""
    lake, config = run.lake, run.config
    sequences, shared = lake.read("sequences"), shared_rows(lake)
    data = sequences.agg(F.max("data_version").alias("version"), F.max("last_period").alias("last")).first()
    chosen = _chosen(sequences, config.scoring.only)
    origins = _to_score(run, scoring_origins(data["last"], config))
    until = {origin: trained_until(origin, data["last"], config) for origin in origins}  # all, before any is written
    for origin in origins:
        if config.scoring.origins > 1:
            run.progress.say(f"  from {origin}")
        score_from(run, chosen, shared, origin, until[origin], data["version"])
    return _figures(run, data["last"]) | ({"origins_filled_in": len(origins)} if config.scoring.origins > 1 else {})


def score_from(
    run: Run, sequences: DataFrame, shared: SharedRows, origin: date, until: date, data_version: str
) -> None:
    """Forecasts of series from one origin, by the model whose training ended with `until`, written."""
    lake, config = run.lake, run.config
    known = sequences.where(F.col("first_period") <= F.lit(origin))  # of the others nobody knew then
    artifact, model_version = trained_model(config.of_network(config.scoring.model), data_version, until)
    forecasts = forecast(known, shared, artifact, config, origin)
    worse = _better_by_floor(run, origin, model_version)
    calendar = lake.read("calendar") if lake.exists("calendar") else None
    answers = final_forecasts(forecasts, known, worse, calendar, config, origin, model_version)
    told = with_lineage(answers, **run.lineage(data_version=data_version))
    if config.scoring.only is None:
        lake.write(told, "forecasts", replacing={"forecast_origin": origin})
    else:
        lake.replace_rows(told, "forecasts", within={"forecast_origin": origin})


def _to_score(run: Run, origins: list[date]) -> list[date]:
    """Of several origins those that have no forecasts yet: the others are what people acted upon.

    Raises:
        ConfigError: some series are to be scored where no others are.
    """
    there = run.lake.holds("forecasts", "forecast_origin", origins)
    if run.config.scoring.only is not None:
        if missing := sorted(set(origins) - there):
            raise ConfigError(
                f"scoring.only: expected forecasts of all series from {missing[0]}, of which some are to be replaced, came none. Score all of "
                "them first, without scoring.only."
            )
        return origins
    return origins if len(origins) == 1 else [origin for origin in origins if origin not in there]


def _chosen(sequences: DataFrame, only: str | None) -> DataFrame:
    """The series that are to be scored.

    Raises:
        ConfigError: the condition is none over the columns of sequences, or holds for no series.
    """
    if only is None:
        return sequences
    try:
        chosen = sequences.where(only)
        none = chosen.isEmpty()
    except PySparkException as error:
        raise ConfigError(
            f"scoring.only: expected a condition of Spark SQL over columns of sequences like \"item_id = 'A'\", came {only!r}: "
            f"{str(error).strip().splitlines()[0]}"
        ) from error
    if none:
        raise ConfigError(
            f"scoring.only: expected a condition that holds for some series, came {only!r}, which holds for none."
        )
    return chosen


def _better_by_floor(run: Run, origin: date, model_version: str) -> DataFrame | None:
    """Rows of `forecast_value_added` of series that scoring.fallback forecasts better than this very model; None if no backtest
    tells by what had come at the origin."""
    lake, scoring = run.lake, run.config.scoring
    if scoring.fallback is None or not lake.exists("forecast_value_added"):
        return None
    newest_over = shift(origin, -run.config.forecast.horizon, run.config.series.grain)
    told = (
        (F.col("forecast_origin") == F.lit(newest_over))
        & (F.col("model_version") == model_version)
        & (F.col("floor") == scoring.fallback)
    )
    return lake.read("forecast_value_added").where(told & falls_back(scoring.fallback_significance))


def _figures(run: Run, origin: date) -> Figures:
    """What the rows of the newest origin come to."""
    config, newest = run.config, F.col("forecast_origin") == F.lit(origin)
    by_floor = F.col("method") == config.scoring.stand_in
    fallen_back = F.count_distinct(F.when(by_floor, F.struct("item_id", "location_id")))
    totals = (
        run.lake.read("forecasts")
        .where(newest)
        .agg(F.count(F.lit(1)).alias("rows"), F.sum("mean").alias("units"), fallen_back.alias("fallen_back"))
        .first()
    )
    return {
        "rows": totals["rows"],
        "series": totals["rows"] // config.forecast.horizon,
        "by_fallback": totals["fallen_back"],
        "origin": origin,
        "units_expected": round(totals["units"]),
    }


main = entry_point("score", execute)

if __name__ == "__main__":
    main()
