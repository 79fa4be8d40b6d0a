"""What turns tokens into the states of forecast origins: causal attention, or a recurrent path. A state sees its own token and
those before it.

Shapes: B series, P tokens, O origins (numbers of tokens), D width.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from forecasting.models.products import dense
from forecasting.models.spec import ModelSpec


class AttentionEncoder(keras.layers.Layer):
    """Pre-norm causal attention with linear distance biases (Press et al. 2022, ALiBi)."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(name="encoder")
        self.heads = spec.heads
        self.blocks = [AttentionBlock(spec, name=f"block_{index}") for index in range(spec.layers)]
        self.norm = keras.layers.LayerNormalization(epsilon=1e-5, name="norm")

    def call(
        self, tokens: tf.Tensor, present: tf.Tensor, origins: tf.Tensor, seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """States of the origins: [B, O, D]. All tokens go through the blocks but the last, in which the origins alone ask.

        Args:
            tokens: [B, P, D]. present: [B, P], 1 where a token holds an observed period. origins: [O] int32.
        """
        bias, x = _attention_bias(present, self.heads), tokens
        for index, block in enumerate(self.blocks):
            asking = origins if block is self.blocks[-1] else None
            x = block(x, bias, asking, None if seed is None else seed + index)
        return self.norm(x)


class AttentionBlock(keras.layers.Layer):
    """Causal attention and a feed-forward layer, each with a residual path."""

    def __init__(self, spec: ModelSpec, name: str) -> None:
        super().__init__(name=name)
        self.heads, self.rate = spec.heads, spec.dropout
        self.norm_attention = keras.layers.LayerNormalization(epsilon=1e-5, name="norm_attention")
        self.norm_feed = keras.layers.LayerNormalization(epsilon=1e-5, name="norm_feed")
        self.query = dense(spec, spec.width, use_bias=False, name="query")
        self.key_value = dense(spec, 2 * spec.width, use_bias=False, name="key_value")
        self.out = dense(spec, spec.width, name="out")
        self.feed = dense(spec, 4 * spec.width, activation="relu", name="feed")
        self.back = dense(spec, spec.width, name="back")

    def call(self, x: tf.Tensor, bias: tf.Tensor, asking: tf.Tensor | None, seed: tf.Tensor | None = None) -> tf.Tensor:
        """What the tokens that ask make of all: [B, A, D].

        Args:
            x: [B, P, D]. bias: [B, heads, P, P], added to the attention logits. asking: [A], numbers of tokens; None: all.
        """
        each = [self.heads, x.shape[2] // self.heads]
        known = self.norm_attention(x)
        k, v = tf.unstack(tf.transpose(_split(self.key_value(known), [2, *each]), [2, 0, 3, 1, 4]))
        if asking is not None:
            x, known, bias = (tf.gather(part, asking, axis=axis) for part, axis in ((x, 1), (known, 1), (bias, 2)))
        q = tf.transpose(_split(self.query(known), each), [0, 2, 1, 3])  # [B, heads, A, D / heads]
        logits = tf.cast(tf.matmul(q, k, transpose_b=True), x.dtype) * each[1] ** -0.5 + bias
        shares = tf.cast(tf.nn.softmax(logits), v.dtype)
        mixed = tf.transpose(tf.matmul(shares, v), [0, 2, 1, 3])
        out = self.out(tf.reshape(mixed, tf.shape(x)))
        x = x + dropout(tf.cast(out, x.dtype), self.rate, seed, 0)
        back = self.back(self.feed(self.norm_feed(x)))
        return x + dropout(tf.cast(back, x.dtype), self.rate, seed, 1)


class RecurrentEncoder(keras.layers.Layer):
    """Stacked recurrent layers: LSTM, GRU or plain RNN."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(name="encoder")
        self.rate = spec.dropout
        kind = {"lstm": keras.layers.LSTM, "gru": keras.layers.GRU, "rnn": keras.layers.SimpleRNN}[spec.encoder]
        self.recurrent = [
            kind(spec.width, return_sequences=True, name=f"{spec.encoder}_{index}") for index in range(spec.layers)
        ]

    def call(
        self, tokens: tf.Tensor, present: tf.Tensor, origins: tf.Tensor, seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """As AttentionEncoder; tokens before the first observed period are zeros."""
        begun = tf.math.cumsum(present, axis=1) > 0
        x = tf.where(begun[..., None], tokens, 0.0)
        for index, layer in enumerate(self.recurrent):
            x = dropout(layer(x), self.rate, None if seed is None else seed + index, 0)
        return tf.gather(x, origins, axis=1)


def encoder(spec: ModelSpec) -> keras.layers.Layer:
    """The encoder of a specification."""
    return AttentionEncoder(spec) if spec.encoder == "transformer" else RecurrentEncoder(spec)


def dropout(x: tf.Tensor, rate: float, seed: tf.Tensor | None, place: int) -> tf.Tensor:
    """Dropout whose draw depends on the seed alone, so that a resumed training draws the same.

    A byte decides of each number, since drawing four for each took a sixth of a training step on CPU: the rate is rounded to
    whole 256ths, and one is kept at least.
    """
    dropped = min(round(256 * rate), 255)
    if seed is None or dropped == 0:
        return x
    words = tf.concat([tf.shape(x)[:-1], [-(-x.shape[-1] // 4)]], axis=0)
    seed = tf.add(seed, [0, 101 * (place + 1)])
    draw = tf.bitcast(tf.random.stateless_uniform(words, seed, None, None, tf.uint32), tf.uint8)  # [..., D / 4, 4]
    draw = tf.reshape(draw, tf.concat([tf.shape(x)[:-1], [-1]], axis=0))[..., : x.shape[-1]]
    return tf.where(draw >= tf.constant(dropped, tf.uint8), x * (256.0 / (256 - dropped)), 0.0)


def _split(x: tf.Tensor, parts: list[int]) -> tf.Tensor:
    """[B, P, numbers] to [B, P, *parts]."""
    return tf.reshape(x, [-1, tf.shape(x)[1], *parts])


def _attention_bias(present: tf.Tensor, heads: int) -> tf.Tensor:
    """Causal mask, distance biases, and no attention to tokens without an observed period.

    Args:
        present: [B, P].

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
