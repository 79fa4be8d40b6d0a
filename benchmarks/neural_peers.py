"""Trains a global neural model of Nixtla's neuralforecast for a given time and forecasts from one or more origins.

    scripts/setup_peers.sh                # once: it makes .venv-peers, which holds torch
    .venv-peers/bin/python -m benchmarks.neural_peers --model NHITS --input sales.parquet --output forecasts.parquet \
        --until 2016-03-27 --horizon 28 --seconds 600 --static-input items.parquet --static department,category \
        --future price,promotion

`--input`, a Parquet file or a folder of them, has the columns unique_id, ds (first day of a period: a day, a week from Monday or
a month, see `--grain`), y (null: demand could not be seen) and what `--future` names: numbers known ahead, with a row for every
series and period up to the last horizon's end. Rows of a series leave out no period. `--static-input` has one row a series. NHITS and TFT also take the calendar, static columns one-hot
as in Nixtla's tutorials; PatchTST takes the history alone. A series is forecast from an origin where its rows reach it.

The model is trained once, on periods up to `--until`, with the multi-quantile loss, and is not changed for later origins. The
time goes to training alone: not to reading, nor to the warm-up that finds the pace, which a learning rate that falls by
steps (NHITS) has to know beforehand. `--output` gets unique_id, forecast_origin, horizon (1 for the first period ahead), mean
and p10 to p90, clipped at zero and sorted. A quantile model has no mean: it is the median, or with `--mean quantiles` the
mean of the quantiles, which suits squared errors better.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

# Threads that spin while they wait make training many times slower as soon as anything else runs; read when torch starts.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from neuralforecast import NeuralForecast
from neuralforecast.losses.pytorch import MQLoss
from neuralforecast.models import NHITS, TFT, PatchTST
from pytorch_lightning.callbacks import Timer

from forecasting.periods import position, starts

# What differs from the defaults of neuralforecast 3.3.0's classes; all else is left as it is there (NHITS: 3 stacks of
# 2 x 512, pooling 2-2-1, downsampling 4-2-1, rate 1e-3 halved three times; TFT: 4 heads, dropout 0.1, robust scaler, rate
# 1e-3; PatchTST: 3 layers of 128, 16 heads, patches of 16 by 8, RevIN, rate 1e-4; all: 32 series a batch). `--set` changes any.
SETTINGS = {
    # "When including exogenous variables always use a scaler", robust: docs/capabilities/exogenous_variables.
    # Of AutoNHITS's window batches (128 to 1024) 256 gave two cores a better model in the same time than the default of 1024.
    NHITS: {"scaler_type": "robust", "windows_batch_size": 256},
    # The least of AutoTFT's search space. With the default of 128 wide and 1024 windows two cores make few steps.
    TFT: {"hidden_size": 64, "windows_batch_size": 128},
    # The least of AutoPatchTST's search space, for the same reason. It scales by RevIN, so no scaler.
    PatchTST: {"windows_batch_size": 128},
}
MODELS = {model.__name__: model for model in SETTINGS}
CONTEXT = 4  # horizons of history: the Auto models search 1 to 5 (PatchTST 1 to 3), the tutorial on M5 28 to 140 days
WARM_UP = 0.05, 10.0  # of the budget, but at least so many seconds
GRAIN = 256
UNLIMITED, ROOM = 1_000_000, 1.25
FREQUENCY = {"day": "D", "week": "W-MON", "month": "MS"}


class Watch(Timer):
    """Ends training when its time is over; counts steps, and tells the pace without the first, which is slower."""

    steps, first = 0, 0.0

    def on_train_batch_end(self, trainer, *args, **kwargs) -> None:
        super().on_train_batch_end(trainer, *args, **kwargs)
        self.steps = trainer.global_step
        self.first = self.first or self.time_elapsed()

    def pace(self) -> float:
        """Steps a second."""
        elapsed = self.time_elapsed()
        return 1 / elapsed if self.steps < 2 else (self.steps - 1) / (elapsed - self.first)


def calendar(days: pd.Series) -> dict[str, np.ndarray]:
    """Features of a day, each about -1 to 1."""
    week = 2 * np.pi * days.dt.day_of_week.to_numpy() / 7
    found = {"week_sin": np.sin(week), "week_cos": np.cos(week)}
    found |= {"month_day": days.dt.day.to_numpy() / 31 - 0.5, "year_day": days.dt.day_of_year.to_numpy() / 366 - 0.5}
    return {name: values.astype("float32") for name, values in found.items()}


def read_series(path: Path, future: Sequence[str], grain: str) -> pd.DataFrame:
    """The input, sorted, with `available_mask` 0 where y is null, and `number`, which counts periods."""
    frame = pd.read_parquet(path, columns=["unique_id", "ds", "y", *future])
    frame["ds"] = pd.to_datetime(frame["ds"]).astype("datetime64[ns]")
    frame = frame.sort_values(["unique_id", "ds"], ignore_index=True)
    frame["number"] = position(frame["ds"].to_numpy(), grain)
    apart = frame["number"].diff()[frame["unique_id"].eq(frame["unique_id"].shift())]
    if (apart != 1).any():
        at = frame.loc[apart.index[apart != 1][0]]
        raise SystemExit(
            f"{path}: series {at['unique_id']} leaves out or repeats a {grain} right before {at['ds']:%Y-%m-%d}"
        )
    if empty := [name for name in future if frame[name].isna().any()]:
        raise SystemExit(f"{path}: nulls in {', '.join(empty)}")
    # Window scalers divide by a deviation over the window. Of a constant 2.24 that is a rounding error, not zero, so the next
    # price would come out a millionfold; means of multiples of a power of two are exact.
    frame[list(future)] = (frame[list(future)].astype("float64") * GRAIN).round() / GRAIN
    frame["available_mask"] = frame["y"].notna().astype("float32")
    return frame.fillna({"y": 0}).astype(dict.fromkeys(("y", *future), "float32"))


def read_static(path: Path, names: Sequence[str]) -> pd.DataFrame:
    """One row a series: `names` one-hot, 0 in all columns where a value is null."""
    frame = pd.read_parquet(path, columns=["unique_id", *names]).astype(dict.fromkeys(names, "string"))
    return pd.get_dummies(frame, columns=list(names), prefix_sep="=", dtype="float32")


def make_model(options: argparse.Namespace, futures: list[str], statics: list[str], steps: int, seconds: float):
    """The network, untrained; its training ends with the steps or the seconds, whichever come first."""
    kind = MODELS[options.model]
    exogenous = {"futr_exog_list": futures} if futures else {}
    exogenous |= {"stat_exog_list": statics} if statics else {}
    return kind(
        h=options.horizon,
        input_size=options.context,
        loss=MQLoss(quantiles=options.quantiles),
        max_steps=steps,
        random_seed=options.seed,
        start_padding_enabled=True,  # or a series shorter than the context is refused
        valid_batch_size=512,  # of forecasting alone
        callbacks=[Watch({"milliseconds": int(seconds * 1000)}, verbose=False)],
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **exogenous,
        **(SETTINGS[kind] | options.set),
    )


def train(options: argparse.Namespace, history: pd.DataFrame, static: pd.DataFrame | None, futures: list[str]):
    """Warms up on a few series, then trains on all; returns the trained model and its figures."""
    statics = [] if static is None else [name for name in static if name != "unique_id"]
    names = history["unique_id"].unique()
    some = np.random.default_rng(options.seed).choice(names, min(320, len(names)), replace=False)

    def fit(data: pd.DataFrame, seconds: float, steps: int) -> tuple[NeuralForecast, Watch]:
        forecaster = NeuralForecast(
            [make_model(options, futures, statics, steps, seconds)], freq=FREQUENCY[options.grain]
        )
        chosen = None if static is None else static[static["unique_id"].isin(data["unique_id"])]
        forecaster.fit(data, static_df=chosen)
        return forecaster, forecaster.models[0].trainer_kwargs["callbacks"][0]  # it copies what it is given

    started = time.monotonic()
    tried, watch = fit(
        history[history["unique_id"].isin(some)], max(WARM_UP[0] * options.seconds, WARM_UP[1]), UNLIMITED
    )
    # Time is what ends training; only a rate that falls by steps (NHITS) needs a number of them, with room for a faster pace.
    falls = tried.models[0].num_lr_decays > 0
    steps = max(1, round(ROOM * watch.pace() * options.seconds)) if falls else UNLIMITED
    print(f"warm-up: {watch.steps} steps, {watch.pace():.2f} a second", flush=True)
    warm = time.monotonic()
    forecaster, watch = fit(history, options.seconds, steps)
    model, seconds = forecaster.models[0], watch.time_elapsed()
    return forecaster, {
        "training_seconds": (seconds, "s"),
        "windows_per_second": (watch.steps * model.windows_batch_size / seconds, "windows/s"),
        "steps": (watch.steps, "steps"),
        "steps_planned": (steps, "steps"),
        "batch_size": (model.windows_batch_size, "windows"),
        "batch_series": (model.batch_size, "series"),
        "parameters": (sum(p.numel() for p in model.parameters() if p.requires_grad), "parameters"),
        "warm_up_seconds": (warm - started, "s"),
        "prepare_seconds": (time.monotonic() - warm - seconds, "s"),
    }


def forecast(
    options: argparse.Namespace,
    forecaster: NeuralForecast,
    frame: pd.DataFrame,
    static: pd.DataFrame | None,
    futures: list[str],
    origin: pd.Timestamp,
) -> pd.DataFrame:
    """Forecasts from the end of the period that begins on `origin`; of those after it only `futures` is looked at."""
    now = int(position(origin.to_numpy(), options.grain))
    known = frame[(frame["number"] <= now) & (frame["number"] > now - options.context)]
    alive = known.loc[known["ds"] == origin, "unique_id"]
    if missing := known["unique_id"].nunique() - len(alive):
        print(f"{missing} series end before {origin:%Y-%m-%d} and are not forecast", flush=True)
    days = pd.to_datetime(starts(origin.date(), options.horizon + 1, options.grain)[1:])
    ahead = pd.MultiIndex.from_product([alive, days], names=["unique_id", "ds"]).to_frame(index=False)
    if options.future:
        ahead = ahead.merge(frame[["unique_id", "ds", *options.future]], how="left", on=["unique_id", "ds"])
        if absent := int(ahead[options.future[0]].isna().sum()):
            raise SystemExit(
                f"{absent} rows of the {options.horizon} {options.grain}s after {origin:%Y-%m-%d} are not in the input"
            )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = forecaster.predict(
            known.loc[known["unique_id"].isin(alive), ["unique_id", "ds", "y", "available_mask", *futures]],
            static_df=None if static is None else static[static["unique_id"].isin(alive)],
            futr_df=ahead.assign(**calendar(ahead["ds"]))[["unique_id", "ds", *futures]] if futures else None,
        )
    quantiles = np.sort(found.drop(columns=["unique_id", "ds"]).to_numpy("float32").clip(0), axis=1)
    mean = quantiles.mean(1) if options.mean == "quantiles" else quantiles[:, options.quantiles.index(0.5)]
    columns = {"unique_id": found["unique_id"], "forecast_origin": origin.date()}
    columns |= {"horizon": (position(found["ds"].to_numpy(), options.grain) - now).astype("int32"), "mean": mean}
    columns |= {f"p{100 * level:g}": quantiles[:, i] for i, level in enumerate(options.quantiles)}
    return pd.DataFrame(columns)


def setting(text: str) -> tuple[str, object]:
    name, _, value = text.partition("=")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def listed(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def options_of(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, required=True, help="a Parquet file or a folder of them")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--model", choices=MODELS, required=True)
    parser.add_argument("--until", type=pd.Timestamp, required=True, help="the last period of training")
    parser.add_argument("--grain", choices=FREQUENCY, default="day", help="what a period is")
    parser.add_argument("--origins", type=listed, default=[], help="periods, not before --until, which is the default")
    parser.add_argument("--horizon", type=int, default=28)
    parser.add_argument(
        "--context", type=int, help=f"periods of history that a forecast sees; default: {CONTEXT} horizons"
    )
    parser.add_argument("--quantiles", type=listed, default=[f"0.{i}" for i in range(1, 10)], help="ascending")
    parser.add_argument("--mean", choices=("median", "quantiles"), default="median")
    parser.add_argument("--seconds", type=float, default=600, help="time for training")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--static-input", type=Path, help="a Parquet file with unique_id and static columns")
    parser.add_argument("--static", type=listed, default=[], help="columns of --static-input")
    parser.add_argument("--future", type=listed, default=[], help="columns of --input that are known ahead")
    parser.add_argument(
        "--set", type=setting, nargs="*", default=[], metavar="NAME=JSON", help="the model's own settings"
    )
    options = parser.parse_args(argv)
    options.context = options.context or CONTEXT * options.horizon
    options.quantiles = sorted(float(level) for level in options.quantiles)
    options.origins = [pd.Timestamp(day) for day in options.origins] or [options.until]
    options.set = dict(options.set)
    if min(options.origins) < options.until:
        parser.error("--origins: the model would have seen the periods after an origin that lies before --until")
    if options.static and not options.static_input:
        parser.error("--static needs --static-input")
    if options.mean == "median" and 0.5 not in options.quantiles:
        parser.error("--mean median needs the quantile 0.5")
    if not MODELS[options.model].EXOGENOUS_FUTR and (options.static or options.future):
        print(f"{options.model} takes neither static nor known-future columns: left out")
        options.static, options.future = [], []
    return options


def main(argv: Sequence[str] | None = None) -> None:
    options = options_of(argv)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="(pytorch_lightning|neuralforecast|utilsforecast).*")
    torch.set_num_threads(options.threads)
    frame = read_series(options.input, options.future, options.grain)
    static = read_static(options.static_input, options.static) if options.static else None
    futures = list(options.future)
    if MODELS[options.model].EXOGENOUS_FUTR:
        features = calendar(frame["ds"])
        frame, futures = frame.assign(**features), [*futures, *features]
    history = frame.loc[frame["ds"] <= options.until, ["unique_id", "ds", "y", "available_mask", *futures]]
    print(f"{history['unique_id'].nunique()} series, {len(history)} rows, inputs known ahead: {futures}", flush=True)
    forecaster, figures = train(options, history, static, futures)
    del history
    started = time.monotonic()
    found = [forecast(options, forecaster, frame, static, futures, origin) for origin in options.origins]
    figures["predict_seconds"] = (time.monotonic() - started, "s")
    figures["peak_memory"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, "GiB")
    result = pd.concat(found, ignore_index=True)
    result.to_parquet(options.output, index=False)
    figures["forecasts"] = (len(result), "rows")
    for name, (value, unit) in figures.items():
        print(f"figure {name} {value:.{0 if isinstance(value, int) else 2}f} {unit}")


if __name__ == "__main__":
    main()
