"""The network: an encoder over patches of periods, and a head that knows what is planned and foretold of each day ahead.

Every patch end is a forecast origin. A causal encoder gives all of them one state each in a single pass ("forking
sequences", Wen et al. 2017, MQ-RNN); the head joins an origin's state with what that origin knows of each day ahead, and gives
the distribution of that day's demand and its mean. Demand is scaled by a level that the origin knows, so that one network serves
all volumes.

Shapes: B series, T periods of context, P = T / patch tokens, O origins, H horizon, Q quantile levels, D width, C components,
K columns and kinds of promotions, N signals, E numbers of a period in a calendar.
"""

from __future__ import annotations

from typing import NamedTuple

import keras
import tensorflow as tf

from forecasting.models import distribution
from forecasting.models.batches import NEIGHBOURS
from forecasting.models.encoders import encoder
from forecasting.models.shared import PLAIN
from forecasting.models.spec import STATIC, ModelSpec
from forecasting.periods import SEASON

RECENT = 8  # patches of the trailing level
LAGS = 4  # patches whose same phase the head sees one by one
PROFILES = (8, 26)  # patches over which it sees the mean of the same phase
TRENDS = (1, 4, 26)  # patches whose mean is told against the level
YEAR = {"day": 364, "week": 52, "month": 12}  # periods; of days whole weeks, so that weekdays meet
SMALLEST_LEVEL = 0.001  # units a period; added to the level from which the mean starts
MOST_CHANGE = 7.0  # logarithm of the most that the mean can differ from the level


class Demand(NamedTuple):
    """What the network says of days ahead: `mixture` [B, O, H, 3 C], see `models.distribution`; `mean`, `scale` and `unit`
    [B, O, H], in units."""

    mixture: tf.Tensor
    mean: tf.Tensor
    scale: tf.Tensor
    unit: tf.Tensor


class DemandNetwork(keras.Model):
    """`model(inputs, origins, seed)` gives quantiles [B, O, H, Q] and mean [B, O, H], in units.

    inputs: as `batches.network_input` makes them:
        quantity, observed, censored: [B, T]; past: [B, T, columns]; price, price_lead, lead: [B, T + H]; planned: [B, T + H, K];
        static: [B, len(STATIC)]; plan: [B]; calendar: [calendars, T + H, E]; reach: [T + H]; calendar_of: [B];
        signals: [B, T, N]; foretold, foretold_known: [B, O, H + 2, N], from the origin on.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        dense = keras.layers.Dense
        self.token = dense(spec.width, name="token")
        self.embeddings = [
            keras.layers.Embedding(len(spec.inputs.vocabulary(name)) + 1, spec.static_width, name=f"static_{name}")
            for name in STATIC
        ]
        self.static = dense(spec.width, name="static")
        # Named events start without an effect: of one that training does not meet again, nothing is guessed.
        self.token_calendar = dense(spec.width, use_bias=False, kernel_initializer="zeros", name="token_calendar")
        self.encoder = encoder(spec)
        self.head_state = dense(spec.head_width, name="head_state")
        self.head_day = dense(spec.head_width, use_bias=False, name="head_day")
        self.head_calendar = dense(spec.head_width, use_bias=False, name="head_calendar")
        self.head_events = dense(spec.head_width, use_bias=False, kernel_initializer="zeros", name="head_events")
        self.head_hidden = dense(spec.head_width, activation="relu", name="head_hidden")
        # So small that the first forecasts are the level and the centres as they lie.
        small = keras.initializers.RandomNormal(stddev=0.02)
        self.head_out = dense(3 * spec.components + 1, kernel_initializer=small, name="head_out")
        self.horizon = keras.layers.Embedding(spec.horizon, spec.head_width, name="horizon")

    def call(
        self, inputs: dict[str, tf.Tensor], origins: tf.Tensor, seed: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Args: origins: [O] int32, numbers of patches; seed: [2] int32 for dropout, None for none."""
        demand = self.demand(inputs, origins, seed)
        at = tf.constant(self.spec.quantiles, tf.float32)
        quantiles = distribution.quantiles(demand.mixture, demand.scale, demand.unit, at, self.spec.components)
        return quantiles, demand.mean

    def demand(self, inputs: dict[str, tf.Tensor], origins: tf.Tensor, seed: tf.Tensor | None) -> Demand:
        """The distribution of demand of each origin and day ahead."""
        seen = inputs["observed"] * (1.0 - inputs["censored"])
        level, scale = levels(inputs["quantity"] * seen, seen, self.spec.patch)
        states = self.encode(inputs, level, scale, seed)
        whole = _whole(inputs["quantity"], self.spec.patch)
        states, level, scale, whole = (tf.gather(x, origins, axis=1) for x in (states, level, scale, whole))
        level, scale, whole = (x[..., None] for x in (level, scale, whole))
        days = self.days_ahead(inputs, origins, scale)
        hidden = self.head_state(states)[:, :, None] + self.head_day(days) + self.calendar_ahead(inputs, origins)
        out = self.head_out(self.head_hidden(tf.nn.relu(hidden)))
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
        patch = self.spec.patch
        calendar = inputs["calendar"][:, : self.spec.context]  # of a patch the mean of its days
        calendar = tf.reduce_mean(tf.reshape(calendar, [-1, self.spec.patches, patch, calendar.shape[-1]]), axis=2)
        shared = tf.gather(self.token_calendar(calendar), inputs["calendar_of"])
        static = tf.concat([embed(inputs["static"][:, i]) for i, embed in enumerate(self.embeddings)], axis=-1)
        x = self.token(self._tokens(inputs, level, scale)) + shared + self.static(static)[:, None]
        present = tf.reduce_max(_patches(inputs["observed"], patch), axis=-1)  # [B, P]
        return self.encoder(x, present, seed)

    def calendar_ahead(self, inputs: dict[str, tf.Tensor], origins: tf.Tensor) -> tf.Tensor:
        """What the calendar and the distance say of each day ahead: [B, O, H, head width]."""
        plain, events = inputs["calendar"][..., :PLAIN], inputs["calendar"][..., PLAIN:]
        said = self.head_calendar(plain) + self.head_events(events)  # [calendars, T + H, head width]
        said = tf.gather(said, self._ahead(origins), axis=1) + self.horizon(tf.range(self.spec.horizon))
        return tf.gather(said, inputs["calendar_of"])

    def days_ahead(self, inputs: dict[str, tf.Tensor], origins: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        """What each origin knows per series of each day ahead: [B, O, H, features]."""
        parts = [
            self._promotions(inputs, origins),
            self._prices(inputs, origins),
            self._foretold(inputs),
            self._same_phase(inputs, origins, scale),
        ]
        if self.spec.inputs.yearly:  # otherwise that the context reaches back a year would tell which weeks these are
            parts.append(self._year_ago(inputs, origins, scale))
        return tf.concat(parts, axis=-1)

    def _promotions(self, inputs: dict[str, tf.Tensor], origins: tf.Tensor) -> tf.Tensor:
        """Promotions that the origin had been told of, and whether it would have been: [B, O, H, K + 1]."""
        ahead = self._ahead(origins)
        told = tf.gather(inputs["lead"], ahead, axis=1) > tf.range(self.spec.horizon)
        known = tf.cast(told, tf.float32) * tf.gather(inputs["reach"], ahead) * inputs["plan"][:, None, None]
        planned = tf.gather(_squash(inputs["planned"]), ahead, axis=1) * known[..., None]
        return tf.concat([planned, known[..., None]], axis=-1)

    def _prices(self, inputs: dict[str, tf.Tensor], origins: tf.Tensor) -> tf.Tensor:
        """Whether the price of the day is known, and its change against the origin's: [B, O, H, 2]."""
        ahead = self._ahead(origins)
        now = tf.gather(inputs["price"], (origins + 1) * self.spec.patch - 1, axis=1)[..., None]  # [B, O, 1]
        then = tf.gather(inputs["price"], ahead, axis=1)
        told = tf.gather(inputs["price_lead"], ahead, axis=1) > tf.range(self.spec.horizon)
        known = told & (then > 0)
        change = tf.where(known & (now > 0), tf.math.log((then + 0.01) / (now + 0.01)), 0.0)
        return tf.stack([tf.cast(known, tf.float32), change], axis=-1)

    def _foretold(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Signals of the day and its neighbours as foretold by the origin, and whether: [B, O, H, 4 N]."""
        horizon, first = self.spec.horizon, -NEIGHBOURS[0]
        beside = [inputs["foretold"][:, :, first + by : first + by + horizon] for by in NEIGHBOURS]
        return tf.concat([*beside, inputs["foretold_known"][:, :, first : first + horizon]], axis=-1)

    def _same_phase(self, inputs: dict[str, tf.Tensor], origins: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        """Demand at the same place (weekday) of the last patches, one by one and as means: [B, O, H, LAGS + len(PROFILES)]."""
        patches = _patches(inputs["quantity"], self.spec.patch)
        before = tf.maximum(origins[:, None] - tf.range(LAGS)[None, :], 0)
        lags = [tf.transpose(tf.gather(patches, before, axis=1), [0, 1, 3, 2])]  # [B, O, patch, LAGS]
        seen = _patches(inputs["observed"] * (1.0 - inputs["censored"]), self.spec.patch)
        for count in PROFILES:
            mean = _trailing(patches * seen, count) / tf.maximum(_trailing(seen, count), 1.0)
            lags.append(tf.gather(mean, origins, axis=1)[..., None])
        same = _squash(tf.concat(lags, axis=-1) / scale[..., None])
        return tf.gather(same, tf.range(self.spec.horizon) % self.spec.patch, axis=2)

    def _year_ago(self, inputs: dict[str, tf.Tensor], origins: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        """Demand of the same day a year ago and its neighbours' mean, where the context reaches back: [B, O, H, 3]."""
        at = self._ahead(origins) - YEAR[self.spec.grain]
        half = SEASON[self.spec.grain] // 2 if self.spec.grain == "day" else 0
        inside = (at >= half) & (at + half < (origins[:, None] + 1) * self.spec.patch)
        known = tf.gather(inputs["observed"], tf.maximum(at, 0), axis=1) * tf.cast(inside, tf.float32)
        that = tf.gather(inputs["quantity"], tf.clip_by_value(at, 0, self.spec.context - 1), axis=1)
        sums = tf.pad(tf.cumsum(inputs["quantity"], axis=1), [[0, 0], [1, 0]])
        low, high = (tf.clip_by_value(at + by, 0, self.spec.context) for by in (-half, half + 1))
        around = (tf.gather(sums, high, axis=1) - tf.gather(sums, low, axis=1)) / (2 * half + 1)
        return tf.stack([_squash(that / scale) * known, _squash(around / scale) * known, known], axis=-1)

    def _ahead(self, origins: tf.Tensor) -> tf.Tensor:
        """Columns of the days ahead of each origin: [O, H]."""
        return (origins[:, None] + 1) * self.spec.patch + tf.range(self.spec.horizon)[None, :]

    def _tokens(self, inputs: dict[str, tf.Tensor], level: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
        """[B, P, features]: the days of a patch, and what sums it up."""
        context, patch = self.spec.context, self.spec.patch
        quantity, observed = inputs["quantity"], inputs["observed"]
        days = [_squash(_patches(quantity, patch) / scale[..., None]), _patches(observed, patch)]
        days.append(_patches(inputs["censored"], patch))
        promotions = _squash(inputs["planned"][:, :context] * inputs["reach"][None, :context, None])
        for columns in (_squash(inputs["past"]), promotions, inputs["signals"]):
            days.append(tf.reshape(columns, [tf.shape(quantity)[0], context // patch, patch * columns.shape[-1]]))
        price = _patches(inputs["price"][:, :context], patch)[..., -1]
        usual = _running_mean(price, tf.cast(price > 0, tf.float32))
        sold = tf.reduce_sum(_patches(quantity, patch), axis=-1)
        age = tf.cumsum(tf.reduce_sum(_patches(observed, patch), axis=-1), axis=1)
        days_open = tf.reduce_sum(_patches(observed, patch), axis=-1)
        recent = [_ratio(_trailing(sold, n) / tf.maximum(_trailing(days_open, n), 1.0), level) for n in TRENDS]
        sums = [
            tf.math.log(level + 0.01),
            tf.math.log(scale),
            tf.math.log1p(price),
            tf.where(price > 0, tf.math.log((price + 0.01) / (usual + 0.01)), 0.0),
            tf.math.log1p(tf.minimum(age, float(RECENT * patch))) / 5.0,  # of an older series it would be the date
            tf.math.log1p(_since_sale(quantity, patch)) / 5.0,
            *recent,
        ]
        return tf.concat([*days, tf.stack(sums, axis=-1)], axis=-1)


def levels(quantity: tf.Tensor, observed: tf.Tensor, patch: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Level and scale of demand as each origin knows them: [B, P] each, from the past alone.

    The level is the mean of the last RECENT patches, shrunk to the mean of all by one patch's weight. The scale,
    sqrt(level + level^2), goes with the root of the level for rare demand, as a count's deviation does, and with the level
    itself for frequent demand.
    """
    totals, counts = tf.reduce_sum(_patches(quantity, patch), -1), tf.reduce_sum(_patches(observed, patch), -1)
    totals = tf.maximum(totals, 0.0)
    mean = tf.cumsum(totals, axis=1) / tf.maximum(tf.cumsum(counts, axis=1), 1.0)
    level = (_trailing(totals, RECENT) + patch * mean) / (_trailing(counts, RECENT) + patch)
    level = tf.maximum(level, 0.0)
    return level, tf.sqrt(level + tf.square(level)) + 0.05


def _whole(quantity: tf.Tensor, patch: int) -> tf.Tensor:
    """1 where all demand up to a patch's end was in whole units, else 0: [B, P]."""
    whole = tf.cast(tf.equal(quantity, tf.round(quantity)), tf.float32)
    return tf.math.cumprod(tf.reduce_min(_patches(whole, patch), axis=-1), axis=1)


def _since_sale(quantity: tf.Tensor, patch: int) -> tf.Tensor:
    """Periods since the last one with a sale, as of each patch's end, those of the context where there was none: [B, P]."""
    at = tf.range(1.0, quantity.shape[1] + 1.0)
    last = tf.reduce_max(_patches(tf.where(quantity > 0, at, 0.0), patch), axis=-1)  # [B, P]
    before = tf.linalg.band_part(tf.ones([last.shape[1]] * 2), -1, 0)
    return at[patch - 1 :: patch] - tf.reduce_max(last[:, None, :] * before, axis=-1)


def _patches(x: tf.Tensor, patch: int) -> tf.Tensor:
    """[B, T] to [B, T / patch, patch]."""
    return tf.reshape(x, [-1, x.shape[1] // patch, patch])


def _trailing(x: tf.Tensor, count: int) -> tf.Tensor:
    """Sum of the last `count` places of axis 1, fewer at its beginning."""
    sums = tf.cumsum(x, axis=1)
    return sums - tf.pad(sums, [[0, 0], [count, 0], *[[0, 0]] * (len(x.shape) - 2)])[:, : x.shape[1]]


def _ratio(x: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
    """Logarithm of demand against the level, damped where both are small; where more came back than was sold, that of none."""
    return tf.math.log((tf.maximum(x, 0.0) + 0.1 * level + 0.01) / (level + 0.01))


def _running_mean(x: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    return tf.cumsum(x * weight, axis=1) / tf.maximum(tf.cumsum(weight, axis=1), 1.0)


def _squash(x: tf.Tensor) -> tf.Tensor:
    """Large values grow as their logarithm, so that one day does not drown a patch."""
    return tf.sign(x) * tf.math.log1p(tf.abs(x))
