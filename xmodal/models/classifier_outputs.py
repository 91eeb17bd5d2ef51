"""What a ready classifier gives, whatever its last layer does: features and logits."""

from collections.abc import Callable, Sequence

import keras
import numpy as np

from xmodal.core.errors import UserError

# Probabilities may be rounded to half precision.
_SUM_TOLERANCE = 1e-2
_SMALLEST = 1e-30


def features_and_logits(
    classifier: keras.Model,
    image_size: tuple[int, int],
    prepare: Callable[[keras.KerasTensor], keras.KerasTensor] = lambda images: images,
) -> tuple[keras.Model, keras.Model]:
    """Opens a classifier before its last layer, and makes logits of what it gives.

    Whether these are probabilities already is seen on a few images of noise: they are at least 0 and their
    sum is 1. Their logarithms are logits then.

    Args:
        classifier: prepared images -> (B, C).
        image_size: (H, W).
        prepare: RGB images (B, H, W, 3) from 0 to 255 -> what the classifier takes.

    Returns:
        Two models of RGB images (B, H, W, 3) from 0 to 255: the features (B, D) that its last layer with
        weights reads, or its logits when it cannot be opened there; and the logits (B, C).

    Raises:
        UserError: for what gives no logits and no probabilities of at least two classes.
    """
    images = keras.Input((*image_size, 3), name="image")
    inputs = prepare(images)
    # What both give is computed once where both are asked for.
    features, outputs = _open_classifier(classifier, inputs) or (None, classifier(inputs))
    if isinstance(outputs, (list, dict)) or len(outputs.shape) != 2 or outputs.shape[-1] < 2:
        raise UserError(
            f"the classifier {classifier.name!r} does not give a number for each of several classes",
            "give one whose output has the shape (images, classes)",
        )
    logits = outputs
    if _gives_probabilities(keras.Model(images, outputs), classifier):
        logits = keras.ops.log(keras.ops.maximum(keras.ops.cast(outputs, "float32"), _SMALLEST))
    if features is None:
        features = logits
    return keras.Model(images, features, name="features"), keras.Model(images, logits, name="speaker")


def _gives_probabilities(model: keras.Model, classifier: keras.Model) -> bool:
    shape = (4, *model.input_shape[1:])
    noise = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
    noise[0], noise[1] = 0, 255
    outputs = np.asarray(model.predict_on_batch(noise), np.float32)
    if not np.isfinite(outputs).all():
        raise UserError(f"the classifier {classifier.name!r} gives numbers that are not finite", "fix it")
    if (outputs >= 0).all() and np.allclose(outputs.sum(axis=1), 1, atol=_SUM_TOLERANCE):
        return True
    if _activation(classifier) == "sigmoid":
        raise UserError(
            f"the classifier {classifier.name!r} judges each class apart (its last activation is a sigmoid)",
            "give one that chooses among its classes",
        )
    return False


def _activation(classifier: keras.Model) -> str:
    """The name of the last activation, where the last layer tells it."""
    last = classifier
    while getattr(last, "layers", None):
        last = last.layers[-1]
    return getattr(getattr(last, "activation", None), "__name__", "")


def _open_classifier(
    classifier: keras.Model, images: keras.KerasTensor
) -> tuple[keras.KerasTensor, keras.KerasTensor] | None:
    """What the last layer with weights reads, as vectors, and what follows; None where it is not seen."""
    weighted_indices = [
        index for index, layer in enumerate(getattr(classifier, "layers", ())) if layer.weights
    ]
    if not weighted_indices or getattr(classifier.layers[weighted_indices[-1]], "layers", None):
        return None
    if isinstance(classifier, keras.Sequential):
        maps = _apply_layers(classifier.layers[: weighted_indices[-1]], images)
        outputs = _apply_layers(classifier.layers[weighted_indices[-1] :], maps)
    else:
        try:
            head = classifier.layers[weighted_indices[-1]]
            maps = keras.Model(classifier.input, head.input, name="before_the_head")(images)
            outputs = keras.Model(head.input, classifier.output, name="from_the_head")(maps)
        except (AttributeError, ValueError):
            # It was written as a class, or the layer is used more than once.
            return None
    if not isinstance(maps, keras.KerasTensor) or len(maps.shape) not in (2, 4):
        return None
    return maps if len(maps.shape) == 2 else keras.layers.GlobalAveragePooling2D()(maps), outputs


def _apply_layers(layers: Sequence[keras.Layer], inputs: keras.KerasTensor) -> keras.KerasTensor:
    for layer in layers:
        inputs = layer(inputs)
    return inputs
