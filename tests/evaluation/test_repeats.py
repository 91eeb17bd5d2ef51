import numpy as np
import pytest

from xmodal.evaluation.repeats import beyond_chance, compare_repeated, mean_of, student95


@pytest.mark.parametrize(("freedom", "quantile"), [(1, 12.7062), (2, 4.3027), (9, 2.2622), (1000, 1.9623)])
def test_quantiles_of_student_stand_in_every_table(freedom, quantile):
    assert student95(freedom) == pytest.approx(quantile, abs=1e-4)


def test_one_seed_has_the_doubt_of_the_examples():
    right = np.arange(1000)[None] < 800
    mean = mean_of(right.astype(float))
    assert mean.value == 0.8
    half = 1.96 * np.sqrt(0.8 * 0.2 / 1000)
    assert mean.ci95 == pytest.approx((0.8 - half, 0.8 + half), abs=1e-5)


def test_seeds_that_differ_add_their_doubt():
    examples = 100_000
    right = np.stack([np.arange(examples) < share * examples for share in (0.6, 0.7, 0.8)])
    low, high = mean_of(right.astype(float)).ci95
    assert (high - low) / 2 == pytest.approx(4.3027 * 0.1 / np.sqrt(3), rel=0.01)


def test_an_interval_holds_the_truth_as_often_as_it_says():
    random = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        # Examples are hard or easy, seeds are good or bad.
        ease, luck = random.normal(0, 1, 300), random.normal(0, 0.3, 3)
        right = ease[None] + luck[:, None] + random.normal(0, 1, (3, 300)) > 0
        low, high = mean_of(right.astype(float)).ci95
        held += low <= 0.5 <= high
    assert held >= 0.93 * 400


@pytest.mark.parametrize(
    ("with_it", "without", "words"),
    [
        (0.9, 0.5, "the scorer helped: +40.0 points (95% "),
        (0.5, 0.9, "the scorer hurt: -40.0 points (95% "),
        (
            0.5,
            0.5,
            "the scorer made no difference that 200 documents and 2 seeds can show: +0.0 points (95% ",
        ),
    ],
)
def test_a_gain_says_whether_something_helped(with_it, without, words):
    a, b = (np.tile(np.arange(200) < 200 * share, (2, 1)) for share in (with_it, without))
    gain = compare_repeated(a, b, what="the scorer", unit="documents")
    assert gain.sentence.startswith(words)
    assert gain.difference == pytest.approx(with_it - without)
    assert (gain.n, gain.only_a - gain.only_b) == (200, round(400 * (with_it - without)))


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.9, "naming was better than chance: +56.7 points (95% "),
        (0.1, "naming was worse than chance: -23.3 points (95% "),
        (0.33, "naming cannot be told from chance with 300 images and 2 seeds: -0.3 points (95% "),
    ],
)
def test_what_is_at_chance_is_said(share, words):
    gain = beyond_chance(np.tile(np.arange(300) < 300 * share, (2, 1)), 1 / 3, what="naming", unit="images")
    assert gain.sentence.startswith(words)
    assert gain.sentence.endswith(" beyond 33.3%")
    assert gain.difference == pytest.approx(share - 1 / 3)
    assert gain.ci95[0] < gain.difference < gain.ci95[1]


def test_one_seed_is_said():
    right = np.ones((1, 4), bool)
    assert (
        "4 documents and one seed can show"
        in compare_repeated(right, right, what="x", unit="documents").sentence
    )
