import random

import numpy as np
import pytest

from xmodal.text.typos import NEIGHBOURS, add_typos, misspellings, pieces_of, training_rates

TEXT = "Profits rose [EMAIL] by 12.5 pct, it's said in a note on the quarter's wheat trade to [PHONE]; "


def test_pieces_put_together_are_the_text():
    for text in (TEXT, "", "  ", "利润上升 profit 3%", "naïve Ünïcode, пшеница"):
        assert "".join(pieces_of(text)) == text


def test_words_are_runs_of_letters_ideographs_and_marks():
    assert pieces_of("It's 12 [EMAIL] a_b")[1::2] == ["It", "s", "[EMAIL]", "a", "b"]
    assert pieces_of("利润up上升")[1::2] == ["利", "润", "up", "上", "升"]


def test_neighbours_touch_each_other():
    assert set(NEIGHBOURS["g"]) == set("ftyhbv")
    assert set(NEIGHBOURS["q"]) == set("wa")
    assert all(letter in NEIGHBOURS[other] for letter, near in NEIGHBOURS.items() for other in near)


def test_slips_fall_on_the_share_of_letters_and_on_nothing_else():
    texts = ["the cat and the dog sat on one red mat. " * 50] * 20
    for rate in (0.02, 0.1):
        noisy = add_typos(texts, rate, (0,))
        changed = [
            sum(map(_differs, text.split(), new.split())) for text, new in zip(texts, noisy, strict=True)
        ]
        # A word of about three letters is hit with 1 - (1 - rate)**3; doubles and swaps of equals hide a few.
        assert np.mean(changed) / 500 == pytest.approx(1 - (1 - rate) ** 2.9, rel=0.15)
    everywhere = add_typos([TEXT] * 50, 1.0, (0,))
    assert all("[EMAIL]" in text and "[PHONE]" in text and "12.5" in text for text in everywhere)
    assert not any("Profits" in text for text in everywhere)


def _differs(word: str, other: str) -> bool:
    return word != other


def test_slips_follow_from_the_seed_and_the_place_alone():
    texts = [TEXT, TEXT, "a cat"]
    first = add_typos(texts, 0.2, (3, 1))
    np.testing.assert_array_equal(first, add_typos(texts, 0.2, (3, 1)))
    np.testing.assert_array_equal(first[:1], add_typos(texts[:1], np.array([0.2]), (3, 1)))
    assert first[0] != first[1]
    assert first[0] != add_typos(texts, 0.2, (3, 2))[0]
    np.testing.assert_array_equal(add_typos(texts, 0.0, (3, 1)), texts)
    np.testing.assert_array_equal(
        add_typos(texts, np.array([0.0, 0.9, 0.0]), (3, 1))[[0, 2]], [TEXT, "a cat"]
    )


def test_half_of_the_training_texts_stay_as_they_are():
    rates = training_rates(10_000, 0.1, (0, 4))
    assert rates.max() == pytest.approx(0.1, rel=0.01)
    assert (rates == 0).mean() == pytest.approx(0.5, abs=0.02)
    assert rates[rates > 0].mean() == pytest.approx(0.05, rel=0.05)
    np.testing.assert_array_equal(rates, training_rates(10_000, 0.1, (0, 4)))


def test_misspellings_keep_the_ends_of_a_word():
    for word in ("cat", "wheat", "Quarterly", "пшеница"):
        forms = misspellings(word, random.Random(0))
        assert len(forms) >= 2
        assert word not in forms
        for form in forms:
            assert (form[0], form[-1]) == (word[0], word[-1])
            assert abs(len(form) - len(word)) <= 1
    assert misspellings("in", random.Random(0)) == []
    assert misspellings("", random.Random(0)) == []
