"""Attention and embeddings in fewer passes."""

import keras
import keras_nlp
import numpy as np
import pytest
import tensorflow as tf

from xmodal.kernels.layers import all_layers
from xmodal.kernels.transformers import fuse_layers

LENGTHS = (7, 4, 1)
MASK = np.arange(max(LENGTHS)) < np.array(LENGTHS)[:, None]
TOKENS = {
    "token_ids": np.random.default_rng(0).integers(1, 20, MASK.shape).astype(np.int32) * MASK,
    "segment_ids": np.zeros(MASK.shape, np.int32),
    "padding_mask": MASK,
}
TOLERANCES = {"float32": 1e-5, "mixed_bfloat16": 0.05, "mixed_float16": 0.01}


def bert(precision: str = "float32", dropout: float = 0.1):
    """A BERT whose biases are not zero, of the same weights in every precision."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        model = keras_nlp.models.BertBackbone(
            vocabulary_size=20, num_layers=2, num_heads=3, hidden_dim=12, intermediate_dim=24, dropout=dropout
        )
    finally:
        keras.config.set_dtype_policy(before)
    draw = np.random.default_rng(1)
    model.set_weights([draw.normal(0, 0.5, weight.shape) for weight in model.weights])
    return model


def attention_of(model):
    return [layer for layer in all_layers(model) if type(layer) is keras.layers.MultiHeadAttention]


def vectors(model, training=False):
    keras.utils.set_random_seed(0)
    return tf.cast(model(TOKENS, training=training)["sequence_output"], tf.float32)


@pytest.mark.parametrize("precision", TOLERANCES)
def test_vectors_of_real_tokens_stay(precision):
    plain, quick = bert(precision), bert(precision)
    fuse_layers(quick)
    assert quick(TOKENS)["sequence_output"].dtype == plain(TOKENS)["sequence_output"].dtype
    np.testing.assert_allclose(vectors(quick), vectors(plain), atol=TOLERANCES[precision])


def with_gradients(model, training):
    for layer in all_layers(model):
        # The same random numbers in both.
        if isinstance(layer, keras.layers.Dropout):
            layer.seed_generator.state.assign([1, 2])
    with tf.GradientTape() as tape:
        outputs = vectors(model, training)
        loss = tf.reduce_sum(outputs * tf.sin(tf.range(outputs.shape[-1], dtype=tf.float32)))
    trained = [variable.value for variable in model.trainable_variables]
    gradients = tape.gradient(loss, trained)
    assert max(tf.reduce_max(tf.abs(gradient)) for gradient in gradients if gradient is not None) > 1
    return [outputs] + [tf.convert_to_tensor(gradient) for gradient in gradients if gradient is not None]


def test_training_with_dropout_has_the_same_outputs_and_gradients():
    plain, quick = bert(), bert()
    fuse_layers(quick)
    for one, other in zip(with_gradients(quick, True), with_gradients(plain, True), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def products(model) -> int:
    """Returns how many products of matrices a model takes that TensorFlow can fuse with their bias."""
    graph = tf.function(lambda tokens: model(tokens, training=False)).get_concrete_function(TOKENS).graph
    kinds = [operation.type for operation in graph.get_operations()]
    return kinds.count("MatMul")


def test_an_attention_takes_two_products_with_its_weights():
    model = bert()
    fuse_layers(model)
    # In each of two layers two of attention and two of the dense layers, and the pooler.
    assert products(model) == 9


def test_what_is_no_attention_of_a_sequence_to_itself_stays():
    queries, others = np.random.default_rng(0).normal(size=(2, 3, 5, 12)).astype(np.float32)
    one, two = keras.Input((None, 12)), keras.Input((None, 12))
    across = keras.layers.MultiHeadAttention(3, 4, name="across")
    within = keras.layers.MultiHeadAttention(3, 4, name="within")
    outputs = within(across(one, two), across(one, two), use_causal_mask=True)
    model = keras.Model([one, two], outputs)
    before = model([queries, others])
    fuse_layers(model)
    np.testing.assert_array_equal(model([queries, others]), before)


@pytest.mark.parametrize("options", [{"use_bias": False}, {"value_dim": 2}, {"output_shape": 6}])
def test_attention_of_other_shapes_stays(options):
    given = keras.Input((None, 12))
    model = keras.Model(given, keras.layers.MultiHeadAttention(3, 4, **options)(given, given))
    (layer,) = attention_of(model)
    fuse_layers(model)
    assert "call" not in vars(layer)


def test_rows_alone_are_cast_to_half_precision():
    model = bert("mixed_bfloat16")
    fuse_layers(model)
    graph = tf.function(model).get_concrete_function(TOKENS).graph
    casts = [operation.inputs[0] for operation in graph.get_operations() if operation.type == "Cast"]
    table = model.token_embedding.embeddings.shape
    assert not [tensor for tensor in casts if tensor.shape == table]
