"""What turns tokens into states: causal attention, or a recurrent path. A state sees its own token and those before it.

Shapes: B series, P tokens, D width.
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

    def call(self, tokens: tf.Tensor, present: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """tokens: [B, P, D]; present: [B, P], 1 where a token holds an observed period. Returns [B, P, D]."""
        bias, x = _attention_bias(present, self.heads), tokens
        for index, block in enumerate(self.blocks):
            x = block(x, bias, None if seed is None else seed + index)
        return self.norm(x)


class AttentionBlock(keras.layers.Layer):
    """Causal attention and a feed-forward layer, each with a residual path."""

    def __init__(self, spec: ModelSpec, name: str) -> None:
        super().__init__(name=name)
        self.heads, self.rate = spec.heads, spec.dropout
        self.norm_attention = keras.layers.LayerNormalization(epsilon=1e-5, name="norm_attention")
        self.norm_feed = keras.layers.LayerNormalization(epsilon=1e-5, name="norm_feed")
        self.qkv = dense(spec, 3 * spec.width, use_bias=False, name="qkv")
        self.out = dense(spec, spec.width, name="out")
        self.feed = dense(spec, 4 * spec.width, activation="relu", name="feed")
        self.back = dense(spec, spec.width, name="back")

    def call(self, x: tf.Tensor, bias: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """x: [B, P, D]; bias: [B, heads, P, P], added to the attention logits."""
        batch, tokens, width = tf.shape(x)[0], x.shape[1], x.shape[2]
        qkv = tf.reshape(self.qkv(self.norm_attention(x)), [batch, tokens, 3, self.heads, width // self.heads])
        q, k, v = tf.unstack(tf.transpose(qkv, [2, 0, 3, 1, 4]))  # [B, heads, P, D / heads] each
        logits = tf.cast(tf.matmul(q, k, transpose_b=True), x.dtype) * (width // self.heads) ** -0.5 + bias
        shares = tf.cast(tf.nn.softmax(logits), v.dtype)
        mixed = tf.transpose(tf.matmul(shares, v), [0, 2, 1, 3])
        out = self.out(tf.reshape(mixed, [batch, tokens, width]))
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

    def call(self, tokens: tf.Tensor, present: tf.Tensor, seed: tf.Tensor | None = None) -> tf.Tensor:
        """As AttentionEncoder; tokens before the first observed period are zeros."""
        begun = tf.math.cumsum(present, axis=1) > 0
        x = tf.where(begun[..., None], tokens, 0.0)
        for index, layer in enumerate(self.recurrent):
            x = dropout(layer(x), self.rate, None if seed is None else seed + index, 0)
        return x


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
