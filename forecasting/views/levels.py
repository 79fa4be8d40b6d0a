"""Views over `forecasts_by_level`."""

from __future__ import annotations

from collections.abc import Sequence

from forecasting.config import Config
from forecasting.states import State
from forecasting.views.forecasts import pinball
from forecasting.views.view import Name, View, periods_since

_SERIES = ("item_id", "location_id")
_SHARED = {
    "level": "attributes that the series of a node share; total: all series",
    "forecast_origin": "last period whose demand the forecast knows",
}


def _latest_by_level(table: Name, config: Config) -> str:
    newest = f"(SELECT max(forecast_origin) FROM {table('forecasts_by_level')})"
    quantiles = ", ".join(config.forecast.quantile_columns)
    return f"""
        SELECT level, node, forecast_origin, target_date, horizon, mean, {quantiles}, base_mean
        FROM {table("forecasts_by_level")} WHERE forecast_origin = {newest}"""


def _level_accuracy(table: Name, config: Config) -> str:
    levels = [*(level for level in config.reconciliation.levels if tuple(level) != _SERIES), _SERIES]
    attributes = tuple(dict.fromkeys((*_SERIES, *(name for level in levels for name in level))))
    oldest = f"(SELECT min(forecast_origin) FROM {table('forecasts_by_level')})"
    came = " UNION ALL ".join(_came(level) for level in levels)
    names, shares = config.forecast.quantile_columns, config.forecast.quantiles
    losses = " + ".join(pinball(share, name) for name, share in zip(names, shares, strict=True))
    demand = "nullif(sum(abs(actual)), 0)"
    return f"""
        WITH came AS ({periods_since(table, config, oldest, ", ".join(attributes))}),
             nodes AS ({came})
        SELECT f.forecast_origin, f.level, count(DISTINCT f.node) AS nodes, count(DISTINCT f.target_date) AS periods,
               sum(actual) AS demand,
               sum(abs(base_mean - actual)) / {demand} AS base_error, sum(abs(mean - actual)) / {demand} AS error,
               sqrt(avg(power(base_mean - actual, 2))) AS base_rmse, sqrt(avg(power(mean - actual, 2))) AS rmse,
               sum(base_mean - actual) / nullif(sum(actual), 0) AS base_bias, sum(mean - actual) / nullif(sum(actual), 0) AS bias,
               2 * sum({losses}) / {len(names)} / {demand} AS wql
        FROM {table("forecasts_by_level")} f JOIN nodes USING (level, node, target_date)
        GROUP BY f.forecast_origin, f.level"""


def _came(level: Sequence[str]) -> str:
    """SQL for what came of each node of a level, out of `came`."""
    name = " x ".join(level) or "total"
    values = ", ".join(f"coalesce({attribute}, '')" for attribute in level)
    node = f"concat_ws(' / ', {values})" if level else "'total'"
    grouped = f"{values}, target_date" if level else "target_date"
    seen = f"observed = 1 OR state = {State.CLOSED.value}"  # of each of its series; one that was closed sold nothing
    return f"SELECT '{name}' AS level, {node} AS node, target_date, sum(actual) AS actual FROM came GROUP BY {grouped} HAVING every({seen})"


LEVELS = {
    "latest_by_level": View(
        "Newest forecast of every total: the rows of the newest origin in forecasts_by_level.",
        ("forecasts_by_level",),
        _latest_by_level,
        {
            "level": _SHARED["level"],
            "node": "values of these attributes, as SOFT DRINKS / 367",
            "forecast_origin": _SHARED["forecast_origin"],
            "target_date": "first day of the forecast period",
            "horizon": "periods from origin to target, from 1",
            "mean": "expected demand, units",
            "base_mean": "the same before levels were made to add up",
        },
        quantiles=True,
    ),
    "level_accuracy": View(
        "How accurate past forecasts of each level were over the periods that came since and were seen of all their series, and how those from before levels were made to add up.",
        ("forecasts_by_level", "sequences"),
        _level_accuracy,
        {
            "forecast_origin": _SHARED["forecast_origin"],
            "level": _SHARED["level"],
            "nodes": "nodes compared",
            "periods": "periods compared",
            "demand": "demand that came, units",
            "base_error": "sum of absolute errors of the mean, share of demand, before levels were made to add up",
            "error": "the same after",
            "base_rmse": "root mean squared error of the mean, units, before",
            "rmse": "the same after",
            "base_bias": "error of the mean in total, share of demand, before; above 0: too high",
            "bias": "the same after",
            "wql": "weighted quantile loss, after",
        },
    ),
}
