"""What a run tells of its texts before anything is trained, and the layers that it refuses then."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from tiny_bert import save_tiny_bert

from xmodal.config.data import DocumentConfig
from xmodal.config.names import NamesConfig
from xmodal.config.scorer import ScorerConfig
from xmodal.config.text import TextConfig
from xmodal.core.errors import UserError
from xmodal.recipes.bert_news.few_labels import require_known_names
from xmodal.recipes.text_reading import (
    WORDS_CUT,
    WORDS_UNKNOWN,
    check_encoder,
    report_reading,
    report_word_ids,
)
from xmodal.recipes.text_to_image.stages import captions_of
from xmodal.text.vocabulary import vocabulary_of
from xmodal.training.trainer import Trainer

CUT, UNKNOWN = (
    "share of texts that fill the sequence length",
    "share of tokens that the encoder does not know",
)


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    return save_tiny_bert(tmp_path_factory.mktemp("bert"))


def session_of(**settings):
    said: list[str] = []
    config = SimpleNamespace(text=replace(TextConfig(sequence_length=8), **settings))
    return SimpleNamespace(config=config, clock=SimpleNamespace(log=said.append), trainer=Trainer()), said


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sequence_length": 999}, "`sequence_length=999` is more than"),
        ({"text_trainable": "layer_7"}, "`text_trainable=layer_7` is no layer"),
        ({"text_trainable": "haed"}, "did you mean 'head'"),
    ],
)
def test_what_the_encoder_has_not_is_told_before_anything_is_trained(preset, settings, message):
    session, _ = session_of(**settings)
    with pytest.raises(UserError, match=message):
        check_encoder(session, preset)


@pytest.mark.parametrize(
    ("texts", "cut", "unknown", "said"),
    [
        (["a red cat", "a dog"], 0, 0, ()),
        (["a red cat", "a zebra"] * 5, 0, 1 / 5, ()),
        (["a zebra", "zebra giraffe"], 0, 3 / 4, (UNKNOWN,)),
        (["very " * 20, "a dog", "a cat", "a red dog"], 1 / 4, 0, (CUT,)),
        (["zebra " * 20], 1, 1, (CUT, UNKNOWN)),
    ],
)
def test_what_is_cut_and_what_is_not_known_is_told(preset, texts, cut, unknown, said):
    session, lines = session_of()
    facts = report_reading(session, check_encoder(session, preset), texts)
    assert facts == {CUT: pytest.approx(cut), UNKNOWN: pytest.approx(unknown)}
    assert [line.split(": ")[1] for line in lines] == [*said]
    remedies = {CUT: "raise --sequence_length", UNKNOWN: "choose a --text_encoder"}
    for line, fact in zip(lines, said, strict=True):
        assert line.startswith("warning: ")
        assert remedies[fact] in line


def test_names_that_are_a_first_shot_must_be_told_apart(preset):
    session, _ = session_of()
    session.config.names, session.config.scorer = NamesConfig(shots=(0, 1)), ScorerConfig()
    session.config.documents = DocumentConfig()
    encoder = check_encoder(session, preset)
    require_known_names(session, encoder, ("cat", "dog"))
    with pytest.raises(UserError, match=r"reads '体育' and '财经' as the same tokens"):
        require_known_names(session, encoder, ("体育", "财经"))
    session.config.names = NamesConfig()
    require_known_names(session, encoder, ("体育", "财经"))


def test_captions_of_classes_must_be_told_apart(preset):
    session, _ = session_of(sequence_length=16)
    session.config.scorer, session.text_encoder = ScorerConfig(), lambda: preset
    with pytest.raises(UserError, match=r"as the same tokens \('犬' = '猫'"):
        captions_of(session, SimpleNamespace(class_names=("犬", "猫")))


def test_documents_that_are_read_word_by_word():
    session, lines = session_of()
    vocabulary = vocabulary_of(["red cat red cat", "dog dog"], 10)
    facts = report_word_ids(session, vocabulary.number(["red cat", "red zebra dog", "dog " * 9, ""], 8))
    # One word in two documents is not known, and a document without one counts for one.
    assert facts == {WORDS_CUT: 1 / 4, WORDS_UNKNOWN: pytest.approx(2 / 14)}
    (line,) = lines
    assert line == f"warning: {WORDS_CUT}: 25%; raise --sequence_length, if more of them matters"
