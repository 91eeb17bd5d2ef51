"""Image backbones of KerasHub: presets by name, in a folder, or of a hub."""

import inspect
import textwrap
from pathlib import Path
from typing import Any

import keras

from xmodal.core.errors import UserError

# How many of its maps are read, from the coarsest on.
LEVELS = 3


def hub_backbone(preset: str, name: str, image_size: int, load_weights: bool) -> keras.Model:
    """Builds an image backbone from a preset, with the scaling of images that belongs to it.

    Args:
        preset: a folder, or a handle that `keras_hub.models.Backbone.from_preset` reads.
        name: as it was asked for, for messages.
        image_size: side of the input in pixels. A backbone such as a ViT reads one size alone.
        load_weights: with the weights of the preset, instead of random ones.

    Returns:
        A flat model: RGB images (B, image_size, image_size, 3) from 0 to 255 -> its maps (B, H, W, C) of the
        three lowest resolutions, or its tokens (B, T, D).

    Raises:
        UserError: when it cannot be loaded, or does not read images.
    """
    import keras_hub

    try:
        backbone = keras_hub.models.Backbone.from_preset(preset, load_weights=load_weights)
    except Exception as error:
        raise _not_loaded(name, error) from error
    image_input = backbone.input
    if not isinstance(image_input, keras.KerasTensor) or len(image_input.shape) != 4:
        raise UserError(f"{name!r} does not read images alone", "give an image backbone of KerasHub")
    if image_input.shape[1] not in (None, image_size):
        raise UserError(
            f"{name!r} reads images of {image_input.shape[1]} pixels, not of `image_size={image_size}`",
            f"give `image_size={image_input.shape[1]}`",
        )
    feature_model = keras.Model(image_input, _outputs(backbone))
    images = keras.Input((image_size, image_size, 3), name="image")
    inputs: list[keras.KerasTensor] = []

    def call(layer: keras.Layer, *args: Any, **kwargs: Any) -> Any:
        """Calls a layer of the clone, on scaled images where it would read the raw ones."""
        if any(arg is images for arg in args) and not inputs:
            inputs.append(_scale_images(images, preset))
        return layer(*(inputs[0] if arg is images else arg for arg in args), **kwargs)

    try:
        model = keras.models.clone_model(
            feature_model, input_tensors=images, clone_function=_new_layer, call_function=call
        )
    except ValueError as error:
        raise UserError(
            f"{name} cannot be built for `image_size={image_size}` ({error})", "choose a larger `image_size`"
        ) from error
    model.set_weights(feature_model.get_weights())
    return keras.Model(images, model.outputs, name=Path(preset).name.lower().replace("-", "_"))


def _new_layer(layer: keras.Layer) -> keras.Layer:
    """Makes a layer of the same arguments; the config of ViT's patches has more than these."""
    config = layer.get_config()
    try:
        return type(layer).from_config(config)
    except TypeError:
        parameters = {name for kind in type(layer).__mro__ for name in inspect.signature(kind).parameters}
        return type(layer).from_config({name: config[name] for name in parameters & set(config)})


def _outputs(backbone: keras.Model) -> list[keras.KerasTensor]:
    levels = getattr(backbone, "pyramid_outputs", None) or {}
    return [*levels.values()][-LEVELS:] or keras.tree.flatten(backbone.output)[:1]


def _scale_images(images: keras.KerasTensor, preset: str) -> keras.KerasTensor:
    """Returns images as a preset's own converter scales them."""
    import keras_hub

    try:
        converter = keras_hub.layers.ImageConverter.from_preset(preset)
    except Exception as error:
        raise UserError(
            f"the preset {preset!r} does not say how images are scaled ({textwrap.shorten(str(error), 200)})",
            "save a keras_hub.layers.ImageConverter beside it",
        ) from error
    if converter.scale is None and converter.offset is None:
        return images
    scale = 1.0 if converter.scale is None else converter.scale
    offset = 0.0 if converter.offset is None else converter.offset
    return keras.layers.Rescaling(scale, offset, name="preprocess")(images)


def _not_loaded(name: str, error: Exception) -> UserError:
    reason = textwrap.shorten(str(error), 200)
    return UserError(
        f"the image backbone {name!r} could not be loaded ({type(error).__name__}: {reason})",
        "check the name and the network, or give a folder with a preset",
    )
