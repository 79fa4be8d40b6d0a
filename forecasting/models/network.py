"""The network: an encoder over patches of periods, and a head that knows what is planned and foretold of each day ahead.

Every patch end is a forecast origin. A causal encoder gives all of them one state each in a single pass ("forking
sequences", Wen et al. 2017, MQ-RNN); the head joins an origin's state with what that origin knows of each day ahead, and gives
the distribution of that day's demand and its mean. Several members, which differ in where their weights began, may answer
together (deep ensembles, Lakshminarayanan et al. 2017).

Shapes: B series, T periods of context, P = T / patch tokens, O origins, H horizon, Q quantile levels, D width, F free
numbers of a day's distribution, K columns and kinds of promotions, N signals, E numbers of a period in a calendar.
"""

from __future__ import annotations

from typing import NamedTuple

import keras
import tensorflow as tf

from forecasting.models.encoders import encoder
from forecasting.models.heads import Measure, head_of
from forecasting.models.heads.amounts import smallest
from forecasting.models.products import dense
from forecasting.models.reading import Reading, read
from forecasting.models.shared import PLAIN
from forecasting.models.spec import OF_SALES, STATIC, UNKNOWN, ModelSpec

SMALLEST_LEVEL = 0.001  # units a period; added to the level from which the mean starts
MOST_CHANGE = 7.0  # logarithm of the most that the mean can differ from the level


class Demand(NamedTuple):
    """What a member says of days ahead: `out`, free numbers of the head [B, O, H, F]; `mean` and `measure` [B, O, H], in units."""

    out: tf.Tensor
    mean: tf.Tensor
    measure: Measure


class DemandNetwork(keras.Model):
    """`model(inputs, origins)` gives quantiles [B, O, H, Q] and mean [B, O, H], in units.

    inputs: as `batches.network_input` makes them:
        quantity, observed, censored: [B, T]; past, groups: [B, T, columns]; price, price_lead, lead: [B, T + H]; planned: [B, T + H, K];
        static: [B, len(STATIC)]; plan: [B]; calendar: [calendars, T + H, E]; reach: [T + H]; calendar_of: [B];
        signals: [B, T, N]; foretold, foretold_known: [B, O, H + 2, N], from the origin on.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec, self.head = spec, head_of(spec)
        self.members = [Member(spec, name=f"member_{number}") for number in range(spec.members)]

    def call(self, inputs: dict[str, tf.Tensor], origins: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Args: origins: [O] int32, numbers of patches."""
        said = self.demand(inputs, origins)
        at = tf.constant(self.spec.quantiles, tf.float32)
        quantiles = self.head.quantiles([each.out for each in said], said[0].measure, at)
        return quantiles, tf.add_n([each.mean for each in said]) / len(said)

    def demand(self, inputs: dict[str, tf.Tensor], origins: tf.Tensor, seed: tf.Tensor | None = None) -> list[Demand]:
        """What each member says. seed: [2] int32 for dropout, None for none."""
        reading = read(inputs, origins, self.spec)
        scale = tf.tile(reading.scale, [1, 1, self.spec.horizon])
        unit = smallest(tf.tile(reading.whole, [1, 1, self.spec.horizon]), scale)
        said = []
        for number, member in enumerate(self.members):
            out = member(reading, None if seed is None else tf.add(seed, [1_000 * number, 0]))
            # The mean starts from the level, so that items that hardly sell are not given the mean of those that do.
            change = tf.clip_by_value(out[..., -1], -MOST_CHANGE, MOST_CHANGE)
            mean = (reading.level + SMALLEST_LEVEL) * tf.exp(change)
            said.append(Demand(out[..., :-1], mean, Measure(scale, unit)))
        return said


class Member(keras.layers.Layer):
    """All weights of one network: `member(reading, seed)` gives the free numbers of the head and one of the mean,
    [B, O, H, F + 1]."""

    def __init__(self, spec: ModelSpec, name: str) -> None:
        super().__init__(name=name)
        self.spec = spec
        self.token = dense(spec, spec.width, name="token")
        self.embeddings = [
            keras.layers.Embedding(len(spec.inputs.vocabulary(column)) + 1, spec.static_width, name=f"static_{column}")
            for column in STATIC
        ]
        self.static = dense(spec, spec.width, name="static")
        # Named events start without an effect: of one that training does not meet again, nothing is guessed.
        zeros = {"use_bias": False, "kernel_initializer": "zeros"}
        self.token_calendar = dense(spec, spec.width, **zeros, name="token_calendar")
        self.encoder = encoder(spec)
        self.head_state = dense(spec, spec.head_width, name="head_state")
        self.head_day = dense(spec, spec.head_width, use_bias=False, name="head_day")
        self.head_calendar = dense(spec, spec.head_width, use_bias=False, name="head_calendar")
        self.head_events = dense(spec, spec.head_width, **zeros, name="head_events")
        self.head_hidden = dense(spec, spec.head_width, activation="relu", name="head_hidden")
        # So small that the first forecasts are the level, and the head as it is at zero.
        small = keras.initializers.RandomNormal(stddev=0.02)
        self.head_out = keras.layers.Dense(head_of(spec).numbers + 1, kernel_initializer=small, name="head_out")
        self.horizon = keras.layers.Embedding(spec.horizon, spec.head_width, name="horizon")

    def call(self, reading: Reading, seed: tf.Tensor | None = None) -> tf.Tensor:
        hidden = (
            self.head_state(self._encode(reading, seed))[:, :, None]
            + self.head_day(reading.days)
            + self._calendar_ahead(reading)
        )
        return self.head_out(self.head_hidden(tf.nn.relu(hidden)))

    def _encode(self, reading: Reading, seed: tf.Tensor | None) -> tf.Tensor:
        """States of the origins: [B, O, D]. A state sees nothing behind its own patch."""
        shared = tf.gather(self.token_calendar(reading.token_calendar), reading.calendar_of)
        x = self.token(reading.tokens) + shared + self._attributes(reading)
        return self.encoder(tf.cast(x, tf.float32), reading.present, reading.origins, seed)

    def _attributes(self, reading: Reading) -> tf.Tensor:
        """What the attributes say at each token, [B, P, D]: before the first sale without those that it tells."""
        codes = tf.unstack(reading.static, axis=1)
        before = [
            tf.fill(tf.shape(code), UNKNOWN) if name in OF_SALES else code
            for name, code in zip(STATIC, codes, strict=True)
        ]
        new, known = (
            self.static(tf.concat([embed(code) for embed, code in zip(self.embeddings, each, strict=True)], axis=-1))
            for each in (before, codes)
        )
        begun = tf.cumsum(reading.present, axis=1) > 0
        return tf.where(begun[..., None], known[:, None], new[:, None])

    def _calendar_ahead(self, reading: Reading) -> tf.Tensor:
        """What the calendar and the distance say of each day ahead: [B, O, H, head width]."""
        plain, events = reading.calendar[..., :PLAIN], reading.calendar[..., PLAIN:]
        said = self.head_calendar(plain) + self.head_events(events)  # [calendars, T + H, head width]
        ahead = tf.cast(self.horizon(tf.range(self.spec.horizon)), said.dtype)
        said = tf.gather(said, reading.ahead, axis=1) + ahead
        return tf.gather(said, reading.calendar_of)
