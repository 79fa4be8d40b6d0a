"""Training that goes on from an earlier model, on new data with new items and new values of attributes."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np

from forecasting.config import Config
from forecasting.errors import TrainingError
from forecasting.models import artifact
from forecasting.models.spec import STATIC, UNKNOWN, ModelSpec

#: What a network that goes on must share with the one it goes on from: all that its weights have a shape of.
SHAPE = (
    *("grain", "context", "patch", "horizon", "encoder", "width", "layers", "heads"),
    *("head", "head_width", "components", "members", "static_width"),
)


def parent_path(config: Config) -> str | None:
    """Where the model lies from which training goes on; None where it begins anew."""
    named = config.training.warm_start
    if named is None or named.endswith(artifact.FILE):
        return named
    return f"{named if '/' in named else f'{config.lake.models}/{named}'}/{artifact.FILE}"


def going_on(spec: ModelSpec, path: str, until: date) -> ModelSpec:
    """The specification of a model that goes on from the one at `path`: it reads what that one read, and knows the values of
    attributes that either has.

    Args:
        spec: of a model of the new data that begins anew. until: last period that training may see.

    Raises:
        TrainingError: there is no such model, it has another shape, or it has seen what training may not.
    """
    parent, _ = _read(path)
    if other := [name for name in SHAPE if getattr(spec, name) != getattr(parent, name)]:
        told = ", ".join(f"{name} {getattr(parent, name)} and not {getattr(spec, name)}" for name in other)
        raise TrainingError(
            f"training.warm_start: expected a model of the same shape at {path}, came one of {told}. "
            "Take its settings, or train anew with training.warm_start=null."
        )
    if spec.head == "quantiles" and spec.quantiles != parent.quantiles:
        raise TrainingError(
            f"training.warm_start: expected a model of the levels {list(spec.quantiles)} at {path}, came {list(parent.quantiles)}. "
            "Take its forecast.quantiles, or train anew with training.warm_start=null."
        )
    if parent.trained_until > until:
        raise TrainingError(
            f"training.warm_start: expected a model that saw nothing after {until}, where this training ends, came one that was "
            f"trained until {parent.trained_until}: a backtest of it would be judged by what it has seen. Take an earlier one."
        )
    words = {
        name: tuple(sorted({*parent.inputs.vocabulary(name), *spec.inputs.vocabulary(name)}))
        for name in STATIC
        if parent.inputs.vocabularies
    }
    return replace(spec, inputs=replace(parent.inputs, vocabularies=words))


def take_over(model, spec: ModelSpec, path: str) -> None:
    """Gives a model of the specification of `going_on` the weights of the one at `path`; a value that is new to it begins as
    the unknown one."""
    parent, weights = _read(path)
    taken = []
    for variable, weight in zip(model.weights, weights, strict=True):
        layer = variable.path.split("/")[-2]
        column = layer.removeprefix("static_")
        if layer.startswith("static_") and column in STATIC:
            weight = _rows_of(weight, parent.inputs.vocabulary(column), spec.inputs.vocabulary(column))
        taken.append(weight)
    model.set_weights(taken)


def _rows_of(embedding: np.ndarray, known: tuple[str, ...], wanted: tuple[str, ...]) -> np.ndarray:
    """Rows of the unknown value and of the wanted ones, from those of the unknown value and of the known ones."""
    place = {word: row for row, word in enumerate(known, start=1)}
    return embedding[[UNKNOWN, *(place.get(word, UNKNOWN) for word in wanted)]]


def _read(path: str) -> tuple[ModelSpec, list[np.ndarray]]:
    if not artifact.exists(path):
        raise TrainingError(
            f"training.warm_start: expected a model at {path}, came none. Name a model_version under lake.model_path, or the path of "
            "a model.npz."
        )
    spec, weights, _ = artifact.unpack(artifact.read_bytes(path))
    return spec, weights
