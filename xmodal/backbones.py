"""Image trunks, a BiLSTM for documents, and BERT encoders from keras-nlp, all without heads."""

import os
import textwrap
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import keras
import keras_nlp
import numpy as np
import tensorflow as tf

from xmodal import assets, e5
from xmodal.dense import flatten_sequences
from xmodal.errors import UserError, nearest

# Encoders with more pieces than this know many languages; BERT in English has 30,522.
MULTILINGUAL_VOCABULARY = 100_000


class Preprocess(keras.layers.Layer):
    """RGB images (B, H, W, 3) from 0 to 255 -> what a Keras Applications model was trained on."""

    def __init__(self, preprocess_input: Callable, **kwargs):
        super().__init__(**kwargs)
        self._preprocess_input = preprocess_input

    def call(self, images):
        return self._preprocess_input(images)

    def get_config(self):
        """Returns the layer's name, and that of its function."""
        function = self._preprocess_input
        return {"name": self.name, "preprocess_input": f"{function.__module__}.{function.__qualname__}"}

    def compute_output_shape(self, input_shape):
        return input_shape


def image_trunk(
    name: str,
    image_size: int,
    features: Sequence[str],
    *,
    weights: str = "none",
    cache: Path,
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
        cache: folder of fetched assets.
        offline: make no attempt to fetch.

    Returns:
        A flat model: RGB images (B, image_size, image_size, 3) from 0 to 255 -> features (B, D).

    Raises:
        UserError: for an unknown model, layer or weights, or weights that cannot be had.
    """
    if name == "small_cnn":
        model = small_cnn(image_size)
        if weights != "none":
            _load_weights(model, weights, cache=cache, offline=offline)
        return model
    build, preprocess_input = _application(name)
    if not features or len(set(features)) < len(features):
        raise UserError(
            f"--features={','.join(features)} names no layer, or one of them twice", "name each layer once"
        )
    images = keras.Input((image_size, image_size, 3), name="image")
    inputs = Preprocess(preprocess_input, name="preprocess")(images)
    if weights == "imagenet" and offline:
        raise UserError(
            "--image_weights=imagenet is fetched by Keras Applications, which --offline forbids",
            "use --image_weights=vgg16_imagenet or a .weights.h5 file",
        )
    try:
        model = build(
            include_top=False, weights="imagenet" if weights == "imagenet" else None, input_tensor=inputs
        )
    except ValueError as error:
        raise UserError(
            f"{name} cannot be built for --image_size={image_size} ({error})", "choose a larger --image_size"
        ) from error
    except Exception as error:
        if weights != "imagenet":
            raise
        raise UserError(
            f"--image_weights=imagenet of {name} could not be fetched ({error})",
            "check the network or use --image_weights=vgg16_imagenet",
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


def set_trainable(trunk: keras.Model, trainable: str, flag: str = "trainable") -> None:
    """Freezes a trunk up to a layer.

    Args:
        trunk: an image trunk, or a sentence encoder.
        trainable: "head" freezes all of it, "all" nothing; a prefix of a layer's name, such as
            "block5", trains that layer and every one after it.
        flag: the flag that says so.

    Raises:
        UserError: when no layer of the trunk has that prefix.
    """
    names = [layer.name for layer in trunk.layers]
    starts = [index for index, name in enumerate(names) if trainable and name.startswith(trainable)]
    if trainable == "all":
        first = 0
    elif trainable == "head":
        first = len(names)
    elif starts:
        first = starts[0]
    else:
        weighted = [layer.name for layer in trunk.layers if layer.weights]
        blocks = {name.split("_")[0] for name in weighted}
        raise UserError(
            f"--{flag}={trainable} is no layer of {trunk.name!r}",
            nearest(trainable, ["head", "all", *weighted, *blocks]),
        )
    for index, layer in enumerate(trunk.layers):
        layer.trainable = index >= first and not _is_multilingual_table(layer)


def _is_multilingual_table(layer: keras.Layer) -> bool:
    """Tells whether a layer must stay as it is, whatever else is trained.

    The languages in the training data would move away from all others, and the optimizer would keep
    two more copies of what is larger than the rest of the network.
    """
    of_pieces = isinstance(layer, keras.layers.Embedding) and layer.input_dim > MULTILINGUAL_VOCABULARY
    return of_pieces or isinstance(layer, e5.Q4Embedding)


class MeanPool(keras.layers.Layer):
    """The mean of token vectors (B, T, D) over the tokens that are to be kept (B, T) -> (B, D)."""

    def call(self, vectors, kept):
        weights = keras.ops.expand_dims(keras.ops.cast(kept, vectors.dtype), axis=-1)
        count = keras.ops.maximum(keras.ops.sum(weights, axis=1), 1.0)
        return keras.ops.sum(vectors * weights, axis=1) / count

    def compute_output_shape(self, vectors_shape, kept_shape):
        return (vectors_shape[0], vectors_shape[2])


class Trim(keras.layers.Layer):
    """Word numbers (B, L) with zeros at the end -> (B, T), T the most words that one of the batch has."""

    def call(self, ids):
        longest = keras.ops.max(keras.ops.sum(keras.ops.cast(ids != 0, "int32"), axis=1))
        return ids[:, :longest]

    def compute_output_shape(self, input_shape):
        return (input_shape[0], None)


class MeanMaxPool(keras.layers.Layer):
    """Mean and maximum of word vectors (B, T, D) over the words that are to be kept (B, T) -> (B, 2 D).

    Where none is to be kept, all are zero.
    """

    supports_masking = True

    def compute_mask(self, *args):
        """Returns None: what comes out has no words any more."""

    def call(self, vectors, kept):
        weights = keras.ops.expand_dims(keras.ops.cast(kept, vectors.dtype), axis=-1)
        count = keras.ops.maximum(keras.ops.sum(weights, axis=1), 1.0)
        highest = keras.ops.max(keras.ops.where(weights > 0, vectors, -np.inf), axis=1)
        highest = keras.ops.where(keras.ops.isfinite(highest), highest, 0.0)
        return keras.ops.concatenate([keras.ops.sum(vectors * weights, axis=1) / count, highest], axis=-1)

    def compute_output_shape(self, vectors_shape, kept_shape):
        return (vectors_shape[0], 2 * vectors_shape[2])


def bilstm(word_vectors: np.ndarray, length: int, *, units: int, dropout: float) -> keras.Model:
    """Builds an encoder of documents: two bidirectional LSTMs, the mean and the maximum of their outputs.

    Padding is masked: it changes nothing, and what stands beside a document in its batch does not either.
    The maximum is that of Conneau et al. 2017 (arXiv:1705.02364).

    Args:
        word_vectors: what the embedding starts as (V, D), a row for each word's number.
        length: the most words L of a document.
        units: of each LSTM, in each direction.
        dropout: the rate behind the embedding and behind each LSTM.

    Returns:
        A flat model: numbers of words (B, L), each 0 behind a document's end -> features (B, 4 * units).
    """
    ids = keras.Input((length,), dtype="int32", name="words")
    trimmed = Trim(name="trim")(ids)
    kept = trimmed != 0
    start = keras.initializers.Constant(word_vectors)
    vectors = keras.layers.Embedding(*word_vectors.shape, embeddings_initializer=start, name="embedding")(
        trimmed
    )
    vectors = keras.layers.Dropout(dropout, name="embedding_dropout")(vectors)
    for number in (1, 2):
        lstm = keras.layers.LSTM(units, return_sequences=True)
        vectors = keras.layers.Bidirectional(lstm, name=f"lstm{number}")(vectors, mask=kept)
        vectors = keras.layers.Dropout(dropout, name=f"lstm{number}_dropout")(vectors)
    return keras.Model(ids, MeanMaxPool(name="features")(vectors, kept), name="bilstm")


def bert_word_vectors(preset: str, words: Sequence[str], width: int) -> np.ndarray:
    """Returns vectors of words from a BERT's own table of word pieces.

    A word has the mean of its pieces' vectors; of these the `width` principal components are taken, and
    scaled to a mean square of 1.

    Args:
        preset: a folder or a handle that `keras_nlp.models.BertBackbone.from_preset` reads.
        words: V of them.
        width: numbers D of a vector.

    Returns:
        (V, D) float32.

    Raises:
        UserError: when the preset cannot be read, or its vectors are shorter than `width`.
    """
    backbone, tokenizer = _bert(preset)
    table = backbone.token_embedding.embeddings.numpy()
    if width > table.shape[1]:
        raise UserError(
            f"vectors of {width} numbers cannot come from {preset!r}, whose own have {table.shape[1]}",
            "use --word_vectors=random or another --text_encoder",
        )
    vectors = np.stack([table[pieces].mean(axis=0) for pieces in tokenizer(list(words))])
    vectors -= vectors.mean(axis=0)
    _, directions = np.linalg.eigh(vectors.T @ vectors)
    vectors = vectors @ directions[:, ::-1][:, :width]
    return (vectors / np.sqrt(np.mean(vectors**2))).astype(np.float32)


@dataclass(frozen=True)
class TextEncoder:
    """A BERT encoder and the tokenizer that belongs to it.

    Attributes:
        preprocessor: strings (B,) -> token_ids, segment_ids, padding_mask, each (B, T); runs in-graph.
        model: those three -> sentence vectors (B, D), the mean over the tokens (Reimers and Gurevych
            2019, arXiv:1908.10084); those of multilingual-e5-small have the length sqrt(D).
        unknown: the token of a word that is not known; None where there are pieces for nearly everything.
    """

    preprocessor: "keras.layers.Layer | e5.Preprocessor | Renumbered"
    model: keras.Model
    unknown: int | None = None

    def tokens(self, texts) -> dict[str, tf.Tensor]:
        """Returns the encoder's inputs for texts (B,), in-graph or eagerly."""
        return self.preprocessor(tf.convert_to_tensor(texts, tf.string))

    def padded(self, texts: Iterable[str | bytes]) -> dict[str, np.ndarray]:
        """Returns the inputs of known texts (N,), padded to the longest of them and not to the limit."""
        texts = list(texts)
        batches = [tf.constant(texts[start : start + 64], tf.string) for start in range(0, len(texts), 64)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            parts = list(pool.map(self._traced, batches))
        tokens = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        length = int(tokens["padding_mask"].sum(axis=1).max())
        return {name: value[:, :length] for name, value in tokens.items()}

    @cached_property
    def _traced(self) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
        # Traced once for all calls: a search asks for few texts many times.
        signature = [tf.TensorSpec([None], tf.string)]
        return tf.function(self.preprocessor, input_signature=signature, autograph=False)

    def knows(self, texts: Iterable[str]) -> np.ndarray:
        """Tells of each text (N,) whether one word of it is known, in part at least."""
        tokens = self.padded(texts)
        # Between the first and the last, which mark the ends.
        inner = np.cumsum(tokens["padding_mask"], axis=1)
        inner = (inner > 1) & (inner < inner[:, -1:])
        return (inner & (tokens["token_ids"] != self.unknown)).any(axis=1)


def text_encoder(preset: str, sequence_length: int) -> TextEncoder:
    """Loads a BERT encoder.

    Args:
        preset: what `assets.text_encoder_path` returned: a folder or a handle that
            `keras_nlp.models.BertBackbone.from_preset` reads, or the folder of `multilingual_e5_small`.
        sequence_length: the number of tokens T; longer texts are cut.

    Raises:
        UserError: when the preset cannot be read, or is shorter than `sequence_length`.
    """
    container = Path(preset) / assets.E5_FILE
    if container.is_file():
        return _multilingual_e5(container, sequence_length)
    backbone, tokenizer = _bert(preset)
    unknown = None
    _check_length(sequence_length, backbone.max_sequence_length, preset)
    # Among BERTs, only multilingual-e5-small has it.
    is_e5 = isinstance(tokenizer, keras_nlp.models.XLMRobertaTokenizer)
    if is_e5:
        preprocessor = e5.Preprocessor(e5.reordered(tokenizer.proto), sequence_length)
    else:
        preprocessor = keras_nlp.models.BertTextClassifierPreprocessor(
            tokenizer, sequence_length=sequence_length
        )
        unknown = tokenizer.token_to_id("[UNK]")
    model = _sentence_encoder(backbone.input, backbone.output["sequence_output"], of_one_length=is_e5)
    set_trainable(model, "all")
    return TextEncoder(preprocessor, model, unknown)


class Renumbered:
    """Strings (B,) -> the inputs of an encoder that has vectors for some of the pieces alone.

    Args:
        preprocessor: gives those of the encoder that has vectors for all of them.
        numbers: what the number of each piece becomes (V,).
    """

    def __init__(self, preprocessor: Callable[[tf.Tensor], dict[str, tf.Tensor]], numbers: np.ndarray):
        self._preprocessor, self._numbers = preprocessor, numbers

    def __call__(self, texts):
        tokens = self._preprocessor(texts)
        return tokens | {"token_ids": tf.gather(self._numbers, tokens["token_ids"])}


def with_random_weights(encoder: TextEncoder, texts: Iterable[str | bytes]) -> TextEncoder:
    """Builds the same encoder with the weights of a new BERT: truncated normal ones of 0.02, biases of 0.

    They are drawn from Keras' global generator: set its seed before. What would be spoiled by training in a
    table of many languages has not been learned here, so the table learns too. Of its pieces only those that
    occur in the texts have a vector each; all others, from which nothing could be learned, share one.

    Args:
        encoder: whose architecture and tokenizer are taken.
        texts: that it is going to learn from (N,).
    """
    tables = [layer for layer in encoder.model.layers if _is_multilingual_table(layer)]
    preprocessor, unknown, rows = encoder.preprocessor, encoder.unknown, 0
    if tables:
        occurs = np.bincount(encoder.padded(texts)["token_ids"].ravel())
        known = np.argsort(-occurs, kind="stable")[
            : min(np.count_nonzero(occurs), MULTILINGUAL_VOCABULARY - 1)
        ]
        rows = len(known) + 1
        numbers = np.zeros(tables[0].input_dim, np.int32)
        numbers[known] = np.arange(1, rows)
        preprocessor = Renumbered(preprocessor, numbers)
        unknown = None if unknown is None else int(numbers[unknown])

    def new(layer: keras.Layer) -> keras.Layer:
        if layer not in tables:
            return layer.__class__.from_config(layer.get_config())
        start = keras.initializers.TruncatedNormal(stddev=0.02)
        return keras.layers.Embedding(rows, layer.output.shape[-1], start, name=layer.name)

    model = keras.models.clone_model(encoder.model, clone_function=new)
    flatten_sequences(model)
    return TextEncoder(preprocessor, model, unknown)


def is_new(model: keras.Model) -> bool:
    """Tells whether a BERT was never trained: its biases are all 0 still, the scales of its norms all 1."""
    start = {"bias": 0, "beta": 0, "gamma": 1}
    return all(
        np.all(weight.numpy() == start[weight.name]) for weight in model.weights if weight.name in start
    )


def _multilingual_e5(container: Path, sequence_length: int) -> TextEncoder:
    loaded = e5.read(container)
    _check_length(sequence_length, loaded.sizes.max_sequence_length, str(container.parent))
    model = e5.encoder_model(loaded)
    preprocessor = e5.Preprocessor(e5.tokenizer_model(loaded.vocabulary), sequence_length)
    return TextEncoder(preprocessor, _sentence_encoder(model.input, model.output, of_one_length=True))


def _sentence_encoder(
    inputs: dict[str, keras.KerasTensor], vectors: keras.KerasTensor, *, of_one_length: bool
) -> keras.Model:
    pooled = MeanPool(name="mean_pool")(vectors, inputs["padding_mask"])
    if of_one_length:
        # E5's vectors are meant to have one length; with this one, a head reads features of size 1.
        pooled = keras.layers.UnitNormalization(name="one_length")(pooled)
        pooled = keras.layers.Rescaling(vectors.shape[-1] ** 0.5, name="feature_size")(pooled)
    model = keras.Model(inputs, pooled, name="sentence_encoder")
    flatten_sequences(model)
    return model


def _check_length(sequence_length: int, longest: int, preset: str) -> None:
    if sequence_length > longest:
        raise UserError(
            f"--sequence_length={sequence_length} is more than the {longest} tokens that {preset!r} reads",
            "choose a smaller one",
        )


def _bert(preset: str) -> tuple[keras.Model, keras.layers.Layer]:
    try:
        backbone = keras_nlp.models.BertBackbone.from_preset(preset)
        tokenizer = keras_nlp.models.BertTokenizer.from_preset(preset)
    except Exception as error:
        raise UserError(
            f"the text encoder {preset!r} could not be loaded "
            f"({type(error).__name__}: {textwrap.shorten(str(error), 200)})",
            "check the name and the network, or use --text_encoder=minilm_l6",
        ) from error
    return backbone, tokenizer


def _application(name: str) -> tuple[Callable, Callable]:
    builders = {
        attribute: module
        for module in vars(keras.applications).values()
        if hasattr(module, "preprocess_input")
        for attribute in vars(module)
        if attribute[0].isupper()
    }
    if name not in builders:
        raise UserError(f"{name!r} is no model of Keras Applications", nearest(name, builders))
    return getattr(builders[name], name), builders[name].preprocess_input


def _load_weights(model: keras.Model, weights: str, *, cache: Path, offline: bool) -> None:
    if weights == "vgg16_imagenet":
        arrays = assets.vgg16_arrays(assets.locate(weights, cache=cache, offline=offline))
        if {layer.name for layer in model.layers if layer.weights} != set(arrays):
            raise UserError(
                f"--image_weights={weights} does not fit {model.name!r}",
                "use it with VGG16, or choose others",
            )
        for name, (kernel, bias) in arrays.items():
            model.get_layer(name).set_weights([kernel, bias])
    elif Path(weights).is_file():
        try:
            model.load_weights(weights)
        except Exception as error:
            raise UserError(
                f"--image_weights={weights} does not fit {model.name!r} ({error})",
                "give a .weights.h5 file of this model without its top",
            ) from error
    else:
        raise UserError(
            f"--image_weights={weights} is neither known nor a file",
            nearest(weights, ["vgg16_imagenet", "imagenet", "none"]),
        )


def _layer(model: keras.Model, name: str, flag: str = "features") -> keras.Layer:
    names = [layer.name for layer in model.layers if len(layer.output.shape) == 4]
    if name not in names:
        raise UserError(
            f"--{flag}={name} is no layer of {model.name!r} with feature maps", nearest(name, names)
        )
    return model.get_layer(name)


def _pools(layer: str) -> list[keras.Layer]:
    return [
        keras.layers.GlobalAveragePooling2D(name=f"{layer}_mean"),
        keras.layers.GlobalMaxPooling2D(name=f"{layer}_max"),
    ]
