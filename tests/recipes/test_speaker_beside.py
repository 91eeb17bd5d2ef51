"""`vgg_to_bert` with a speaker: its sentence stands beside the own one, in the report and the export."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tiny_speaker import run_small, save_speaker

from xmodal.core.errors import UserError
from xmodal.export.predictor import Predictor
from xmodal.recipes.vgg_to_bert import run

FLAGS = """\
--experiment=vgg_to_bert
--dataset=folder:photos
--base=small_cnn
--target=small_cnn
--image_weights=none
--features=auto
--epochs=1
--head_epochs=1
--nobaseline
--text_encoder=bert
--text_head=zero_shot
--sequence_length=16
--min_per_class=2
--test_fraction=0.5
--feature_cache_gb=0
--strategy=one_device
--offline
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of animals and plants, in two colours each, and a speaker that tells the four apart."""
    return save_speaker(tmp_path_factory.mktemp("beside"), FLAGS, images=120, noise=30)


@pytest.fixture
def answered(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    return partial(run_small, run, f"--output_dir={tmp_path}/run", f"--saved_models_dir={tmp_path}/models")


SPEAKER = ("--speaker=speaker.keras", "--speaker_names=names.txt", "--name_text=plain")


def test_what_a_speaker_says_stands_beside_the_own_sentence(answered, tmp_path):
    found = answered(*SPEAKER)
    assert found.headline == "both_texts"
    assert found.results["speaker_text"].accuracy > 0.9
    assert found.results["both_texts"].accuracy > 0.9
    assert found.results["both_texts"].log_loss <= found.results["image_only"].log_loss
    sentences = [gain.sentence for gain in found.gains]
    assert sum("with what the speaker says beside it" in sentence for sentence in sentences) == 1
    names = dict(found.tables[0].rows)
    assert {"cat", "dog"} == set(names["animal"].split(", ")[:2])
    assert all("| speaker.keras: a photo of " in item.sentence for item in found.gallery)
    page = (tmp_path / "run/report.html").read_text()
    assert "speaker.keras: a photo of" in page

    # The export was checked against the model in memory, both texts for the images.
    assert found.facts["export: largest difference, serving_default"] < 1e-4
    served = tf.saved_model.load(found.facts["export"])
    pictures = [item.png for item in found.gallery]
    told = served.signatures["serving_default"](image_bytes=tf.constant(pictures))
    columns = (told[name].numpy() for name in ("label", "speaker_sentence", "sentence"))
    for item, label, said, own in zip(found.gallery, *columns, strict=True):
        assert label.decode() == item.predicted
        assert item.sentence == f"{own.decode()} | speaker.keras: {said.decode()}"
    both = served.signatures["image_and_text"](
        image_bytes=tf.constant([pictures[0], ""]), text=tf.constant(["", "a photo of a plant"])
    )
    np.testing.assert_allclose(both["probabilities"][0], told["probabilities"][0], atol=1e-5)
    assert both["speaker_sentence"][1].numpy() == b""

    # What is promised is told, drawn and served.
    assert found.facts["promised share of answer sets with the right answer"] == 0.95
    assert found.facts["seen share of answer sets with the right answer"] >= 0.8
    assert any(table.caption.startswith("Answer sets") for table in found.tables)
    assert "Errors over the share of test examples" in page
    kept = {name.decode() for row in told["answers"].numpy() for name in row if name}
    assert kept <= {"animal", "plant"}
    assert ((told["unknown"] >= 0) & (told["unknown"] < 1)).numpy().all()
    (answer,) = Predictor(Path(found.facts["export"]))([pictures[0]])
    assert answer.unknown == pytest.approx(float(told["unknown"][0]), abs=1e-6)
    assert answer.verdict == told["verdict"][0].numpy().decode()
    assert set(answer.answers) <= {"animal", "plant"}


def test_without_a_speaker_nothing_is_added(answered):
    found = answered("--noexport")
    assert found.headline == "text"
    assert not {"speaker_text", "both_texts"} & set(found.results)


def test_a_speaker_without_words_of_wordnet_is_told(answered):
    with pytest.raises(UserError, match="ancestors are known of the names of ImageNet alone"):
        answered(*SPEAKER[:2], "--noexport")
