"""What a network reads of its input, before any weight: tokens of the past, and what each origin knows of the days ahead.

Demand is told against a level that the origin knows, so that one network serves all volumes.

Shapes: B series, T periods of context, P = T / patch tokens, O origins, H horizon, K columns and kinds of promotions, N signals,
E numbers of a period in a calendar.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from forecasting.models.batches import NEIGHBOURS
from forecasting.models.spec import ModelSpec
from forecasting.periods import SEASON, YEAR

RECENT = 8  # patches of the trailing level
LAGS = 4  # patches whose same phase the head sees one by one
PROFILES = (8, 26)  # patches over which it sees the mean of the same phase
TRENDS = (1, 4, 26)  # patches whose mean is told against the level


class Reading(NamedTuple):
    """What all members of an ensemble read.

    tokens: [B, P, features]; token_calendar: [calendars, P, E]; present: [B, P], 1 where a patch holds an observed period;
    days: [B, O, H, features]; calendar: [calendars, T + H, E]; ahead: [O, H], columns of the days ahead; static: [B, columns];
    calendar_of: [B]; origins: [O]; level, scale: [B, O, 1], in units; whole: [B, O, 1], 1 where all demand up to the origin was
    in whole units.
    """

    tokens: tf.Tensor
    token_calendar: tf.Tensor
    present: tf.Tensor
    days: tf.Tensor
    calendar: tf.Tensor
    ahead: tf.Tensor
    static: tf.Tensor
    calendar_of: tf.Tensor
    origins: tf.Tensor
    level: tf.Tensor
    scale: tf.Tensor
    whole: tf.Tensor


def read(inputs: dict[str, tf.Tensor], origins: tf.Tensor, spec: ModelSpec) -> Reading:
    """What an input tells the network; see `DemandNetwork` for its parts.

    Args:
        origins: [O] int32, numbers of patches.
    """
    seen = inputs["observed"] * (1.0 - inputs["censored"])
    level, scale = levels(inputs["quantity"], inputs["observed"], seen, spec.patch)
    tokens = _tokens(inputs, level, scale, spec)
    calendar = inputs["calendar"][:, : spec.context]  # of a patch the mean of its days
    calendar = tf.reduce_mean(tf.reshape(calendar, [-1, spec.patches, spec.patch, calendar.shape[-1]]), axis=2)
    whole = _whole(inputs["quantity"], spec.patch)
    level, scale, whole = (tf.gather(x, origins, axis=1)[..., None] for x in (level, scale, whole))
    return Reading(
        tokens=tokens,
        token_calendar=calendar,
        present=tf.reduce_max(_patches(inputs["observed"], spec.patch), axis=-1),
        days=_days_ahead(inputs, origins, scale, spec),
        calendar=inputs["calendar"],
        ahead=_ahead(origins, spec),
        static=inputs["static"],
        calendar_of=inputs["calendar_of"],
        origins=origins,
        level=level,
        scale=scale,
        whole=whole,
    )


def levels(quantity: tf.Tensor, observed: tf.Tensor, told: tf.Tensor, patch: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Level and scale of demand as each origin knows them: [B, P] each, from the past alone.

    The level is the mean of the last RECENT patches, shrunk to the mean of all by one patch's weight, over the periods that tell
    demand; but no less than what was sold on average, since of a period out of stock that is the least that was wanted. The
    scale, sqrt(level + level^2), goes with the root of the level for rare demand, as a count's deviation does, and with the
    level itself for frequent demand.

    Args:
        quantity: [B, T]. observed: [B, T], 1 where sales are known. told: [B, T], 1 where they are all that was wanted.
    """
    level = tf.maximum(_level(quantity * told, told, patch), _level(quantity * observed, observed, patch))
    return level, _scale(level)


def _scale(level: tf.Tensor) -> tf.Tensor:
    return tf.sqrt(level + tf.square(level)) + 0.05


def _level(quantity: tf.Tensor, observed: tf.Tensor, patch: int) -> tf.Tensor:
    totals, counts = tf.reduce_sum(_patches(quantity, patch), -1), tf.reduce_sum(_patches(observed, patch), -1)
    totals = tf.maximum(totals, 0.0)
    mean = tf.cumsum(totals, axis=1) / tf.maximum(tf.cumsum(counts, axis=1), 1.0)
    return tf.maximum((_trailing(totals, RECENT) + patch * mean) / (_trailing(counts, RECENT) + patch), 0.0)


def _tokens(inputs: dict[str, tf.Tensor], level: tf.Tensor, scale: tf.Tensor, spec: ModelSpec) -> tf.Tensor:
    """[B, P, features]: the days of a patch, and what sums it up."""
    context, patch = spec.context, spec.patch
    quantity, observed = inputs["quantity"], inputs["observed"]
    days = [_squash(_patches(quantity, patch) / scale[..., None]), _patches(observed, patch)]
    days.append(_patches(inputs["censored"], patch))
    promotions = _squash(inputs["planned"][:, :context] * inputs["reach"][None, :context, None])
    for columns in (_squash(inputs["past"]), promotions, inputs["signals"]):
        days.append(tf.reshape(columns, [tf.shape(quantity)[0], context // patch, patch * columns.shape[-1]]))
    recent, begun = [], tf.cast(tf.cumsum(observed, axis=1) > 0, tf.float32)
    for number in range(inputs["groups"].shape[-1]):
        group = inputs["groups"][..., number]
        usual = _level(group * begun, begun, patch)
        days.append(_squash(_patches(group, patch) / _scale(usual)[..., None]))
        recent += [_ratio(_mean_of_last(tf.reduce_mean(_patches(group, patch), axis=-1), n), usual) for n in TRENDS]
        recent.append(tf.math.log(usual + 0.01))
    price = _patches(inputs["price"][:, :context], patch)[..., -1]
    usual = _running_mean(price, tf.cast(price > 0, tf.float32))
    sold = tf.reduce_sum(_patches(quantity, patch), axis=-1)
    age = tf.cumsum(tf.reduce_sum(_patches(observed, patch), axis=-1), axis=1)
    days_open = tf.reduce_sum(_patches(observed, patch), axis=-1)
    recent += [_ratio(_trailing(sold, n) / tf.maximum(_trailing(days_open, n), 1.0), level) for n in TRENDS]
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


def _days_ahead(inputs: dict[str, tf.Tensor], origins: tf.Tensor, scale: tf.Tensor, spec: ModelSpec) -> tf.Tensor:
    """What each origin knows per series of each day ahead: [B, O, H, features]."""
    parts = [
        _promotions(inputs, origins, spec),
        _prices(inputs, origins, spec),
        _foretold(inputs, spec),
        _same_phase(inputs, origins, scale, spec),
    ]
    if spec.inputs.yearly:  # otherwise that the context reaches back a year would tell which weeks these are
        parts.append(_year_ago(inputs, origins, scale, spec))
    return tf.concat(parts, axis=-1)


def _promotions(inputs: dict[str, tf.Tensor], origins: tf.Tensor, spec: ModelSpec) -> tf.Tensor:
    """Promotions that the origin had been told of, and whether it would have been: [B, O, H, K + 1]."""
    ahead = _ahead(origins, spec)
    told = tf.gather(inputs["lead"], ahead, axis=1) > tf.range(spec.horizon)
    known = tf.cast(told, tf.float32) * tf.gather(inputs["reach"], ahead) * inputs["plan"][:, None, None]
    planned = tf.gather(_squash(inputs["planned"]), ahead, axis=1) * known[..., None]
    return tf.concat([planned, known[..., None]], axis=-1)


def _prices(inputs: dict[str, tf.Tensor], origins: tf.Tensor, spec: ModelSpec) -> tf.Tensor:
    """Whether the price of the day is known, and its change against the origin's: [B, O, H, 2]."""
    ahead = _ahead(origins, spec)
    now = tf.gather(inputs["price"], (origins + 1) * spec.patch - 1, axis=1)[..., None]  # [B, O, 1]
    then = tf.gather(inputs["price"], ahead, axis=1)
    told = tf.gather(inputs["price_lead"], ahead, axis=1) > tf.range(spec.horizon)
    known = told & (then > 0)
    change = tf.where(known & (now > 0), tf.math.log((then + 0.01) / (now + 0.01)), 0.0)
    return tf.stack([tf.cast(known, tf.float32), change], axis=-1)


def _foretold(inputs: dict[str, tf.Tensor], spec: ModelSpec) -> tf.Tensor:
    """Signals of the day and its neighbours as foretold by the origin, and whether: [B, O, H, 4 N]."""
    horizon, first = spec.horizon, -NEIGHBOURS[0]
    beside = [inputs["foretold"][:, :, first + by : first + by + horizon] for by in NEIGHBOURS]
    return tf.concat([*beside, inputs["foretold_known"][:, :, first : first + horizon]], axis=-1)


def _same_phase(inputs: dict[str, tf.Tensor], origins: tf.Tensor, scale: tf.Tensor, spec: ModelSpec) -> tf.Tensor:
    """Demand at the same place (weekday) of the last patches, one by one and as means, and the groups' there against
    their mean: [B, O, H, LAGS + len(PROFILES) + groups]."""
    patches = _patches(inputs["quantity"], spec.patch)
    before = tf.maximum(origins[:, None] - tf.range(LAGS)[None, :], 0)
    lags = [tf.transpose(tf.gather(patches, before, axis=1), [0, 1, 3, 2])]  # [B, O, patch, LAGS]
    seen = _patches(inputs["observed"] * (1.0 - inputs["censored"]), spec.patch)
    for count in PROFILES:
        mean = _trailing(patches * seen, count) / tf.maximum(_trailing(seen, count), 1.0)
        lags.append(tf.gather(mean, origins, axis=1)[..., None])
    same = [_squash(tf.concat(lags, axis=-1) / scale[..., None])]
    for number in range(inputs["groups"].shape[-1]):
        group = _patches(inputs["groups"][..., number], spec.patch)
        mean = tf.gather(_mean_of_last(group, PROFILES[0]), origins, axis=1)  # [B, O, patch]
        same.append(_ratio(mean, tf.reduce_mean(mean, axis=-1, keepdims=True))[..., None])
    return tf.gather(tf.concat(same, axis=-1), tf.range(spec.horizon) % spec.patch, axis=2)


def _year_ago(inputs: dict[str, tf.Tensor], origins: tf.Tensor, scale: tf.Tensor, spec: ModelSpec) -> tf.Tensor:
    """Demand of the same day a year ago and its neighbours' mean, where the context reaches back: [B, O, H, 3]."""
    at = _ahead(origins, spec) - YEAR[spec.grain]
    half = SEASON[spec.grain] // 2 if spec.grain == "day" else 0
    inside = (at >= half) & (at + half < (origins[:, None] + 1) * spec.patch)
    then = tf.clip_by_value(at, 0, spec.context - 1)
    known = tf.gather(inputs["observed"], then, axis=1) * tf.cast(inside, tf.float32)
    that = tf.gather(inputs["quantity"], then, axis=1)
    sums = tf.pad(tf.cumsum(inputs["quantity"], axis=1), [[0, 0], [1, 0]])
    low, high = (tf.clip_by_value(at + by, 0, spec.context) for by in (-half, half + 1))
    around = (tf.gather(sums, high, axis=1) - tf.gather(sums, low, axis=1)) / (2 * half + 1)
    return tf.stack([_squash(that / scale) * known, _squash(around / scale) * known, known], axis=-1)


def _ahead(origins: tf.Tensor, spec: ModelSpec) -> tf.Tensor:
    """Columns of the days ahead of each origin: [O, H]."""
    return (origins[:, None] + 1) * spec.patch + tf.range(spec.horizon)[None, :]


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


def _mean_of_last(x: tf.Tensor, count: int) -> tf.Tensor:
    """Mean of the last `count` places of axis 1, of fewer at its beginning."""
    return _trailing(x, count) / _trailing(tf.ones_like(x[:1]), count)


def _ratio(x: tf.Tensor, level: tf.Tensor) -> tf.Tensor:
    """Logarithm of demand against the level, damped where both are small; where more came back than was sold, that of none."""
    return tf.math.log((tf.maximum(x, 0.0) + 0.1 * level + 0.01) / (level + 0.01))


def _running_mean(x: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    return tf.cumsum(x * weight, axis=1) / tf.maximum(tf.cumsum(weight, axis=1), 1.0)


def _squash(x: tf.Tensor) -> tf.Tensor:
    """Large values grow as their logarithm, so that one day does not drown a patch."""
    return tf.sign(x) * tf.math.log1p(tf.abs(x))
