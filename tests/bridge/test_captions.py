import numpy as np
import pytest

from xmodal.bridge.captions import by_class, draw_captions, with_descriptions, write_captions
from xmodal.core.errors import UserError

DIGITS = tuple("0123456789")


def test_digits_are_called_by_words_figures_and_neighbours():
    learned, unseen = write_captions(DIGITS)
    said = {text: int(label) for text, label in zip(learned.texts, learned.labels, strict=True)}
    assert said["a seven"] == said["please draw the digit seven"] == said["7"] == 7
    assert said["a photo of the number after six"] == said["one less than eight"] == 7
    assert said["nine"] == said["find the number before ten"] == 9
    asked = {text: int(label) for text, label in zip(unseen.texts, unseen.labels, strict=True)}
    assert asked["the digit after six"] == asked["the number 7"] == asked["show me a seven"] == 7
    # Nothing is said to come before zero but zero itself has a successor.
    assert asked["the digit before one"] == 0
    assert not [
        text for text in (*learned.texts, *unseen.texts) if "minus one" in text and " minus" not in text
    ]


def test_what_is_kept_for_testing_is_not_learned():
    for names in (DIGITS, ("airplane", "dogs", "T_shirt")):
        learned, unseen = write_captions(names)
        assert not set(map(str.lower, learned.texts)) & set(map(str.lower, unseen.texts))
        assert set(learned.labels) == set(unseen.labels) == set(range(len(names)))


def test_names_are_put_in_as_english_wants_them():
    learned, _ = write_captions(("airplane", "dogs"))
    assert {"a photo of an airplane", "this is dogs", "the airplane"} <= set(learned.texts)
    assert "the number after" not in " ".join(learned.texts)


def test_two_classes_of_one_name():
    with pytest.raises(
        UserError, match="two classes are both called 'a dog'; tell them apart by `class_names`"
    ):
        write_captions(("dog", "Dog"))
    with pytest.raises(
        UserError, match="the class name '--' has no words; name every class by `class_names`"
    ):
        write_captions(("dog", "--"))


def test_texts_of_ones_own_are_added():
    learned, _ = write_captions(("cat", "dog"))
    more = with_descriptions(learned, ["man's best friend", "a dog"], np.array([1, 1]))
    assert len(more) == len(learned) + 1
    assert (more.texts[-1], more.labels[-1], more.templates[-1]) == (
        "man's best friend",
        1,
        "--class_descriptions",
    )
    with pytest.raises(UserError, match="two classes are both called 'a cat'"):
        with_descriptions(learned, ["a cat"], np.array([1]))


def test_every_caption_of_a_class_is_drawn():
    learned, _ = write_captions(DIGITS)
    table = by_class(learned, 10)
    for label in range(10):
        assert set(table[label]) == set(np.flatnonzero(learned.labels == label))
    labels = np.repeat(np.arange(10), 2000)
    drawn = draw_captions(learned, labels, 10, (0, 1))
    assert (learned.labels[drawn] == labels).all()
    assert set(drawn) == set(range(len(learned)))
    np.testing.assert_array_equal(drawn, draw_captions(learned, labels, 10, (0, 1)))
    assert (drawn != draw_captions(learned, labels, 10, (0, 2))).any()
