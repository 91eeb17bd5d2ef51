"""How cost grows, at sizes of seconds."""

import json

import pytest
from absl.testing import flagsaver
from tiny_data import save_tiny_data

from xmodal.bench import __main__ as bench
from xmodal.bench import growth
from xmodal.bridge.bridge import Bridge
from xmodal.recipes.vgg_to_bert.questions import sentences_of

COMMAND = "python -m xmodal.bench --bench=growth"


@pytest.mark.slow
def test_every_stage_has_its_seconds_and_its_memory(tmp_path, monkeypatch):
    save_tiny_data(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(growth, "IMAGES", (40,))
    monkeypatch.setattr(growth, "CLASSES", (4,))
    monkeypatch.setattr(growth, "IMAGES_OF_CLASSES", 40)
    monkeypatch.setattr(growth, "SIMULATED", 1000)
    # Those of the processes that measure a size are what they are.
    flags = ["--flagfile=small.cfg", "--target=VGG16", "--record=record.json"]
    with flagsaver.flagsaver():
        assert bench.main([*COMMAND.split()[2:], *flags]) == 0
    record = json.loads((tmp_path / "record.json").read_text())
    assert list(record["images"]) == ["40", "1000"]
    assert list(record["images"]["40"]) == list(growth.STAGES)
    assert list(record["images"]["1000"]) == ["bridge", "text"]
    for size in (*record["images"].values(), *record["classes"].values()):
        assert all(stage["seconds"] > 0 and stage["megabytes"] > 50 for stage in size.values())
        assert 0 < size["text"]["sentences"] < 1000
    page = (tmp_path / "record.html").read_text()
    assert page.count("<svg") == 6
    assert "megabytes by images" in page


def test_sentences_do_not_grow_with_images():
    bridge = Bridge(tuple("abcdefghij"), "hedged", ("a photo of {}",))

    def distinct(images: int) -> int:
        return len(set(sentences_of(bridge, growth.draw_logits(images, 10, 0), 1.0).ravel()))

    few, many = distinct(2_000), distinct(20_000)
    assert few <= many < 1.2 * few


@pytest.mark.parametrize("classes", [2, 5])
def test_no_two_pictures_of_noise_are_alike(tmp_path, classes):
    growth.write_noise(tmp_path, 20, classes)
    pictures = [path.read_bytes() for path in tmp_path.rglob("*.jpg")]
    assert len(set(pictures)) == 20
    assert len(list(tmp_path.iterdir())) == classes
