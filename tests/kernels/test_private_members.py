"""What `xmodal.kernels` touches of Keras that Keras does not promise: these fail when it changes."""

import inspect

import keras
import numpy as np

from xmodal.kernels.layers import (
    all_layers,
    arguments_with,
    calls,
    constants_read,
    forget_vocabulary,
    operations,
    producers,
    tensor_made,
    tensors_read,
)


def test_all_layers_are_found_inside_others_too():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="inside")], name="inner")
    inputs = keras.Input((3, 4))
    attended = keras.layers.MultiHeadAttention(1, 2, name="attention")(inputs, inputs)
    model = keras.Model(inputs, keras.layers.TimeDistributed(inner, name="each")(attended))
    names = [layer.name for layer in all_layers(model)]
    assert {"attention", "query", "each", "inner", "inside"} <= set(names)
    assert len(names) == len(set(names))
    assert model.name not in names
    assert names.index("attention") < names.index("each") < names.index("inside")


def test_what_layers_read_and_make_in_a_model():
    inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)], name="inner")
    inputs = keras.Input((4,))
    outputs = keras.layers.Add()([inner(inputs), inner(inputs)])
    model = keras.Model(inputs, outputs)
    place, inside, added = model.layers
    assert tensors_read(place) == []
    assert tensor_made(place) is inputs
    assert tensors_read(inside) == [inputs]
    assert tensors_read(added)[0] is tensor_made(inside)
    assert tensor_made(added) is outputs
    assert producers(model)[id(tensor_made(inside))] is inside
    assert [type(each).__name__ for each in operations(keras.Model(inputs, outputs + outputs))].count(
        "Add"
    ) == 2


def test_the_calls_that_a_model_is_made_of():
    inputs = keras.Input((4,))
    scaled = inputs / 255.0
    model = keras.Model(inputs, keras.layers.Dense(3, name="dense")(scaled))
    keras.Model(inputs, model.get_layer("dense")(inputs * 2.0))  # Another model of the same layer.
    first, divided, last = calls(model)
    assert first.output_tensors == [inputs]
    assert constants_read(divided) == [255.0]
    assert last.input_tensors == divided.output_tensors == [scaled]
    assert constants_read(last) == []
    assert arguments_with(divided, {id(inputs): 7}) == ((7, 255.0), {})
    grown = keras.Sequential()
    for layer in (keras.Input((4,)), keras.layers.Dense(4, name="a"), keras.layers.Dense(4, name="b")):
        grown.add(layer)
    _, a, b = calls(grown)
    assert a.output_tensors == b.input_tensors
    assert calls(keras.Sequential([keras.layers.Dense(3)])) == []


def test_a_vocabulary_can_be_forgotten():
    for lookup in (keras.layers.StringLookup(output_mode="count"), keras.layers.TextVectorization()):
        new = lookup.get_vocabulary()
        lookup.adapt(["a", "b"])
        forget_vocabulary(lookup)
        assert lookup.get_vocabulary() == new
        lookup.adapt(["a", "b", "c"])
        assert len(lookup.get_vocabulary(include_special_tokens=False)) == 3


def test_the_parts_of_an_optimizer_that_a_step_goes_through():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 1, 0.5)
    optimizer = keras.optimizers.AdamW(schedule)
    assert optimizer._learning_rate is schedule
    variables = [keras.Variable(np.ones(2, np.float32)) for _ in range(2)]
    optimizer.build(variables)
    assert [optimizer._get_variable_index(variable) for variable in variables] == [0, 1]
    assert [*inspect.signature(optimizer.update_step).parameters] == ["gradient", "variable", "learning_rate"]
    # The rate is set and read by the same name, and may be a function for as long as a step takes.
    optimizer.learning_rate = lambda: 0.25
    np.testing.assert_allclose(optimizer.learning_rate, 0.25)
    optimizer.learning_rate = schedule
    assert optimizer._learning_rate is schedule
    seen = []
    optimizer.update_step = lambda gradient, variable, learning_rate: seen.append(float(learning_rate))
    optimizer.apply([np.ones(2, np.float32)] * 2)
    np.testing.assert_allclose(seen, [0.1, 0.1])


def test_an_optimizer_goes_through_the_update_of_its_backend_once_a_step(monkeypatch):
    optimizer = keras.optimizers.AdamW(0.1)
    variables = [keras.Variable(np.ones(shape, np.float32)) for shape in (2, 3)]
    optimizer.build(variables)
    for slots in (optimizer._momentums, optimizer._velocities):
        assert [slot.shape for slot in slots] == [(2,), (3,)]
    seen = []
    monkeypatch.setattr(optimizer, "_backend_update_step", lambda *given: seen.append(given))
    optimizer.apply([np.ones(2, np.float32), np.ones(3, np.float32)])
    ((gradients, updated, rate),) = seen
    assert len(gradients) == len(updated) == 2
    np.testing.assert_allclose(rate, 0.1)


def test_a_loss_scaling_optimizer_has_the_other_inside():
    inner = keras.optimizers.Adam(0.1)
    assert keras.optimizers.LossScaleOptimizer(inner).inner_optimizer is inner


def test_a_convolution_is_computed_by_its_own_operation():
    layer = keras.layers.Conv2D(2, 3, padding="same")
    layer.build((1, 4, 4, 3))
    plain = layer.convolution_op
    layer.convolution_op = lambda inputs, kernel: 2 * plain(inputs, kernel)
    images = np.random.default_rng(0).normal(size=(1, 4, 4, 3)).astype(np.float32)
    doubled = layer(images)
    del layer.convolution_op
    np.testing.assert_allclose(doubled, 2 * layer(images), rtol=1e-5)


def test_a_dense_layer_is_computed_by_its_call():
    layer = keras.layers.Dense(2, activation="relu")
    layer.build((None, 3))
    assert [*inspect.signature(layer.call).parameters] == ["inputs", "training"]
    layer.call = lambda inputs, training=None: inputs[..., :2]
    inputs = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(layer(inputs), inputs[..., :2])


def test_an_attention_is_computed_by_its_call_and_drops_out_by_a_layer():
    layer = keras.layers.MultiHeadAttention(1, 2, dropout=0.5)
    sequences = np.ones((1, 3, 4), np.float32)
    layer(sequences, sequences)
    assert [*inspect.signature(layer.call).parameters][:3] == ["query", "value", "key"]
    assert (type(layer._dropout_layer), layer._dropout_layer.rate) == (keras.layers.Dropout, 0.5)
    layer.call = lambda query, value, **options: query + value
    np.testing.assert_array_equal(layer(sequences, sequences), 2 * sequences)


def test_a_variable_tells_whether_it_is_cast():
    layer = keras.layers.Embedding(3, 2, dtype="mixed_bfloat16")
    layer.build()
    assert layer.embeddings._autocast
    layer.embeddings._autocast = False
    assert layer(np.array([1])).dtype == "bfloat16"
