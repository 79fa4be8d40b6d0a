"""Models that are fitted to each series by itself, several at a time over a batch of series."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Protocol

import numpy as np
import pyarrow as pa

from forecasting.baselines.equations import LAGS, lagged_regression, parameters, structural_regression
from forecasting.baselines.floors import Forecast
from forecasting.baselines.known import Known, known_series, regressor_names
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

    @property
    def equations(self) -> tuple[str, ...]:
        """Those of them that have parameters."""
        return tuple(name for name in self.names if name in LAGS)

    def parameters(self, batch: pa.RecordBatch, origin: date) -> Iterator[pa.RecordBatch]:
        """What the equations fitted to the series of a batch: columns of `equation_parameters` but origin and lineage."""
        last, regressors = int(position(np.datetime64(origin), self.spec.grain)), regressor_names(self.spec)
        for start, known in known_series(batch, self.spec, self._shared, last):
            own = {name: batch[name].slice(start, len(known)) for name in ("item_id", "location_id")}
            for name in self.equations:
                found = parameters(known, self.spec, name)
                coefficients = [list(zip(regressors, row, strict=True)) for row in found.pop("coefficients").tolist()]
                yield pa.RecordBatch.from_pydict(
                    {
                        "model": pa.repeat(name, len(known)),
                        **own,
                        **{key: found[key].astype(np.float64) for key in ("a", "b", "g", "intercept")},
                        "coefficients": pa.array(coefficients, pa.map_(pa.string(), pa.float64())),
                        "residual_deviation": found["residual_deviation"].astype(np.float64),
                        "periods": found["periods"].astype(np.int32),
                    }
                )


def _joined(parts: Sequence[Forecast]) -> Forecast:
    return np.concatenate([mean for mean, _ in parts]), np.concatenate([quantiles for _, quantiles in parts])
