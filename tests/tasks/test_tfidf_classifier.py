import numpy as np
import pytest

from xmodal.tasks.text_classifier import merge
from xmodal.tasks.tfidf_classifier import one_word_each, train_baseline
from xmodal.training.trainer import Trainer

SPORT = ["the team won the match", "a goal in the match", "the team lost", "goal of the season"]
MONEY = ["the bank cut the rate", "a loss at the bank", "the rate rose", "profit of the season"]
TEXTS = np.array([text.upper() + "!" for text in SPORT] + MONEY, object)
TARGETS = np.array([0] * 4 + [1] * 4)


@pytest.fixture(scope="module")
def baseline(one_device):
    examples = merge(TEXTS, TARGETS)
    return train_baseline(examples, examples, 2, Trainer(strategy=one_device), words=50)


def test_words_decide(baseline, one_device):
    texts = np.array(["match team goal", "Bank, rate: profit", "goal goal bank"], object)
    assert baseline.logits(texts, Trainer(strategy=one_device)).argmax(axis=1).tolist() == [0, 1, 0]
    assert baseline.history.stage == "tf_idf"


def test_rows_are_tf_idf_of_length_1(baseline):
    rows = baseline.features.rows(np.array(["bank bank the unheard", "", "the"], object))
    names = baseline.features.vectorization.get_vocabulary()
    found = dict(zip((names[word] for word in rows["word"][0]), rows["value"][0], strict=True))
    assert set(found) == {"bank", "the"}
    assert found["bank"] > 2 * found["the"] > 0
    np.testing.assert_allclose(np.square(rows["value"]).sum(axis=1), [1, 0, 1], rtol=1e-5)


def test_a_text_of_unknown_words_has_the_bias_alone(baseline, one_device):
    logits = baseline.logits(np.array(["xyz", ""], object), Trainer(strategy=one_device))
    np.testing.assert_array_equal(logits[0], logits[1])


def test_what_is_a_word():
    texts = one_word_each(["Señal, 3.5% (OK)!", "今天 GDP上升"]).numpy()
    assert [text.decode().split() for text in texts] == [
        ["señal", "3", "5", "ok"],
        ["今", "天", "gdp", "上", "升"],
    ]
