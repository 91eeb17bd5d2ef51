"""Searches against a classifier whose weak words are known, and against a tiny BERT."""

import dataclasses

import keras
import numpy as np
import pytest
from absl.testing import flagsaver
from tiny_bert import save_tiny_bert

from xmodal.config.config import Config
from xmodal.config.flags import from_flags, parse
from xmodal.models.heads import text_classifier
from xmodal.models.text_encoder import text_encoder
from xmodal.robustness.text_attack import (
    attack_documents,
    known_words,
    max_changes,
    mislead,
    misspelt,
    near_words,
    ranked_words,
    reader,
)
from xmodal.tasks.text_classifier import TextClassifier, TextExamples, train_text_classifier
from xmodal.training.trainer import Trainer

WEIGHTS = {"wheat": 2.0, "corn": 1.0, "tonnes": 0.4}


def read(texts) -> np.ndarray:
    """Class 0 for as much as the words that it knows weigh."""
    scores = np.array([sum(WEIGHTS.get(word, 0) for word in text.split()) for text in texts]) - 1.5
    first = 1 / (1 + np.exp(-scores))
    return np.stack([first, 1 - first], axis=1)


def test_words_are_ranked_by_what_is_lost_without_them():
    texts = ["so many tonnes of wheat and corn", "[EMAIL] corn", ""]
    ranked = ranked_words(read, texts, np.array([0, 0, 0]), max_words=100)
    # Words stand at odd places.
    assert ranked[0].tolist()[:3] == [9, 13, 5]
    assert [own.tolist() for own in ranked[1:]] == [[3], []]
    # What is not read cannot matter, and the batches make no difference.
    assert set(ranked_words(read, texts, np.zeros(3, int), max_words=3)[0].tolist()) == {1, 3, 5}
    again = ranked_words(read, texts, np.zeros(3, int), max_words=100, batch=2)
    assert [own.tolist() for own in again] == [own.tolist() for own in ranked]


def test_the_search_takes_the_fewest_words_and_stops_there():
    texts = [
        "so many tonnes of wheat and corn",
        "wheat",
        "corn",
        "so much wheat corn corn corn and corn or so",
    ]
    labels = np.array([0, 0, 0, 0])
    ranked = ranked_words(read, texts, labels, max_words=100)
    found = mislead(read, texts, labels, ranked, lambda word: [f"{word}x"], share=0.3)
    # Without wheat the first one weighs 1.4; the third one was wrong before; the last one has too many words.
    assert found.changed.tolist() == [1, 1, 0, -1]
    assert found.words.tolist() == [7, 1, 1, 10]
    assert found.texts.tolist()[:3] == ["so many tonnes of wheatx and corn", "wheatx", "corn"]
    assert found.edits[0] == (("wheat", "wheatx"),)
    assert len(found.edits[3]) == 3
    assert found.right(0.01).tolist() == [False, False, False, True]
    np.testing.assert_array_equal(read(found.texts).argmax(axis=1) == labels, found.right(0.3))


def test_a_form_that_does_not_mislead_is_not_taken():
    texts, labels = ["some wheat"], np.array([0])
    ranked = ranked_words(read, texts, labels, max_words=9)
    found = mislead(read, texts, labels, ranked, lambda word: ["wheat"], share=1)
    assert found.texts[0] == "some wheat"
    assert found.edits == ((),)
    found = mislead(read, texts, labels, ranked, lambda word: [], share=1)
    assert found.changed.tolist() == [-1]


def test_budgets_are_shares_of_the_words_and_at_least_one():
    assert max_changes(np.array([0, 5, 40, 41, 100]), 0.05).tolist() == [1, 1, 2, 2, 5]
    assert max_changes(29 * 100, 0.29).tolist() == 841


def test_misspelt_forms_are_the_same_for_every_classifier():
    assert misspelt(0)("quarterly") == misspelt(0)("quarterly")
    assert misspelt(0)("quarterly") != misspelt(1)("quarterly")


@pytest.fixture(scope="module")
def preset(tmp_path_factory) -> str:
    return save_tiny_bert(tmp_path_factory.mktemp("preset") / "bert")


def test_near_words_are_near_in_the_encoders_own_table(preset):
    encoder = text_encoder(preset, 12)
    table = encoder.model.get_layer("token_embedding").embeddings
    tokens = {word: int(encoder.padded([word])["token_ids"][0, 1]) for word in ("cat", "oak", "fir", "dog")}
    changed = table.numpy()
    changed[tokens["oak"]] = changed[tokens["cat"]] * 1.1
    table.assign(changed)
    near = near_words(encoder, ["Cat", "cats", "nobody"], ["dog", "fir", "oak", "cat", "red", "green"])
    assert near["cat"][0] == "oak"
    assert "cat" not in near["cat"]
    # A word of two pieces lies near to its parts.
    assert {"cat", "oak"} & set(near["cats"][:2])
    assert set(near) == {"cat", "cats", "nobody"}
    assert all(len(words) == 4 for words in near.values())


def test_known_words_stand_in_more_than_one_place():
    texts = ["The wheat [EMAIL] of [EMAIL]"] * 3 + ["wheat of nobody"]
    assert known_words(texts) == ["wheat", "of", "the"]
    assert known_words(["rare words"]) == ["rare", "words"]


ANIMALS, PLANTS = ("cat", "dog", "bird"), ("oak", "fir", "plant")


def examples(count: int, seed: int) -> TextExamples:
    chance = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    texts = [
        " ".join(["a photo of", chance.choice((ANIMALS, PLANTS)[label]), chance.choice(["red", "green"])])
        for label in labels
    ]
    return TextExamples(np.array(texts, object), labels.astype(np.int32), np.ones(count, np.float32))


@pytest.fixture(scope="module")
def settings() -> Config:
    flags = ["--sequence_length=12", "--text_epochs=6", "--text_batch_size=8", "--text_learning_rate=0.01"]
    with flagsaver.flagsaver():
        parse(["run", *flags, "--slips=0.05,0.5", "--changed_words=0.2,0.6"])
        return from_flags()


def trained(preset, settings, strategy, noise: float, **changes) -> TextClassifier:
    return train_text_classifier(
        preset,
        dataclasses.replace(examples(80, 0), noise=noise),
        2,
        dataclasses.replace(settings.text, **changes),
        Trainer(strategy=strategy),
    )


def test_a_classifier_under_attack(preset, settings, one_device):
    classifier = trained(preset, settings, one_device, 0.0)
    test = examples(20, 1)
    ids = [f"document {number}" for number in range(20)]

    def attack():
        return attack_documents(
            classifier,
            test.texts,
            test.targets,
            ids,
            [*ANIMALS, *PLANTS, "red", "green"],
            config=settings.attack,
            max_words=12,
            trainer=Trainer(strategy=one_device),
        )

    found = attack()
    assert found.clean.all()
    assert list(found.changed) == ["typing noise", "misspelt words,", "near words,"]
    assert list(found.changed["typing noise"]) == ["in 5% of the letters", "in 50% of the letters"]
    assert list(found.changed["near words,"]) == ["at most 20% of them", "at most 60% of them"]
    for kind, rights in found.changed.items():
        mild, strong = (right.mean() for right in rights.values())
        assert strong <= mild <= 1, kind
    # An unknown word in the place of the animal leaves nothing to tell by.
    assert found.changed["misspelt words,"]["at most 20% of them"].mean() < 0.8
    assert found.misled
    name, words, kind, what = found.misled[0]
    assert name in ids
    assert (words, kind) == (5, "misspelt words")
    assert ": " in what
    again = attack()
    assert again.misled == found.misled
    for kind, rights in found.changed.items():
        for most, right in rights.items():
            np.testing.assert_array_equal(again.changed[kind][most], right)


def test_the_reader_gives_the_logits_of_the_classifier(preset, one_device):
    keras.utils.set_random_seed(0)
    encoder = text_encoder(preset, 12)
    classifier = TextClassifier(encoder, text_classifier(encoder.model, 2), None)
    texts = np.array(["a red cat and one dog", "oak", "", *examples(80, 3).texts], object)
    trainer = Trainer(strategy=one_device)
    ask = classifier.reader(trainer)
    for part in (texts, texts[:2], texts[::-1]):
        np.testing.assert_allclose(ask(part), classifier.logits(part, trainer), atol=1e-5)
    np.testing.assert_allclose(reader(classifier, trainer)(texts).sum(axis=1), 1, atol=1e-6)


def test_training_with_noise_sees_other_slips_in_each_epoch(preset, settings, one_device):
    plain, noisy, again = (trained(preset, settings, one_device, noise) for noise in (0.0, 0.5, 0.5))
    losses = [[epoch["loss"] for epoch in item.history.epochs] for item in (plain, noisy, again)]
    assert losses[1] == pytest.approx(losses[2], rel=1e-4)
    assert losses[1][-1] > 2 * losses[0][-1]
    # A frozen encoder reads them once as they are, and once with slips.
    frozen = [trained(preset, settings, one_device, noise, text_trainable="head") for noise in (0.0, 0.5)]
    assert not np.allclose(*(item.model.get_weights()[-1] for item in frozen))
