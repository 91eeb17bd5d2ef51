"""Features that are computed once and kept: real files, real processes."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from xmodal.data.images import ImageSplit, batches
from xmodal.training.feature_cache import FeatureCache, features
from xmodal.training.strategy import make_strategy

IMAGES, SIDE, WIDTH = 40, 8, 5


def photographs(folder: Path) -> ImageSplit:
    rng = np.random.default_rng(0)
    places = [folder / f"{number}.png" for number in range(IMAGES)]
    pixels = rng.integers(0, 256, (IMAGES, SIDE, SIDE, 3), dtype=np.uint8)
    for place, image in zip(places, pixels, strict=True):
        place.write_bytes(tf.io.encode_png(image).numpy())
    items = np.array([str(place) for place in places], object)
    labels = np.arange(IMAGES, dtype=np.int32) % 2
    return ImageSplit(items, labels, tuple(items), tuple(map(bytes, pixels)), False)


def network(seed: int = 0) -> keras.Model:
    keras.utils.set_random_seed(seed)
    images = keras.Input((SIDE, SIDE, 3))
    maps = keras.layers.Conv2D(WIDTH, 3)(images)
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(maps))


CALLS: list[int] = []


def passed_on(maps):
    CALLS.append(1)
    return maps


def computed(split, cache, strategy, *, backbone=None, log=lambda line: None, **facts):
    read = batches(split, image_size=SIDE, batch_size=4).map(lambda batch: batch["image"])
    return np.asarray(
        features(backbone or network(), split, read, strategy, cache=cache, facts=facts, log=log)
    )


@pytest.fixture(autouse=True)
def shards_of_eight(monkeypatch):
    monkeypatch.setattr("xmodal.training.feature_cache.SHARD_IMAGES", 8)


@pytest.fixture
def split(tmp_path):
    (tmp_path / "photos").mkdir()
    return photographs(tmp_path / "photos")


@pytest.fixture
def said():
    return []


@pytest.fixture(autouse=True)
def no_pixels_are_kept(monkeypatch):
    """They would hide who reads images again."""
    monkeypatch.setattr("xmodal.data.images.KEPT_BYTES", 0)


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "features", 1.0)


def gone(split: ImageSplit) -> None:
    """Whoever reads the images now, fails."""
    for item in split.items:
        Path(item).unlink()


def shards(cache: FeatureCache) -> list[Path]:
    return sorted(cache.folder.rglob("*.npy"))


def test_they_are_those_of_the_network_and_read_the_second_time(split, cache, said, one_device):
    first = computed(split, cache, one_device, log=said.append)
    pixels = np.stack([tf.io.decode_png(Path(item).read_bytes()).numpy() for item in split.items])
    np.testing.assert_allclose(first, network()(pixels.astype(np.float32)).numpy(), rtol=1e-5)
    assert len(shards(cache)) == IMAGES // 8
    assert said == ["features kept: 0.00 of 1 GB in the cache"]
    gone(split)
    np.testing.assert_array_equal(computed(split, cache, one_device), first)


@pytest.mark.parametrize("change", ["weights", "layers", "pixels", "order", "fact", "precision"])
def test_any_change_is_a_miss(change, split, cache, one_device):
    computed(split, cache, one_device, image_size=SIDE)
    gone(split)
    backbone, facts = network(), {"image_size": SIDE}
    if change == "weights":
        kernel, bias = backbone.layers[1].get_weights()
        backbone.layers[1].set_weights([kernel, bias + 1e-6])
    elif change == "layers":
        backbone = keras.Model(backbone.input, keras.layers.ReLU()(backbone.output))
    elif change == "pixels":
        split = replace(split, digests=(b"another", *split.digests[1:]))
    elif change == "order":
        split = replace(split, digests=split.digests[::-1])
    elif change == "fact":
        facts = {"image_size": SIDE + 1}
    else:
        keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        with pytest.raises(tf.errors.NotFoundError):
            computed(split, cache, one_device, backbone=backbone, **facts)
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("harm", ["missing", "broken", "cut"])
def test_a_harmed_shard_is_computed_anew(harm, split, cache, one_device):
    first = computed(split, cache, one_device)
    harmed = shards(cache)[2]
    content = harmed.read_bytes()
    if harm == "missing":
        harmed.unlink()
    else:
        harmed.write_bytes(content[:-1] + b"\x01" if harm == "broken" else content[:-4])
    # What comes before it is not read from the images again.
    for item in split.items[:16]:
        Path(item).unlink()
    np.testing.assert_array_equal(computed(split, cache, one_device), first)
    assert harmed.read_bytes() == content


def test_the_least_recently_used_make_room(split, said, tmp_path, one_device):
    one_entry = IMAGES * WIDTH * 4
    cache = FeatureCache(tmp_path / "features", 2.9 * one_entry / 1e9)
    # With headers and keys, no more than one entry fits beside a new one.
    first = computed(split, cache, one_device, view=1)
    computed(split, cache, one_device, view=2)
    np.testing.assert_array_equal(computed(split, cache, one_device, view=1), first)
    computed(split, cache, one_device, view=3, log=said.append)
    assert len({path.parent for path in shards(cache)}) < 3
    assert said[-1].startswith("features kept: ")


def test_what_is_too_large_is_said_and_not_kept(split, said, tmp_path, one_device):
    cache = FeatureCache(tmp_path / "features", 1e-7)
    assert computed(split, cache, one_device, log=said.append).shape == (IMAGES, WIDTH)
    assert said == ["features of 40 images need 0.0 GB and are not kept: --feature_cache_gb=1e-07"]
    assert not shards(cache)


def test_a_network_is_traced_once_and_never_with_weights_that_it_no_longer_has(split, cache, one_device):
    images = keras.Input((SIDE, SIDE, 3))
    maps = keras.layers.Conv2D(3, 3, padding="same", name="grown")(keras.layers.Lambda(passed_on)(images))
    backbone = keras.Model(images, keras.layers.GlobalAveragePooling2D()(maps))
    backbone.trainable = False
    identity = np.zeros((3, 3, 3, 3), np.float32)
    identity[1, 1] = np.eye(3)
    random = np.random.default_rng(0).normal(size=identity.shape).astype(np.float32)
    traced = []
    read = batches(split, image_size=SIDE, batch_size=IMAGES).map(lambda batch: batch["image"])
    for filters in (identity, random, identity, random / 2):
        backbone.get_layer("grown").set_weights([filters, np.ones(3, np.float32)])
        CALLS.clear()
        found = computed(split, cache, one_device, backbone=backbone)
        traced.append(len(CALLS))
        np.testing.assert_allclose(found, backbone(next(iter(read.rows.map(read.read)))), rtol=1e-4)
    # With the convolution that passes its input on left out, and with it.
    assert traced == [1, 1, 0, 0]


def test_two_devices_give_the_same(split, cache, one_device, mirrored):
    one, two = (computed(split, cache, strategy) for strategy in (one_device, mirrored))
    np.testing.assert_allclose(one, two, atol=1e-4)


def test_two_processes_share_the_folder(split, cache, tmp_path, one_device):
    program = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]);"
        "import test_feature_cache; test_feature_cache.main(Path(sys.argv[2]), sys.argv[3])"
    )
    tests = str(Path(__file__).parent)
    results = [tmp_path / f"{number}.npy" for number in range(2)]
    processes = [
        subprocess.Popen([sys.executable, "-c", program, tests, str(tmp_path), str(result)])
        for result in results
    ]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    first, second = (np.load(result) for result in results)
    np.testing.assert_array_equal(first, second)
    assert len(shards(cache)) == 1
    assert first.shape == (IMAGES, WIDTH)


def main(folder: Path, result: str) -> None:
    """What each of the two processes does."""
    cache = FeatureCache(folder / "features", 1.0)
    np.save(result, computed(photographs(folder / "photos"), cache, make_strategy("one_device")))
