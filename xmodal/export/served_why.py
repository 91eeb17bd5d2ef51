"""What made an answer, computed within an export: maps of an image, shares of the words of a text."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from xmodal.export.serving import Tokenizer
from xmodal.models.opened_models import at_embeddings, with_maps

# Points between a text without words and the whole text at which gradients are taken, and of these at once.
# With 64, MiniLM under a head that is nearly certain (logits 15 apart) sums to the difference within 0.003.
POINTS, AT_ONCE = 64, 8
# Marks where a word ends, for the length of a function. Chinese and Japanese have no spaces between words.
END = "\x01"
LETTER_WORDS = r"([\p{Han}\p{Hiragana}\p{Katakana}]\s*)"


class Differentiable(tf.Module):
    """A Keras model as `Inference` keeps it, whose inner tensors have gradients.

    Args:
        model: any.
    """

    def __init__(self, model: keras.Model):
        super().__init__()
        self.weights = [variable.value for variable in model.variables]
        # Within a function, where an export does not look for what it has to keep. One that is traced by
        # itself would hide the inner tensors.
        self._call = lambda inputs: model(inputs, training=False)

    def __call__(self, inputs):
        """Returns the model's outputs."""
        return self._call(inputs)


def gradient_maps(maps: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Returns where maps (B, h, w, F) speak for a score (B, h, w), and 0 where they do not.

    Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391, equations 1 and 2): a channel weighs as much as the
    score rises with it, in the mean over all positions.

    Args:
        maps: what the network sees.
        gradients: of the score (B, h, w, F).
    """
    weights = tf.reduce_mean(tf.cast(gradients, tf.float32), axis=[1, 2], keepdims=True)
    return tf.nn.relu(tf.reduce_sum(weights * tf.cast(maps, tf.float32), axis=3))


class ImageMaps(tf.Module):
    """Tells where a network sees the class that it finds likeliest.

    Args:
        model: of `with_maps`: pictures (B, H, W, 3) -> maps (B, h, w, F) and logits (B, C).
    """

    def __init__(self, model: keras.Model):
        super().__init__()
        self._model = Differentiable(model)

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Returns `gradient_maps` of pictures (B, H, W, 3), and of windows (B, n, H, W, 3): (B, n, h, w).

        The windows of a sound have its likeliest class; one that is below 0 is none, and has a map of 0.
        """
        pictures = tf.reshape(images, [-1, *images.shape[-3:]])
        windows = tf.shape(images)[1] if len(images.shape) == 5 else 1
        mask = tf.cast(pictures[:, 0, 0, :1] >= 0, tf.float32)
        with tf.GradientTape() as tape:
            # Where all layers are frozen, nothing else is watched.
            tape.watch(pictures)
            maps, logits = self._model(pictures)
            logits = mask * tf.cast(logits, tf.float32)
            window_logits = tf.reshape(logits, [-1, windows, logits.shape[-1]])
            likeliest = tf.repeat(tf.argmax(tf.reduce_sum(window_logits, axis=1), axis=1), windows)
            scores = tf.gather(logits, likeliest, axis=1, batch_dims=1)
        class_maps = mask[:, :, None] * gradient_maps(maps, tape.gradient(scores, maps))
        return tf.reshape(class_maps, tf.concat([tf.shape(images)[:-3], tf.shape(class_maps)[1:]], axis=0))


def image_maps(model: keras.Model) -> ImageMaps | None:
    """Returns what tells where a model of images sees a class; None where it has no maps."""
    map_model = with_maps(model)
    return ImageMaps(map_model) if map_model else None


class WordShares(tf.Module):
    """Tells how much of the probability of the likeliest answer each word of a text carries.

    Integrated gradients (Sundararajan et al. 2017, arXiv:1703.01365, equation 1) of the vectors of the
    tokens, from zeros; the marks at both ends stay as they are. A word has what its tokens have, and all
    words together the difference of the probabilities with them and without them (completeness).

    Args:
        embeddings, rest: of `at_embeddings`.
        tokenizer: texts -> inputs of both.
    """

    def __init__(self, embeddings: keras.Model, rest: keras.Model, tokenizer: Tokenizer):
        super().__init__()
        self._embeddings, self._rest = Differentiable(embeddings), Differentiable(rest)
        self._tokenizer = tokenizer

    def __call__(self, texts: tf.Tensor, shares_of: Callable, *beside: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns "words" (B, T), "shares" (B, T) of these, "difference" (B,); "" and 0 after the last word.

        Words are as `words_of` cuts them, T of them at most: the rest of a text is not read.

        Args:
            texts: (B,), as they are read.
            shares_of: outputs of the model (K, ...) -> probabilities of the answers (K, C); it gets the rows
                of `beside`, too.
            beside: what else an answer depends on, a row for each text.
        """
        spec = {
            "words": tf.TensorSpec([self._tokenizer.longest], tf.string),
            "shares": tf.TensorSpec([self._tokenizer.longest], tf.float32),
            "difference": tf.TensorSpec([], tf.float32),
        }
        return tf.map_fn(
            lambda row: self._of_one(row[0], lambda outputs: shares_of(outputs, *row[1:])),
            (texts, *beside),
            fn_output_signature=spec,
            # The memory of one text is enough.
            parallel_iterations=1,
        )

    def _of_one(self, text: tf.Tensor, shares_of: Callable[[tf.Tensor], tf.Tensor]) -> dict[str, tf.Tensor]:
        text = tf.strings.strip(text)
        words = words_of(text)[: self._tokenizer.longest]
        places = self._places(text, words)
        per_token, difference = self._of_tokens(text, places[0], places[-1], shares_of)
        sums = tf.concat([[0.0], tf.cumsum(per_token)], axis=0)
        shares = tf.gather(sums, places[1:]) - tf.gather(sums, places[:-1])
        padding = [[0, self._tokenizer.longest - tf.size(words)]]
        words = tf.pad(words, padding, constant_values="")
        return {"words": words, "shares": tf.pad(shares, padding), "difference": difference}

    def _places(self, text: tf.Tensor, words: tf.Tensor) -> tf.Tensor:
        """The place of the first token of each word, and of the end behind the last one (W + 1,)."""
        ends = tf.cumsum(tf.strings.length(words))
        prefixes = tf.strings.substr(tf.fill(tf.shape(ends), text), tf.zeros_like(ends), ends)
        tokens = self._tokenizer(tf.concat([[""], prefixes], axis=0))
        counts = tf.reduce_sum(tf.cast(tokens["padding_mask"], tf.int32), axis=1)
        # One token marks the end. A piece may be more than a word of one letter: then the first has it all.
        return tf.scan(tf.maximum, counts) - 1

    def _of_tokens(
        self, text: tf.Tensor, first: tf.Tensor, end: tf.Tensor, shares_of: Callable[[tf.Tensor], tf.Tensor]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        inputs = self._tokenizer(text[None])
        embeddings = tf.cast(self._embeddings(inputs.pop("token_ids")), tf.float32)
        position = tf.range(tf.shape(embeddings)[1])[None, :, None]
        word_embeddings = tf.where((position >= first) & (position < end), embeddings, 0.0)

        def path(steps: tf.Tensor) -> tf.Tensor:
            return embeddings - (1 - steps[:, None, None]) * word_embeddings

        def shares(vectors: tf.Tensor) -> tf.Tensor:
            repeated_inputs = [
                tf.repeat(value, tf.shape(vectors)[0], axis=0) for _, value in sorted(inputs.items())
            ]
            return shares_of(tf.cast(self._rest([vectors, *repeated_inputs]), tf.float32))

        ends = shares(path(tf.constant([0.0, 1.0])))
        likeliest = tf.argmax(ends[1])

        def weighted_gradient(part: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
            vectors = path(part[0])
            with tf.GradientTape() as tape:
                tape.watch(vectors)
                scores = tf.gather(shares(vectors), likeliest, axis=1)
            return tf.tensordot(part[1], tf.cast(tape.gradient(scores, vectors), tf.float32), 1)

        parts = tf.map_fn(
            weighted_gradient, quadrature(), fn_output_signature=tf.float32, parallel_iterations=1
        )
        mean = tf.reduce_sum(parts, axis=0)
        return tf.reduce_sum(word_embeddings[0] * mean, axis=1), ends[1, likeliest] - ends[0, likeliest]


def quadrature() -> tuple[tf.Tensor, tf.Tensor]:
    """Returns places from 0 to 1 and their weights, (POINTS / AT_ONCE, AT_ONCE), of Gauss and Legendre."""
    nodes, weights = np.polynomial.legendre.leggauss(POINTS)
    parts = ((nodes + 1) / 2, weights / 2)
    first, second = (tf.constant(part.reshape(-1, AT_ONCE), tf.float32) for part in parts)
    return first, second


def word_shares(model: keras.Model, tokenizer: Tokenizer) -> WordShares | None:
    """Returns what tells how much words carry; None for a model whose vectors of tokens are not found.

    Args:
        model: what the tokenizer gives -> numbers.
        tokenizer: texts -> its inputs.
    """
    models = at_embeddings(model)
    return WordShares(*models, tokenizer) if models else None


def words_of(text: tf.Tensor) -> tf.Tensor:
    """Returns the words of a text (), each with the white space behind it: joined, they are the text (W,)."""
    letters = tf.strings.regex_replace(text, LETTER_WORDS, rf"{END}\1{END}")
    words = tf.strings.split(tf.strings.regex_replace(letters, r"(\s+)", rf"\1{END}"), END)
    return tf.boolean_mask(words, tf.strings.length(words) > 0)
