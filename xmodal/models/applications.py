"""Networks of Keras Applications, each with the preprocessing that belongs to it."""

from collections.abc import Callable

import keras
import numpy as np

from xmodal.core.errors import UserError, nearest

# What EfficientNet V1 was trained to divide by; its weights hold it where a variance belongs.
IMAGENET_DEVIATIONS = (0.229, 0.224, 0.225)


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


def applications() -> dict[str, str]:
    """Returns the names of all networks, such as "VGG16", and the module with the preprocessing of each."""
    families = {
        attribute: family
        for family, module in vars(keras.applications).items()
        if hasattr(module, "preprocess_input")
        for attribute in vars(module)
        if attribute[0].isupper()
    }
    # Their builders are not in the module that prepares their images.
    mobilenets = {name: "mobilenet_v3" for name in vars(keras.applications) if name.startswith("MobileNetV3")}
    return families | mobilenets


def application(name: str) -> tuple[Callable[..., keras.Model], str]:
    """Returns the builder of a network of Keras Applications, and the name of its module.

    Raises:
        UserError: for a name of none.
    """
    families = applications()
    if name not in families:
        raise UserError(f"{name!r} is no model of Keras Applications", nearest(name, families))
    return getattr(keras.applications, name), families[name]


def application_backbone(name: str, image_size: int, imagenet: bool) -> keras.Model:
    """Builds a network without its top.

    Args:
        name: one of `applications`.
        image_size: side of the input in pixels.
        imagenet: with the weights that Keras Applications fetches.

    Returns:
        A flat model: RGB images (B, image_size, image_size, 3) from 0 to 255 -> feature maps (B, H, W, C).

    Raises:
        UserError: when it has no place for so small an image, or its weights cannot be fetched.
    """
    images = keras.Input((image_size, image_size, 3), name="image")
    builder, family = application(name)
    inputs = Preprocess(family, name="preprocess")(images)

    def build(weights: str | None) -> keras.Model:
        return builder(include_top=False, weights=weights, input_tensor=inputs)

    model = _build(build, name, image_size)
    if imagenet:
        try:
            # The same network, whether its weights are those of ImageNet or not: see `with_own_deviations`.
            model.set_weights(build("imagenet").get_weights())
        except Exception as error:
            raise UserError(
                f"`image_weights=imagenet` of {name} could not be fetched ({error})",
                "check the network or use `image_weights=vgg16_imagenet`",
            ) from error
        with_own_deviations(model)
    return keras.Model(images, model.output, name=name.lower())


def _build(build: Callable[[str | None], keras.Model], name: str, image_size: int) -> keras.Model:
    try:
        return build(None)
    except ValueError as error:
        raise UserError(
            f"{name} cannot be built for `image_size={image_size}` ({error})", "choose a larger `image_size`"
        ) from error


def with_own_deviations(model: keras.Model) -> None:
    """Lets an EfficientNet V1 with official weights divide by the deviations, as it was trained to.

    Its normalisation holds the deviations in the place of variances, which Keras Applications makes up for by
    a further layer that is only there where the weights are ImageNet's. With their squares it is not needed.
    """
    for layer in model.layers:
        if isinstance(layer, keras.layers.Normalization) and layer.weights:
            mean, variance, count = layer.get_weights()
            if variance.size == 3 and np.allclose(variance, IMAGENET_DEVIATIONS, atol=1e-4):
                layer.set_weights([mean, np.square(variance), count])
            layer.finalize_state()
