"""Layers of transformers in fewer passes over the numbers; what they give is the same but for rounding."""

from collections.abc import Callable

import keras
import tensorflow as tf

from xmodal.kernels.dense import flatten_sequences
from xmodal.kernels.layers import all_layers

# By `get_config`, of an attention with heads over all places of a text and nothing else.
PLAIN = {"use_bias": True, "output_shape": None, "attention_axes": (1,)}
SPECIAL = ("use_gate", "sliding_window", "flash_attention")


def fuse_layers(model: keras.Model) -> None:
    """Lets dense layers, attention and embeddings of a model take fewer passes, in exports too.

    To be called before anything is traced. Layers of other kinds stay as they are.

    Args:
        model: its layers of `keras.layers.Dense`, `MultiHeadAttention` and `Embedding` are changed in place.
    """
    flatten_sequences(model)
    for layer in all_layers(model):
        if type(layer) is keras.layers.MultiHeadAttention and _suits(layer):
            layer.call = _self_attention(layer)
        if isinstance(layer, keras.layers.Embedding) and layer.built:
            # Keras casts the whole table to half precision in every call; now the rows that were taken.
            layer.embeddings._autocast = False


def _suits(layer: keras.layers.MultiHeadAttention) -> bool:
    config = layer.get_config()
    is_plain = all(config[name] == value for name, value in PLAIN.items())
    return is_plain and config["value_dim"] == config["key_dim"] and not any(map(config.get, SPECIAL))


def _self_attention(layer: keras.layers.MultiHeadAttention) -> Callable[..., tf.Tensor]:
    """Returns the `call` of an attention whose queries, keys and values come of one sequence by one product.

    Keras has a product and a sum for each, and an order of axes that is changed before and after; and it
    selects twice by the mask, where a large negative number added before the softmax does. Only a text of
    no token at all, which no tokenizer gives, gets another vector.
    """
    default_call = layer.call

    def call(query, value, key=None, attention_mask=None, training=None, **options):
        is_self_attention = query is value and (key is None or key is value)
        if not is_self_attention or any(
            option is not None and option is not False for option in options.values()
        ):
            return default_call(
                query, value, key, attention_mask=attention_mask, training=training, **options
            )
        queries, keys, values = _by_head(layer, query)
        scores = tf.matmul(queries * tf.cast(layer.key_dim**-0.5, queries.dtype), keys, transpose_b=True)
        if attention_mask is not None:
            zero, penalty = (tf.constant(value, scores.dtype) for value in (0, scores.dtype.min / 2))
            scores += tf.where(tf.cast(attention_mask, tf.bool)[:, None], zero, penalty)
        weights = layer._dropout_layer(tf.nn.softmax(scores), training=training)
        return _join_heads(layer, tf.matmul(weights, values), query)

    return call


def _by_head(layer: keras.layers.MultiHeadAttention, sequences: tf.Tensor) -> list[tf.Tensor]:
    """Returns the queries, keys and values of sequences (B, T, D), each (B, heads, T, size)."""
    parts = (layer.query_dense, layer.key_dense, layer.value_dense)
    width, shape = sequences.shape[-1], tf.shape(sequences)
    kernel = tf.concat([tf.reshape(part.kernel, (width, -1)) for part in parts], axis=1)
    bias = tf.concat([tf.reshape(part.bias, (-1,)) for part in parts], axis=0)
    rows = tf.nn.bias_add(tf.matmul(tf.reshape(sequences, (-1, width)), kernel), bias)
    heads = tf.reshape(rows, (shape[0], shape[1], len(parts), layer.num_heads, layer.key_dim))
    return tf.unstack(tf.transpose(heads, (2, 0, 3, 1, 4)))


def _join_heads(layer: keras.layers.MultiHeadAttention, heads: tf.Tensor, inputs: tf.Tensor) -> tf.Tensor:
    """Returns what an attention makes of the values that its heads mixed, in the shape of its input."""
    kernel = tf.reshape(layer.output_dense.kernel, (-1, inputs.shape[-1]))
    rows = tf.reshape(tf.transpose(heads, (0, 2, 1, 3)), (-1, kernel.shape[0]))
    outputs = tf.nn.bias_add(tf.matmul(rows, kernel), tf.convert_to_tensor(layer.output_dense.bias))
    outputs = tf.reshape(outputs, tf.shape(inputs))
    outputs.set_shape(inputs.shape)
    return outputs
