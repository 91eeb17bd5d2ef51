"""Outputs of a frozen network, computed once and kept on disk for every later epoch and run."""

import hashlib
import inspect
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from xmodal.core.console import log
from xmodal.core.files import atomic_write, folder_bytes, os_errors_as_user_errors, write_json
from xmodal.core.locks import folder_lock
from xmodal.core.reading import open_regular
from xmodal.data import (
    augmentation,
    decoding,
    image_headers,
    image_sources,
    images,
    sound_augmentation,
    sounds,
    video_batches,
    videos,
    waves,
)
from xmodal.data.batches import Batches
from xmodal.data.images import ImageSplit
from xmodal.data.rows import ArrayShards, NpyRows
from xmodal.training.prediction import outputs_streamed
from xmodal.training.replicas import bytes_from_chief
from xmodal.training.strategy import workers

# A run that was killed computes at most so many images a second time.
SHARD_IMAGES = 4096
KEY_FILE = "key.json"
# The code that reads, decodes and augments images: with other code, features are computed anew.
PIXELS = (
    *(images, image_sources, decoding, image_headers, augmentation),
    *(sounds, waves, sound_augmentation, videos, video_batches),
)


@dataclass(frozen=True)
class FeatureCache:
    """Where features are kept.

    Attributes:
        folder: holds a folder for each network on each split.
        gigabytes: the most that it may hold; what was not used for longest goes first.
        writes: False on every host but the chief, which alone reads and writes files.
    """

    folder: Path
    gigabytes: float
    writes: bool = True


def features(
    backbone: keras.Model,
    split: ImageSplit,
    batches: Batches,
    strategy: tf.distribute.Strategy,
    *,
    cache: FeatureCache,
    facts: dict[str, object],
    stage: str = "",
    log: Callable[[str], None] = log,
) -> ArrayShards:
    """Runs a network over a split, or finds what an earlier run of the same left.

    The same is: equal weights and layers, equal pixels in the same order, `facts`, the code that reads
    and augments images, the versions of TensorFlow and Keras, the precision and the number of devices.
    Runs at the same time share the folder: every file appears whole, and who finds none computes it.
    Features stay in their files, where there is one process and they fit into the cache.

    Args:
        backbone: images (B, H, W, 3) -> features (B, D), frozen.
        split: the N images that `batches` brings.
        batches: batches of images (B, H, W, 3), in the order of the split.
        strategy: the tf.distribute strategy.
        cache: where features are kept.
        facts: what else `batches` depends on: sizes, augmentation, seeds; JSON values.
        stage: name on the progress bar.
        log: where lines about the cache go.

    Returns:
        The features (N, D).
    """
    key = _key(backbone, split, strategy, facts)
    name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:32]
    entry = cache.folder / name
    bytes_needed = len(split) * backbone.output.shape[-1] * 4
    fits = bytes_needed <= cache.gigabytes * 1e9
    if not fits:
        log(
            f"features of {len(split):,} images need {bytes_needed / 1e9:.1f} GB and are not kept: "
            f"--feature_cache_gb={cache.gigabytes:g}"
        )
    elif cache.writes:
        _make_room(cache, entry, bytes_needed)
    batch_size = int(next(iter(_sizes(batches))))
    shard_batches = max(1, SHARD_IMAGES // batch_size)
    count = -(-int(batches.cardinality()) // shard_batches)
    shards = _read_shards(entry, count, cache.writes, strategy) if fits else []
    if len(shards) == count:
        return ArrayShards(shards)
    remainder = batches.skip(len(shards) * shard_batches)
    new_shards = _compute_shards(backbone, remainder, shard_batches, strategy, stage)
    for number, shard in enumerate(new_shards, start=len(shards)):
        if fits and cache.writes:
            _write_shard(entry, number, shard)
        file_rows = _find_shard(entry, number) if fits and _is_alone(strategy) else None
        shards.append(shard if file_rows is None else file_rows)
    if fits and cache.writes:
        write_json(entry / KEY_FILE, key)
        log(f"features kept: {folder_bytes(cache.folder) / 1e9:.2f} of {cache.gigabytes:g} GB in the cache")
    return ArrayShards(shards)


def _read_shards(
    entry: Path, count: int, reads: bool, strategy: tf.distribute.Strategy
) -> list[np.ndarray | NpyRows]:
    """Returns the shards from the first one on that are there, `count` of them at most."""
    shards: list[np.ndarray | NpyRows] = []
    while len(shards) < count:
        shard = _read_shard(entry, len(shards), reads, strategy)
        if shard is None:
            break
        shards.append(shard)
    return shards


def _is_alone(strategy: tf.distribute.Strategy) -> bool:
    return workers(strategy).workers == 1


def _sizes(batches: Batches) -> tf.data.Dataset:
    return batches.rows.take(1).map(lambda rows: tf.shape(tf.nest.flatten(rows)[0])[0])


def _compute_shards(
    backbone: keras.Model, batches: Batches, shard_batches: int, strategy: tf.distribute.Strategy, stage: str
) -> Iterator[np.ndarray]:
    """Yields the features of so many batches each time, and at last of the rest."""
    buffer: list[np.ndarray] = []
    run = outputs_streamed(backbone, strategy, frozen=True)
    for (outputs,) in run(batches, stage):
        buffer.append(outputs)
        if len(buffer) == shard_batches:
            yield np.concatenate(buffer)
            buffer = []
    if buffer:
        yield np.concatenate(buffer)


def _key(backbone, split: ImageSplit, strategy, facts: dict[str, object]) -> dict[str, object]:
    weights = hashlib.sha256()
    for variable in backbone.variables:
        array = np.ascontiguousarray(variable.numpy())
        weights.update(f"{array.shape} {array.dtype}".encode())
        weights.update(array.tobytes())
    return {
        "weights": weights.hexdigest(),
        "layers": hashlib.sha256(_layers(backbone).encode()).hexdigest(),
        "pixels": hashlib.sha256(b"".join(split.digests)).hexdigest(),
        "images": len(split),
        "code": hashlib.sha256("".join(map(inspect.getsource, PIXELS)).encode()).hexdigest(),
        "precision": keras.config.dtype_policy().name,
        "devices": strategy.num_replicas_in_sync,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        **facts,
    }


def _layers(backbone: keras.Model) -> str:
    """All that a network is but its weights, whatever Keras calls layers that it makes a second time."""
    config = json.dumps(backbone.get_config(), sort_keys=True, default=str)
    for number, part in enumerate([backbone, *backbone.layers]):
        config = config.replace(f'"{part.name}"', f'"part {number}"')
    return config


def _read_shard(entry: Path, number: int, reads: bool, strategy) -> np.ndarray | NpyRows | None:
    """Finds a shard; of several processes the chief reads it, and gives it to all."""
    file_rows = _find_shard(entry, number) if reads else None
    if _is_alone(strategy):
        return file_rows
    content = io.BytesIO()
    if file_rows is not None:
        np.save(content, file_rows[np.arange(len(file_rows))])
    content = io.BytesIO(bytes_from_chief(content.getvalue(), strategy))
    return np.load(content) if content.getbuffer() else None


def _find_shard(entry: Path, number: int) -> NpyRows | None:
    for path in entry.glob(f"{number:05d}.*.npy"):
        # Another run may be making room.
        with suppress(OSError), open_regular(path) as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == path.name.split(".")[1]:
                return NpyRows(file)
            path.unlink(missing_ok=True)
    return None


def _write_shard(entry: Path, number: int, shard: np.ndarray) -> None:
    content = io.BytesIO()
    np.save(content, shard)
    digest = hashlib.sha256(content.getvalue()).hexdigest()
    with atomic_write(entry / f"{number:05d}.{digest}.npy") as file:
        file.write(content.getbuffer())


def _make_room(cache: FeatureCache, entry: Path, bytes_needed: int) -> None:
    """Removes what was not used for longest until an entry fits in, and marks the entry as used."""
    with folder_lock(cache.folder, wait=True), os_errors_as_user_errors(cache.folder):
        entry.mkdir(exist_ok=True)
        os.utime(entry)
        others = [path for path in cache.folder.iterdir() if path.is_dir() and path != entry]
        sizes = {path: folder_bytes(path) for path in sorted(others, key=lambda path: path.stat().st_mtime)}
        excess = sum(sizes.values()) + bytes_needed - cache.gigabytes * 1e9
        for path, size in sizes.items():
            if excess <= 0:
                break
            shutil.rmtree(path)
            excess -= size
