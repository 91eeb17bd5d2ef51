"""Wider, narrower and deeper networks that start as what they came from."""

import keras
import numpy as np
import pytest
from keras import layers

from xmodal.core.errors import UserError
from xmodal.transfer.groups import Group, index, shares
from xmodal.transfer.weights import transfer_weights

PICTURES = np.random.default_rng(0).uniform(-1, 1, (2, 8, 8, 3)).astype(np.float32)
TOKENS = {
    "token_ids": np.random.default_rng(0).integers(1, 40, (3, 10)),
    "segment_ids": np.zeros((3, 10), np.int32),
    "padding_mask": np.array([[1] * 10, [1] * 7 + [0] * 3, [1] * 2 + [0] * 8]),
}


def shaken(model):
    """Gives a model weights of which no two are alike, biases and statistics too."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        for weight in layer.weights:
            noise = rng.uniform(-0.1, 0.15, weight.shape)
            weight.assign(np.asarray(weight) + (noise if "seed" not in weight.path else 0))
    return model


def plain(width, deeper=False):
    """Convolutions in a row, a Flatten and dense layers."""
    x = inputs = layers.Input((8, 8, 3))
    for block, count in enumerate((1, 2 + deeper)):
        for number in range(count):
            filters = int(4 * width) * (block + 1)
            x = layers.Conv2D(filters, 3, padding="same", activation="relu", name=f"b{block}_{number}")(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Dense(int(6 * width), activation="relu", name="hidden")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(5, name="answers")(x))


def residual(width, blocks=1):
    """Blocks as those of MobileNetV3: narrow, depthwise and squeeze-and-excite, and a concatenation."""
    filters = int(4 * width)
    x = inputs = layers.Input((8, 8, 3))
    x = layers.Conv2D(filters, 3, padding="same", name="stem")(x)
    for block in range(blocks):
        y = layers.Conv2D(2 * filters, 1, use_bias=False, name=f"{block}_expand")(x)
        y = layers.ReLU()(layers.BatchNormalization(name=f"{block}_norm")(y))
        y = layers.DepthwiseConv2D(3, padding="same", name=f"{block}_depthwise")(y)
        gate = layers.GlobalAveragePooling2D()(y)
        gate = layers.Reshape((1, 1, 2 * filters))(gate)
        gate = layers.Conv2D(filters // 2, 1, activation="relu", name=f"{block}_squeeze")(gate)
        gate = layers.Conv2D(2 * filters, 1, activation="sigmoid", name=f"{block}_excite")(gate)
        y = layers.Conv2D(filters, 1, name=f"{block}_project")(layers.Multiply()([y, gate]))
        x = layers.Add()([x, layers.BatchNormalization(name=f"{block}_last_norm")(y)])
    both = layers.Concatenate()([x, layers.SeparableConv2D(filters, 3, padding="same", name="separable")(x)])
    up = layers.Conv2DTranspose(filters, 2, strides=2, name="up")(both)
    grouped = layers.Conv2D(filters, 3, groups=filters, name="by_channel")(up)
    x = layers.LayerNormalization(name="layer_norm")(grouped)
    return keras.Model(inputs, layers.Dense(5, name="answers")(layers.GlobalMaxPooling2D()(x)))


def bert(width=8, heads=2, inner=16, depth=1, **settings):
    from keras_nlp.models import BertBackbone

    return BertBackbone(
        vocabulary_size=40,
        num_layers=depth,
        num_heads=heads,
        hidden_dim=width,
        intermediate_dim=inner,
        max_sequence_length=12,
        **settings,
    )


@pytest.mark.parametrize(
    ("source", "target", "probe"),
    [
        pytest.param(lambda: plain(1), lambda: plain(2), PICTURES, id="twice as wide"),
        pytest.param(lambda: plain(1), lambda: plain(1.5), PICTURES, id="half as wide again"),
        pytest.param(lambda: plain(1), lambda: plain(1.5, deeper=True), PICTURES, id="wider and deeper"),
        pytest.param(lambda: residual(1), lambda: residual(2), PICTURES, id="residual"),
        pytest.param(lambda: residual(1), lambda: residual(2, 2), PICTURES, id="a residual block more"),
        pytest.param(lambda: bert(), lambda: bert(inner=24), TOKENS, id="a wider feed-forward network"),
        pytest.param(lambda: bert(), lambda: bert(width=16, heads=4), TOKENS, id="wider vectors, more heads"),
        pytest.param(lambda: bert(), lambda: bert(depth=3), TOKENS, id="transformer layers more"),
        pytest.param(lambda: bert(), lambda: bert(16, 4, 20, 2), TOKENS, id="all of it"),
    ],
)
def test_a_grown_network_computes_what_its_source_did(source, target, probe):
    source, target = shaken(source()), target()
    report = transfer_weights(source, target, grow="*", probe=probe)
    assert report.max_abs_difference < 1e-5
    assert report.names("resized") or report.names("grown")
    assert report.different_settings == ()


def test_channels_that_stand_for_one_learn_different_things():
    source, target = shaken(plain(1)), plain(2)
    transfer_weights(source, target, grow="*")
    kernel = target.get_layer("b0_0").kernel.numpy()
    assert (kernel[..., :4] == kernel[..., 4:]).all()
    target.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    target.fit(PICTURES, np.array([0, 1]), verbose=0)
    learned = target.get_layer("b0_0").kernel.numpy()
    assert (learned[..., :4] != learned[..., 4:]).any()


def test_the_account_names_what_was_resized():
    source, target = shaken(plain(1)), plain(2)
    report = transfer_weights(source, target, grow="*", probe=PICTURES)
    assert [layer.action for layer in report.layers] == ["resized"] * 5
    assert {layer.rule for layer in report.layers} == {"another width"}
    assert "5 of another width" in report.line()


def test_the_scale_before_new_transformer_layers_is_moved_behind_them():
    source, target = shaken(bert()), bert(depth=3)
    report = transfer_weights(source, target, grow="*")
    [first] = [layer for layer in report.layers if layer.target == "transformer_layer_0"]
    assert first.rule == "same name and shapes; its scale is in transformer_layer_2"
    gamma = [
        weight for weight in source.get_layer("transformer_layer_0").weights if "norm/gamma" in weight.path
    ]
    moved = [
        weight for weight in target.get_layer("transformer_layer_2").weights if "norm/gamma" in weight.path
    ]
    assert (moved[-1].numpy() == gamma[-1].numpy()).all()


def test_outputs_of_another_width_are_compared_where_they_stand_for_each_other():
    source, target = (
        keras.Sequential([layers.Input((8, 8, 3)), layers.Conv2D(filters, 3, name="a")]) for filters in (4, 6)
    )
    report = transfer_weights(shaken(source), target, grow="*", probe=PICTURES)
    assert report.max_abs_difference == 0.0
    outputs = np.asarray(target(PICTURES))
    assert (outputs[..., 4:] == outputs[..., :2]).all()


def test_nested_models_are_resized_too():
    def nested(width):
        inner = keras.Sequential([layers.Input((8, 8, 3)), layers.Conv2D(width, 3, name="a")], name="trunk")
        inputs = layers.Input((8, 8, 3))
        x = layers.GlobalAveragePooling2D()(inner(inputs))
        return keras.Model(inputs, layers.Dense(3, name="answers")(x))

    report = transfer_weights(shaken(nested(4)), nested(7), grow="*", probe=PICTURES)
    assert report.names("resized") == ["trunk/a", "answers"]
    assert report.max_abs_difference < 1e-5


def test_a_narrower_network_keeps_the_channels_of_the_largest_norms():
    source, target = shaken(plain(2)), plain(1)
    report = transfer_weights(source, target, grow="*", probe=PICTURES)
    kernel = source.get_layer("b0_0").kernel.numpy()
    largest = np.sort(np.argsort(-np.abs(kernel).sum(axis=(0, 1, 2)))[:4])
    assert (target.get_layer("b0_0").kernel.numpy() == kernel[..., largest]).all()
    assert report.max_abs_difference > 1e-3


def two_convolutions(width, last=2):
    return keras.Sequential(
        [layers.Input((8, 8, 3)), layers.Conv2D(width, 3, name="a"), layers.Conv2D(last, 3, name="b")]
    )


def test_channels_that_do_nothing_are_those_that_go():
    source, target = shaken(two_convolutions(6)), two_convolutions(3)
    first = source.get_layer("a")
    for weight in first.weights:
        weight.assign(weight.numpy() * [1, 0, 1, 0, 0, 1])
    report = transfer_weights(source, target, grow="*", probe=PICTURES)
    assert (target.get_layer("a").kernel.numpy() == first.kernel.numpy()[..., [0, 2, 5]]).all()
    assert report.max_abs_difference < 1e-6


def test_shares_are_uneven_and_add_up():
    places = index((Group(3, 8),))
    assert list(places) == [0, 1, 2, 0, 1, 2, 0, 1]
    parts = shares(places, np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(places, parts), 1)
    assert len(set(parts.round(6))) == 8


def normed(width):
    x = inputs = layers.Input((8, 8, 3))
    x = layers.LayerNormalization(name="norm")(layers.Conv2D(width, 1, name="a")(x))
    return keras.Model(inputs, x)


def unknown(width, layer):
    x = inputs = layers.Input((8, 8, 3))
    x = layer(layers.Conv2D(width, 1, name="a")(x))
    return keras.Model(inputs, layers.Conv2D(2, 1, name="b")(x))


def joined(first, second):
    x = inputs = layers.Input((8, 8, 3))
    parts = [layers.Conv2D(width, 1, name=name)(x) for width, name in ((first, "a"), (second, "b"))]
    return keras.Model(
        inputs, layers.Add()([layers.Concatenate()(parts), layers.Conv2D(first + second, 1, name="c")(x)])
    )


def branching(depth):
    """A sum reads what comes before the new transformer layer too."""
    from keras_nlp.layers import TransformerEncoder

    x = inputs = layers.Input((6, 8))
    x = before = layers.LayerNormalization(name="norm")(x)
    for number in range(depth):
        x = TransformerEncoder(8, 2, name=f"layer_{number}")(x)
    return keras.Model(inputs, layers.Add()([x, before]))


@pytest.mark.parametrize(
    ("source", "target", "problem"),
    [
        (lambda: normed(4), lambda: normed(6), "'norm' cannot grow from 4 to 6 channels"),
        (
            lambda: unknown(4, layers.Softmax()),
            lambda: unknown(8, layers.Softmax()),
            r"takes has 8 channels in the place of 4",
        ),
        (
            lambda: unknown(4, layers.GroupNormalization(2, name="norm")),
            lambda: unknown(8, layers.GroupNormalization(2, name="norm")),
            r"'norm' \(GroupNormalization\) takes has 8 channels in the place of 4",
        ),
        (lambda: joined(2, 4), lambda: joined(4, 4), "cannot be of another width"),
        (lambda: branching(0), lambda: branching(1), "other layers read what comes before it too"),
        (lambda: bert(), lambda: bert(heads=4), "differ in more than their channels"),
        (
            lambda: keras.Sequential([layers.Input((4, 3)), layers.GRU(4, name="gru")]),
            lambda: keras.Sequential([layers.Input((4, 3)), layers.GRU(6, name="gru")]),
            r"'gru' \(GRU\) .* of another width",
        ),
    ],
)
def test_what_cannot_keep_its_function_is_refused_and_nothing_is_changed(source, target, problem):
    target = target()
    before = target.get_weights()
    with pytest.raises(UserError, match=problem):
        transfer_weights(source(), target, grow="*")
    assert all((old == new).all() for old, new in zip(before, target.get_weights(), strict=True))


def test_random_growth_leaves_wider_layers_as_they_were_initialised():
    source, target = two_convolutions(4), two_convolutions(4, last=6)
    before = target.get_layer("b").kernel.numpy()
    report = transfer_weights(source, target, growth="random", grow="b", drop="b")
    assert (target.get_layer("b").kernel.numpy() == before).all()
    assert report.names("grown") == ["b"]
