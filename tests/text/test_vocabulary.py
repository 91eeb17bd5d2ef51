import time

import pytest

from xmodal.text.vocabulary import PADDING, UNKNOWN, Vocabulary, vocabulary_of, words_of


@pytest.fixture
def vocabulary():
    return Vocabulary(("the", "cat", "sat"))


def test_words_are_letters_and_figures_in_lower_case():
    assert list(words_of("Re: the X-11 Übung, don't_stop!\n\t汉字")) == [
        *("re", "the", "x", "11", "übung", "don", "t", "stop", "汉字"),
    ]


def test_the_most_frequent_words_have_numbers():
    assert vocabulary_of(["b a b", "c a c", "once"], 2).words == ("a", "b")
    assert vocabulary_of(["b a b", "c a c", "once"], 10, least=1).words == ("a", "b", "c", "once")


def test_documents_as_numbers(vocabulary):
    numbered = vocabulary.number(["The cat", "a sat the cat sat", "no", ""], 4)
    assert numbered.ids.tolist() == [[2, 3, 0, 0], [1, 4, 2, 3], [1, 0, 0, 0], [1, 0, 0, 0]]
    assert numbered.lengths.tolist() == [2, 4, 1, 1]
    assert (numbered.cut, numbered.unknown) == (1, 2)
    assert len(vocabulary) == 5
    assert {PADDING, UNKNOWN}.isdisjoint(vocabulary.numbers.values())


@pytest.mark.parametrize("text", ["", " \n", "!?", "_"])
def test_an_empty_document_is_one_unknown_word(vocabulary, text):
    numbered = vocabulary.number([text], 5)
    assert numbered.ids.tolist() == [[UNKNOWN, 0, 0, 0, 0]]
    assert numbered.unknown == 1


def test_a_document_of_100_000_words_is_cut_and_soon_done(vocabulary):
    text = "the cat sat " * 33_334
    started = time.perf_counter()
    numbered = vocabulary.number([text] * 20, 256)
    assert time.perf_counter() - started < 2
    assert numbered.ids.shape == (20, 256)
    assert numbered.cut == 20
    assert numbered.ids[0, :4].tolist() == [2, 3, 4, 2]
