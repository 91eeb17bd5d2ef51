"""Files for TensorBoard's Projector: vectors in a checkpoint, their labels, and a sprite of their pictures.

Keras' own callback leaves that page empty (keras-team/keras#20210).
"""

import math
import tempfile
from pathlib import Path

import numpy as np

from xmodal.core.files import atomic_write
from xmodal.core.formatting import printable
from xmodal.report.records import Points

CHECKPOINT, LABELS, SPRITE, CONFIG = "points", "points.tsv", "points.png", "projector_config.pbtxt"
# Side of a picture in the sprite, in pixels, and the most pictures that it holds: browsers take 8,192 pixels.
SIDE, MAX_IMAGES = 32, (8192 // 32) ** 2
# What a text has in the place of a picture.
BLANK = (214, 223, 234)


def write_points(points: Points, folder: Path) -> None:
    """Writes points into a folder that TensorBoard reads events from.

    Raises:
        ValueError: when a sprite cannot hold so many.
    """
    import tensorflow as tf
    from tensorboard.plugins import projector

    if len(points.vectors) > MAX_IMAGES:
        raise ValueError(f"there can be {MAX_IMAGES:,} points. Received: {len(points.vectors):,}")
    # The page shows the first column that is no number.
    rows = zip(points.labels, points.words, map(_kind, points.pictures), strict=True)
    lines = ("\t".join(map(printable, row)) for row in (("label", "words", "kind"), *rows))
    config = projector.ProjectorConfig()
    embedding = config.embeddings.add(
        tensor_name="vectors/.ATTRIBUTES/VARIABLE_VALUE",
        tensor_shape=points.vectors.shape,
        metadata_path=LABELS,
    )
    embedding.sprite.image_path = SPRITE
    embedding.sprite.single_image_dim.extend((SIDE, SIDE))
    with tempfile.TemporaryDirectory() as name:
        temporary = Path(name)
        (temporary / SPRITE).write_bytes(tf.io.encode_png(sprite(points)).numpy())
        (temporary / LABELS).write_text("\n".join(lines) + "\n")
        with tf.device("CPU"):
            state = tf.train.Checkpoint(vectors=tf.Variable(np.asarray(points.vectors, np.float32)))
        state.save(str(temporary / CHECKPOINT))
        projector.visualize_embeddings(name, config)
        # TensorBoard finds the others by these two.
        for path in sorted(temporary.iterdir(), key=lambda path: path.name in (CONFIG, "checkpoint")):
            with atomic_write(folder / path.name) as file:
                file.write(path.read_bytes())


def sprite(points: Points) -> np.ndarray:
    """Returns all pictures in one, row by row: (H, W, 3) uint8, H and W multiples of 32 pixels."""
    import tensorflow as tf

    from xmodal.data.decoding import decode_pixels

    columns = math.ceil(math.sqrt(len(points.pictures)))
    rows = math.ceil(len(points.pictures) / columns)
    tiles = np.full((rows * columns, SIDE, SIDE, 3), BLANK, np.uint8)
    for tile, encoded in zip(tiles, points.pictures, strict=False):
        if encoded:
            picture = decode_pixels(encoded, max_pixels=0)
            tile[:] = tf.cast(tf.image.resize(picture, (SIDE, SIDE), antialias=True) + 0.5, tf.uint8)
    grid = tiles.reshape(rows, columns, SIDE, SIDE, 3).swapaxes(1, 2)
    return grid.reshape(rows * SIDE, columns * SIDE, 3)


def _kind(picture: bytes) -> str:
    return "image" if picture else "text"
