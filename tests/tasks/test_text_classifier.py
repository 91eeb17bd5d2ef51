import dataclasses
from collections import Counter

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl.testing import flagsaver
from tiny_bert import save_tiny_bert
from tiny_encoders import save_tiny_encoder

from xmodal.assets.fetch import locate
from xmodal.config import flags
from xmodal.config.text import TextConfig
from xmodal.config.training import TrainConfig
from xmodal.core.files import cache_folder
from xmodal.data.batches import array_batches
from xmodal.models.heads import text_classifier
from xmodal.models.text_encoder import text_encoder
from xmodal.tasks.text_classifier import (
    TextClassifier,
    balance_classes,
    merge,
    train_text_classifier,
    zero_shot_classifier,
)
from xmodal.training import loop
from xmodal.training.losses import cross_entropy
from xmodal.training.trainer import Trainer

TEXTS = (
    ["surely a red cat"] * 7
    + ["surely a red cat, a dog"] * 2
    + ["possibly a dog or a bird"] * 5
    + ["a green oak", "a fir", "a photo of a bird"]
)
TARGETS = np.array([0] * 6 + [1] + [0, 1] + [1] * 4 + [0] + [2, 2, 0])


@pytest.fixture(scope="module")
def preset(tmp_path_factory) -> str:
    return save_tiny_bert(tmp_path_factory.mktemp("preset") / "bert")


@pytest.fixture(scope="module")
def settings() -> TextConfig:
    with flagsaver.flagsaver():
        flags.parse(["run", "--sequence_length=12", "--text_batch_size=4", "--text_learning_rate=0.01"])
        return flags.from_flags().text


# Merging.


def test_merged_examples_are_the_distinct_pairs_and_their_counts():
    merged = merge(TEXTS, TARGETS)
    found = dict(zip(zip(merged.texts, merged.targets, strict=True), merged.weights, strict=True))
    assert len(merged.texts) == 9
    assert found == Counter(zip(TEXTS, TARGETS, strict=True))


def test_the_order_of_merged_examples_does_not_depend_on_that_of_the_pairs():
    order = np.random.default_rng(0).permutation(len(TEXTS))
    first, second = merge(TEXTS, TARGETS), merge([TEXTS[i] for i in order], TARGETS[order])
    for name in ("texts", "targets", "weights"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
    assert list(first.texts) == sorted(first.texts)


def test_texts_and_targets_that_do_not_pair():
    with pytest.raises(ValueError, match="shorter"):
        merge(["a", "b"], np.array([0]))


def loss_and_gradients(encoder, model, texts, targets, weights):
    with tf.GradientTape() as tape:
        losses = cross_entropy()(tf.constant(targets), model(encoder.tokens(list(texts))))
        loss = tf.reduce_sum(losses * weights) / tf.reduce_sum(weights)
    return loss, tape.gradient(loss, [variable.value for variable in model.trainable_variables])


def test_loss_and_gradient_of_merged_examples_are_those_of_all_pairs(preset):
    encoder = text_encoder(preset, 12)
    keras.utils.set_random_seed(0)
    model = text_classifier(encoder.model, 3, dropout=0.0)
    merged = merge(TEXTS, TARGETS)
    ones = np.ones(len(TEXTS), np.float32)
    loss, gradients = loss_and_gradients(
        encoder, model, merged.texts, merged.targets, merged.weights.astype(np.float32)
    )
    all_loss, all_gradients = loss_and_gradients(encoder, model, TEXTS, TARGETS.astype(np.int32), ones)
    assert float(loss) == pytest.approx(float(all_loss), rel=1e-6)
    assert len(gradients) > 15
    for a, b in zip(gradients, all_gradients, strict=True):
        a, b = tf.convert_to_tensor(a), tf.convert_to_tensor(b)
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert max(float(tf.reduce_max(tf.abs(gradient))) for gradient in gradients[-2:]) > 0.01


# What four readers said of each text of SOFT: the same texts again and again, each with one answer.
SOFT = ["surely a red cat", "a green oak", "possibly a dog or a bird", "a green oak", "a fir"]
ANSWERS = np.array([[4, 0, 0], [1, 2, 1], [0, 3, 1], [0, 0, 4], [1, 1, 2]])
REPEATED = np.repeat(SOFT, 4).tolist()
REPEATED_TARGETS = np.array([answer for row in ANSWERS for answer in np.repeat(np.arange(3), row)])


def test_of_distributions_a_text_has_their_mean_and_their_weight():
    merged = merge(SOFT, ANSWERS / 4, np.array([1, 2, 1, 6, 0.5]))
    assert list(merged.texts) == sorted(set(SOFT))
    found = dict(zip(merged.texts, zip(merged.targets.tolist(), merged.weights, strict=True), strict=True))
    shares, weight = found["a green oak"]
    assert weight == 8
    np.testing.assert_allclose(shares, [1 / 16, 1 / 8, 13 / 16])
    assert found["a fir"] == ([0.25, 0.25, 0.5], 0.5)
    assert (merged.targets.dtype, merged.weights.dtype) == (np.float32, np.float32)
    with pytest.raises(ValueError, match="must be as many"):
        merge(["a", "b"], np.array([[1.0, 0.0]]))


@pytest.mark.parametrize("evened", [False, True], ids=["as they are", "balanced"])
def test_loss_and_gradient_of_shares_are_those_of_answers_in_these_proportions(preset, evened):
    encoder = text_encoder(preset, 12)
    keras.utils.set_random_seed(0)
    model = text_classifier(encoder.model, 3, dropout=0.0)
    soft, hard = merge(SOFT, ANSWERS / 4), merge(REPEATED, REPEATED_TARGETS)
    assert (len(soft.texts), len(hard.texts)) == (4, 9)
    if evened:
        soft, hard = balance_classes(soft, 3), balance_classes(hard, 3)
        np.testing.assert_allclose(soft.weights @ soft.targets, [5 / 3] * 3, rtol=1e-6)
    np.testing.assert_allclose(soft.targets.sum(axis=1), 1, rtol=1e-6)
    loss, gradients = loss_and_gradients(encoder, model, soft.texts, soft.targets, soft.weights)
    all_loss, all_gradients = loss_and_gradients(encoder, model, hard.texts, hard.targets, hard.weights)
    assert float(loss) == pytest.approx(float(all_loss), rel=1e-6)
    for a, b in zip(gradients, all_gradients, strict=True):
        np.testing.assert_allclose(tf.convert_to_tensor(a), tf.convert_to_tensor(b), atol=1e-5)
    assert max(float(tf.reduce_max(tf.abs(gradient))) for gradient in gradients[-2:]) > 0.01


def test_training_on_shares_is_training_on_answers_in_these_proportions(fitted, one_device, mirrored):
    soft = merge(SOFT, ANSWERS / 4)
    few = fitted(one_device, soft.texts, soft.targets, soft.weights, batch_size=4)
    assert_same(few, fitted(one_device, REPEATED, REPEATED_TARGETS, None, batch_size=20))
    assert_same(few, fitted(mirrored, soft.texts, soft.targets, soft.weights, batch_size=4))
    assert few[1][1] < few[1][0]


@pytest.mark.parametrize("trainable", ["head", "all"])
def test_a_head_and_a_whole_classifier_learn_shares_with_slips_too(preset, settings, one_device, trainable):
    soft = merge(SOFT, ANSWERS / 4)
    history = train_text_classifier(
        preset,
        dataclasses.replace(soft, noise=0.2),
        3,
        dataclasses.replace(settings, text_trainable=trainable, text_epochs=3, class_weights="balanced"),
        Trainer(seed=0, strategy=one_device),
        name="soft",
        validation=soft,
    ).history
    assert len(history.epochs) == 3
    # The least that is left where each text is answered with its shares.
    evened = balance_classes(soft, 3)
    entropy = -np.sum(evened.targets * np.log(np.maximum(evened.targets, 1e-9)), axis=1)
    assert all(epoch["loss"] > evened.weights @ entropy / evened.weights.sum() for epoch in history.epochs)
    assert history.epochs[-1]["val_loss"] < history.epochs[0]["val_loss"]


@pytest.fixture(scope="module")
def fitted(preset):
    """Trains by SGD, whose steps are in proportion to the gradients, without dropout."""

    def fit(strategy, texts, targets, weights, *, batch_size):
        with strategy.scope():
            encoder = text_encoder(preset, 12)
            keras.utils.set_random_seed(0)
            model = text_classifier(encoder.model, 3, dropout=0.0)
        tokens = {name: value.numpy() for name, value in encoder.tokens(list(texts)).items()}
        history = loop.fit(
            model,
            lambda epoch: array_batches(tokens, targets, weights, batch_size=batch_size),
            loss=cross_entropy(),
            optimizer=lambda steps: keras.optimizers.SGD(0.03),
            epochs=2,
            strategy=strategy,
            stage="",
        )
        return model.get_weights(), [epoch["loss"] for epoch in history.epochs]

    return fit


def assert_same(first, second):
    for a, b in zip(first[0], second[0], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    np.testing.assert_allclose(first[1], second[1], atol=1e-5)


def test_training_on_merged_examples_is_training_on_all_pairs(fitted, one_device):
    merged = merge(TEXTS, TARGETS)
    few = fitted(one_device, merged.texts, merged.targets, merged.weights, batch_size=9)
    assert_same(few, fitted(one_device, TEXTS, TARGETS, None, batch_size=17))
    assert few[1][1] < few[1][0]


def test_two_devices_train_as_one_does(fitted, one_device, mirrored):
    # 9 weighted examples in batches of 4: the last one leaves a device without work.
    merged = merge(TEXTS, TARGETS)
    one, two = (
        fitted(strategy, merged.texts, merged.targets, merged.weights, batch_size=4)
        for strategy in (one_device, mirrored)
    )
    assert_same(one, two)


# Reading.


class Counting:
    """Stands between a classifier and its preprocessor, and keeps what was read."""

    def __init__(self, encoder):
        self.encoder, self.read = encoder, []

    def padded(self, texts):
        self.read += list(texts)
        return self.encoder.padded(texts)


@pytest.fixture
def classifier(preset) -> TextClassifier:
    encoder = text_encoder(preset, 12)
    keras.utils.set_random_seed(0)
    return TextClassifier(encoder, text_classifier(encoder.model, 3), None)


def test_each_distinct_text_is_read_once_with_the_result_of_reading_all(classifier, one_device):
    counting = Counting(classifier.encoder)
    logits = dataclasses.replace(classifier, encoder=counting).logits(
        np.array(TEXTS, object), Trainer(strategy=one_device)
    )
    assert sorted(counting.read) == sorted(set(TEXTS))
    one_by_one = [classifier.model(classifier.encoder.tokens([text]), training=False)[0] for text in TEXTS]
    assert logits.shape == (17, 3)
    np.testing.assert_allclose(logits, one_by_one, atol=1e-5)
    assert np.ptp(logits, axis=0).min() > 0.1


def test_reading_is_compiled_when_it_is_told_to_be(classifier, one_device, monkeypatch):
    texts = ["a", "a photo of a cat", "a photo of a cat and a photo of a cat"]
    trainer, made, function = Trainer(strategy=one_device), [], tf.function
    monkeypatch.setattr(tf, "function", lambda *given, **how: made.append(how) or function(*given, **how))
    plain = classifier.logits(texts, trainer, batch_size=1)
    assert {"jit_compile": True} not in made
    compiled = classifier.logits(texts, trainer.with_options(jit="on"), batch_size=1)
    assert {"jit_compile": True} in made
    np.testing.assert_allclose(compiled, plain, atol=1e-5)


def test_texts_are_padded_to_the_longest_of_them(classifier):
    padded = classifier.encoder.padded(["a cat", "a photo of a cat"])
    whole = {
        name: value.numpy()
        for name, value in classifier.encoder.tokens(["a cat", "a photo of a cat"]).items()
    }
    length = padded["padding_mask"].shape[1]
    assert padded["padding_mask"].sum(axis=1).max() == length < 12
    for name, value in padded.items():
        np.testing.assert_array_equal(value, whole[name][:, :length])


def test_logits_of_several_wordings_are_averaged(classifier, one_device):
    texts = np.array([["a cat", "a photo of a cat"], ["a dog", "a cat"], ["a dog", "a dog"]], object)
    logits = classifier.logits(texts, Trainer(strategy=one_device))
    each = classifier.logits(texts.ravel(), Trainer(strategy=one_device)).reshape(3, 2, 3)
    np.testing.assert_allclose(logits, each.mean(axis=1), atol=1e-6)
    assert not np.allclose(each[0, 0], each[0, 1], atol=1e-3)


def test_the_batch_size_and_the_number_of_devices_do_not_matter(preset, mirrored, one_device):
    texts = np.array(TEXTS, object)

    def read(strategy, batch_size):
        with strategy.scope():
            encoder = text_encoder(preset, 12)
            keras.utils.set_random_seed(0)
            model = text_classifier(encoder.model, 3)
        return TextClassifier(encoder, model, None).logits(
            texts, Trainer(strategy=strategy), batch_size=batch_size
        )

    np.testing.assert_allclose(read(one_device, 64), read(mirrored, 3), atol=1e-5)


# Training.

ANIMALS, PLANTS = ("cat", "dog", "bird"), ("oak", "fir")
TOY = [
    (f"{hedge} a {colour} {name}", target)
    for target, names in enumerate((ANIMALS, PLANTS))
    for name in names
    for hedge in ("surely", "probably")
    for colour in ("red", "green")
]
HELD_OUT = [example for example in TOY if example[0].startswith("probably a green")]


@pytest.fixture(scope="module")
def learned(preset, settings, one_device) -> TextClassifier:
    texts, targets = zip(*(example for example in TOY if example not in HELD_OUT), strict=True)
    return train_text_classifier(
        preset,
        merge(texts, np.array(targets)),
        2,
        dataclasses.replace(settings, text_epochs=12),
        Trainer(seed=3, strategy=one_device),
        name="toy",
    )


def test_fine_tuning_learns_a_toy_task_and_sentences_that_it_never_saw(learned, one_device):
    assert len(HELD_OUT) == 5
    texts, targets = zip(*TOY, strict=True)
    logits = learned.logits(np.array(texts, object), Trainer(strategy=one_device))
    assert logits.argmax(axis=1).tolist() == list(targets)
    assert learned.history.stage == "toy"
    assert len(learned.history.epochs) == 12
    assert learned.history.epochs[-1]["loss"] < 0.1 * learned.history.epochs[0]["loss"]


def test_fine_tuning_reaches_the_encoder_too(learned, preset):
    before = text_encoder(preset, 12).model
    moved = [
        not np.array_equal(weight, learned.model.get_layer(layer.name).get_weights()[number])
        for layer in before.layers
        for number, weight in enumerate(layer.get_weights())
    ]
    assert np.mean(moved) > 0.9


def test_zero_shot_ranks_what_is_obvious(settings, one_device):
    preset = str(locate("minilm_l6", cache=cache_folder()))
    descriptions = ["a photo of a cat", "a photo of an airplane", "a photo of a ship", "a photo of a kitten"]
    model = zero_shot_classifier(
        preset,
        descriptions,
        np.array([0, 1, 2, 0]),
        dataclasses.replace(settings, sequence_length=16),
        Trainer(strategy=one_device),
    )
    texts = [
        "surely a cat",
        "a pet that purrs",
        "probably a jet in the sky",
        "a boat on the sea",
        "possibly an airplane or a ship",
    ]
    logits = model.logits(np.array(texts, object), Trainer(strategy=one_device))
    assert logits.shape == (5, 3)
    assert logits.argmax(axis=1)[:4].tolist() == [0, 0, 1, 2]
    assert logits[4].argmin() == 0
    assert model.history is None


# Parts of the encoder, and stopping.


def test_a_frozen_encoder_stays_as_it_was_and_the_head_learns(preset, settings, one_device):
    texts, targets = zip(*TOY, strict=True)
    examples = merge(texts, np.array(targets))
    frozen = train_text_classifier(
        preset,
        examples,
        2,
        dataclasses.replace(settings, text_epochs=100, text_learning_rate=0.1, text_trainable="head"),
        Trainer(TrainConfig(patience=100), 3, one_device),
        name="frozen",
        validation=examples,
    )
    before = text_encoder(preset, 12).model
    for layer in before.layers:
        for weight, kept in zip(
            layer.get_weights(), frozen.model.get_layer(layer.name).get_weights(), strict=True
        ):
            np.testing.assert_array_equal(weight, kept)
    logits = frozen.logits(np.array(texts, object), Trainer(strategy=one_device))
    assert (logits.argmax(axis=1) == targets).mean() > 0.9
    assert "val_loss" in frozen.history.epochs[0]


def test_what_frozen_layers_make_of_texts_is_computed_once(tmp_path, settings, one_device, monkeypatch):
    preset, examples = save_tiny_encoder("bert", tmp_path / "bert"), merge(TEXTS, TARGETS)
    asked = dataclasses.replace(
        settings, text_trainable="transformer_layer_1", text_epochs=3, layer_decay=0.5, length_window=2
    )

    def trained() -> tuple[TextClassifier, list[tuple[int, ...]]]:
        shapes = []

        def fit(self, model, train, **options):
            shapes.append(sorted(part.shape.rank for part in train(0).element_spec[0].values()))
            return whole(self, model, train, **options)

        whole = Trainer.fit
        with monkeypatch.context() as patch:
            patch.setattr(Trainer, "fit", fit)
            # Dropout of the frozen layers is what differs.
            patch.setattr(keras.layers.Dropout, "call", lambda self, inputs, training=False: inputs)
            trainer = Trainer(TrainConfig(patience=9), 3, one_device)
            made = train_text_classifier(
                preset, examples, 3, asked, trainer, name="kept", validation=examples
            )
        return made, shapes

    kept, read = trained()
    monkeypatch.setattr("xmodal.tasks.frozen_layers.MAX_KEPT", 0)
    plain, tokens = trained()
    # Vectors and the mask of padding, or numbers of tokens and of segments and that mask.
    assert (read, tokens) == ([[2, 3]], [[2, 2, 2]])
    assert (kept.history.stage, plain.history.stage) == ("kept: upper layers", "kept")
    for one, other in zip(kept.history.epochs, plain.history.epochs, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-3)
        assert one["val_loss"] == pytest.approx(other["val_loss"], rel=1e-3)
    assert kept.history.epochs[-1]["loss"] < kept.history.epochs[0]["loss"]
    for one, other in zip(kept.model.get_weights(), plain.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)


def test_a_head_can_learn_before_the_encoder_does(preset, settings, one_device):
    texts, targets = zip(*TOY, strict=True)

    def loss_at_the_start(head_epochs: int) -> float:
        return train_text_classifier(
            preset,
            merge(texts, np.array(targets)),
            2,
            dataclasses.replace(settings, text_head_epochs=head_epochs, text_epochs=1),
            Trainer(seed=3, strategy=one_device),
            name="head first",
        ).history.epochs[0]["loss"]

    first, alone = loss_at_the_start(200), loss_at_the_start(0)
    assert first < 0.9 * alone, (first, alone)


def test_training_stops_when_the_validation_loss_rises(preset, settings, one_device):
    texts, targets = zip(*TOY, strict=True)
    # What is learned is the opposite of what is asked.
    history = train_text_classifier(
        preset,
        merge(texts, np.array(targets)),
        2,
        dataclasses.replace(settings, text_epochs=12, length_window=2, layer_decay=0.5),
        Trainer(TrainConfig(patience=1), 3, one_device),
        name="stopped",
        validation=merge(texts, 1 - np.array(targets)),
    ).history
    assert len(history.epochs) < 12


def test_balanced_classes_have_the_same_weight():
    examples = merge(["a", "b", "c", "d", "d"], np.array([0, 0, 0, 2, 2]))
    weights = balance_classes(examples, 4).weights
    np.testing.assert_allclose(weights, [5 / 6, 5 / 6, 5 / 6, 2.5])
    assert weights.sum() == pytest.approx(examples.weights.sum())
