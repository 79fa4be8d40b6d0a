"""Small random sequences, as `features` writes them, for tests of models, training and scoring."""

from datetime import date, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa

from forecasting.config import load_config
from forecasting.features.calendar import calendar_features
from forecasting.models.shared import Shared, SharedRows, event_names
from forecasting.models.spec import STATIC, Inputs, ModelSpec, Signal, model_spec
from forecasting.periods import ALWAYS, position
from forecasting.states import State

LAST = date(2023, 6, 30)
ORIGIN = int(position(np.datetime64(LAST), "day"))
HORIZON = 7
KEY = ("item_id", "location_id")
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


def small_inputs() -> Inputs:
    """Promotions of two columns and one kind, a discount, weather, two calendars."""
    return Inputs(
        past=("discount", "views"),
        groups=("item_demand", "category_demand"),
        planned=("display", "mailer"),
        kinds=("coupon",),
        signals=(Signal("rain", 2.0, 1.5), Signal("event fair", 0.0, 1.0)),
        calendars=("US", "DE"),
        events=event_names(small_calendar(), LAST),
        yearly=True,
        vocabularies=dict.fromkeys(STATIC, ("a", "b")),
    )


def small_spec(**changes) -> ModelSpec:
    """A specification of that model, trained until LAST."""
    spec = model_spec(small_config(), small_inputs(), LAST, "data")
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
        "planned_price": [np.where(rng.random(n + HORIZON) < 0.1, 1.5, 2.0) for n in lengths],
        "views": [rng.poisson(9.0, n) for n in lengths],
        "item_demand": [units + rng.poisson(9.0, len(units)) for units in quantity],
        "category_demand": [units + rng.poisson(90.0, len(units)) for units in quantity],
    }
    coupons = [[("coupon", (rng.random(n + HORIZON) < 0.1).astype(np.float32))] for n in lengths]
    state = [np.where(rng.random(n) < 0.05, State.OUT_OF_STOCK, State.SOLD) for n in lengths]
    announced = pa.array([np.full(n + HORIZON, ALWAYS) for n in lengths], pa.list_(pa.int16()))
    return pa.RecordBatch.from_pydict(
        {
            "item_id": [f"item{i:03d}" for i in range(series)],
            "location_id": [("l0", "l1", "l2")[i % 3] for i in range(series)],
            "first_period": pa.array(first, pa.date32()),
            "length": pa.array(lengths, pa.int32()),
            **{name: pa.array(values, pa.list_(pa.float32())) for name, values in lists.items()},
            "promotion_announced": announced,
            "price_announced": announced,
            "promotion_kinds": pa.array(coupons, pa.map_(pa.string(), pa.list_(pa.float32()))),
            "state": pa.array(state, pa.list_(pa.int8())),
            "calendar": [("US", "DE", "FR")[i % 3] for i in range(series)],
            "observed": pa.array([np.ones(n) for n in lengths], pa.list_(pa.int8())),
            **{name: [("a", "b", None, "new")[i % 4] for i in range(series)] for name in STATIC if name not in KEY},
        }
    )


def equal_sequences(quantity: np.ndarray, first: date, known: int, state: np.ndarray | None = None) -> pa.RecordBatch:
    """Series that differ in demand, and in state if given, alone; prices are known for so many periods.

    Args:
        quantity, state: [series, periods].
    """
    series, periods = quantity.shape
    state = np.full(quantity.shape, State.SOLD) if state is None else state
    always = pa.array([np.full(known, ALWAYS)] * series, pa.list_(pa.int16()))
    return pa.RecordBatch.from_pydict(
        {
            "item_id": [f"item{i:02d}" for i in range(series)],
            "location_id": ["place"] * series,
            "first_period": pa.array([first] * series, pa.date32()),
            "length": pa.array([periods] * series, pa.int32()),
            "quantity": pa.array(list(quantity), pa.list_(pa.float32())),
            "observed": pa.array([np.ones(periods)] * series, pa.list_(pa.int8())),
            "state": pa.array(list(state), pa.list_(pa.int8())),
            "price": pa.array([np.ones(periods)] * series, pa.list_(pa.float32())),
            "planned_price": pa.array([np.ones(known)] * series, pa.list_(pa.float32())),
            "promotion_announced": always,
            "price_announced": always,
            "calendar": ["US"] * series,
            **{name: ["a"] * series for name in STATIC if name not in KEY},
        }
    )


def small_calendar() -> pd.DataFrame:
    """The calendars of two countries in the year around LAST, with promotions known throughout."""
    frames = [
        calendar_features(date(2022, 12, 1), 260, "day", country, None, ("easter",), [], date(2023, 12, 31)).assign(
            calendar=country
        )
        for country in ("US", "DE")
    ]
    return pd.concat(frames, ignore_index=True)


def small_covariates(seed: int = 0) -> pa.Table:
    """Rain at two places, observed to LAST and forecast up to five days ahead; a fair of which one place has long known."""
    rng = np.random.default_rng(seed)
    days = 150
    first = LAST - timedelta(days - 1)
    rows = []
    for place in ("l0", "ALL"):
        told = [
            {
                "issued_on": LAST - timedelta(back),
                "period_start": LAST - timedelta(back - ahead),
                "value": float(rng.gamma(2.0)),
            }
            for back in range(days)
            for ahead in range(1, 6)
        ]
        rows.append(("rain", place, first, rng.gamma(2.0, size=days).tolist(), told))
    fair = [{"issued_on": date(1900, 1, 1), "period_start": LAST + timedelta(n), "value": 1.0} for n in (-40, -3, 2)]
    rows.append(("event fair", "l1", LAST + timedelta(1), [], fair))
    struct = pa.struct({"issued_on": pa.date32(), "period_start": pa.date32(), "value": pa.float64()})
    types = (pa.string(), pa.string(), pa.date32(), pa.list_(pa.float32()), pa.list_(struct))
    names = ("signal", "location_id", "first_period", "observed", "forecasts")
    columns = {
        name: pa.array(values, type_) for name, values, type_ in zip(names, zip(*rows, strict=True), types, strict=True)
    }
    return pa.table(columns)


def small_rows() -> SharedRows:
    """Those tables, as scoring and training get them."""
    return SharedRows(small_calendar(), small_covariates(), "day")


def small_shared() -> Shared:
    """What a model of `small_inputs` reads of them."""
    return small_rows().of(small_inputs())


def without(batch: pa.RecordBatch, *columns: str) -> pa.RecordBatch:
    """The same sequences, of which nothing is known in some columns; without `planned_price`, prices are those of sales alone."""
    for column in columns:
        at = batch.schema.get_field_index(column)
        batch = batch.set_column(at, batch.schema.field(at), pa.nulls(len(batch), batch.schema.field(at).type))
    return batch


def changed(batch: pa.RecordBatch, column: str, after: int, add: float = 5.0) -> pa.RecordBatch:
    """The same sequences with every value of `column` later than `after` periods before LAST changed."""
    values = []
    for first, old in zip(batch["first_period"].to_pylist(), batch[column].to_pylist(), strict=True):
        number = int(position(np.datetime64(first), "day")) + np.arange(len(old))
        values.append(np.where(number > ORIGIN - after, np.asarray(old) + add, old))
    index = batch.schema.get_field_index(column)
    field = batch.schema.field(index)
    return batch.set_column(index, field, pa.array(values, pa.list_(pa.float64())).cast(field.type))
