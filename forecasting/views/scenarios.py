"""Views over `scenario_forecasts`."""

from __future__ import annotations

from forecasting.config import Config
from forecasting.views.view import Name, View


def _scenario_totals(table: Name, config: Config) -> str:
    return f"""
        SELECT scenario, item_id, location_id, forecast_origin, count(changes) AS periods_changed, sum(baseline_mean) AS baseline_units,
               sum(mean) AS units, sum(difference) AS difference,
               sum(mean - baseline_mean) / nullif(sum(baseline_mean), 0) AS relative_difference,
               sum(baseline_revenue) AS baseline_revenue, sum(revenue) AS revenue, sum(revenue_difference) AS revenue_difference
        FROM {table("scenario_forecasts")} GROUP BY scenario, item_id, location_id, forecast_origin"""


SCENARIOS = {
    "scenario_totals": View(
        "What each scenario changes of a series' expected sales, over the whole horizon.",
        ("scenario_forecasts",),
        _scenario_totals,
        {
            "scenario": "name of the scenario",
            "item_id": "item (SKU)",
            "location_id": "place, or what series.location_level makes of places",
            "forecast_origin": "last period whose demand the forecast knows",
            "periods_changed": "periods in which the plan changes something",
            "baseline_units": "expected demand without the plan, units",
            "units": "expected demand with the plan, units",
            "difference": "units - baseline_units",
            "relative_difference": "difference as a share of baseline_units; null where that is 0",
            "baseline_revenue": "expected revenue without the plan, in the dataset's currency; null where no price is known",
            "revenue": "expected revenue with the plan",
            "revenue_difference": "revenue - baseline_revenue",
        },
    ),
}
