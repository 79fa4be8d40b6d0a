"""Small random sequences, as `features` writes them, for tests of models, training and scoring."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa

from forecasting.config import load_config
from forecasting.features.calendar import calendar_features
from forecasting.models.batches import CalendarAxis
from forecasting.models.spec import STATIC, ModelSpec, model_spec
from forecasting.periods import position

LAST = date(2023, 6, 30)
ORIGIN = int(position(np.datetime64(LAST), "day"))
HORIZON = 7
SMALL = (
    "model.context=56",
    "model.width=16",
    "model.heads=2",
    "model.layers=1",
    "model.head_width=8",
    "forecast.horizon=7",
)


def small_config(*settings: str):
    """The default configuration with a small model."""
    return load_config(settings=[*SMALL, *settings])


def small_spec(**changes) -> ModelSpec:
    """A specification of that model, trained until LAST."""
    spec = model_spec(small_config(), dict.fromkeys(STATIC, ("a", "b")), LAST, "data")
    return ModelSpec(**{**spec.__dict__, **changes})


def small_sequences(series: int = 24, seed: int = 0, shortest: int = 5, longest: int = 120) -> pa.RecordBatch:
    """Series of Poisson demand with a weekly pattern; the first one has a single day of history."""
    rng = np.random.default_rng(seed)
    lengths = np.concatenate([[1], rng.integers(shortest, longest, series - 1)])
    first = [LAST - timedelta(int(length) - 1) for length in lengths]
    level = rng.gamma(1.0, 3.0, series)
    days = [np.arange(n) for n in lengths]
    quantity = [rng.poisson(mean * (1 + 0.8 * np.sin(2 * np.pi * t / 7))) for mean, t in zip(level, days, strict=True)]
    lists = {
        "quantity": quantity,
        "price": [np.full(n, 2.0 + i % 3) for i, n in enumerate(lengths)],
        "discount": [rng.random(n) * 0.2 for n in lengths],
        "display": [(rng.random(n + HORIZON) < 0.2) * 1.0 for n in lengths],
        "mailer": [(rng.random(n + HORIZON) < 0.2) * 1.0 for n in lengths],
    }
    return pa.RecordBatch.from_pydict(
        {
            "item_id": [f"item{i:03d}" for i in range(series)],
            "location_id": ["ALL"] * series,
            "first_period": pa.array(first, pa.date32()),
            "length": pa.array(lengths, pa.int32()),
            **{name: pa.array(values, pa.list_(pa.float32())) for name, values in lists.items()},
            "promotion_announced": pa.array([np.full(n + HORIZON, 32767) for n in lengths], pa.list_(pa.int16())),
            "observed": pa.array([np.ones(n) for n in lengths], pa.list_(pa.int8())),
            **{name: [("a", "b", None, "new")[i % 4] for i in range(series)] for name in STATIC},
        }
    )


def small_calendar() -> pd.DataFrame:
    """The calendar of the year around LAST, with promotions known throughout."""
    return calendar_features(date(2022, 12, 1), 260, "day", "US", None, (), [], date(2023, 12, 31))


def small_axis() -> CalendarAxis:
    """That calendar, encoded."""
    return CalendarAxis.of(small_calendar(), "day")


def changed(batch: pa.RecordBatch, column: str, after: int, add: float = 5.0) -> pa.RecordBatch:
    """The same sequences with every value of `column` later than `after` periods before LAST changed."""
    values = []
    for first, old in zip(batch["first_period"].to_pylist(), batch[column].to_pylist(), strict=True):
        number = int(position(np.datetime64(first), "day")) + np.arange(len(old))
        values.append(np.where(number > ORIGIN - after, np.asarray(old) + add, old))
    index = batch.schema.get_field_index(column)
    return batch.set_column(index, batch.schema.field(index), pa.array(values, pa.list_(pa.float32())))
