"""Matrix products with weights, in the precision of a specification."""

from __future__ import annotations

from typing import Any

import keras

from forecasting.models.spec import ModelSpec

POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}  # names of Keras' for what weights and products are


def dense(spec: ModelSpec, units: int, **settings: Any) -> keras.layers.Dense:
    """A dense layer that multiplies, and answers, in the precision of the specification; its weights are float32 in each."""
    return keras.layers.Dense(units, dtype=keras.DTypePolicy(POLICIES[spec.precision]), **settings)
