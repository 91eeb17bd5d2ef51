import keras
import numpy as np
import pytest
import tensorflow as tf

from xmodal.models.heads import Scorer, Similarity, image_head, text_classifier


@pytest.fixture
def rng():
    return np.random.default_rng(0)


# The scorer.


def test_similarity_is_the_softmax_of_scaled_cosines(rng):
    x, descriptions = rng.normal(size=(5, 8)), rng.normal(size=(3, 8))
    logits = Similarity(descriptions, np.array([0, 1, 2]), 20.0)(x.astype(np.float32))
    cosines = np.array([[a @ b / np.linalg.norm(a) / np.linalg.norm(b) for b in descriptions] for a in x])
    np.testing.assert_allclose(logits, 20 * cosines, atol=1e-4)
    exponents = np.exp(20 * cosines)
    np.testing.assert_allclose(
        tf.nn.softmax(logits), exponents / exponents.sum(axis=1, keepdims=True), atol=1e-5
    )


def test_the_length_of_a_vector_does_not_matter(rng):
    x, descriptions = rng.normal(size=(4, 8)).astype(np.float32), rng.normal(size=(2, 8))
    first = Similarity(descriptions, np.array([0, 1]), 5.0)(x)
    second = Similarity(descriptions * [[3.0], [0.1]], np.array([0, 1]), 5.0)(100 * x)
    np.testing.assert_allclose(first, second, atol=1e-5)


def test_descriptions_of_a_class_add_their_probabilities(rng):
    x, descriptions = rng.normal(size=(6, 8)).astype(np.float32), rng.normal(size=(5, 8))
    targets = np.array([1, 0, 1, 2, 0])
    each = tf.nn.softmax(Similarity(descriptions, np.arange(5), 10.0)(x)).numpy()
    together = tf.nn.softmax(Similarity(descriptions, targets, 10.0)(x)).numpy()
    expected = np.stack([each[:, targets == target].sum(axis=1) for target in range(3)], axis=1)
    assert together.shape == (6, 3)
    np.testing.assert_allclose(together, expected, atol=1e-5)


def test_a_large_scale_gives_finite_scores_and_gradients(rng):
    x = tf.constant(rng.normal(size=(4, 8)).astype(np.float32))
    scorer = Similarity(rng.normal(size=(3, 8)), np.array([0, 1, 1]), 1000.0)
    with tf.GradientTape() as tape:
        tape.watch(x)
        logits = scorer(x)
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits([0, 1, 0, 1], logits)
    assert np.isfinite(logits).all()
    assert np.isfinite(tape.gradient(loss, x)).all()


def test_a_class_without_a_description():
    with pytest.raises(ValueError, match=r"every class needs a description. Received none for: \[1, 3\]"):
        Similarity(np.eye(3), np.array([0, 2, 4]), 1.0)


def test_similarity_is_a_layer_of_a_model():
    inputs = keras.Input((3,))
    model = keras.Model(inputs, Similarity(np.eye(3), np.array([0, 1, 1]), 2.0)(inputs))
    assert model.output_shape == (None, 2)
    np.testing.assert_allclose(model(np.eye(3, dtype=np.float32))[0], [2, np.log(2)], atol=1e-6)


# The scorer that learns.


def test_the_scorer_compares_projected_inputs(rng):
    x, descriptions = rng.normal(size=(5, 4)).astype(np.float32), rng.normal(size=(3, 8))
    scorer = Scorer(descriptions, np.array([0, 1, 1]), 12.0)
    logits = scorer(x)
    projection, log_scale = scorer.get_weights()
    assert projection.shape == (4, 8)
    assert np.exp(log_scale) == pytest.approx(12.0)
    np.testing.assert_allclose(
        logits, Similarity(descriptions, np.array([0, 1, 1]), 12.0)(x @ projection), atol=1e-4
    )


def test_a_scorer_takes_over_the_weights_of_one_with_other_classes(rng):
    x, seen, new = (
        rng.normal(size=(5, 4)).astype(np.float32),
        rng.normal(size=(3, 8)),
        rng.normal(size=(6, 8)),
    )
    first, second = Scorer(seen, np.arange(3), 12.0), Scorer(np.r_[new, seen], np.arange(9), 5.0)
    first(x), second(x)
    second.set_weights(first.get_weights())
    np.testing.assert_allclose(second(x)[:, 6:], first(x), atol=1e-5)


def test_the_scorer_learns_its_scale_and_projection(rng):
    x = tf.constant(rng.normal(size=(4, 8)).astype(np.float32))
    scorer = Scorer(rng.normal(size=(3, 6)), np.arange(3), 10.0)
    with tf.GradientTape() as tape:
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits([0, 1, 0, 1], scorer(x))
    gradients = tape.gradient(loss, [weight.value for weight in scorer.trainable_weights])
    assert len(gradients) == 2
    assert all(np.abs(gradient).max() > 0 for gradient in gradients)


def test_an_input_of_zeros_has_no_preference(rng):
    logits = Scorer(rng.normal(size=(3, 6)), np.arange(3), 10.0)(np.zeros((1, 4), np.float32))
    np.testing.assert_array_equal(logits, np.zeros((1, 3)))


# The image head.


def head_of(features, **options):
    keras.utils.set_random_seed(0)
    return image_head(features.astype(np.float32), 4, **({"hidden": 0, "dropout": 0.0} | options))


@pytest.fixture
def features(rng):
    """Each of the 40 has a mean and a spread of its own."""
    return rng.normal(rng.uniform(-50, 50, 40), rng.uniform(0.5, 3, 40), (500, 40))


def test_the_head_sees_features_of_mean_zero_and_no_large_spread(features):
    head = head_of(features)
    seen = head.layers[0](features.astype(np.float32)).numpy()
    np.testing.assert_allclose(seen.mean(axis=0), 0, atol=1e-4)
    assert seen.std(axis=0).max() < 1.001
    assert np.median(seen.std(axis=0)) > 0.5


def test_the_means_and_the_common_scale_of_the_features_do_not_matter(features):
    moved = (1000 * features + 5).astype(np.float32)
    np.testing.assert_allclose(
        head_of(moved)(moved), head_of(features)(features.astype(np.float32)), atol=1e-3
    )


@pytest.mark.parametrize("constant", [0.0, 7.0, 1e4])
def test_a_feature_that_is_constant_in_the_sample_does_not_drown_the_others(features, constant):
    features[:, 3] = constant
    head = head_of(features)
    usual = np.abs(head(features.astype(np.float32))).max()
    new = features.astype(np.float32)
    new[:, 3] += 2.0
    assert np.abs(head(new)).max() < 3 * usual


def test_features_that_are_all_constant_give_finite_scores():
    head = head_of(np.full((10, 5), 2.0))
    assert np.isfinite(head(np.full((3, 5), 2.5, np.float32))).all()


@pytest.mark.parametrize(("hidden", "parameters"), [(0, 40 * 4 + 4), (16, 40 * 16 + 16 + 16 * 4 + 4)])
def test_the_layers_of_the_head(features, hidden, parameters):
    head = head_of(features, hidden=hidden, dropout=0.5)
    assert head.output_shape == (None, 4)
    assert sum(weight.shape.num_elements() for weight in head.trainable_variables) == parameters
    inputs = features.astype(np.float32)
    np.testing.assert_array_equal(head(inputs, training=False), head(inputs, training=False))
    assert not np.array_equal(head(inputs, training=True), head(inputs, training=True))


# The text classifier.


def test_a_classifier_on_a_sentence_encoder():
    tokens = {"token_ids": keras.Input((6,), name="token_ids"), "mask": keras.Input((6,), name="mask")}
    encoder = keras.Model(tokens, keras.layers.Dense(8)(tokens["token_ids"] * tokens["mask"]))
    model = text_classifier(encoder, 3, dropout=0.5)
    assert model.output_shape == (None, 3)
    assert set(model.input) == set(tokens)
    inputs = {name: np.ones((2, 6), np.float32) for name in tokens}
    np.testing.assert_array_equal(model(inputs, training=False), model(inputs, training=False))
    assert not np.array_equal(model(inputs, training=True), model(inputs, training=True))
    weights = model.get_layer("logits").get_weights()
    np.testing.assert_allclose(model(inputs), encoder(inputs) @ weights[0] + weights[1], atol=1e-5)


def test_the_head_of_a_new_network_standardises_batch_by_batch():
    keras.utils.set_random_seed(0)
    head = image_head(5, 3, hidden=0, dropout=0.0)
    features = np.random.default_rng(0).normal(50, 20, (64, 5)).astype(np.float32)
    standardised = head.layers[0](features, training=True).numpy()
    np.testing.assert_allclose(standardised.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(standardised.std(axis=0), 1, atol=1e-3)
    assert head(features).shape == (64, 3)
