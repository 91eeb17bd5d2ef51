"""Image backbones by name, read at several depths: features of images without a head."""

import math
import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import keras

from xmodal.assets.efficientnet_lite0 import efficientnet_lite0_arrays
from xmodal.assets.fetch import locate
from xmodal.assets.presets import image_backbone_path
from xmodal.assets.vgg16 import vgg16_arrays
from xmodal.core.errors import UserError, nearest
from xmodal.core.files import cache_folder
from xmodal.kernels.layers import operations, tensor_made
from xmodal.models.applications import application_backbone, applications, with_own_deviations
from xmodal.models.efficientnet_lite0 import efficientnet_lite0, set_torch_weights
from xmodal.models.feature_layers import AUTO, default_features, is_map
from xmodal.models.hub_backbones import hub_backbone

# Of an image in all, where maps are flattened.
MAX_FLAT = 2**16
# How the layers end that pool.
POOLED = ("mean", "max", "flat")


def image_backbone(
    name: str,
    image_size: int,
    features: Sequence[str] = AUTO,
    *,
    pooling: str = "mean_max",
    weights: str = "none",
    cache: Path | None = None,
    offline: bool = False,
) -> keras.Model:
    """Builds an image backbone up to its pooled features.

    The maps (or tokens) of each layer in `features` are averaged and maximised over their positions, or read
    position by position, and all of these vectors joined: several depths together transfer better than the
    last one alone (Yosinski et al. 2014, arXiv:1411.1792). A backbone that ends in a vector is read there.

    Args:
        name: a key of `BACKBONES`, such as "VGG16"; or a preset of KerasHub: "keras_hub:PRESET", a folder
            that holds one, "hf://..." or "kaggle://...".
        image_size: side of the input in pixels.
        features: names of the layers to read; `AUTO` for those of `default_features`.
        pooling: "mean_max", or "flatten" where it matters in which place something is seen.
        weights: a named asset, "imagenet" (fetched by Keras Applications), "preset" (those of a preset), a
            `.weights.h5` file of the model without its top, or "none" for random weights.
        cache: folder of fetched assets; None for the usual one.
        offline: make no attempt to fetch.

    Returns:
        A flat model: RGB images (B, image_size, image_size, 3) from 0 to 255 -> features (B, D).

    Raises:
        UserError: for an unknown model, layer or weights, weights that cannot be had, or maps that are too
            large to be flattened.

    Example:
        >>> image_backbone("ResNet50", 64).output_shape
        (None, 7168)
    """
    preset = image_backbone_path(name, offline=offline)
    if preset:
        model = hub_backbone(preset, name, image_size, load_weights=weights == "preset")
    else:
        model = _build(name, image_size, weights == "imagenet", offline)
    if weights not in ("none", "preset" if preset else "imagenet"):
        _load_weights(model, weights, cache=cache or cache_folder(), offline=offline)
    if len(model.outputs) == 1 and len(model.outputs[0].shape) == 2:
        return model
    names = default_features(model) if tuple(features) == AUTO else features
    if not names or len(set(names)) < len(names):
        raise UserError(
            f"`features={','.join(names)}` names no layer, or one of them twice", "name each layer once"
        )
    vectors = [vector for layer in names for vector in _pool(_layer(model, layer), pooling)]
    outputs = keras.layers.Concatenate(name="features")(vectors)
    if pooling == "flatten" and outputs.shape[-1] > MAX_FLAT:
        raise UserError(
            f"`pooling=flatten` makes {outputs.shape[-1]:,} numbers of an image, more than {MAX_FLAT:,}",
            "name upper layers alone as `features`, or give a smaller `image_size`",
        )
    return keras.Model(model.input, outputs, name=model.name)


def require_backbone(name: str, *, offline: bool = False) -> None:
    """Raises a UserError for a name that is no backbone's, before anything is built."""
    if image_backbone_path(name, offline=offline) is None and name not in BACKBONES:
        raise UserError(f"{name!r} is no model of Keras Applications", nearest(name, BACKBONES))


def _build(name: str, image_size: int, imagenet: bool, offline: bool) -> keras.Model:
    require_backbone(name)
    if imagenet and offline:
        raise UserError(
            "`image_weights=imagenet` is fetched by Keras Applications, which `offline` forbids",
            "use `image_weights=vgg16_imagenet` or a .weights.h5 file",
        )
    return BACKBONES[name](image_size, imagenet)


def _pool(layer: keras.Operation, pooling: str) -> list[keras.KerasTensor]:
    """Returns the means and the maxima (B, C) of a layer's maps or tokens over their positions, or all."""
    if pooling == "flatten":
        return [keras.layers.Flatten(name=f"{layer.name}_flat")(tensor_made(layer))]
    kinds = (
        (keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D)
        if is_map(tensor_made(layer))
        else (keras.layers.GlobalAveragePooling1D, keras.layers.GlobalMaxPooling1D)
    )
    return [
        kind(name=f"{layer.name}_{word}")(tensor_made(layer))
        for kind, word in zip(kinds, ("mean", "max"), strict=True)
    ]


def with_regions(trunk: keras.Model, layer: str) -> tuple[keras.Model, tuple[int, int]]:
    """Lets a trunk give one of its maps too, as it is.

    Args:
        trunk: RGB images (B, H, W, 3) -> pooled features (B, D).
        layer: the name of the layer with the map, or with tokens: R positions with F numbers each; "auto" for
            the last but one of those that the features were pooled from.

    Returns:
        A model: the same images -> the features and, behind them, the map, position by position
        (B, D + R F); and (R, F).

    Raises:
        UserError: when it has no such layer.
    """
    operation = _layer(trunk, _region_layer(trunk) if layer == "auto" else layer, "region_layer")
    regions = tensor_made(operation)
    outputs = keras.layers.Concatenate(name="with_regions")([trunk.output, keras.layers.Flatten()(regions)])
    *positions, numbers = regions.shape[1:]
    return keras.Model(trunk.input, outputs, name=trunk.name), (math.prod(positions), numbers)


def pooled_layers(trunk: keras.Model) -> dict[str, int]:
    """Returns the layers that the features of a trunk were pooled from: name -> how many of the features."""
    widths: dict[str, int] = {}
    for layer in trunk.layers:
        name, _, kind = layer.name.rpartition("_")
        if kind in POOLED:
            widths[name] = widths.get(name, 0) + tensor_made(layer).shape[-1]
    return widths


def _region_layer(trunk: keras.Model) -> str:
    maps = [layer.name for layer in trunk.layers if is_map(tensor_made(layer))]
    return ([*pooled_layers(trunk)] or maps)[-2:][0]


def small_cnn(image_size: int) -> keras.Model:
    """Builds the convolutions of LeNet-5 (LeCun et al. 1998) for colours, with ReLU and maxima.

    Two 5x5 convolutions of 6 and 16 kernels, each followed by 2x2 pooling.

    Args:
        image_size: side of the input in pixels.

    Returns:
        A flat model: RGB images (B, image_size, image_size, 3) from 0 to 255 -> features (B, D), 400
        for sides of 32.
    """
    images = keras.Input((image_size, image_size, 3), name="image")
    maps = keras.layers.Rescaling(1 / 127.5, offset=-1, name="preprocess")(images)
    for number, kernels in enumerate((6, 16), start=1):
        maps = keras.layers.Conv2D(kernels, 5, activation="relu", name=f"conv{number}")(maps)
        maps = keras.layers.MaxPooling2D(name=f"pool{number}")(maps)
    return keras.Model(images, keras.layers.Flatten(name="features")(maps), name="small_cnn")


def _load_weights(model: keras.Model, weights: str, *, cache: Path, offline: bool) -> None:
    if weights in WEIGHTS:
        name, set_weights = WEIGHTS[weights]
        if model.name != name.lower():
            raise UserError(
                f"`image_weights={weights}` does not fit {model.name!r}",
                f"use it with {name}, or choose others",
            )
        set_weights(model, locate(weights, cache=cache, offline=offline))
    elif Path(weights).is_file():
        try:
            model.load_weights(weights)
        except Exception as error:
            reason = textwrap.shorten(str(error), 300)
            raise UserError(
                f"`image_weights={weights}` does not fit {model.name!r} ({reason})",
                "give a .weights.h5 file of this model without its top",
            ) from error
        with_own_deviations(model)
    else:
        raise UserError(
            f"`image_weights={weights}` is neither known nor a file",
            nearest(weights, [*WEIGHTS, "imagenet", "preset", "none"]),
        )


def _give_vgg16(model: keras.Model, folder: Path) -> None:
    for name, (kernel, bias) in vgg16_arrays(folder).items():
        model.get_layer(name).set_weights([kernel, bias])


def _give_efficientnet_lite0(model: keras.Model, folder: Path) -> None:
    set_torch_weights(model, efficientnet_lite0_arrays(folder))


def _layer(model: keras.Model, name: str, flag: str = "features") -> keras.Operation:
    operation_by_name = {
        operation.name: operation
        for operation in operations(model)
        if len(tensor_made(operation).shape) in (3, 4)
    }
    if name not in operation_by_name:
        raise UserError(
            f"`{flag}={name}` is no layer of {model.name!r} with feature maps",
            nearest(name, operation_by_name),
        )
    return operation_by_name[name]


def _efficientnet_lite0(image_size: int) -> keras.Model:
    """EfficientNet-Lite0 without its top."""
    model = efficientnet_lite0(image_size=image_size)
    return keras.Model(model.input, model.get_layer("top_activation").output, name=model.name)


def _own(build: Callable[[int], keras.Model]) -> Callable[[int, bool], keras.Model]:
    """Returns the builder of a network that Keras Applications has no weights of."""

    def built(image_size: int, imagenet: bool) -> keras.Model:
        model = build(image_size)
        if imagenet:
            raise UserError(
                f"`image_weights=imagenet` does not fit {model.name!r}", "it is for Keras Applications"
            )
        return model

    return built


# Name -> what takes the side of the images and whether to have the weights of "imagenet", and gives a flat
# model: one that ends in maps or tokens, which are pooled to means and maxima, or in a vector (B, D), which
# is read as it is.
BACKBONES: dict[str, Callable[[int, bool], keras.Model]] = {
    "small_cnn": _own(small_cnn),
    "efficientnet_lite0": _own(_efficientnet_lite0),
    **{name: partial(application_backbone, name) for name in applications()},
}

# A named asset -> the network that it belongs to, and what gives it the weights in the asset's folder.
WEIGHTS: dict[str, tuple[str, Callable[[keras.Model, Path], None]]] = {
    "vgg16_imagenet": ("VGG16", _give_vgg16),
    "efficientnet_lite0_imagenet": ("efficientnet_lite0", _give_efficientnet_lite0),
}
