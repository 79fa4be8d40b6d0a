"""The network: a causal Transformer over patches of periods, and a head that knows the future calendar and promotions.

Every patch end is a forecast origin. A causal encoder gives all of them one state each in a single pass ("forking
sequences", Wen et al. 2017, MQ-RNN); the head joins an origin's state with what is known of each day ahead and gives that
day's quantiles. Demand is scaled by a level that the origin knows, so that one network serves all volumes.

Shapes: B series, T periods of context, P = T / patch tokens, O origins, H horizon, Q quantile levels, D width.
"""

from __future__ import annotations

from typing import NamedTuple

import keras
import tensorflow as tf

from forecasting.models import distribution
from forecasting.models.spec import CALENDAR, KNOWN, STATIC, ModelSpec
from forecasting.periods import DAYS

RECENT = 8  # patches of the trailing level
LAGS = 4  # patches whose same phase the head sees
SMALLEST_LEVEL = 0.001  # units a period; added to the level from which the mean starts
MOST_CHANGE = 7.0  # logarithm of the most that the mean can differ from the level


class Demand(NamedTuple):
    """What the network says of days ahead: `mixture` [B, O, H, 3 C], see `models.distribution`; `mean`, `scale` and `unit`
    [B, O, H], in units."""

    mixture: tf.Tensor
    mean: tf.Tensor
    scale: tf.Tensor
    unit: tf.Tensor


class DemandTransformer(keras.Model):
    """`model(inputs, origins, seed)` gives quantiles [B, O, H, Q] and mean [B, O, H], in units.

    inputs:
        quantity, observed: [B, T]; past: [B, T, len(PAST)]; known: [B, T + H, len(KNOWN)]; static: [B, len(STATIC)] int32;
        calendar: [T + H, CALENDAR + 1], shared by the batch.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.token = keras.layers.Dense(spec.width, name="token")
        self.embeddings = [
            keras.layers.Embedding(len(spec.vocabularies[name]) + 1, spec.static_width, name=f"static_{name}")
            for name in STATIC
        ]
        self.static = keras.layers.Dense(spec.width, name="static")
        self.blocks = [Block(spec, name=f"block_{index}") for index in range(spec.layers)]
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5, name="norm")
        self.head_state = keras.layers.Dense(spec.head_width, name="head_state")
        self.head_day = keras.layers.Dense(spec.head_width, use_bias=False, name="head_day")
        self.head_calendar = keras.layers.Dense(spec.head_width, use_bias=False, name="head_calendar")
        self.head_hidden = keras.layers.Dense(spec.head_width, activation="relu", name="head_hidden")
        # So small that the first forecasts are the level and the centres as they lie.
        small = keras.initializers.RandomNormal(stddev=0.02)
        self.head_out = keras.layers.Dense(3 * spec.components + 1, kernel_initializer=small, name="head_out")
        self.horizon = keras.layers.Embedding(spec.horizon, spec.head_width, name="horizon")

    def call(
        self, inputs: dict[str, tf.Tensor], origins: tf.Tensor, seed: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Args: origins: [O] int32, numbers of patches; seed: [2] int32 for dropout, None for none."""
        demand = self.demand(inputs, origins, seed)
        levels = tf.constant(self.spec.quantiles, tf.float32)
        quantiles = distribution.quantiles(demand.mixture, demand.scale, demand.unit, levels, self.spec.components)
        return quantiles, demand.mean

    def demand(self, inputs: dict[str, tf.Tensor], origins: tf.Tensor, seed: tf.Tensor | None) -> Demand:
        """The distribution of demand of each origin and day ahead."""
        level, scale = levels(inputs["quantity"], inputs["observed"], self.spec.patch)
        states = self.encode(inputs, level, scale, seed)
        whole = _whole(inputs["quantity"], self.spec.patch)
        states, level, scale, whole = (tf.gather(x, origins, axis=1) for x in (states, level, scale, whole))
        level, scale, whole = (x[..., None] for x in (level, scale, whole))
        days = self.days_ahead(inputs, origins, scale)
        calendar = tf.gather(inputs["calendar"], self._ahead(origins))[..., :CALENDAR]  # [O, H, CALENDAR]
        shared = self.head_calendar(calendar) + self.horizon(tf.range(self.spec.horizon))
        hidden = tf.nn.relu(self.head_state(states)[:, :, None] + self.head_day(days) + shared)
        out = self.head_out(self.head_hidden(hidden))
        # The mean starts from the level, so that items that hardly sell are not given the mean of those that do.
        change = tf.clip_by_value(out[..., -1], -MOST_CHANGE, MOST_CHANGE)
        mean = (level + SMALLEST_LEVEL) * tf.exp(change)
        scale = tf.broadcast_to(scale, tf.shape(mean))
        unit = distribution.units(tf.broadcast_to(whole, tf.shape(mean)), scale)
        return Demand(out[..., :-1], mean, scale, unit)

    def encode(
        self, inputs: dict[str, tf.Tensor], level: tf.Tensor, scale: tf.Tensor, seed: tf.Tensor | None
    ) -> tf.Tensor:
        """States of all origins: [B, P, D]. A state sees nothing behind its own patch."""
        x = self.token(self._tokens(inputs, level, scale))
        static = tf.concat([embed(inputs["static"][:, i]) for i, embed in enumerate(self.embeddings)], axis=-1)
        x = x + self.static(static)[:, None]
        present = tf.reduce_max(_patches(inputs["observed"], self.spec.patch), axis=-1)  # [B, P]
        bias = _attention_bias(present, self.spec.heads)
        for index, block in enumerate(self.blocks):
            x = block(x, bias, None if seed is None else seed + index)
        return self.norm(x)

    def days_ahead(self, inputs: dict[str, tf.Tensor], origins: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        """What is known per series of each day ahead: planned promotions, whether they are known, and the same phase of the
        last patches: [B, O, H, len(KNOWN) + 1 + LAGS]."""
        spec = self.spec
        ahead = self._ahead(origins)
        lead = tf.cast(tf.range(spec.horizon) < lead_periods(spec), tf.float32)
        reach = tf.gather(inputs["calendar"][:, -1], ahead) * lead  # [O, H]
        reach = reach[None, :, :, None] * inputs["plan"][:, None, None, None]
        known = tf.gather(inputs["known"], ahead, axis=1) * reach  # [B, O, H, KNOWN]
        patches = _patches(inputs["quantity"], spec.patch)
        before = tf.maximum(origins[:, None] - tf.range(LAGS)[None, :], 0)
        lags = tf.gather(patches, before, axis=1) / scale[..., None]  # [B, O, LAGS, patch]
        phase = tf.range(spec.horizon) % spec.patch
        lags = tf.transpose(tf.gather(lags, phase, axis=3), [0, 1, 3, 2])
        return tf.concat([known, reach, _squash(lags)], axis=-1)

    def _ahead(self, origins: tf.Tensor) -> tf.Tensor:
        """Columns of the days ahead of each origin: [O, H]."""
        return (origins[:, None] + 1) * self.spec.patch + tf.range(self.spec.horizon)[None, :]

    def _tokens(self, inputs: dict[str, tf.Tensor], level: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        """[B, P, features]: the days of a patch, and what sums it up."""
        spec, patch = self.spec, self.spec.patch
        quantity, observed = inputs["quantity"], inputs["observed"]
        promotions = inputs["known"][:, : spec.context] * inputs["calendar"][None, : spec.context, -1:]
        price, discount = inputs["past"][..., 0], inputs["past"][..., 1]
        days = [
            _squash(_patches(quantity, patch) / scale[..., None]),
            _patches(observed, patch),
            _patches(discount, patch),
        ]
        days += [_patches(promotions[..., kind], patch) for kind in range(len(KNOWN))]
        price_now = _patches(price, patch)[..., -1]
        price_before = _running_mean(price_now, tf.cast(price_now > 0, tf.float32))
        calendar = inputs["calendar"][patch - 1 : spec.context : patch, :CALENDAR]
        sums = [
            tf.math.log(level + 0.01),
            tf.math.log(scale),
            tf.math.log1p(price_now),
            tf.where(price_now > 0, tf.math.log((price_now + 0.01) / (price_before + 0.01)), 0.0),
            tf.math.log1p(tf.cumsum(tf.reduce_sum(_patches(observed, patch), axis=-1), axis=1)) / 5.0,
        ]
        shared = tf.broadcast_to(calendar[None], tf.concat([tf.shape(level), [CALENDAR]], axis=0))
        return tf.concat([*days, tf.stack(sums, axis=-1), shared], axis=-1)


class Block(keras.layers.Layer):
    """Pre-norm causal attention and a feed-forward layer, each with a residual path."""

    def __init__(self, spec: ModelSpec, name: str) -> None:
        super().__init__(name=name)
        self.heads, self.rate = spec.heads, spec.dropout
        self.norm_attention = keras.layers.LayerNormalization(epsilon=1e-5, name="norm_attention")
        self.norm_feed = keras.layers.LayerNormalization(epsilon=1e-5, name="norm_feed")
        self.qkv = keras.layers.Dense(3 * spec.width, use_bias=False, name="qkv")
        self.out = keras.layers.Dense(spec.width, name="out")
        self.feed = keras.layers.Dense(4 * spec.width, activation="relu", name="feed")
        self.back = keras.layers.Dense(spec.width, name="back")

    def call(self, x: tf.Tensor, bias: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """x: [B, P, D]; bias: [B, heads, P, P], added to the attention logits."""
        batch, tokens, width = tf.shape(x)[0], x.shape[1], x.shape[2]
        qkv = tf.reshape(self.qkv(self.norm_attention(x)), [batch, tokens, 3, self.heads, width // self.heads])
        q, k, v = tf.unstack(tf.transpose(qkv, [2, 0, 3, 1, 4]))  # [B, heads, P, D / heads] each
        logits = tf.matmul(q, k, transpose_b=True) * (width // self.heads) ** -0.5 + bias
        mixed = tf.transpose(tf.matmul(tf.nn.softmax(logits), v), [0, 2, 1, 3])
        x = x + _dropout(self.out(tf.reshape(mixed, [batch, tokens, width])), self.rate, seed, 0)
        return x + _dropout(self.back(self.feed(self.norm_feed(x))), self.rate, seed, 1)


def levels(quantity: tf.Tensor, observed: tf.Tensor, patch: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Level and scale of demand as each origin knows them: [B, P] each, from the past alone.

    The level is the mean of the last RECENT patches, shrunk to the mean of all by one patch's weight. The scale,
    sqrt(level + level^2), goes with the root of the level for rare demand, as a count's deviation does, and with the level
    itself for frequent demand.
    """
    totals, counts = tf.reduce_sum(_patches(quantity, patch), -1), tf.reduce_sum(_patches(observed, patch), -1)
    totals = tf.maximum(totals, 0.0)
    all_totals, all_counts = tf.cumsum(totals, axis=1), tf.cumsum(counts, axis=1)
    old_totals, old_counts = (tf.pad(x, [[0, 0], [RECENT, 0]])[:, : x.shape[1]] for x in (all_totals, all_counts))
    mean = all_totals / tf.maximum(all_counts, 1.0)
    level = (all_totals - old_totals + patch * mean) / (all_counts - old_counts + patch)
    level = tf.maximum(level, 0.0)
    return level, tf.sqrt(level + tf.square(level)) + 0.05


def _whole(quantity: tf.Tensor, patch: int) -> tf.Tensor:
    """1 where all demand up to a patch's end was in whole units, else 0: [B, P]."""
    whole = tf.cast(tf.equal(quantity, tf.round(quantity)), tf.float32)
    return tf.math.cumprod(tf.reduce_min(_patches(whole, patch), axis=-1), axis=1)


def lead_periods(spec: ModelSpec) -> int:
    """Periods ahead within which a promotion is known."""
    return int(spec.promotion_lead / DAYS[spec.grain])


def _patches(x: tf.Tensor, patch: int) -> tf.Tensor:
    """[B, T] to [B, T / patch, patch]."""
    return tf.reshape(x, [-1, x.shape[1] // patch, patch])


def _running_mean(x: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    return tf.cumsum(x * weight, axis=1) / tf.maximum(tf.cumsum(weight, axis=1), 1.0)


def _squash(x: tf.Tensor) -> tf.Tensor:
    """Large values grow as their logarithm, so that one day does not drown a patch."""
    return tf.sign(x) * tf.math.log1p(tf.abs(x))


def _attention_bias(present: tf.Tensor, heads: int) -> tf.Tensor:
    """Causal mask, linear distance biases (Press et al. 2022, ALiBi), and no attention to patches before the first sale.

    Args:
        present: [B, P], 1 where a patch has an observed period.

    Returns:
        [B, heads, P, P].
    """
    tokens = present.shape[1]
    distance = tf.range(tokens)[:, None] - tf.range(tokens)[None, :]
    slopes = tf.constant([2.0 ** (-8.0 * (head + 1) / heads) for head in range(heads)])
    bias = -slopes[:, None, None] * tf.cast(distance, tf.float32)[None]
    bias = tf.where(distance[None] >= 0, bias, -1e9)
    absent = (1.0 - present)[:, None, None, :] * tf.cast(distance != 0, tf.float32) * -1e9
    return bias[None] + absent


def _dropout(x: tf.Tensor, rate: float, seed: tf.Tensor | None, place: int) -> tf.Tensor:
    """Dropout whose draw depends on the seed alone, so that a resumed training draws the same."""
    if seed is None or rate == 0.0:
        return x
    keep = tf.random.stateless_uniform(tf.shape(x), tf.add(seed, [0, 101 * (place + 1)])) >= rate
    return tf.where(keep, x / (1.0 - rate), 0.0)
