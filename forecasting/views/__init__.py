"""Views over the tables, for people and their SQL."""

from __future__ import annotations

from collections.abc import Mapping

from forecasting.views.forecasts import FORECASTS
from forecasting.views.history import HISTORY
from forecasting.views.levels import LEVELS
from forecasting.views.scenarios import SCENARIOS
from forecasting.views.view import PERIOD_AT, View

VIEWS: Mapping[str, View] = HISTORY | FORECASTS | LEVELS | SCENARIOS

__all__ = ["PERIOD_AT", "VIEWS", "View"]
