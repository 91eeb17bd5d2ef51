"""Image backbones: networks of Keras Applications and a small one, without a head."""

from collections.abc import Callable, Sequence
from pathlib import Path

import keras

from xmodal.assets.fetch import locate
from xmodal.assets.vgg16 import vgg16_arrays
from xmodal.core.errors import UserError, nearest
from xmodal.core.files import cache_folder


@keras.saving.register_keras_serializable("xmodal")
class Preprocess(keras.layers.Layer):
    """RGB images (B, H, W, 3) from 0 to 255 -> what a Keras Applications model was trained on.

    Args:
        family: the module of Keras Applications whose `preprocess_input` it calls, such as "vgg16".
    """

    def __init__(self, family: str, **kwargs):
        super().__init__(**kwargs)
        self._family = family

    def get_config(self):
        """Returns the arguments."""
        return super().get_config() | {"family": self._family}

    def call(self, images):
        return getattr(keras.applications, self._family).preprocess_input(images)

    def compute_output_shape(self, input_shape):
        return input_shape


def image_backbone(
    name: str,
    image_size: int,
    features: Sequence[str],
    *,
    weights: str = "none",
    cache: Path | None = None,
    offline: bool = False,
) -> keras.Model:
    """Builds a Keras Applications model up to its pooled features, or a small CNN.

    The feature maps of each layer in `features` are averaged and maximised over their positions, and
    all of these vectors joined: several depths together transfer better than the last one alone
    (Yosinski et al. 2014, arXiv:1411.1792).

    Args:
        name: such as "VGG16": any model of `keras.applications`; or "small_cnn", which is read as it ends.
        image_size: side of the input in pixels.
        features: names of the layers to read.
        weights: a named asset, "imagenet" (fetched by Keras Applications), a `.weights.h5` file of
            the model without its top, or "none" for random weights.
        cache: folder of fetched assets; None for the usual one.
        offline: make no attempt to fetch.

    Returns:
        A flat model: RGB images (B, image_size, image_size, 3) from 0 to 255 -> features (B, D).

    Raises:
        UserError: for an unknown model, layer or weights, or weights that cannot be had.

    Example:
        >>> backbone = image_backbone("VGG19", 32, ("block4_pool", "block5_pool"), weights="none")
        >>> backbone.output.shape
        (None, 2048)
    """
    cache = cache or cache_folder()
    if name == "small_cnn":
        model = small_cnn(image_size)
        if weights != "none":
            _load_weights(model, weights, cache=cache, offline=offline)
        return model
    build, family = application(name)
    if not features or len(set(features)) < len(features):
        raise UserError(
            f"`features={','.join(features)}` names no layer, or one of them twice", "name each layer once"
        )
    images = keras.Input((image_size, image_size, 3), name="image")
    inputs = Preprocess(family, name="preprocess")(images)
    if weights == "imagenet" and offline:
        raise UserError(
            "`image_weights=imagenet` is fetched by Keras Applications, which `offline` forbids",
            "use `image_weights=vgg16_imagenet` or a .weights.h5 file",
        )
    try:
        model = build(
            include_top=False, weights="imagenet" if weights == "imagenet" else None, input_tensor=inputs
        )
    except ValueError as error:
        raise UserError(
            f"{name} cannot be built for `image_size={image_size}` ({error})", "choose a larger `image_size`"
        ) from error
    except Exception as error:
        if weights != "imagenet":
            raise
        raise UserError(
            f"`image_weights=imagenet` of {name} could not be fetched ({error})",
            "check the network or use `image_weights=vgg16_imagenet`",
        ) from error
    if weights not in ("none", "imagenet"):
        _load_weights(model, weights, cache=cache, offline=offline)
    pooled = [pool(_layer(model, layer).output) for layer in features for pool in _pools(layer)]
    return keras.Model(images, keras.layers.Concatenate(name="features")(pooled), name=name.lower())


def with_regions(trunk: keras.Model, layer: str) -> tuple[keras.Model, tuple[int, int]]:
    """Lets a trunk give one of its maps too, as it is.

    Args:
        trunk: RGB images (B, H, W, 3) -> pooled features (B, D).
        layer: the name of the layer with the map: R positions with F numbers each.

    Returns:
        A model: the same images -> the features and, behind them, the map, position by position
        (B, D + R F); and (R, F).

    Raises:
        UserError: when it has no such layer.
    """
    regions = _layer(trunk, layer, flag="region_layer").output
    joined = keras.layers.Concatenate(name="with_regions")([trunk.output, keras.layers.Flatten()(regions)])
    _, height, width, numbers = regions.shape
    return keras.Model(trunk.input, joined, name=trunk.name), (height * width, numbers)


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


def application(name: str) -> tuple[Callable, str]:
    """Returns the builder of a network of Keras Applications, and the name of its module."""
    builders = {
        attribute: family
        for family, module in vars(keras.applications).items()
        if hasattr(module, "preprocess_input")
        for attribute in vars(module)
        if attribute[0].isupper()
    }
    # Their builders are not in the module that prepares their images.
    builders |= {name: "mobilenet_v3" for name in vars(keras.applications) if name.startswith("MobileNetV3")}
    if name not in builders:
        raise UserError(f"{name!r} is no model of Keras Applications", nearest(name, builders))
    return getattr(keras.applications, name), builders[name]


def _load_weights(model: keras.Model, weights: str, *, cache: Path, offline: bool) -> None:
    if weights == "vgg16_imagenet":
        arrays = vgg16_arrays(locate(weights, cache=cache, offline=offline))
        if {layer.name for layer in model.layers if layer.weights} != set(arrays):
            raise UserError(
                f"`image_weights={weights}` does not fit {model.name!r}",
                "use it with VGG16, or choose others",
            )
        for name, (kernel, bias) in arrays.items():
            model.get_layer(name).set_weights([kernel, bias])
    elif Path(weights).is_file():
        try:
            model.load_weights(weights)
        except Exception as error:
            raise UserError(
                f"`image_weights={weights}` does not fit {model.name!r} ({error})",
                "give a .weights.h5 file of this model without its top",
            ) from error
    else:
        raise UserError(
            f"`image_weights={weights}` is neither known nor a file",
            nearest(weights, ["vgg16_imagenet", "imagenet", "none"]),
        )


def _layer(model: keras.Model, name: str, flag: str = "features") -> keras.Layer:
    names = [layer.name for layer in model.layers if len(layer.output.shape) == 4]
    if name not in names:
        raise UserError(
            f"`{flag}={name}` is no layer of {model.name!r} with feature maps", nearest(name, names)
        )
    return model.get_layer(name)


def _pools(layer: str) -> list[keras.Layer]:
    return [
        keras.layers.GlobalAveragePooling2D(name=f"{layer}_mean"),
        keras.layers.GlobalMaxPooling2D(name=f"{layer}_max"),
    ]
