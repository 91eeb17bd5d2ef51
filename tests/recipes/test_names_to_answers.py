"""Photographs to answers by the names of a tiny classifier: no labels, some, and what is refused."""

import json
from functools import partial

import numpy as np
import pytest
import tensorflow as tf
import tiny_speaker
from tiny_speaker import run_small, save_speaker

from xmodal.core.errors import UserError
from xmodal.recipes.names_to_answers import run

FLAGS = f"""\
{tiny_speaker.FLAGS}
--min_per_class=2
--test_fraction=0.5
--feature_cache_gb=0
--strategy=one_device
--noexport
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """160 pictures, reddish or greenish (animals), bluish or grey (plants), and who tells them apart."""
    return save_speaker(tmp_path_factory.mktemp("names"), FLAGS, images=160, noise=40)


@pytest.fixture
def answered(folder, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    return partial(run_small, run, f"--output_dir={tmp_path}/run")


def test_what_is_typed_is_answered_without_a_label(answered, tmp_path):
    found = answered()
    assert found.results == {}
    assert {item.predicted for item in found.gallery if item.id.startswith("animal/")} == {"animal"}
    assert {item.predicted for item in found.gallery if item.id.startswith("plant/")} == {"plant"}
    rows = {row[0]: row[1:] for row in found.tables[0].rows}
    assert rows["animal"][0] == rows["plant"][0] == 80
    assert {"cat", "dog"} == set(rows["animal"][1].split(", ")[:2])
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Answers</h3>" in page
    assert "probably" in page or "surely" in page
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["results"] == {}
    assert list((tmp_path / "run" / "tensorboard" / "results").iterdir())


def test_labels_measure_and_teach(answered):
    found = answered(
        "--dataset=folder:photos", "--answers=", "--shots=0,1,2", "--draws=3", "--adapt=self_train"
    )
    assert [*found.results] == [
        "self_train",
        "name_mixture",
        "top1_sentence",
        "hedged_sentence",
        "written_head",
        "projected",
    ]
    assert found.main_result.accuracy > 0.9
    assert found.results["name_mixture"].accuracy > 0.9
    assert [row[0] for row in found.tables[1].rows] == [0, 1, 2]
    assert [series.name for series in found.plots[0].series] == [
        "linear_probe",
        "probe_and_names",
        "no label",
    ]
    assert "training on images without labels" in found.gains[0].sentence


def test_concepts_are_learned_edited_and_exported(answered, folder, tmp_path):
    (folder / "concepts.txt").write_text("cat\ndog\noak\nfir\n")
    flags = ("--dataset=folder:photos", "--answers=", "--concepts=concepts.txt", "--readers=name_mixture")
    found = answered(*flags, "--export", f"--saved_models_dir={tmp_path}/models")
    assert found.results["concepts"].accuracy > 0.9
    assert found.tables[-1].rows[0][0] == "animal"
    assert "learning answers from concepts" in found.gains[0].sentence
    served = tf.saved_model.load(found.facts["export"])
    told = served.signatures["concepts"](image_bytes=tf.constant([item.png for item in found.gallery]))
    assert told["scores"].shape == (len(found.gallery), 4)
    assert set(told["concepts"].numpy().ravel()) <= {b"cat", b"dog", b"oak", b"fir"}
    truths = [item.truth for item in found.gallery]
    assert (
        np.mean([label.decode() == truth for label, truth in zip(told["label"].numpy(), truths, strict=True)])
        > 0.8
    )

    written = (tmp_path / "run/concepts.csv").read_text()
    again = ("--overwrite", "--noexport", f"--concept_weights={tmp_path}/edited.csv")
    (tmp_path / "edited.csv").write_text(written)
    assert answered(*flags, *again).results["concepts"].accuracy == found.results["concepts"].accuracy
    swapped = written.replace("animal,plant", "plant,animal", 1)
    (tmp_path / "edited.csv").write_text(swapped)
    assert answered(*flags, *again).results["concepts"].accuracy < 0.1


def test_the_export_answers_other_words(answered, tmp_path):
    found = answered("--export", f"--saved_models_dir={tmp_path}/models", "--readers=name_mixture")
    served = tf.saved_model.load(found.facts["export"])
    pictures = [item.png for item in found.gallery]
    told = served.signatures["ask"](
        image_bytes=tf.constant(pictures), answers=tf.constant(["a photo of a fir", "a photo of a dog"])
    )
    assert told["probabilities"].shape == (len(pictures), 2)
    assert "python -m xmodal.ask" in found.facts["ask"]
    assert "without labels" in (tmp_path / "models/names_to_answers/1/model_card.md").read_text()


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--answers=plant", "only answer"),
        ("--answers=", "no answers to choose from"),
        ("--answers=plant,animal,katze", "knows no word of the answer 'a photo of a katze'"),
        ("--answers=red katze,red hund", "as the same"),
        ("--shots=1", "`shots` needs labels"),
        ("--concepts=shipped", "`concepts=shipped` learns from labels"),
        ("--name_text=ancestors", "names of ImageNet alone"),
        ("--answers=" + ",".join(f"red {number}" for number in range(1001)), "1,001 answers are more"),
    ],
)
def test_what_cannot_be_answered_is_told_in_one_line(answered, flag, message):
    with pytest.raises(UserError, match=message):
        answered(flag)


def test_too_few_images_teach_nothing(answered, folder):
    with pytest.raises(UserError, match="learns nothing sound from 160 images for 6 answers"):
        answered("--adapt=self_train", "--answers=plant,animal,cat,dog,oak,fir", "--readers=name_mixture")


def test_labels_that_are_no_answers_are_told(answered):
    with pytest.raises(UserError, match="the class 'animal' of the images is none of the answers"):
        answered("--dataset=folder:photos", "--answers=cat,plant")


STUDENT = (
    *("--adapt=noisy_student", "--readers=name_mixture", "--image_size=32", "--image_weights=none"),
    *("--base=VGG16", "--target=VGG16", "--features=block1_pool", "--trainable=all", "--epochs=1"),
    *("--head_epochs=8", "--learning_rate=1e-5", "--augment=flip"),
)


def test_a_network_learns_without_a_label_what_the_names_said(answered, tmp_path):
    found = answered("--dataset=folder:photos", "--answers=", *STUDENT)
    assert [*found.results] == ["noisy_student", "self_train", "name_mixture"]
    assert found.main_result.accuracy > 0.9
    assert "teaching a second network" in " ".join(gain.sentence for gain in found.gains)
    assert [history.stage for history in found.histories] == ["noisy_student: head", "noisy_student: network"]
    # What the speaker sees is counted once.
    seconds, whole = found.results["noisy_student"].seconds, sum(found.seconds.values())
    assert found.results["self_train"].seconds < seconds < whole
    assert "Transfer, layer by layer" in (tmp_path / "run/report.html").read_text()


@pytest.mark.slow
def test_a_network_learns_where_nothing_is_labelled(answered):
    found = answered(*STUDENT)
    assert found.results == {}
    assert {item.predicted for item in found.gallery if item.id.startswith("plant/")} == {"plant"}


def test_what_a_network_learned_is_exported(answered, tmp_path):
    found = answered(*STUDENT, "--export", f"--saved_models_dir={tmp_path}/models")
    served = tf.saved_model.load(found.facts["export"])
    told = served.signatures["adapted"](image_bytes=tf.constant([item.png for item in found.gallery]))
    assert [label.decode() for label in told["label"].numpy()] == [item.predicted for item in found.gallery]
    np.testing.assert_allclose(
        told["probability"].numpy(), [item.probability for item in found.gallery], atol=1e-4
    )
    assert "adapted, of a run" in (tmp_path / "models/names_to_answers/1/model_card.md").read_text()
