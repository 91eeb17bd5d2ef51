"""The graph tells of answers what arrays tell."""

import numpy as np
import pytest
import tensorflow as tf

from xmodal.evaluation.answer_sets import AnswerSets, fit_answer_sets, set_scores
from xmodal.evaluation.limits import AnswerLimits
from xmodal.evaluation.open_set import fit_known_inputs
from xmodal.export.served_limits import ServedLimits

NAMES = ("cat", "dog", "oak")
ANSWERS = ("animal", "plant")
OF_CLASS = np.array([0, 0, 1])


@pytest.fixture(scope="module")
def drawn():
    """Class logits, features and logits of answers, of 300 held-out inputs and of 50 others."""
    rng = np.random.default_rng(0)
    classes = rng.normal(0, 2, (350, 3))
    features = rng.normal(0, 1, (350, 5)) + np.array([3, 0, 0, 0, 0])
    features[340:] *= -1
    # A few sentences alone.
    answers = np.round(classes @ np.eye(2)[OF_CLASS])
    return [(part[:300], part[300:]) for part in (classes, features, answers)]


def asked(served, classes, features, answers):
    tensors = (tf.constant(part, tf.float32) for part in (classes, features, answers))
    classes, features, answers = tensors
    outputs = tf.function(served)(tf.constant(ANSWERS), answers, classes, {"features": features}, classes)
    return {name: value.numpy() for name, value in outputs.items()}


def test_the_graph_tells_what_arrays_tell(drawn):
    (classes, new_classes), (features, new_features), (answers, new_answers) = drawn
    labels = np.random.default_rng(1).integers(0, 2, 300)

    def opinion(logits):
        shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        return np.log(shares @ np.eye(2)[OF_CLASS])

    sets = fit_answer_sets(set_scores(answers, opinion(classes)), labels, 0.2)
    known = fit_known_inputs({"features": features[:200]}, classes[200:], {"features": features[200:]})
    limits = AnswerLimits(sets, known, OF_CLASS)
    told = asked(
        ServedLimits(limits, ["an animal", "a plant"], "it looks most like"),
        new_classes,
        new_features,
        new_answers,
    )
    scores = set_scores(new_answers, opinion(new_classes))
    # Beside answers of which many are equal, none is as certain as another one.
    np.testing.assert_allclose(told["certainty"], np.exp(scores.max(axis=1)), rtol=1e-4)
    assert len(set(told["certainty"])) == len(new_answers) > len({tuple(row) for row in new_answers})
    inside = sets(scores)
    assert inside.any()
    assert not inside.all()
    for row, found in enumerate(told["answers"]):
        expected = [ANSWERS[number] for number in np.argsort(-scores[row]) if inside[row, number]]
        assert [name.decode() for name in found if name] == expected
    expected = known.unknown(new_classes, {"features": new_features})
    # An input between two kept ones may fall on either side of one of them.
    np.testing.assert_allclose(told["unknown"], expected, atol=2 / 100)
    assert (told["unknown"][40:] > 0.8).all()
    strange = [verdict.decode() for verdict in told["verdict"][40:]]
    assert all(words.startswith("probably none of these; it looks most like a") for words in strange)


@pytest.mark.parametrize(
    ("least", "told"),
    [
        ([-0.5, -0.5, -0.5], "a cat"),
        ([-3.0, -3.0, -3.0], "a cat or a dog"),
        ([-9.0, -9.0, -9.0], "one of 3 answers, likeliest a cat"),
        ([-0.01, -0.01, -0.01], "not sure enough of any; it looks most like a cat"),
        # The label is not always in the set, where classes have thresholds of their own.
        ([-0.01, -3.0, -0.01], "a dog"),
    ],
)
def test_sets_in_words(least, told):
    rng = np.random.default_rng(0)
    known = fit_known_inputs({}, rng.normal(0, 1, (50, 3)), {})
    limits = AnswerLimits(AnswerSets(0.05, np.array(least), False, 50), known)
    served = ServedLimits(limits, [f"a {name}" for name in NAMES], "it looks most like")
    scores = tf.constant([[3.0, 1.5, -3.0]])
    outputs = served(tf.constant(NAMES), scores, scores, {})
    assert outputs["verdict"].numpy()[0].decode() == told
    assert served.max_error.numpy() == np.float32(0.05)


def test_sets_count_by_what_is_there():
    known = fit_known_inputs({}, np.random.default_rng(0).normal(0, 1, (50, 3)), {})
    whole, alone = (AnswerSets(0.05, np.full(3, least), False, 50) for least in (-0.01, -3.0))
    limits = AnswerLimits(whole, known, sets_of_parts={("text",): alone})
    served = ServedLimits(limits, NAMES, "it is most like")
    scores = tf.constant([[3.0, 1.5, -3.0]] * 2)
    told = served(tf.constant(NAMES), scores, scores, {}, part=tf.constant([0, 1]))["answers"].numpy()
    assert told.tolist() == [[b"", b""], [b"cat", b"dog"]]
