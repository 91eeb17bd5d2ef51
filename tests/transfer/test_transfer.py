import keras
import numpy as np
import pytest

from xmodal.core.errors import UserError
from xmodal.transfer.weights import output_difference, transfer_weights


def convolutions(*names, filters=4, name="model", activation="relu"):
    layers = [
        keras.layers.Conv2D(filters, 3, padding="same", activation=activation, name=layer) for layer in names
    ]
    return keras.Sequential([keras.Input((8, 8, 4)), *layers], name=name)


@pytest.fixture
def probe():
    return np.random.default_rng(0).normal(size=(3, 8, 8, 4)).astype(np.float32)


def test_identity_growth_gives_exactly_the_source_output(probe):
    source, target = convolutions("a", "b"), convolutions("a", "new", "b")
    report = transfer_weights(source, target, grow=["new"], probe=probe)
    assert report.max_abs_difference == 0.0
    assert [(layer.target, layer.action) for layer in report.layers] == [
        ("a", "copied"),
        ("new", "grown"),
        ("b", "copied"),
    ]
    assert report.parameters("copied") == sum(w.size for w in source.get_weights())


def test_random_growth_changes_the_output(probe):
    source, target = convolutions("a"), convolutions("a", "new")
    report = transfer_weights(source, target, growth="random", grow=["n*"], probe=probe)
    assert report.max_abs_difference > 1e-3


def test_vgg19_grown_from_vgg16_is_vgg16():
    rng = np.random.default_rng(0)
    source = keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3))
    target = keras.applications.VGG19(include_top=False, weights=None, input_shape=(32, 32, 3))
    report = transfer_weights(
        source,
        target,
        grow=["block?_conv4"],
        probe=rng.uniform(-100, 100, (2, 32, 32, 3)).astype(np.float32),
    )
    assert report.max_abs_difference == 0.0
    assert [layer.target for layer in report.layers if layer.action == "grown"] == [
        "block3_conv4",
        "block4_conv4",
        "block5_conv4",
    ]


def test_the_digest_is_that_of_the_weights():
    source, target = convolutions("a"), convolutions("a")
    first = transfer_weights(source, target).layers[0].sha256
    assert transfer_weights(source, target).layers[0].sha256 == first
    kernel, bias = source.get_weights()
    source.set_weights([kernel, bias + 1])
    assert transfer_weights(source, target).layers[0].sha256 != first


def test_undeclared_layers_of_both_sides_are_listed_and_nothing_is_copied():
    source, target = convolutions("a", "gone"), convolutions("a", "new")
    before = target.get_weights()
    with pytest.raises(UserError, match=r"only in the target: new .*only in the source: gone .*declare"):
        transfer_weights(source, target)
    assert all(np.array_equal(a, b) for a, b in zip(before, target.get_weights(), strict=True))


def test_a_layer_of_another_shape_does_not_match():
    with pytest.raises(UserError, match=r"a \[\(3, 3, 4, 4\).*a \[\(3, 3, 4, 6\)"):
        transfer_weights(convolutions("a", filters=6), convolutions("a"))


def test_source_layers_without_a_place_are_named(probe):
    source, target = convolutions("a", "b"), convolutions("a")
    report = transfer_weights(source, target, drop=["b"], probe=probe)
    assert report.unmatched_source == ("b",)
    assert report.max_abs_difference > 1e-3


def test_left_and_renamed_layers():
    source, target = convolutions("a", "b"), convolutions("a", "c")
    report = transfer_weights(source, target, leave=["a"], drop=["a"], rename={"c": "b"})
    assert [(layer.action, layer.source, layer.rule) for layer in report.layers] == [
        ("left", None, "declared"),
        ("copied", "b", "renamed"),
    ]
    assert np.array_equal(target.get_layer("c").get_weights()[0], source.get_layer("b").get_weights()[0])


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (keras.layers.Conv2D(4, 3, padding="same", activation="tanh", name="new"), (8, 8, 4)),
        (keras.layers.Conv2D(4, 2, padding="same", name="new"), (8, 8, 4)),
        (keras.layers.Conv2D(4, 3, strides=2, padding="same", name="new"), (8, 8, 4)),
        (keras.layers.Conv2D(6, 3, padding="same", name="new"), (8, 8, 4)),
        (keras.layers.BatchNormalization(name="new"), (8, 8, 4)),
    ],
)
def test_what_cannot_be_an_identity_is_refused(layer, shape):
    target = keras.Sequential([keras.Input(shape), layer])
    with pytest.raises(UserError, match=r"'new' .* cannot be grown as an identity; use growth='random'"):
        transfer_weights(keras.Sequential([keras.Input(shape), keras.layers.ReLU()]), target, grow=["new"])


def test_nested_models_match_by_path():
    def nested():
        return keras.Sequential([keras.Input((8, 8, 4)), convolutions("a", name="trunk")])

    source, target = nested(), nested()
    assert [layer.target for layer in transfer_weights(source, target).layers] == ["trunk/a"]


def test_dense_layers_grow_too():
    def dense(*names):
        return keras.Sequential(
            [keras.Input((5,)), *(keras.layers.Dense(5, activation="relu", name=name) for name in names)]
        )

    source, target = dense("a"), dense("a", "new")
    transfer_weights(source, target, grow=["new"])
    assert output_difference(source, target, np.ones((1, 5), np.float32)) == 0.0


def test_the_account_in_one_line(probe):
    source, target = convolutions("a", "old", name="one"), convolutions("a", "new", name="two")
    report = transfer_weights(source, target, grow=["new"], drop=["old"], probe=probe)
    assert report.names("copied") == ["a"]
    assert report.line() == (
        "one -> two: 1 layers copied (148 parameters), 1 grown by identity, no place for old; "
        f"largest difference of the outputs on a batch: {report.max_abs_difference}"
    )
