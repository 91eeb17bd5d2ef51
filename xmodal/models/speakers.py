"""Speakers: ready image classifiers with names of their own, which speak for classes they never learned."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import keras_nlp
import tensorflow as tf

from xmodal.assets.efficientnet_lite0 import efficientnet_lite0_arrays
from xmodal.assets.fetch import locate, short_reason
from xmodal.assets.presets import image_classifier_path
from xmodal.bridge.names_text import imagenet_names
from xmodal.core.errors import UserError, nearest
from xmodal.core.files import cache_folder, path_of
from xmodal.core.records import read_record
from xmodal.core.saved_models import find_signature, labels_of, load_export, newest_version
from xmodal.data.decoding import MAX_PIXELS, center_crop, decode_pixels, resize_pixels
from xmodal.models.applications import Preprocess, application
from xmodal.models.classifier_outputs import features_and_logits
from xmodal.models.efficientnet_lite0 import CROP, IMAGE_SIZE, efficientnet_lite0, set_torch_weights

# Of a classifier that takes images of any size.
_ANY_SIZE = (224, 224)


@dataclass(frozen=True)
class Speaker:
    """A classifier and the names that it knows.

    Attributes:
        name: how it was asked for, such as "efficientnet_lite0_imagenet".
        model: RGB images (B, H, W, 3) from 0 to 255 -> logits (B, C). It prepares their values itself.
        features: the same images -> pooled features (B, D), what its last layer reads.
        class_names: the C names.
        wordnet: their ids in WordNet, where they are ImageNet's.
        image_size: (H, W).
        crop: the share of a photograph's shorter side that it was trained to see, in the middle; None when it
            was trained on whole images, squashed into a square.
        method: how a photograph is brought to that size: "bicubic" or "bilinear".
        resources: what an export has to keep beside the weights of the model.
        max_pixels: of an encoded photograph; more are not decoded.
    """

    name: str
    model: keras.Model
    features: keras.Model
    class_names: tuple[str, ...]
    wordnet: tuple[str, ...] | None
    image_size: tuple[int, int]
    crop: float | None = 1.0
    method: str = "bilinear"
    resources: tuple[Any, ...] = ()
    max_pixels: int = MAX_PIXELS

    def read(self, encoded: tf.Tensor) -> tf.Tensor:
        """Reads an encoded photograph, a scalar string, as the classifier sees it: (H, W, 3) float32.

        It runs in `tf.data`, in a graph, and therefore in an export. Raises as `decoding.decode` does.
        """
        return self.frame(decode_pixels(encoded, self.max_pixels))

    def frame(self, images: tf.Tensor) -> tf.Tensor:
        """Brings pixels of any size, (h, w, 3) or (B, h, w, 3), to (..., H, W, 3) float32."""
        if self.crop is None:
            return resize_pixels(images, self.image_size)
        return center_crop(images, self.image_size, crop=self.crop, method=self.method)


def make_speaker(
    spec: str, names_file: Path | None = None, offline: bool = False, cache: Path | None = None
) -> Speaker:
    """Loads a ready classifier.

    Args:
        spec: one of

            - "efficientnet_lite0_imagenet", a named asset;
            - "imagenet:NAME", a network of Keras Applications with its top, such as "imagenet:VGG16";
            - an image classifier of KerasHub: a preset such as "resnet_50_imagenet", a handle of a hub, or a
              folder;
            - the folder of an export or of a run of xmodal;
            - a `.keras` file, whose model takes RGB images from 0 to 255.
        names_file: a file with a name a line, in the order of the classifier's outputs; in the place of the
            names that it has.
        offline: make no attempt to fetch.
        cache: the folder of fetched assets; None for the usual one.

    Raises:
        UserError: for a classifier that is not known or not available, and for names that are missing or not
            as many as its outputs.

    Example:
        >>> speaker = make_speaker("efficientnet_lite0_imagenet")
        >>> speaker.class_names[151]
        'Chihuahua'
    """
    speaker = _builder(spec)(spec, cache or cache_folder(), offline)
    return _with_names(speaker, _read_names(names_file) if names_file else speaker.class_names)


def _builder(spec: str) -> Callable[[str, Path, bool], Speaker]:
    """The builder of a kind of speaker, by what a spec looks like."""
    path = path_of(spec)
    if spec in _ASSETS:
        return _ASSETS[spec]
    if spec.startswith("imagenet:"):
        return _application
    if path.suffix == ".keras":
        return _keras_file
    if (path / "metrics.json").is_file():
        return _run
    if path.is_dir() and not (path / "config.json").is_file():
        return _export
    if path.is_dir() or "://" in spec or spec in keras_nlp.models.ImageClassifier.presets:
        return _hub_classifier
    raise UserError(
        f"the speaker {spec!r} is neither known nor a file or folder",
        nearest(spec, [*_ASSETS, "imagenet:VGG16", "resnet_50_imagenet", "saved_models/NAME", "FILE.keras"]),
    )


def _efficientnet_lite0(spec: str, cache: Path, offline: bool) -> Speaker:
    model = efficientnet_lite0()
    set_torch_weights(model, efficientnet_lite0_arrays(locate(spec, cache=cache, offline=offline)))
    features, logits = features_and_logits(model, (IMAGE_SIZE, IMAGE_SIZE))
    return Speaker(
        spec, logits, features, _imagenet(), None, (IMAGE_SIZE, IMAGE_SIZE), crop=CROP, method="bicubic"
    )


def _application(spec: str, cache: Path, offline: bool) -> Speaker:
    name = spec.removeprefix("imagenet:")
    application(name)
    if offline:
        raise UserError(
            f"the weights of {spec} are fetched by Keras Applications, which is not to be done offline",
            "use efficientnet_lite0_imagenet",
        )
    try:
        return application_speaker(name, "imagenet")
    except Exception as error:
        raise UserError(
            f"the weights of {spec} could not be fetched ({short_reason(error)})",
            "check the network or use efficientnet_lite0_imagenet",
        ) from error


def application_speaker(name: str, weights: str | None) -> Speaker:
    """Builds a network of Keras Applications with its 1,000 classes.

    Args:
        name: such as "VGG16".
        weights: "imagenet", a file of weights, or None for random ones.
    """
    build, family = application(name)
    model = build(weights=weights, classifier_activation=None)
    size = _size(model.input_shape[1:3])
    features, logits = features_and_logits(model, size, Preprocess(family, name="preprocess"))
    # Keras' networks were trained, or tested, on the middle of photographs.
    return Speaker(f"imagenet:{name}", logits, features, _imagenet(), None, size, crop=CROP)


def _hub_classifier(spec: str, cache: Path, offline: bool) -> Speaker:
    preset_path = image_classifier_path(spec, offline=offline)
    try:
        model = keras_nlp.models.ImageClassifier.from_preset(preset_path)
    except Exception as error:
        raise UserError(
            f"the image classifier {spec!r} could not be loaded ({short_reason(error)})",
            "check the name and the network, or use efficientnet_lite0_imagenet",
        ) from error
    converter = getattr(model.preprocessor, "image_converter", None)
    size = _size(tuple(model.input_shape[1:3]), getattr(converter, "image_size", None))

    def prepare(images):
        for factor, combine in (("scale", keras.ops.multiply), ("offset", keras.ops.add)):
            value = getattr(converter, factor, None)
            images = (
                images if value is None else combine(images, keras.ops.convert_to_tensor(value, "float32"))
            )
        return images

    features, logits = features_and_logits(model, size, prepare)
    names = _imagenet() if logits.output_shape[-1] == len(_imagenet()) else ()
    crop = 1.0 if getattr(converter, "crop_to_aspect_ratio", True) else None
    return Speaker(spec, logits, features, names, None, size, crop=crop)


def _keras_file(spec: str, cache: Path, offline: bool) -> Speaker:
    path = path_of(spec)
    if not path.is_file():
        raise UserError(f"the speaker {spec!r} does not exist", "check the path")
    try:
        model = keras.models.load_model(path, compile=False)
    except Exception as error:
        raise UserError(
            f"the speaker {spec!r} could not be loaded ({short_reason(error)})",
            "save it again with model.save, without layers of your own",
        ) from error
    shape = model.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[-1] not in (1, 3):
        raise UserError(
            f"the speaker {spec!r} takes {shape}, which are no images", "give a model of images (B, H, W, 3)"
        )
    size = _size(shape[1:3])
    to_grey = keras.ops.image.rgb_to_grayscale if shape[-1] == 1 else lambda images: images
    features, logits = features_and_logits(model, size, to_grey)
    return Speaker(spec, logits, features, (), None, size)


@dataclass(frozen=True)
class _Facts:
    """What is read of the facts of a run: the folder of its export."""

    export: str


@dataclass(frozen=True)
class _Finished:
    """What is read of metrics.json."""

    facts: _Facts


def _run(spec: str, cache: Path, offline: bool) -> Speaker:
    try:
        export_path = read_record(_Finished, path_of(spec) / "metrics.json").facts.export
    except (OSError, ValueError) as error:
        raise UserError(f"the run {spec!r} tells of no export", "give the folder of an export") from error
    if not path_of(export_path).is_dir():
        raise UserError(f"the export {export_path!r} of the run {spec!r} is not there", "give its folder")
    return replace(_export(export_path, cache, offline), name=spec)


def _export(spec: str, cache: Path, offline: bool) -> Speaker:
    model = load_export(newest_version(path_of(spec), f"the speaker {spec!r}"))
    if find_signature(model.signatures, "image_bytes") is None:
        raise UserError(f"the speaker {spec!r} answers no images", "give an export that does")
    if not hasattr(model, "image_side"):
        raise UserError(
            f"the speaker {spec!r} does not tell the size of its images: an older xmodal exported it",
            "export it again",
        )
    size = (int(model.image_side), int(model.image_side))
    names = labels_of(model.signatures)
    images = keras.Input((*size, 3), name="image")
    outputs = Exported(model, len(names), name="exported")(images)
    features, logits = features_and_logits(keras.Model(images, outputs, name=path_of(spec).name), size)
    return Speaker(spec, logits, features, names, None, size, crop=None, resources=(model,))


class Exported(keras.layers.Layer):
    """An export of xmodal as a layer: RGB images (B, H, W, 3) from 0 to 255 -> probabilities (B, C).

    It reads encoded images: they are made here, without loss but for the rounding to whole numbers.

    Args:
        loaded: what `load_export` returned.
        classes: C.
    """

    def __init__(self, loaded, classes: int, **kwargs):
        super().__init__(trainable=False, **kwargs)
        self._loaded, self._classes = loaded, classes

    def call(self, images):
        pixels = tf.cast(tf.round(tf.clip_by_value(images, 0, 255)), tf.uint8)
        png_bytes = tf.map_fn(tf.io.encode_png, pixels, fn_output_signature=tf.TensorSpec([], tf.string))
        return find_signature(self._loaded.signatures, "image_bytes")(image_bytes=png_bytes)["probabilities"]

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self._classes)


def _size(shape: Sequence[int | None], default: Sequence[int] | None = None) -> tuple[int, int]:
    height, width = default or (shape if None not in shape else _ANY_SIZE)
    return int(height or 0), int(width or 0)


def _imagenet() -> tuple[str, ...]:
    return tuple(entry.name for entry in imagenet_names())


def _read_names(path: Path) -> tuple[str, ...]:
    try:
        names = tuple(line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"the names in {str(path)!r} cannot be read ({short_reason(error)})", "give a text in UTF-8"
        ) from error
    if "" in names:
        raise UserError(f"line {names.index('') + 1} of {str(path)!r} is empty", "write a name a line")
    return names


def _with_names(speaker: Speaker, names: tuple[str, ...]) -> Speaker:
    """Gives a speaker its names, and WordNet's ids when they are those of ImageNet."""
    classes = speaker.model.output_shape[-1]
    if not names:
        raise UserError(
            f"the speaker {speaker.name!r} has no names for its {classes:,} classes",
            "give a file with a name a line by `speaker_names`",
        )
    if len(names) != classes:
        raise UserError(
            f"{len(names):,} names do not fit the {classes:,} classes of the speaker {speaker.name!r}",
            "give a file with one for each of them, in their order",
        )
    ids = tuple(entry.wordnet for entry in imagenet_names()) if names == _imagenet() else None
    return replace(speaker, class_names=names, wordnet=ids)


_ASSETS: dict[str, Callable[[str, Path, bool], Speaker]] = {
    "efficientnet_lite0_imagenet": _efficientnet_lite0
}
