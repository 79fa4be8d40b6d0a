"""Models that are fitted to each series by itself, several at a time over a batch of series."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Protocol

import numpy as np
import pyarrow as pa

from forecasting.baselines.equations import lagged_regression, structural_regression
from forecasting.baselines.floors import Forecast
from forecasting.baselines.known import Known, known_series
from forecasting.baselines.statistical import auto_ets, croston_sba
from forecasting.models.batches import sequence_columns
from forecasting.models.shared import Shared, SharedRows
from forecasting.models.spec import ModelSpec
from forecasting.periods import position

#: Each takes series as known at an origin and what is to be forecast.
LOCAL: dict[str, Callable[[Known, ModelSpec], Forecast]] = {
    "lagged_regression": lagged_regression,
    "structural_regression": structural_regression,
    "auto_ets": auto_ets,
    "croston_sba": croston_sba,
}


class SeriesModels(Protocol):
    """Models that forecast the series of a batch by themselves; travel to Spark's workers."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of `sequences` that they read."""

    def forecasts(self, batch: pa.RecordBatch, origin: date) -> dict[str, Forecast]:
        """Of each model the mean [n, H] and quantiles [n, H, K] of the series of a batch, as known at the origin."""


@dataclass(frozen=True)
class LocalModels:
    """Some of LOCAL, and what they read; travels to Spark's workers.

    spec: grain, horizon, quantile levels and inputs, as of the origin. shared: rows of the tables that series share.
    """

    names: tuple[str, ...]
    spec: ModelSpec
    shared: SharedRows

    @cached_property
    def _shared(self) -> Shared:
        return self.shared.of(self.spec.inputs)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of `sequences` that they read."""
        return sequence_columns(self.spec.inputs)

    def forecasts(self, batch: pa.RecordBatch, origin: date) -> dict[str, Forecast]:
        """Of each model the mean [n, H] and quantiles [n, H, K] of the series of a batch."""
        last = int(position(np.datetime64(origin), self.spec.grain))
        parts: dict[str, list[Forecast]] = {name: [] for name in self.names}
        for _, known in known_series(batch, self.spec, self._shared, last):
            for name in self.names:
                parts[name].append(LOCAL[name](known, self.spec))
        return {name: _joined(found) for name, found in parts.items()}


def _joined(parts: Sequence[Forecast]) -> Forecast:
    return np.concatenate([mean for mean, _ in parts]), np.concatenate([quantiles for _, quantiles in parts])
