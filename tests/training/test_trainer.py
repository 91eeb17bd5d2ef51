"""One object that trains and runs models: what it takes, what it keeps, and in whose scope."""

import doctest

import keras
import numpy as np
import pytest
import tensorflow as tf

from xmodal.config.training import TrainConfig
from xmodal.core.errors import UserError
from xmodal.training import trainer as module
from xmodal.training.checkpoint import Checkpoints, State
from xmodal.training.trainer import Trainer

CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture(scope="module")
def examples():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(37, 6))
    return inputs, ((inputs[:, 0] > 0).astype(np.uint8) + (inputs[:, 1] > 0)).astype(np.uint8)


def build(outputs=3, activation=None):
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(outputs, activation=activation),
        ]
    )


def fitted(examples, strategy=None, **options):
    trainer = Trainer(seed=3, strategy=strategy)
    with trainer.scope():
        model = build()
    history = trainer.fit(model, examples, **{"loss": CROSS_ENTROPY, "epochs": 2, "batch_size": 8} | options)
    return model, history


def assert_equal_weights(one, two, **tolerance):
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, **{"atol": 1e-6} | tolerance)


def test_a_notebook_needs_no_strategy_and_no_flags(examples):
    model, history = fitted(examples, epochs=12, learning_rate=0.05)
    assert history.epochs[-1]["accuracy"] > 0.8
    logits = Trainer().predict(model, examples[0])
    assert logits.shape == (37, 3)
    np.testing.assert_allclose(logits, model(examples[0]), atol=1e-5)


def test_arrays_data_sets_and_functions_of_the_epoch_train_alike(examples):
    inputs, labels = examples
    by_epoch = [np.random.default_rng((3, epoch)).permutation(37) for epoch in range(2)]

    def data_set(epoch):
        index = by_epoch[epoch]
        return tf.data.Dataset.from_tensor_slices((inputs[index], labels[index])).batch(8)

    arrays, _ = fitted(examples)
    functions, _ = fitted(data_set)
    assert_equal_weights(arrays, functions)
    same, _ = fitted(data_set(0))
    again, _ = fitted(lambda epoch: data_set(0))
    assert_equal_weights(same, again)
    column, _ = fitted((inputs, labels[:, None].astype(np.int64), np.ones(37)))
    assert_equal_weights(arrays, column)


def test_an_optimizer_is_copied_and_keeps_its_options(examples):
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    first, _ = fitted(examples, optimizer=optimizer)
    second, _ = fitted(examples, optimizer=optimizer)
    by_function, _ = fitted(examples, optimizer=lambda steps: keras.optimizers.SGD(0.1, momentum=0.9))
    assert not optimizer.built
    assert_equal_weights(first, second)
    assert_equal_weights(first, by_function)


def test_losses_have_the_meaning_and_the_numbers_of_keras(examples):
    inputs, labels = examples[0].astype(np.float32), examples[1].astype(np.int32)
    targets = inputs[:, :2]
    for loss, outputs, activation, learned in (
        ("sparse_categorical_crossentropy", 3, "softmax", labels),
        (keras.losses.MeanSquaredError(), 2, None, targets),
        (keras.losses.mean_absolute_error, 2, None, targets),
        ("binary_crossentropy", 1, "sigmoid", (labels > 0).astype(np.float32)[:, None]),
    ):
        trainer = Trainer()
        with trainer.scope():
            model = build(outputs, activation)
        theirs = keras.models.clone_model(model)
        theirs.set_weights(model.get_weights())
        history = trainer.fit(
            model,
            (inputs, learned),
            loss=loss,
            optimizer=keras.optimizers.SGD(0.1),
            epochs=2,
            batch_size=37,
            validation=(inputs, learned),
        )
        theirs.compile(keras.optimizers.SGD(0.1), loss)
        theirs.fit(inputs, learned, batch_size=37, epochs=2, shuffle=False, verbose=0)
        assert_equal_weights(model, theirs, atol=1e-5)
        assert history.epochs[-1]["val_loss"] == pytest.approx(theirs.evaluate(inputs, learned, verbose=0))
        assert ("val_accuracy" in history.epochs[-1]) == (loss == "sparse_categorical_crossentropy")


def test_batches_and_patience_are_those_of_its_config_where_nothing_else_is_said(examples):
    inputs, labels = examples
    options = {"loss": CROSS_ENTROPY, "epochs": 6, "learning_rate": 0.05}
    # What is learned is not what is asked.
    options["validation"] = (inputs, (labels + 1) % 3)

    def trained(training: TrainConfig, **more):
        trainer = Trainer(training, seed=3)
        with trainer.scope():
            model = build()
        return model, trainer.fit(model, examples, **options, **more)

    model, history = trained(TrainConfig(batch_size=10, patience=1))
    assert len(history.epochs) < 6
    other, same = trained(TrainConfig(), batch_size=10, patience=1)
    assert_equal_weights(model, other)
    assert len(same.epochs) == len(history.epochs)
    assert len(trained(TrainConfig(patience=1), patience=0)[1].epochs) == 6


def test_other_options_are_checked_and_leave_the_rest_as_it_is():
    trainer = Trainer(seed=3).with_options(patience=1)
    assert (trainer.config.patience, trainer.config.batch_size, trainer.seed) == (1, 64, 3)
    with pytest.raises(UserError, match="`patience=0` does not fit"):
        trainer.with_options(patience=0)


def test_the_example_runs():
    results = doctest.testmod(module)
    assert (results.attempted, results.failed) == (6, 0)


def test_a_scope_sets_the_seed_and_two_devices_train_alike(examples, mirrored):
    one, _ = fitted(examples)
    two, _ = fitted(examples, mirrored)
    assert_equal_weights(one, two, atol=1e-5)


@pytest.mark.parametrize("kind", ["mirrored", "one_device"])
def test_a_model_of_another_scope_is_refused_in_one_line(examples, kind, request):
    trainer = Trainer(strategy=request.getfixturevalue(kind))
    model = build()
    with pytest.raises(
        UserError, match=r"kernel' of the model 'sequential\w*' was not made in the scope"
    ) as e:
        trainer.fit(model, examples, loss=CROSS_ENTROPY, epochs=1)
    assert e.value.remedy == "build or load the model within `with trainer.scope():`"
    assert "\n" not in str(e.value)
    with trainer.scope():
        inside = keras.models.clone_model(model)
    trainer.fit(inside, examples, loss=CROSS_ENTROPY, epochs=1)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (np.zeros((4, 6)), "Received: ndarray"),
        ((np.zeros((4, 6)), np.zeros(3)), "4 inputs, 3 labels"),
        (tf.data.Dataset.from_tensor_slices((np.zeros((4, 6)), np.zeros(4))), "Received single ones"),
        (tf.data.Dataset.from_tensors(np.zeros((4, 6))), "needs .inputs, labels. or"),
        (
            tf.data.Dataset.from_generator(
                lambda: iter([]),
                output_signature=(tf.TensorSpec((None, 6)), tf.TensorSpec((None,), tf.int32)),
            ),
            "known number of batches",
        ),
    ],
)
def test_what_is_no_training_data_is_told(data, told):
    with pytest.raises(UserError, match=told):
        fitted(data)


def test_a_loss_that_keras_does_not_know_and_a_model_without_weights_are_told(examples):
    with pytest.raises(UserError, match="knows no loss 'crossentropie'"):
        fitted(examples, loss="crossentropie")
    with pytest.raises(UserError, match="has no weights yet"):
        Trainer().fit(keras.Sequential([keras.layers.Dense(3)]), examples, loss=CROSS_ENTROPY, epochs=1)


def test_what_has_a_name_is_computed_once(examples, tmp_path):
    counted = []

    def run():
        trainer = Trainer(TrainConfig(), checkpoints=Checkpoints(tmp_path))
        with trainer.scope():
            model = build()
        history = trainer.fit(model, examples, loss=CROSS_ENTROPY, epochs=1, name="head")
        outputs = trainer.predict(model, examples[0], name="out")
        drawn = trainer.once("drawn", lambda: counted.append("drawn") or State({"x": np.arange(3)}, {"n": 3}))
        # Without a name nothing is kept.
        trainer.predict(model, examples[0])
        trainer.predict(model, examples[0])
        return history, outputs, drawn

    (first, outputs, drawn), (second, again, kept) = run(), run()
    assert first == second
    np.testing.assert_array_equal(outputs, again)
    np.testing.assert_array_equal(drawn.arrays["x"], kept.arrays["x"])
    assert kept.facts == {"n": 3}
    assert counted.count("drawn") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"head", "out", "drawn"}
