"""Texts of different meaning that an encoder reads as the same are refused, whatever makes them the same."""

import numpy as np
import pytest
from tiny_bert import save_tiny_bert

from xmodal.core.errors import UserError
from xmodal.models.legibility import reading_facts, require_told_apart
from xmodal.models.text_encoder import text_encoder


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    return save_tiny_bert(tmp_path_factory.mktemp("bert"))


def check(preset, texts, answers, length=16):
    names = [f"answer {place}" for place in range(max(answers) + 1)]
    require_told_apart(text_encoder(preset, length), texts, np.array(answers), names, "tiny")


@pytest.mark.parametrize(
    "texts",
    [
        ["a photo of a \u732b", "a photo of a \u72d7"],
        ["a photo of a \u043a\u043e\u0442", "a photo of a \u043f\u0435\u0441"],
        ["a zebra", "a giraffe"],
        ["Cat", "cat"],
        ["a photo of a red cat", "a photo of a red dog", "a dog", "a \u0e41\u0e21\u0e27", "a \ub9d0"],
    ],
)
def test_names_that_are_all_unknown_are_refused(preset, texts):
    with pytest.raises(UserError, match=r"'tiny' reads .* as the same tokens .*answer") as raised:
        check(preset, texts, range(len(texts)))
    assert "`text_encoder=multilingual_e5_small`" in str(raised.value)


def test_names_that_differ_after_the_limit_are_refused(preset):
    texts = [f"a photo of a not {'very ' * 6}red {name}" for name in ("cat", "dog")]
    check(preset, texts, [0, 1])
    with pytest.raises(UserError, match="`sequence_length`"):
        check(preset, texts, [0, 1], length=8)


@pytest.mark.parametrize(
    ("texts", "answers"),
    [
        (["a red cat", "a red dog"], [0, 1]),
        # Unknown words beside others, and different numbers of them.
        (["a red zebra", "a blue zebra"], [0, 1]),
        # The same answer may be said in the same words.
        (["a zebra", "a giraffe", "a cat"], [0, 0, 1]),
    ],
)
def test_what_can_be_told_apart_is_not(preset, texts, answers):
    check(preset, texts, answers)


def test_what_is_unknown_and_what_is_cut_is_counted(preset):
    encoder = text_encoder(preset, 8)
    facts = reading_facts(encoder, ["a red cat", "a zebra", "very " * 20, "a dog"], 8)
    assert facts["share of texts that fill the sequence length"] == 0.25
    assert facts["share of tokens that the encoder does not know"] == pytest.approx(1 / 13)
