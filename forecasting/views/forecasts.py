"""Views over `forecasts`: what is expected, how it changed, what came of it, and what a person should look at."""

from __future__ import annotations

from forecasting.config import Config, ForecastConfig
from forecasting.states import State
from forecasting.views.view import Name, View, periods_since

_SERIES = {"item_id": "item (SKU)", "location_id": "place, or what series.location_level makes of places"}
_ORIGIN = {"forecast_origin": "last period whose demand the forecast knows"}
_TARGET = {"target_date": "first day of the forecast period", "horizon": "periods from origin to target, from 1"}
_METHOD = {
    "method": "what made the row: scoring.model, scoring.fallback, closed, not launched or ended",
    "model_version": "model that made the row, or version of its method",
}
#: Periods that make up a week and four weeks; a month is the shortest that a series of months tells.
_WEEK, _FOUR_WEEKS = {"day": 7, "week": 1, "month": None}, {"day": 28, "week": 4, "month": 1}
#: Periods of history below which a series is new.
_NEW = {"day": 56, "week": 8, "month": 3}


def _newest(table: Name) -> str:
    return f"(SELECT max(forecast_origin) FROM {table('forecasts')})"


def _latest_forecasts(table: Name, config: Config) -> str:
    values = ", ".join(("mean", *config.forecast.quantile_columns))
    return f"""
        SELECT item_id, location_id, forecast_origin, target_date, horizon, {values}, method, reason, model_version,
               data_version, run_id, created_at
        FROM {table("forecasts")} WHERE forecast_origin = {_newest(table)}"""


def _expected_units(table: Name, config: Config) -> str:
    def within(periods: int | None) -> str:
        told = periods is not None and periods <= config.forecast.horizon
        return f"sum(mean) FILTER (WHERE horizon <= {periods})" if told else "CAST(NULL AS DOUBLE)"

    grain = config.series.grain
    return f"""
        SELECT item_id, location_id, forecast_origin, {within(_WEEK[grain])} AS next_7_days,
               {within(_FOUR_WEEKS[grain])} AS next_28_days, sum(mean) AS whole_horizon, count(*) AS periods
        FROM {table("forecasts")} WHERE forecast_origin = {_newest(table)}
        GROUP BY item_id, location_id, forecast_origin"""


def _forecast_changes(table: Name, config: Config) -> str:
    forecasts = table("forecasts")
    before = f"(SELECT max(forecast_origin) FROM {forecasts} WHERE forecast_origin < {_newest(table)})"
    return f"""
        SELECT item_id, location_id, now.forecast_origin, before.forecast_origin AS earlier_origin, count(*) AS periods,
               sum(now.mean) AS units, sum(before.mean) AS units_before, sum(now.mean - before.mean) AS change,
               sum(now.mean - before.mean) / nullif(sum(before.mean), 0) AS relative_change
        FROM (SELECT * FROM {forecasts} WHERE forecast_origin = {_newest(table)}) now
        JOIN (SELECT * FROM {forecasts} WHERE forecast_origin = {before}) before
        USING (item_id, location_id, target_date)
        GROUP BY item_id, location_id, now.forecast_origin, before.forecast_origin"""


def _forecast_errors(table: Name, config: Config, since: str | None = None) -> str:
    """Demand of places that were closed, or whose records did not come, is unknown: as in a backtest, it is not compared.

    Args:
        since: SQL for the day after which periods are compared; None: the oldest origin. Of each series only these are unfolded.
    """
    quantiles = "".join(f", f.{name}" for name in config.forecast.quantile_columns)
    since = since or f"(SELECT min(forecast_origin) FROM {table('forecasts')})"
    return f"""
        SELECT f.item_id, f.location_id, f.forecast_origin, f.target_date, f.horizon, came.actual, f.mean{quantiles},
               f.mean - came.actual AS error, f.method, f.model_version
        FROM {table("forecasts")} f JOIN ({periods_since(table, config, since)} WHERE observed = 1
        ) came ON came.item_id = f.item_id AND came.location_id = f.location_id AND came.target_date = f.target_date
        WHERE f.target_date > {since}"""


def pinball(level: float, column: str) -> str:
    """SQL for the pinball loss of a quantile column against `actual`."""
    short = f"(actual - {column})"
    return f"greatest({level!r}D * {short}, {level - 1!r}D * {short})"


def _accuracy(config: ForecastConfig) -> dict[str, tuple[str, str]]:
    """Column, its SQL over rows of `forecast_errors` and its meaning, as docs/method.md and `backtest_metrics` have them."""
    levels = dict(zip(config.quantile_columns, config.quantiles, strict=True))
    median = next(column for column, level in levels.items() if level == 0.5)
    lowest, highest = next(iter(levels)), list(levels)[-1]
    losses = " + ".join(pinball(level, column) for column, level in levels.items())
    demand = "nullif(sum(abs(actual)), 0)"
    return {
        "periods": ("count(*)", "rows compared"),
        "series": ("count(DISTINCT item_id, location_id)", "series compared"),
        "demand": ("sum(actual)", "demand that came, units"),
        "wql": (f"2 * sum({losses}) / {len(levels)} / {demand}", "weighted quantile loss"),
        "wape": (f"sum(abs({median} - actual)) / {demand}", "absolute error of the median, share of demand"),
        "rmse": ("sqrt(avg(error * error))", "root mean squared error of the mean, units"),
        "bias": (
            "sum(error) / nullif(sum(actual), 0)",
            "error of the mean in total, share of demand; above 0: too high",
        ),
        "inside": (
            f"avg(CAST(actual BETWEEN {lowest} AND {highest} AS DOUBLE))",
            "share of rows between the lowest and the highest quantile",
        ),
    }


def _forecast_accuracy(table: Name, config: Config) -> str:
    told = ", ".join(f"{sql} AS {name}" for name, (sql, _) in _accuracy(config.forecast).items())
    return f"SELECT forecast_origin, max(target_date) AS last_target, {told} FROM ({_forecast_errors(table, config)}) GROUP BY forecast_origin"


def _forecast_exceptions(table: Name, config: Config) -> str:
    grain, judged = config.series.grain, "method NOT IN ('closed', 'not launched', 'ended')"
    ahead = min(_FOUR_WEEKS[grain], config.forecast.horizon)
    units = "concat(format_number({0}, 1), ' units')"
    difference = "abs(expected_units - recent_units)"
    kinds = {
        "rise": (
            f"expected_units > 2 * recent_units AND {difference} > 3 * sqrt(expected_units)",
            _words(
                "expected ",
                units.format("expected_units"),
                ", more than twice the ",
                units.format("recent_units"),
                " of late",
            ),
        ),
        "fall": (
            f"expected_units < recent_units / 2 AND {difference} > 3 * sqrt(recent_units)",
            _words(
                "expected ",
                units.format("expected_units"),
                ", less than half the ",
                units.format("recent_units"),
                " of late",
            ),
        ),
        "surprise": (
            "outside > 1 AND outside > compared / 2",
            _words("", "outside", " of the last ", "compared", " periods lay outside the range of their forecast"),
        ),
        "new": (f"length < {_NEW[grain]}", _words("forecast from ", "length", " periods of history")),
        "method": (f"method <> '{config.scoring.model}'", _words("forecast by ", "method", ": ", "coalesce(why, '')")),
    }
    found = ", ".join(
        f"IF({when}, struct('{kind}' AS kind, {told} AS told), NULL)" for kind, (when, told) in kinds.items()
    )
    lowest, highest = config.forecast.quantile_columns[0], config.forecast.quantile_columns[-1]
    return f"""
        SELECT item_id, location_id, forecast_origin, exception.kind AS exception, exception.told AS reason, expected_units,
               recent_units, {difference} * list_price AS money
        FROM (
            SELECT item_id, location_id, forecast_origin, expected_units, list_price,
                   recent.units * {ahead} / nullif(recent.periods, 0) AS recent_units, length, method, why, outside, compared
            FROM (
                SELECT item_id, location_id, forecast_origin, sum(mean) FILTER (WHERE horizon <= {ahead}) AS expected_units,
                       min(method) FILTER (WHERE {judged}) AS method,
                       min(reason) FILTER (WHERE {judged}) AS why
                FROM {table("forecasts")} WHERE forecast_origin = {_newest(table)}
                GROUP BY item_id, location_id, forecast_origin
            ) JOIN (
                SELECT item_id, location_id, length, nullif(element_at(price, -1), 0) AS list_price, aggregate(
                    slice(arrays_zip(quantity, observed, state), -least(length, {ahead}), {ahead}),
                    struct(0D AS units, 0 AS periods),
                    (sum, p) -> IF(
                        p.observed = 1 OR p.state = {State.CLOSED.value},
                        struct(sum.units + p.quantity AS units, sum.periods + 1 AS periods), sum
                    )
                ) AS recent
                FROM {table("sequences")}
            ) USING (item_id, location_id) LEFT JOIN (
                SELECT item_id, location_id, count_if(NOT inside) AS outside, count(*) AS compared
                FROM (
                    SELECT item_id, location_id, max_by(actual BETWEEN {lowest} AND {highest}, forecast_origin) AS inside
                    FROM ({_forecast_errors(table, config, _late(table, config))})
                    GROUP BY item_id, location_id, target_date
                ) GROUP BY item_id, location_id
            ) USING (item_id, location_id)
        ) LATERAL VIEW explode(filter(array({found}), each -> each IS NOT NULL)) AS exception"""


def _late(table: Name, config: Config) -> str:
    """The day a week, or a few periods, before the newest origin."""
    step = {"day": "INTERVAL 7 DAYS", "week": "INTERVAL 28 DAYS", "month": "INTERVAL 3 MONTHS"}[config.series.grain]
    return f"(SELECT max(forecast_origin) - {step} FROM {table('forecasts')})"


def _words(*parts: str) -> str:
    """SQL for words and values in turn, words first."""
    quoted = [f"'{part}'" if place % 2 == 0 else part for place, part in enumerate(parts)]
    return f"concat({', '.join(quoted)})"


FORECASTS = {
    "latest_forecasts": View(
        "Newest forecast of every series: the rows of the newest origin in forecasts.",
        ("forecasts",),
        _latest_forecasts,
        _SERIES
        | _ORIGIN
        | _TARGET
        | {"mean": "expected demand, units", "method": _METHOD["method"]}
        | {"reason": "why another method than scoring.model; else null", "model_version": _METHOD["model_version"]}
        | {
            "data_version": "data that the forecast rests on",
            "run_id": "run that wrote the row",
            "created_at": "when that run began",
        },
        quantiles=True,
    ),
    "expected_units": View(
        "What every series is expected to sell by the newest forecast. Means add up over periods and series; quantiles do not.",
        ("forecasts",),
        _expected_units,
        _SERIES
        | _ORIGIN
        | {
            "next_7_days": "expected demand of the next 7 days, or of the next week, units; null if no period is as short, or so much is not forecast",
            "next_28_days": "expected demand of the next 28 days, of 4 weeks, or of the next month, units; null if so much is not forecast",
            "whole_horizon": "expected demand of all periods forecast, units",
            "periods": "periods forecast",
        },
    ),
    "forecast_changes": View(
        "What the newest forecast expects more or less than the one before it, over the periods that both forecast.",
        ("forecasts",),
        _forecast_changes,
        _SERIES
        | _ORIGIN
        | {
            "earlier_origin": "origin of the forecast before it",
            "periods": "periods that both forecast",
            "units": "expected demand over them, units",
            "units_before": "the same by the earlier forecast",
            "change": "units - units_before",
            "relative_change": "change as a share of units_before; null where that is 0",
        },
    ),
    "forecast_errors": View(
        "Past forecasts beside what came: every row of forecasts whose period is over and whose demand could be seen.",
        ("forecasts", "sequences"),
        _forecast_errors,
        _SERIES
        | _ORIGIN
        | _TARGET
        | {
            "actual": "demand that came, units",
            "mean": "expected demand, units",
            "error": "mean - actual, units",
        }
        | _METHOD,
        quantiles=True,
    ),
    "forecast_accuracy": View(
        "How accurate the forecasts of each origin were, over the periods that came since; docs/method.md defines each metric.",
        ("forecasts", "sequences"),
        _forecast_accuracy,
        _ORIGIN
        | {"last_target": "last period that came"}
        | {name: meaning for name, (_, meaning) in _accuracy(ForecastConfig(horizon=1, quantiles=(0.5,))).items()},
    ),
    "forecast_exceptions": View(
        "Series of the newest forecast that a person should look at, one row an exception; those with most money first are a good order.",
        ("forecasts", "sequences"),
        _forecast_exceptions,
        _SERIES
        | _ORIGIN
        | {
            "exception": "rise or fall: more than twice, or less than half of, what sold of late, and more than chance explains (three "
            "times the root of the larger); surprise: most periods of the last 7 days, 4 weeks or 3 months lay outside the range last forecast for them; new: "
            "a short history; method: another method than scoring.model",
            "reason": "the same in words and numbers",
            "expected_units": "expected demand of the next 28 days, of 4 weeks, or of the next month, units; at most the horizon",
            "recent_units": "demand over as many periods before, scaled to all of them where records of some did not come, units; "
            "null: none came",
            "money": "difference of the two at the list price, in the dataset's currency; null without a price",
        },
    ),
}
