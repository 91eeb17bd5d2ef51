"""Networks of every family by name alone: read, moved into a larger one, trained for a step, exported."""

import warnings
from pathlib import Path

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from xmodal.core.errors import UserError
from xmodal.models.applications import IMAGENET_DEVIATIONS, applications
from xmodal.models.heads import image_head
from xmodal.models.image_backbones import BACKBONES, image_backbone, with_regions
from xmodal.models.trainable import set_trainable
from xmodal.tasks.image_classifier import attach_head
from xmodal.transfer.weights import transfer_weights

# Of each family: a small network, a network of its layers and more, and the side of the images.
FAMILIES = {
    "VGG": ("VGG16", "VGG19", 32),
    "MobileNet": ("MobileNet", "MobileNet", 32),
    "MobileNetV2": ("MobileNetV2", "MobileNetV2", 32),
    "MobileNetV3": ("MobileNetV3Small", "MobileNetV3Small", 32),
    "ResNet": ("ResNet50", "ResNet101", 32),
    "ResNetV2": ("ResNet50V2", "ResNet101V2", 32),
    "EfficientNet": ("EfficientNetB0", "EfficientNetB1", 32),
    "ConvNeXt": ("ConvNeXtTiny", "ConvNeXtSmall", 32),
    "Inception": ("InceptionV3", "InceptionV3", 75),
    "Xception": ("Xception", "Xception", 71),
    "DenseNet": ("DenseNet121", "DenseNet121", 32),
    "EfficientNetV2": ("EfficientNetV2B0", "EfficientNetV2B0", 32),
    "InceptionResNet": ("InceptionResNetV2", "InceptionResNetV2", 75),
    "NASNet": ("NASNetMobile", "NASNetMobile", 32),
}
# Those of the fewest layers stand for the others where time counts.
QUICK = ("VGG", "MobileNetV3")
NOWHERE = Path("nowhere")


def images(side: int, count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (count, side, side, 3)).astype(np.float32)


def trunk(name: str, side: int, **options) -> keras.Model:
    return image_backbone(name, side, cache=NOWHERE, **options)


def with_statistics(model: keras.Model) -> None:
    """Gives batch normalisations statistics, as a trained network has them."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(rng.normal(0, 0.1, layer.moving_mean.shape))
            layer.moving_variance.assign(rng.uniform(0.5, 1.5, layer.moving_mean.shape))


def check(source: keras.Model, target: keras.Model, side: int, folder: Path) -> None:
    """Moves all weights, with those of a head, trains one step and exports the target."""
    with_statistics(source)
    batch = images(side)
    heads = [image_head(trunk.output.shape[-1], 3, hidden=0, dropout=0.0) for trunk in (source, target)]
    source, target = (attach_head(*both) for both in zip((source, target), heads, strict=True))
    report = transfer_weights(source, target, grow=["*"], probe=batch)
    assert report.unmatched_source == ()
    assert report.max_abs_difference <= 1e-5
    with tf.GradientTape() as tape:
        logits = target(batch, training=True)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits([0, 1], logits))
    gradients = tape.gradient(loss, [variable.value for variable in target.trainable_variables])
    for variable, given in zip(target.trainable_variables, gradients, strict=True):
        # That of a table of positions has some rows alone.
        gradient = tf.convert_to_tensor(given)
        assert np.isfinite(gradient).all(), variable.path
        variable.assign_sub(1e-3 * tf.math.l2_normalize(gradient))
    answers = target(batch, training=False).numpy()
    assert np.isfinite(answers).all()
    target.export(folder, verbose=False)
    loaded = tf.saved_model.load(folder)
    np.testing.assert_allclose(loaded.serve(batch), answers, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "family",
    [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in FAMILIES],
)
def test_a_family_by_its_names_alone(family, tmp_path):
    small, large, side = FAMILIES[family]
    keras.utils.set_random_seed(0)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        check(trunk(small, side), trunk(large, side), side, tmp_path / "export")


def test_every_network_of_keras_applications_has_a_family():
    assert set(applications()) < set(BACKBONES)
    known = sorted({name.lower() for pair in FAMILIES.values() for name in pair[:2]}, key=len)
    for name in applications():
        assert any(name.lower()[:6] == other[:6] for other in known), name
    assert {"MobileNetV3Small", "ConvNeXtXLarge", "NASNetLarge"} <= set(applications())


@pytest.mark.parametrize(
    ("name", "side", "layers"),
    [
        ("VGG16", 32, ("block3_pool", "block4_pool", "block5_pool")),
        ("ResNet50", 64, ("conv3_block4_out", "conv4_block6_out", "conv5_block3_out")),
        ("ResNet50V2", 64, ("conv3_block3_out", "conv4_block5_out", "post_relu")),
        ("MobileNetV2", 64, ("block_6_expand_relu", "block_13_expand_relu", "out_relu")),
        ("InceptionV3", 96, ("mixed2", "mixed7", "mixed10")),
    ],
)
def test_the_layers_that_are_read_where_none_are_named(name, side, layers):
    network = trunk(name, side)
    pooled = [layer.name.removesuffix("_mean") for layer in network.layers if layer.name.endswith("_mean")]
    assert tuple(pooled) == layers


def test_layers_that_keras_numbered_match_by_their_order():
    def network(first: int) -> keras.Model:
        inputs = keras.Input((8, 8, 3))
        x = keras.layers.Conv2D(4, 3, padding="same", name=f"conv2d_{first}")(inputs)
        x = keras.layers.Conv2D(4, 3, padding="same", name=f"conv2d_{first + 1}")(x)
        return keras.Model(inputs, x)

    # By their names the second layer of one would be the first of the other.
    source, target = network(7), network(8)
    probe = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)
    report = transfer_weights(source, target, probe=probe)
    assert report.max_abs_difference == 0
    assert [layer.source for layer in report.layers] == ["conv2d_7", "conv2d_8"]
    assert {layer.rule for layer in report.layers} == {"same place and shapes"}


def test_networks_of_two_families_have_nothing_to_move():
    with pytest.raises(
        UserError, match=r"do not match: .* and \d+ more; only in the source: block1_conv1"
    ) as told:
        transfer_weights(trunk("VGG16", 32), trunk("ResNet50", 32), grow=["conv1_conv"])
    assert len(str(told.value)) < 3000
    with pytest.raises(
        UserError, match="no layer of 'vgg16' is one of 'resnet50' too; choose networks of one"
    ):
        transfer_weights(trunk("VGG16", 32), trunk("ResNet50", 32), growth="random", grow=["*"], drop=["*"])


def test_official_weights_of_efficientnet_divide_by_the_deviations(tmp_path):
    keras.utils.set_random_seed(0)
    official = keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=(32, 32, 3))
    means = np.array([0.485, 0.456, 0.406], np.float32)
    deviations = np.array(IMAGENET_DEVIATIONS, np.float32)
    normalization = next(layer for layer in official.layers if layer.name.startswith("normalization"))
    normalization.set_weights([means, deviations, np.array(0)])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        official.save_weights(tmp_path / "b0.weights.h5")
    ours = trunk("EfficientNetB0", 32, weights=str(tmp_path / "b0.weights.h5"))
    batch = images(32)
    stem = keras.Model(ours.input, ours.get_layer("stem_conv").input)
    normalised = (batch / 255 - means) / deviations
    np.testing.assert_allclose(np.asarray(stem(batch))[:, :32, :32], normalised, atol=1e-4)
    # So does a network that their weights move into.
    target = trunk("EfficientNetB0", 32)
    assert transfer_weights(ours, target, probe=batch).max_abs_difference == 0


# KerasHub.


@pytest.fixture(scope="module")
def presets(tmp_path_factory) -> dict[str, str]:
    """A tiny ResNet and a tiny ViT in folders, with their scaling."""
    keras.utils.set_random_seed(0)
    root = tmp_path_factory.mktemp("presets")
    made = {
        "resnet": keras_hub.models.ResNetBackbone(
            input_conv_filters=[64],
            input_conv_kernel_sizes=[7],
            stackwise_num_filters=[64, 16, 32, 32],
            stackwise_num_blocks=[1, 1, 1, 1],
            stackwise_num_strides=[1, 2, 2, 2],
            block_type="basic_block",
        ),
        "vit": keras_hub.models.ViTBackbone(
            image_shape=(32, 32, 3), patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32
        ),
    }
    converters = {"resnet": keras_hub.layers.ResNetImageConverter, "vit": keras_hub.layers.ViTImageConverter}
    for name, backbone in made.items():
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
            backbone.save_to_preset(str(root / name))
        converters[name](scale=1 / 127.5, offset=-1.0).save_to_preset(str(root / name))
    return {name: str(root / name) for name in made}


@pytest.mark.parametrize(("name", "side"), [("resnet", 32), ("resnet", 48), ("vit", 32)])
def test_a_backbone_of_keras_hub(presets, name, side, tmp_path):
    batch = images(side)
    source, target = (
        image_backbone(place, side, weights=weights, cache=NOWHERE)
        for place, weights in ((presets[name], "preset"), (f"keras_hub:{presets[name]}", "none"))
    )
    backbone = keras_hub.models.Backbone.from_preset(presets[name])
    resized = batch
    expected = backbone(resized / 127.5 - 1)
    if name == "resnet":
        width, pooled = 2 * (16 + 32 + 32), [np.mean(expected, (1, 2)), np.max(expected, (1, 2))]
    else:
        width, pooled = 2 * 16, [np.mean(expected, 1), np.max(expected, 1)]
    assert source.output_shape == (None, width)
    last = np.concatenate(pooled, axis=1)
    np.testing.assert_allclose(np.asarray(source(batch))[:, -last.shape[1] :], last, rtol=1e-3, atol=1e-4)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        check(source, target, side, tmp_path / "export")


def test_what_is_wrong_with_a_backbone_of_keras_hub(presets, tmp_path):
    with pytest.raises(UserError, match=r"'keras_hub:resnet_19_imagenet' is neither a preset .*'resnet_18_"):
        trunk("keras_hub:resnet_19_imagenet", 32)
    with pytest.raises(
        UserError, match=r"`image_weights=vgg16_imagenet` does not fit 'vit'; use it with VGG16"
    ):
        trunk(presets["vit"], 32, weights="vgg16_imagenet")
    with pytest.raises(UserError, match=r"32 pixels, not of `image_size=48`; give `image_size=32`"):
        trunk(presets["vit"], 48)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UserError, match="no weights"):
        trunk(str(tmp_path), 32)


def test_regions_are_maps_or_tokens(presets):
    for place, count in (("VGG16", 4), ("ResNet50", 4), (presets["resnet"], 4), (presets["vit"], 17)):
        network = trunk(place, 32)
        both, (regions, numbers) = with_regions(network, "auto")
        assert regions == count
        assert both.output_shape == (None, network.output_shape[1] + regions * numbers)


def test_what_is_trained_of_a_network_that_is_not_vgg(presets):
    network = trunk(presets["resnet"], 32)
    set_trainable(network, "stack3")
    assert {layer.name.split("_")[0] for layer in network.layers if layer.trainable_weights} == {"stack3"}


def one_layer(image_size: int, imagenet: bool) -> keras.Model:
    """A convolution, whose maps are pooled."""
    pictures = keras.Input((image_size, image_size, 3), name="image")
    maps = keras.layers.Conv2D(5, 4, strides=4, name="only")(pictures)
    return keras.Model(pictures, maps, name="one_layer")


def test_a_new_backbone_is_a_function_in_the_table(monkeypatch):
    monkeypatch.setitem(BACKBONES, "one_layer", one_layer)
    network = trunk("one_layer", 32)
    assert network.output_shape == (None, 2 * 5)
    assert transfer_weights(network, trunk("one_layer", 32), probe=images(32)).max_abs_difference == 0
    with pytest.raises(UserError, match=r"`features=onyl` is no layer of 'one_layer' .* did you mean 'only'"):
        trunk("one_layer", 32, features=("onyl",))
