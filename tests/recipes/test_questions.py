"""Questions of three classes, answered by a tiny BERT from sentences alone."""

from types import SimpleNamespace

import numpy as np
import pytest
from absl.testing import flagsaver
from tiny_bert import save_tiny_bert

from xmodal.bridge.bridge import Bridge
from xmodal.config.config import Config
from xmodal.config.flags import from_flags, parse
from xmodal.core.clock import Clock
from xmodal.core.errors import UserError
from xmodal.evaluation.metrics import HeldOut
from xmodal.recipes.vgg_to_bert.questions import (
    BridgeSentences,
    TransferredImages,
    bridge_sentences,
    evaluate_extra_targets,
    expected_answers,
    extra_targets,
    from_classes,
)
from xmodal.runs.session import Session
from xmodal.tasks.text_classifier import TextExamples
from xmodal.training.checkpoint import Checkpoints
from xmodal.training.trainer import Trainer

CLASSES = ("cat", "dog", "oak")
LABELS = np.tile([0, 1, 2], 8)
DATA = SimpleNamespace(
    class_names=CLASSES,
    validation=SimpleNamespace(labels=LABELS),
    test=SimpleNamespace(labels=LABELS),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("questions")
    (folder / "alive.csv").write_text("description,target\ncat,animal\ndog,animal\noak,plant\n")
    (folder / "purrs.csv").write_text("description,target\ncat,yes\ndog,no\noak,no\n")
    (folder / "short.csv").write_text("description,target\ncat,yes\ndog,no\n")
    return folder


def settings(folder, *flags) -> Config:
    with flagsaver.flagsaver():
        parse(
            [
                "run",
                "--text_epochs=40",
                "--text_style=top1",
                "--text_batch_size=8",
                "--text_learning_rate=0.02",
                "--sequence_length=16",
                f"--also_ask=alive={folder}/alive.csv",
                f"--also_ask=purrs={folder}/purrs.csv",
                *flags,
            ]
        )
        return from_flags()


def told_of(mistaken: int) -> tuple[BridgeSentences, np.ndarray]:
    """What is said of images, so many of which are taken for the next class, and their logits."""
    bridge = Bridge(CLASSES, "top1", ("a photo of {}",), 1)
    seen = LABELS.copy()
    seen[:mistaken] = (seen[:mistaken] + 1) % 3
    logits = 9 * np.eye(3, dtype=np.float32)[seen]
    classifier = SimpleNamespace(train_logits=lambda: logits)
    images = TransferredImages(classifier, HeldOut(logits, logits), 1.0, None)
    return bridge_sentences(bridge, images), logits


def test_each_question_is_answered_with_and_without_labels_of_images(folder, tmp_path):
    said, _ = told_of(mistaken=3)
    preset, spoken = save_tiny_bert(tmp_path / "bert"), []
    clock = Clock(spoken.append)
    config = settings(folder)
    trainer = Trainer(config.train, checkpoints=Checkpoints(tmp_path / "kept"))
    results, gains = evaluate_extra_targets(Session(config, clock, trainer), DATA, preset, said)
    kinds = ("text", "zero_image", "text_zero_shot")
    assert list(results) == [f"{kind}, {name}" for name in ("alive", "purrs") for kind in kinds]
    # The cat that is taken for a dog is an animal all the same; the dog that is taken for an oak is not,
    # and the oak that is taken for a cat no plant.
    assert results["zero_image, alive"].accuracy == pytest.approx(22 / 24)
    # It is the third one, which is taken for a cat, and the first, which is taken for none.
    assert results["zero_image, purrs"].accuracy == pytest.approx(22 / 24)
    assert results["text, purrs"].class_names == ("yes", "no")
    assert len(gains) == 2
    assert "asking 'alive' with what is said of training images, and not in text alone," in gains[0].sentence
    assert {"text: head, alive", "text: head on text alone, purrs"} <= set(clock.seconds)


def test_a_class_answers_with_its_probability(folder):
    alive = extra_targets(settings(folder), DATA)["alive"]
    logits = np.log([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]])
    answers = from_classes(HeldOut(logits, logits[1:]), alive)
    np.testing.assert_allclose(np.exp(answers.validation), [[0.7, 0.3], [0.2, 0.8]])
    np.testing.assert_allclose(np.exp(answers.test), [[0.2, 0.8]])


def test_a_question_that_leaves_a_class_out(folder):
    wrong = settings(folder, f"--also_ask=short={folder}/short.csv")
    with pytest.raises(
        UserError, match=r"^`also_ask=\S+short.csv` has no description for 1 of the classes: oak"
    ):
        extra_targets(wrong, DATA)


def test_a_sentence_means_the_mean_answer_of_its_images():
    written = TextExamples(np.array(["a", "b"], object), np.array([[0.9, 0.1], [0.5, 0.5]]), np.ones(2))
    # "a" is said of 30 images, "c" of one, and "b" of none.
    texts = np.array(["a"] * 30 + ["c"], object)
    answers = np.array([[1.0, 0.0]] * 15 + [[0.6, 0.4]] * 15 + [[0.2, 0.8]])
    examples = expected_answers(texts, answers, written)
    assert examples.texts.tolist() == ["a", "b", "c"]
    # The written sentence counts as 10 images.
    np.testing.assert_allclose(examples.targets, [[0.825, 0.175], [0.5, 0.5], [0.2, 0.8]], atol=1e-6)
    # Sentences of images and written ones have an equal say.
    np.testing.assert_allclose(
        examples.weights / examples.weights.sum(), [(30 / 31 + 1 / 2) / 2, 1 / 4, 1 / 62], atol=1e-6
    )
