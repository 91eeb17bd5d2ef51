"""The shared scorer: trained, moved between modalities, asked for classes that it never saw."""

import math
from dataclasses import replace

import keras
import numpy as np
import pytest
from tiny_bert import save_tiny_bert

from xmodal.config.training import TrainConfig
from xmodal.core.errors import UserError
from xmodal.data.batches import array_batches
from xmodal.evaluation.calibration import softmax
from xmodal.models.heads import ClassTexts
from xmodal.tasks.modality import Modality
from xmodal.tasks.similarity_classifier import (
    TRANSFERABLE,
    LayerTransfer,
    class_texts,
    epochs_for,
    passes_per_epoch,
    predict_logits,
    subset,
    train_similarity_classifier,
    with_classes,
)
from xmodal.training.trainer import Trainer

TRAINING = TrainConfig(patience=8, label_smoothing=0.0)

CLASSES = 6
DIRECTIONS = np.random.default_rng(7).normal(size=(CLASSES, 16))


def modality(name, width, seed, *, directions=DIRECTIONS, per_class=30):
    """Examples that are noisy, linear images of what their classes are about, in a space of their own."""
    random = np.random.default_rng(seed)
    mixing = random.normal(size=(directions.shape[1], width)) / 4
    labels, arrays = {}, {}
    for split, count in (("train", per_class), ("validation", 5), ("test", 20)):
        labels[split] = random.permutation(np.repeat(np.arange(CLASSES, dtype=np.int32), count))
        noise = random.normal(size=(len(labels[split]), width))
        arrays[split] = (directions[labels[split]] @ mixing + 0.3 * noise).astype(np.float32)

    def encoder():
        inputs = keras.Input((width,))
        return keras.Model(inputs, keras.layers.Dense(40, activation="relu", name="own")(inputs), name=name)

    def learn(positions, targets):
        return lambda seed: array_batches(
            arrays["train"][positions], targets, batch_size=16, shuffle_seed=seed
        )

    def read_split(split, positions, targets):
        order = np.argsort(arrays[split][positions, 0])
        return array_batches(arrays[split][positions[order]], targets[order], batch_size=32), order

    return Modality(
        name=name,
        class_names=tuple("abcdef"),
        texts=ClassTexts(directions, np.arange(CLASSES)),
        labels=labels,
        encoder=encoder,
        train_batches=learn,
        eval_batches=read_split,
        epochs=8,
        learning_rate=1e-2,
    )


@pytest.fixture(scope="module")
def pictures():
    return modality("pictures", 10, 0)


@pytest.fixture(scope="module")
def sounds():
    return modality("sounds", 14, 1)


@pytest.fixture(scope="module")
def source(pictures, one_device):
    return learned(pictures, one_device).model


def learned(side, one_device, classes=range(CLASSES), seed=0, **options):
    classes = np.array(list(classes))
    positions = subset(side.labels["train"], classes, 0, 0)
    trainer = Trainer(TRAINING, seed, one_device)
    return train_similarity_classifier(side, positions, classes, trainer, scale=10.0, **options)


def accuracy(side, model, one_device):
    truth = side.labels["test"]
    logits = predict_logits(
        side, model, "test", np.arange(len(truth)), Trainer(TRAINING, strategy=one_device)
    )
    return (logits.argmax(axis=1) == truth).mean()


def test_a_modality_is_learned_by_its_class_names(pictures, one_device):
    scored = learned(pictures, one_device)
    assert accuracy(pictures, scored.model, one_device) > 0.9
    assert scored.transfer is None
    assert len(scored.history.epochs) == pictures.epochs


@pytest.mark.parametrize("what", TRANSFERABLE)
@pytest.mark.parametrize("frozen", [False, True])
def test_what_moves_is_accounted_for(source, sounds, one_device, what, frozen):
    moved = learned(sounds, one_device, transfer=LayerTransfer(source, TRANSFERABLE[what], frozen))
    report = moved.transfer
    assert (report.source_model, report.target_model) == ("scored_pictures", "scored_sounds")
    actions = {layer.target: layer.action for layer in report.layers}
    copied = [name for name, action in actions.items() if action == "copied"]
    assert copied == list(TRANSFERABLE[what])
    assert actions["own"] == actions["dense_120"] == "left"
    assert "own" in report.unmatched_source
    for name in TRANSFERABLE[what]:
        pairs = zip(
            source.get_layer(name).get_weights(), moved.model.get_layer(name).get_weights(), strict=True
        )
        same = [np.array_equal(before, after) for before, after in pairs]
        assert all(same) if frozen else not any(same)


def test_the_same_seed_starts_what_does_not_move_the_same(source, sounds, one_device):
    transfers = (LayerTransfer(source, (), frozen=False), None)
    both = [learned(sounds, one_device, seed=3, transfer=transfer).model for transfer in transfers]
    for first, second in zip(*(model.get_weights() for model in both), strict=True):
        np.testing.assert_array_equal(first, second)


def test_scorers_of_vectors_of_different_width(source, one_device):
    narrow = modality("sounds", 14, 1, directions=DIRECTIONS[:, :5])
    problem = (
        "the scorer of 'scored_pictures' compares vectors of 16 numbers, that of 'scored_sounds' vectors of 5"
    )
    with pytest.raises(UserError, match=problem) as caught:
        learned(narrow, one_device, transfer=LayerTransfer(source, TRANSFERABLE["scorer"], frozen=False))
    assert "by the same `text_encoder`" in str(caught.value)


def test_a_scorer_of_random_weights_may_stay(pictures, one_device):
    transfer = LayerTransfer(None, TRANSFERABLE["scorer"], frozen=True)
    start, trained = (
        learned(pictures, one_device, transfer=transfer, epochs=epochs).model for epochs in (1, 8)
    )
    for name, same in (("scorer", True), ("own", False)):
        pairs = zip(start.get_layer(name).get_weights(), trained.get_layer(name).get_weights(), strict=True)
        assert [np.array_equal(first, second) for first, second in pairs] == [same] * 2


def test_the_best_epoch_is_kept_and_the_start_is_one_of_them(pictures, one_device):
    classes = np.arange(CLASSES)
    positions = subset(pictures.labels["train"], classes, 0, 0)
    trainer = Trainer(TRAINING, strategy=one_device)
    scored = train_similarity_classifier(
        replace(pictures, learning_rate=50.0), positions, classes, trainer, scale=10.0
    )
    labels = pictures.labels["validation"]
    logits = predict_logits(pictures, scored.model, "validation", np.arange(len(labels)), trainer)
    loss = -np.log(softmax(logits)[np.arange(len(labels)), labels]).mean()
    looks = [scored.history.start["val_loss"], *(entry["val_loss"] for entry in scored.history.epochs)]
    assert scored.history.best["val_loss"] == min(looks) == pytest.approx(loss, rel=1e-4)


def test_unseen_classes_are_told_by_their_names(one_device):
    # On a circle, so that those that are seen say what lies between them.
    angles = np.arange(CLASSES) * 2 * np.pi / CLASSES
    side = modality("pictures", 10, 0, directions=3 * np.stack([np.cos(angles), np.sin(angles)], axis=1))
    seen, unseen = np.array([0, 1, 3, 4]), np.array([2, 5])
    model = learned(side, one_device, classes=seen).model
    before = model.get_weights()
    other = with_classes(side, model, unseen, Trainer(TRAINING, strategy=one_device))
    test = np.flatnonzero(np.isin(side.labels["test"], unseen))
    logits = predict_logits(side, other, "test", test, Trainer(TRAINING, strategy=one_device))
    assert logits.shape == (len(test), 2)
    assert (unseen[logits.argmax(axis=1)] == side.labels["test"][test]).mean() > 0.8
    for first, second in zip(before, other.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_fewer_examples_of_each_class():
    labels = np.repeat([0, 1, 2], [50, 10, 4])
    few = subset(labels, np.array([0, 1, 2]), 5, 0)
    assert np.bincount(labels[few]).tolist() == [5, 5, 4]
    assert set(few) <= set(subset(labels, np.array([0, 1, 2]), 9, 0))
    assert set(labels[subset(labels, np.array([0, 2]), 0, 0)]) == {0, 2}
    assert len(subset(labels, np.array([0, 1, 2]), 0, 0)) == 64
    assert few.tolist() != subset(labels, np.array([0, 1, 2]), 5, 1).tolist()


def test_few_examples_are_shown_more_often():
    assert epochs_for(6, 100, 100) == 6
    assert epochs_for(6, 100, 25) == 12


def test_a_training_on_few_examples_has_as_many_epochs_as_one_on_all(pictures, one_device):
    seeds = []

    def counted(positions, targets):
        batches = pictures.train_batches(positions, targets)
        return lambda seed: seeds.append(seed) or batches(seed)

    classes, trainer = np.arange(CLASSES), Trainer(TRAINING, strategy=one_device)
    few = subset(pictures.labels["train"], classes, 2, 0)
    passes = passes_per_epoch(pictures, few)
    assert passes == round(math.sqrt(len(pictures.labels["train"]) / len(few))) > 1
    scored = train_similarity_classifier(
        replace(pictures, train_batches=counted), few, classes, trainer, scale=10.0, epochs=3
    )
    assert len(scored.history.epochs) == 3
    # Every pass has an order of its own.
    assert sorted(set(seeds)) == [(trainer.seed, number) for number in range(3 * passes)]


# The names of the classes.


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return save_tiny_bert(tmp_path_factory.mktemp("bert") / "bert")


def test_names_and_descriptions_are_encoded(bert, one_device):
    texts = class_texts(
        ["cat", "dog", "a warm animal"],
        np.array([0, 1, 0]),
        ("cat", "dog"),
        bert,
        Trainer(TRAINING, strategy=one_device),
        max_tokens=24,
    )
    assert texts.vectors.shape == (3, 16)
    assert texts.targets.tolist() == [0, 1, 0]
    dog = texts.take(np.array([1]))
    np.testing.assert_array_equal(dog.vectors, texts.vectors[[1]])
    assert dog.targets.tolist() == [0]


def test_a_class_name_without_a_known_word(bert, one_device):
    problem = rf"the text encoder '{bert}' knows no word of the class name '犬 zzz'"
    with pytest.raises(UserError, match=problem) as caught:
        class_texts(
            ["cat", "犬 zzz"],
            np.array([0, 1]),
            ("cat", "犬 zzz"),
            bert,
            Trainer(TRAINING, strategy=one_device),
            max_tokens=24,
        )
    assert "describe it in `class_descriptions`" in str(caught.value)


def test_a_description_stands_in_for_a_name_without_a_known_word(bert, one_device):
    texts = class_texts(
        ["cat", "犬", "a dog"],
        np.array([0, 1, 1]),
        ("cat", "犬"),
        bert,
        Trainer(TRAINING, strategy=one_device),
        max_tokens=24,
    )
    assert texts.targets.tolist() == [0, 1]
