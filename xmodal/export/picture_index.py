"""An index of pictures that texts can be asked of: saved whole, loaded and queried."""

import textwrap
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from xmodal.core.errors import UserError
from xmodal.core.files import write_json
from xmodal.core.records import read_record
from xmodal.core.sums import check_sums
from xmodal.data.decoding import MAX_PIXELS
from xmodal.data.images import ImageSplit, batches
from xmodal.export.serving import IMAGE_BYTES, TEXT, Inference, Tokenizer, pixels
from xmodal.models.text_encoder import TextEncoder
from xmodal.tasks.shared_space import SharedSpace

FORMAT = 3
FACTS = "index.json"
ENCODERS = "encoders"
ARRAYS = ("vectors", "labels", "pictures")


REMEDY = "give the folder of an index that `experiment=text_to_image` saved"


@dataclass(frozen=True)
class Facts:
    """What the index says of itself.

    Attributes:
        format: of its files.
        class_names, ids: as those of `PictureIndex`.
    """

    format: int
    class_names: tuple[str, ...]
    ids: tuple[str, ...]


@dataclass(frozen=True)
class PictureIndex:
    """Pictures, and where they are in the space that texts share with them.

    Attributes:
        vectors: unit vectors (N, E) float32.
        labels: classes (N,) int32.
        pictures: (N, H, W, 3) uint8, to be shown.
        ids: how each is called.
        class_names: the C names.
    """

    vectors: np.ndarray
    labels: np.ndarray
    pictures: np.ndarray
    ids: tuple[str, ...]
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Finds what is nearest, by one product of matrices.

        Args:
            queries: unit vectors (Q, E).
            k: how many are wanted; there may be fewer.

        Returns:
            Positions (Q, K) and cosines (Q, K), the nearest first.
        """
        scores = queries @ self.vectors.T
        k = min(k, len(self.vectors))
        candidates = np.argpartition(-scores, k - 1, axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(scores, candidates, axis=1), axis=1, kind="stable")
        best = np.take_along_axis(candidates, order, axis=1)
        return best, np.take_along_axis(scores, best, axis=1)


class ServedTexts(tf.Module):
    """Texts, as they are typed -> unit vectors of the shared space, as a SavedModel keeps it.

    Args:
        encoder: the tokenizer and BERT.
        space: its text head.
    """

    def __init__(self, encoder: TextEncoder, space: SharedSpace):
        super().__init__()
        self._preprocessor = Tokenizer(encoder.preprocessor)
        self._encoder = Inference(encoder.model)
        self._head = Inference(space.text_head)

    @tf.function(input_signature=[TEXT], autograph=False)
    def embed_texts(self, text):
        """Texts (B,) -> "embedding" (B, E)."""
        vectors = self._encoder(self._preprocessor(text))
        return {"embedding": self._head(tf.cast(vectors, tf.float32))}


class ServedSpace(tf.Module):
    """Texts and encoded images -> unit vectors of the space that they share, as a SavedModel keeps it.

    Args:
        texts: its way from texts.
        trunk: RGB images (B, H, W, 3) from 0 to 255 -> features (B, D).
        space: its image head.
        image_size: side of the images in pixels.
        max_pixels: of an encoded image; more are not decoded.
    """

    def __init__(
        self,
        texts: ServedTexts,
        trunk: keras.Model,
        space: SharedSpace,
        image_size: int,
        max_pixels: int = MAX_PIXELS,
    ):
        super().__init__()
        self.texts = texts
        self._trunk = Inference(trunk)
        self._head = Inference(space.image_head)
        self._image_size = image_size
        self._max_pixels = max_pixels

    @tf.function(input_signature=[IMAGE_BYTES], autograph=False)
    def embed_images(self, image_bytes):
        """Encoded images (B,) -> "embedding" (B, E)."""
        features = self._trunk(pixels(image_bytes, self._image_size, self._max_pixels))
        return {"embedding": self._head(tf.cast(features, tf.float32))}

    def signatures(self) -> dict[str, Callable]:
        """Returns the functions that are served, by name."""
        texts = self.texts.embed_texts
        return {"serving_default": texts, "embed_text": texts, "embed_image": self.embed_images}


def save_index(folder: Path, index: PictureIndex, space: ServedSpace) -> None:
    """Saves an index with the encoders of its space.

    No file of it runs code when it is read: arrays of numbers, JSON and a graph.

    Args:
        folder: it is there and empty.
        index: the pictures.
        space: what encodes queries, and further pictures.
    """
    for name in ARRAYS:
        np.save(folder / f"{name}.npy", getattr(index, name))
    tf.saved_model.save(space, str(folder / ENCODERS), signatures=space.signatures())
    write_json(folder / FACTS, asdict(Facts(FORMAT, index.class_names, index.ids)))


def load_index(folder: Path) -> tuple[PictureIndex, Callable[[list[str]], np.ndarray]]:
    """Loads an index, after it has checked every file against its digest.

    Pictures stay on disk until they are shown.

    Returns:
        The index, and a function of texts (Q,) that gives unit vectors (Q, E).

    Raises:
        UserError: when there is none, or a file of it is missing or was changed.
    """
    try:
        facts = read_record(Facts, folder / FACTS)
        if facts.format != FORMAT:
            raise UserError(f"`index={folder}` has format {facts.format}, not {FORMAT}", "make it again")
        check_sums(folder, "make the index again")
        index = _read_index(folder, facts)
        model = tf.saved_model.load(str(folder / ENCODERS))
        (width,) = model.signatures["serving_default"].structured_outputs["embedding"].shape[1:]
        if width != index.vectors.shape[1]:
            raise ValueError(f"texts have {width} numbers and pictures {index.vectors.shape[1]}")
    except UserError:
        raise
    # What TensorFlow says of a model that it cannot load may be anything.
    except Exception as error:
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 200)
        raise UserError(f"`index={folder}` is no index ({reason})", REMEDY) from error

    def encode(texts: list[str]) -> np.ndarray:
        return model.signatures["serving_default"](text=tf.constant(texts))["embedding"].numpy()

    return index, encode


def _read_index(folder: Path, facts: Facts) -> PictureIndex:
    """Reads what was checked to be as it was saved, and that its parts belong together."""
    vectors, labels, pictures = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS)
    count, classes = len(facts.ids), len(facts.class_names)
    kinds = [(array.dtype.name, array.ndim, len(array)) for array in (vectors, labels, pictures)]
    if kinds != [("float32", 2, count), ("int32", 1, count), ("uint8", 4, count)] or pictures.shape[3] != 3:
        raise ValueError(f"its arrays do not belong together: {kinds}")
    if not np.isfinite(vectors).all() or labels.min() < 0 or labels.max() >= classes:
        raise ValueError("its vectors are not finite, or its labels are of no class")
    return PictureIndex(np.array(vectors), np.array(labels), pictures, facts.ids, facts.class_names)


def thumbnails(split: ImageSplit, size: int) -> np.ndarray:
    """Returns the images of a split as they are shown, (N, size, size, 3) uint8."""
    dataset = batches(split, image_size=size, batch_size=256)
    return np.concatenate([np.round(batch["image"].numpy()).astype(np.uint8) for batch in dataset])


def search_milliseconds(queries: np.ndarray, count: int, k: int = 10) -> float:
    """Returns the median time of a search among so many vectors, drawn at random.

    Args:
        queries: unit vectors (Q, E).
        count: of the vectors.
        k: how many are wanted.
    """
    vectors = np.random.default_rng(0).standard_normal((count, queries.shape[1]), np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pictures = np.zeros((count, 1, 1, 3), np.uint8)
    index = PictureIndex(vectors, np.zeros(count, np.int32), pictures, ("",) * count, ("",))
    milliseconds = []
    for _ in range(9):
        started = time.perf_counter()
        index.search(queries, k)
        milliseconds.append(1000 * (time.perf_counter() - started))
    return sorted(milliseconds)[len(milliseconds) // 2]
