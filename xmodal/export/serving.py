"""What exports have in common: what they take, and how they keep models."""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from xmodal.data.decoding import MAX_PIXELS, decode

IMAGE_BYTES = tf.TensorSpec([None], tf.string, name="image_bytes")
AUDIO_BYTES = tf.TensorSpec([None], tf.string, name="audio_bytes")
TEXT = tf.TensorSpec([None], tf.string, name="text")


class Inference(tf.Module):
    """A Keras model as an export keeps it: its variables, and what it computes when it is not trained.

    An export that kept the model itself could be used by `tf.saved_model.load` alone. The loader of
    TensorFlow Serving would fill other variables than those that are read (keras-team/keras#20095).

    What it gives is float32, as where a model is run over a data set: in half precision it is computed.

    Args:
        model: any.
    """

    def __init__(self, model: keras.Model):
        super().__init__()
        self.weights = [variable.value for variable in model.variables]
        # Within a function, where an export does not look for what it has to keep.
        self._call = tf.function(
            lambda inputs: tf.nest.map_structure(_wide, model(inputs, training=False)), autograph=False
        )

    def __call__(self, inputs: Any) -> Any:
        """Returns the model's outputs."""
        return self._call(inputs)


class Tokenizer(tf.Module):
    """A tokenizer as an export keeps it: there once, with its whole vocabulary, and called by all signatures.

    Args:
        preprocessor: strings (B,) -> the inputs of a text model, as `xmodal.models.text_encoder.TextEncoder`
        has it.
    """

    def __init__(self, preprocessor: Any):
        super().__init__()
        # It may have tables that an export has to keep.
        self.preprocessor = preprocessor
        # The most tokens that are read.
        self.longest = int(preprocessor(tf.constant([""]))["padding_mask"].shape[1])

        def tokens(texts):
            inputs = preprocessor(texts)
            # Nobody waits for the reading of padding: none is left behind the longest text of a batch.
            lengths = tf.reduce_sum(tf.cast(inputs["padding_mask"], tf.int32), axis=1)
            longest = tf.reduce_max(tf.concat([lengths, [1]], axis=0))
            return {name: value[:, :longest] for name, value in inputs.items()}

        self._call = tf.function(tokens, input_signature=[TEXT], autograph=False)

    def __call__(self, texts: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the inputs of the text model for texts (B,)."""
        return self._call(texts)


def pixels(image_bytes: tf.Tensor, image_size: int, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
    """Decodes images in-graph.

    Args:
        image_bytes: encoded images (B,).
        image_size: side in pixels.
        max_pixels: of an encoded image; more are not decoded.

    Returns:
        RGB images (B, image_size, image_size, 3) from 0 to 255.

    Raises:
        tf.errors.InvalidArgumentError: when run, for what is no image.
    """
    size = (image_size, image_size)
    return read_images(image_bytes, lambda encoded: decode(encoded, image_size, max_pixels), size)


def read_images(
    image_bytes: tf.Tensor, read: Callable[[tf.Tensor], tf.Tensor], size: tuple[int, int]
) -> tf.Tensor:
    """Reads encoded images (B,), each by a function of its own such as a speaker's: (B, H, W, 3) float32."""
    return tf.map_fn(read, image_bytes, fn_output_signature=tf.TensorSpec([*size, 3], tf.float32))


def pixels_or_black(image_bytes: tf.Tensor, image_size: int, max_pixels: int = MAX_PIXELS) -> tf.Tensor:
    """As `pixels`, with a black image where there is "" (B,)."""
    return pixels(or_black(image_bytes), image_size, max_pixels)


def or_black(image_bytes: tf.Tensor) -> tf.Tensor:
    """Returns encoded images (B,), a black one where there is ""."""
    black = tf.io.encode_png(tf.zeros([1, 1, 3], tf.uint8))
    return tf.where(has_image(image_bytes), image_bytes, black)


def has_image(image_bytes: tf.Tensor) -> tf.Tensor:
    """Tells of encoded images (B,), "" for none, which are there."""
    return tf.strings.length(image_bytes) > 0


def has_text(text: tf.Tensor) -> tf.Tensor:
    """Tells of texts (B,) which have more than white space."""
    return tf.strings.length(tf.strings.strip(text)) > 0


def unit_vectors(vectors: tf.Tensor) -> tf.Tensor:
    """Returns the directions of vectors (..., D), float32; zeros stay zeros."""
    return tf.math.l2_normalize(tf.cast(vectors, tf.float32), axis=-1)


def _wide(output):
    return tf.cast(output, tf.float32) if output.dtype in (tf.bfloat16, tf.float16) else output


class Labelled(tf.Module):
    """What answers with one of several labels, and tells which there are.

    Args:
        names: the labels, in the order of the probabilities.
    """

    def __init__(self, names: tuple[str, ...]):
        super().__init__()
        self._names = tf.constant(names)

    @tf.function(input_signature=[])
    def tell_labels(self):
        """Returns the labels (T,)."""
        return {"labels": tf.identity(self._names)}


def labelled_answer(logits, names):
    """Returns what is served of logits (B, C): label, probability (B,) and probabilities (B, C)."""
    probabilities = tf.nn.softmax(logits)
    return {
        "label": tf.gather(names, tf.argmax(probabilities, axis=1)),
        "probability": tf.reduce_max(probabilities, axis=1),
        "probabilities": probabilities,
    }
