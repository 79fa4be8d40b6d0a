"""How the network says what demand a day may have: a few free numbers a day are read as a distribution or as its quantiles.

A head knows how unlikely what came was by its numbers, which training lowers, and the quantiles of several members together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import tensorflow as tf

from forecasting.models.heads.amounts import Measure
from forecasting.models.heads.mixture import LogisticMixture
from forecasting.models.heads.negative_binomial import NegativeBinomial
from forecasting.models.heads.quantiles import Quantiles
from forecasting.models.spec import ModelSpec


class Head(Protocol):
    """Shapes: [...] stands for series, origins and days ahead; N free numbers, Q levels."""

    numbers: int  # free numbers that it reads of a day

    def surprise(self, out: tf.Tensor, actual: tf.Tensor, censored: tf.Tensor, measure: Measure) -> tf.Tensor:
        """How badly the numbers foretold what came, [...].

        Args:
            out: [..., N]. actual: [...], units, 0 or more. censored: [...], 1 where demand was no less than `actual`.
        """

    def quantiles(self, outs: Sequence[tf.Tensor], measure: Measure, levels: tf.Tensor) -> tf.Tensor:
        """Quantiles in units that members who weigh the same give together, [..., Q]; rising, 0 or more.

        Args:
            outs: of each member, [..., N]. levels: [Q], ascending.
        """


def head_of(spec: ModelSpec) -> Head:
    """The head that a specification names."""
    heads = {
        "mixture": lambda: LogisticMixture(spec.components),
        "negative_binomial": NegativeBinomial,
        "quantiles": lambda: Quantiles(spec.quantiles),
    }
    return heads[spec.head]()


__all__ = ["Head", "Measure", "head_of"]
