import math
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf

from xmodal.bridge.bridge import Bridge
from xmodal.bridge.class_names import readable, with_article
from xmodal.bridge.styles import (
    HEDGES,
    LIKELY,
    PERCENT,
    PROBABLE,
    RIVAL_HEDGES,
    STYLES,
    SURE,
    Style,
)
from xmodal.config.text import TextConfig
from xmodal.core.errors import UserError
from xmodal.evaluation.calibration import (
    FLOOR,
    TEMPERATURES,
    fit_mixture,
    fit_temperature,
    match_temperature,
    mix,
    softmax,
)

ANIMALS = ("cat", "dog", "owl", "wild_horse", "猫头鹰", "scissors", "t_shirt/top", "8")
TWO_TEMPLATES = ("a photo of {}", "{}, seen from afar")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("golden_retriever", "golden retriever"),
        ("GoldenRetriever", "golden retriever"),
        ("hen-of-the-woods", "hen of the woods"),
        ("comp.sys.mac", "comp sys mac"),
        ("Ankle boot", "ankle boot"),
        ("t_shirt/top", "t-shirt/top"),
        ("T-shirt/top", "T-shirt/top"),
        ("TShirt", "T-shirt"),
        ("x_ray", "x-ray"),
        ("vitamin_c_pill", "vitamin c pill"),
        ("a_dog", "a dog"),
        ("  two   spaces ", "two spaces"),
        ("jack-o'-lantern", "jack o' lantern"),
        ("crane_(bird)", "crane (bird)"),
        # Figures.
        ("7", "seven"),
        ("10", "ten"),
        ("0", "zero"),
        ("00042", "forty-two"),
        ("100", "one hundred"),
        ("101", "101"),
        ("747", "747"),
        ("-1", "minus one"),
        ("class_12", "class twelve"),
        ("class12", "class twelve"),
        ("boeing747", "boeing 747"),
        ("3d_printer", "3d printer"),
        ("3DPrinter", "3D printer"),
        ("mp3", "mp3"),
        ("30-40", "30-40"),
        ("2.5_mm", "2.5 mm"),
        # Capitals that are spelled out, and those that are not.
        ("TV", "TV"),
        ("TVs", "tvs"),
        ("USAFlag", "USA flag"),
        ("HTMLPage", "HTML page"),
        ("BACKGROUND_Google", "background google"),
        ("iPhone", "iphone"),
        ("F", "F"),
        # Numbers that only order, and WordNet ids.
        ("001.Black_footed_Albatross", "black footed albatross"),
        ("01_dog", "dog"),
        ("7_up", "seven up"),
        ("n02085620-Chihuahua", "chihuahua"),
        ("n02123045 tabby, tabby cat", "tabby, tabby cat"),
        ("n02123045", "n02123045"),
        # Other scripts, and one letter in two ways of writing it.
        ("猫", "猫"),
        ("第7类", "第7类"),
        ("белый_медведь", "белый медведь"),
        ("ÉcoleMaternelle", "école maternelle"),
        ("e\u0301clair", "\u00e9clair"),
        ("___", ""),
        ("", ""),
    ],
)
def test_readable(name, words):
    assert readable(name) == words


@pytest.mark.parametrize(
    "phrase",
    [
        *("a dog", "an apple", "an eight", "a one", "a once", "an onion", "a T-shirt", "an owl"),
        *(
            "a unicorn",
            "a union",
            "a uniform",
            "an umbrella",
            "an unidentified object",
            "an urn",
            "a ukulele",
        ),
        *("a usb stick", "a european hare", "a ewe", "an eye", "a ouija board", "an ear"),
        *("an hour", "an heirloom", "an honest man", "a house", "a hen of the woods", "a yak"),
        *(
            "an 8",
            "an 18",
            "an 11",
            "an 80",
            "an 811",
            "an 1800",
            "an 11000",
            "a 7",
            "a 1",
            "a 180",
            "a 118000",
        ),
        *("an 8k tv", "a 3d printer", "an 18 wheeler"),
        *("an LED", "an SUV", "a TV", "a USA flag", "an HTML page", "an F", "a U", "a u-boat", "an x-ray"),
        *("an mp3 player", "an f16", "a b52", "a st bernard", "an éclair", "a zèbre", "an école"),
        *(
            "a bus",
            "a yes",
            "a glass",
            "a lens",
            "an iris",
            "a cup of noodles",
            "a pair of scissors",
            "a GPS",
        ),
    ],
)
def test_article(phrase):
    assert with_article(phrase.split(" ", 1)[1]) == phrase


@pytest.mark.parametrize(
    "name",
    [
        *("trousers", "scissors", "people", "mice", "skis", "sunglasses", "dogs (two)", "flowers in a vase"),
        *("猫", "собака", "LED灯", "a dog", "the moon", "An apple", "+", ""),
    ],
)
def test_no_article(name):
    assert with_article(name) == name


@pytest.mark.parametrize("name", ["%s", "(owl)", "'owl'", "²", "²nd"])
def test_a_name_that_begins_with_a_sign_has_an_article_too(name):
    assert with_article(name).split(" ", 1)[1] == name


def test_styles_are_the_flags_choices():
    for style in STYLES:
        assert TextConfig(text_style=style).text_style == style
    with pytest.raises(UserError, match="`text_style=hedge` is not known; did you mean 'hedged'"):
        TextConfig(text_style="hedge")


def rows(classes: int, seed: int) -> np.ndarray:
    """Thousands of float32 rows: random at all temperatures, ties, thresholds, and the ends."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(3000, classes)) * 10 ** random.uniform(-2, 2, size=(3000, 1))
    coarse = random.integers(0, 4, size=(2000, classes)) + 1e-9
    thresholds = []
    for top in map(np.float32, (SURE, LIKELY, PROBABLE, *PERCENT)):
        for nudged in (np.nextafter(top, np.float32(0)), top, np.nextafter(top, np.float32(1))):
            for second in (np.float32(0.1), np.float32(0.25), np.float32(1) - nudged):
                row = np.zeros(classes, np.float32)
                row[:2] = nudged, second
                thresholds += [random.permutation(row) for _ in range(5)]
    made = [
        softmax(logits),
        coarse / coarse.sum(axis=1, keepdims=True),
        np.stack(thresholds),
        np.eye(classes),
        np.full((1, classes), 1 / classes),
        np.zeros((1, classes)),
        random.random((200, classes)) * 1e-42,
        np.where(random.random((200, classes)) < 0.5, 0.0, -0.0),
    ]
    return np.concatenate(made).astype(np.float32)


BRIDGES = [
    Bridge(ANIMALS, "top1"),
    Bridge(ANIMALS, "topk", TWO_TEMPLATES),
    Bridge(ANIMALS, "topk", top_k=len(ANIMALS)),
    Bridge(ANIMALS, "hedged", TWO_TEMPLATES),
    Bridge(("no", "yes"), "hedged"),
    Bridge(ANIMALS, "percent", TWO_TEMPLATES),
    Bridge(("no", "yes"), "percent"),
]


@pytest.mark.parametrize("bridge", BRIDGES, ids=lambda bridge: f"{bridge.style}-{len(bridge.class_names)}")
def test_graph_and_python_make_the_same_strings(bridge):
    probabilities = rows(len(bridge.class_names), seed=1)
    in_graph = tf.function(bridge.sentences, input_signature=[tf.TensorSpec([None, None], tf.float32)])
    made = in_graph(probabilities).numpy()
    assert made.shape == (len(probabilities), len(bridge.templates))
    assert len(probabilities) > 5000
    for row, sentences in zip(probabilities, made, strict=True):
        assert [sentence.decode() for sentence in sentences] == bridge.describe(row), row


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_both_forms_compare_in_float32(dtype):
    # 0.94999998 is less than the float32 threshold until it is rounded to float32 itself.
    bridge = Bridge(("no", "yes"), "hedged")
    probabilities = np.array([[0.99, 0.01], [0.95, 0.05], [0.94999998, 0.05], [0.7, 0.3], [0.5, 0.5]], dtype)
    made = [row[0].decode() for row in bridge.sentences(probabilities).numpy()]
    assert made == [bridge.describe(row)[0] for row in probabilities]
    assert made == [bridge.describe(row.astype(np.float32))[0] for row in probabilities]


def test_hedged_words_at_their_thresholds():
    bridge = Bridge(("dog", "cat", "owl", "ant", "bee"), "hedged")

    def log(*probabilities):
        rest = [(1 - sum(probabilities)) / (5 - len(probabilities))] * (5 - len(probabilities))
        row = np.array([*probabilities, *rest], np.float32)
        return bridge.describe(row)[0].removeprefix("a photo of ")

    assert log(0.99, 0.01) == "surely a dog"
    assert log(0.9899, 0.0101) == "very likely a dog, or else a cat"
    assert log(0.95, 0.05) == "very likely a dog, or else a cat"
    assert log(0.9499, 0.0501) == "probably a dog, perhaps a cat"
    assert log(0.8, 0.1) == "probably a dog, perhaps a cat"
    assert log(0.1, 0.2, 0.7) == "probably an owl, perhaps a cat"
    assert log(0.31, 0, 0.69) == "possibly an owl or a dog"
    assert log(0.2, 0.2, 0.2) == "possibly a dog or a cat"


def test_percentages_at_their_thresholds():
    bridge = Bridge(("dog", "cat", "owl", "ant", "bee"), "percent")

    def log(*probabilities):
        row = np.zeros(5, np.float32)
        row[: len(probabilities)] = probabilities
        return bridge.describe(row)[0].removeprefix("a photo of ")

    assert log(0.9991, 0.0009) == "99.9% a dog"
    assert log(0.9989, 0.0011) == "99.8% a dog"
    assert log(0.96, 0.04) == "97% a dog, 4% a cat"
    assert log(0.01, 0.95, 0.0029, 0.0371) == "94% a cat, 4% an ant, 2% a dog"
    assert log(0.36, 0.3, 0.2, 0.07, 0.07) == "42% a dog, 27% a cat, 27% an owl, 9% an ant, 9% a bee"
    # The most probable class is always named.
    assert log(0.002, 0.001) == "under 0.3% a dog"


def test_every_percentage_is_of_the_range_that_it_stands_for():
    highest = 1.0
    for least, percent in PERCENT.items():
        assert least <= float(percent) / 100 < highest
        assert float(percent) / 100 == pytest.approx((least + highest) / 2, abs=0.01)
        highest = least


def test_images_bring_further_patterns_to_what_is_written():
    bridge = Bridge(tuple("abcdef"), "percent")
    shares = bridge.measured_shares(np.array([[0.24, 0.24, 0.23, 0.23, 0.04, 0.02]]))
    (pattern,) = shares
    assert pattern == "27% {}, 27% {}, 27% {}, 27% {}, 4% {}"
    # Two sentences of a label are fewer than there are patterns, which take turns over the labels.
    assert len({text.count("%") for text, _ in bridge.text_examples(2, 0, shares)}) > 1
    assert not any("27% a b, 27%" in text for text, _ in bridge.text_examples(10_000, 0))
    meant = dict(bridge.text_examples(10_000, 0, shares))
    meaning = meant["a photo of 27% a b, 27% an a, 27% a c, 27% an f, 4% an e"]
    np.testing.assert_allclose(meaning, [0.24, 0.24, 0.23, 0.02, 0.04, 0.23])


@pytest.mark.parametrize("style", ["topk", "percent"])
def test_patterns_of_more_classes_than_there_are_stay_out(style):
    """As of ten classes, of which a question has two descriptions."""
    probabilities = np.random.default_rng(1).dirichlet(np.ones(10), 50)
    shares = Bridge(tuple("abcdefghij"), style).measured_shares(probabilities)
    assert max(pattern.count("{}") for pattern in shares) > 2
    two = Bridge(("no", "yes"), style, top_k=2)
    assert {text for text, _ in two.text_examples(99, 0)} <= {
        text for text, _ in two.text_examples(99, 0, shares)
    }


def test_digits_read_well():
    digits = Bridge(tuple("0123456789"), "top1")
    assert digits.describe(np.eye(10)[7]) == ["a photo of a seven"]
    assert digits.describe(np.eye(10)[8]) == ["a photo of an eight"]


def test_topk_lists_classes_in_order():
    bridge = Bridge(("dog", "cat", "owl", "deer"), "topk", ("{} in the wild",))
    assert bridge.describe(np.array([0.1, 0.2, 0.4, 0.3])) == ["an owl, or a deer, or a cat in the wild"]


def test_names_may_hold_braces():
    bridge = Bridge(("{}", "{x}"), "hedged")
    row = np.array([0.6, 0.4], np.float32)
    assert bridge.describe(row) == ["a photo of possibly {} or an {x}"]
    assert bridge.sentences(row[None]).numpy()[0, 0] == b"a photo of possibly {} or an {x}"


def test_empty_batch():
    assert Bridge(ANIMALS, "hedged").sentences(np.zeros((0, 8))).shape == (0, 1)


def test_bad_probabilities_are_named():
    bridge = Bridge(("no", "yes"), "hedged")
    with pytest.raises(ValueError, match=r"shape \(2,\). Received: \(3,\)"):
        bridge.describe(np.ones(3))
    with pytest.raises(ValueError, match="must be finite"):
        bridge.describe(np.array([np.nan, 1]))
    with pytest.raises(ValueError, match=r"\(1, 3\) and \[None, 2\] are incompatible"):
        bridge.sentences(np.ones((1, 3)))
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be finite"):
        tf.function(bridge.sentences)(tf.constant([[float("nan"), 1.0]]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"class_names": ("dog",)}, r"at least two classes, not 1; give data of more classes"),
        ({"class_names": ("dog", "___")}, r"the class name '___' has no words; .*`class_names`"),
        (
            {"class_names": ("golden_retriever", "dog", "GoldenRetriever")},
            r"'golden_retriever' and 'GoldenRetriever' both read as 'a golden retriever'; .*`class_names`",
        ),
        ({"class_names": ("dog", "a dog")}, r"'dog' and 'a dog' both read as 'a dog'"),
        ({"class_names": ("F", "f")}, r"'F' and 'f' both read as 'an f'"),
        ({"class_names": ("dog", "dog")}, r"'dog' and 'dog' both read as"),
        ({"style": "hedge"}, r"`text_style=hedge` is not known; did you mean 'hedged'\?"),
        ({"style": "topk", "top_k": 4}, r"`top_k=4` does not fit 3 classes; choose from 1 to 3"),
        ({"style": "topk", "top_k": 0}, r"`top_k=0` does not fit"),
        ({"templates": ()}, r"there is no `template`; give one"),
        ({"templates": ("a photo",)}, r"`template='a photo'` has 0 places for the class; write \{\} once"),
        ({"templates": ("{} and {}",)}, r"has 2 places for the class"),
        (
            {"templates": ("a photo of a {}.",)},
            r"`template='a photo of a \{\}.'` has an article before the class.*; write 'a photo of \{\}.'",
        ),
        ({"templates": ("{}", "{}")}, r"`template='\{\}'` is given twice"),
    ],
)
def test_what_the_user_can_mend(arguments, message):
    with pytest.raises(UserError, match=message):
        Bridge(**{"class_names": ("dog", "cat", "owl"), "style": "hedged", **arguments})


# Says how far the first class is ahead of the second.
AHEAD = Style(
    ("{} by far", ", not {}", "{}", ", but {} is close"),
    lambda ranked, where: where(ranked[..., :1] >= ranked[..., 1:] + 0.5, [0, 1], [2, 3]),
    places=2,
    shares=(0.85, 0.52),
    rivals=(0.9,),
)


def test_a_new_style_is_a_row_of_the_table(monkeypatch):
    monkeypatch.setitem(STYLES, "ahead", AHEAD)
    assert TextConfig(text_style="ahead").text_style == "ahead"
    bridge = Bridge(ANIMALS, "ahead", TWO_TEMPLATES)
    probabilities = rows(len(ANIMALS), seed=5)
    made = bridge.sentences(probabilities).numpy()
    assert [[text.decode() for text in row] for row in made] == [
        bridge.describe(row) for row in probabilities
    ]
    assert {"by far" in row[0].decode() for row in made} == {True, False}
    two = Bridge(("no", "yes"), "ahead")
    assert two.describe(np.array([0.2, 0.8])) == ["a photo of a yes by far, not a no"]
    written = two.text_examples(9, seed=0)
    assert len(written) == 4
    for sentence, meaning in written:
        assert two.describe(meaning) == [sentence]
    shares = two.measured_shares(np.array([[0.9, 0.1], [0.4, 0.6]]))
    np.testing.assert_allclose(shares["{}, but {} is close"], [0.6, 0.4])
    monkeypatch.setitem(STYLES, "three", Style(("{}", ", {}"), places=3))
    with pytest.raises(UserError, match="`text_style=three` names 3 classes, and there are 2; choose"):
        Bridge(("no", "yes"), "three")


def test_top_k_is_not_read_by_other_styles():
    assert Bridge(("no", "yes"), "hedged", top_k=3).describe(np.array([1, 0])) == ["a photo of surely a no"]


@pytest.mark.parametrize("style", ["top1", "topk", "hedged"])
def test_text_examples_are_all_that_images_can_give(style):
    bridge = Bridge(("dog", "cat", "owl", "deer", "eel"), style, TWO_TEMPLATES)
    written = [
        (sentence, int(meaning.argmax())) for sentence, meaning in bridge.text_examples(10_000, seed=0)
    ]
    seen = set()
    probabilities = rows(5, seed=3)
    for row in probabilities[np.abs(probabilities.sum(axis=1) - 1) < 1e-3]:
        label = int(np.argsort(-row, kind="stable")[0])
        seen |= {(sentence, label) for sentence in bridge.describe(row)}
    assert seen == set(written)
    assert len(set(written)) == len(written)
    per_template = {"top1": 5, "topk": 5 * 4 * 3, "hedged": 5 + 3 * 5 * 4}[style]
    assert len(written) == len(bridge.templates) * per_template


def test_a_small_sample_is_even():
    names = ("ant", "bee", "cow", "dog", "eel", "fox", "gnu", "hen", "ibex", "jay")
    bridge = Bridge(names, "hedged", TWO_TEMPLATES)
    written = [(sentence, int(meaning.argmax())) for sentence, meaning in bridge.text_examples(8, seed=5)]
    assert Counter(label for _, label in written) == dict.fromkeys(range(10), 8)
    phrases = [with_article(name) for name in names]
    words: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for sentence, label in written:
        named = sorted((p for p in phrases if p in sentence), key=sentence.index)
        assert named[0] == phrases[label]
        others.update(named[1:])
        telling = ("surely", "very likely", "probably", "possibly")
        words[next(word for word in telling if word in sentence)] += 1
    assert words == dict.fromkeys(telling, 20)
    assert others == dict.fromkeys(phrases, 6)
    assert sum("afar" in sentence for sentence, _ in written) == 40


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("style", STYLES)
def test_what_a_sentence_means_are_probabilities_in_the_order_of_its_names(style, classes):
    names = tuple(f"kind{chr(97 + index)}" for index in range(classes))
    bridge = Bridge(names, style, top_k=min(3, classes))
    sentences, meanings = zip(*bridge.text_examples(per_class=10_000, seed=0), strict=True)
    meanings = np.array(meanings)
    np.testing.assert_allclose(meanings.sum(axis=1), 1)
    assert meanings.min() >= -1e-12
    for sentence, order in zip(sentences, np.argsort(-meanings, axis=1, kind="stable"), strict=True):
        named = sorted((name for name in names if name in sentence), key=sentence.index)
        assert [names[index] for index in order[: len(named)]] == named
    if style in ("hedged", "percent"):
        # An image of just this would be put into the same words.
        put = bridge.sentences(tf.constant(meanings, tf.float32)).numpy()
        assert [sentence.decode() for [sentence] in put] == list(sentences)


def test_a_weaker_hedge_means_less():
    bridge = Bridge(tuple("0123456789"), "hedged")
    written = bridge.text_examples(99, seed=0)
    meant = {sentence.removeprefix("a photo of "): meaning for sentence, meaning in written}
    for first in bridge.class_phrases:
        for second in set(bridge.class_phrases) - {first}:
            told = [
                hedge.format(first) + rival.format(second)
                for hedge, rival in zip(HEDGES, RIVAL_HEDGES, strict=True)
            ]
            index = bridge.class_phrases.index(first)
            shares = [meant[sentence][index] for sentence in told]
            assert shares == sorted(shares, reverse=True)
            doubt = meant[f"possibly {first} or {second}"]
            assert doubt[index] == pytest.approx(0.52)
            assert doubt[bridge.class_phrases.index(second)] == pytest.approx(0.384)


def test_topk_samples_name_each_other_class_once_in_second_place():
    names = tuple(f"kind{chr(97 + i)}" for i in range(20))
    bridge = Bridge(names, "topk", top_k=5)
    written = [(sentence, int(meaning.argmax())) for sentence, meaning in bridge.text_examples(19, seed=0)]
    for label in range(20):
        listed = [s.removeprefix("a photo of ").split(", or ") for s, of in written if of == label]
        assert len({tuple(names) for names in listed}) == 19
        assert all(len(set(names)) == 5 and names[0] == bridge.class_phrases[label] for names in listed)
        assert len({names[1] for names in listed}) == 19
        # Later places are not balanced for one label, but must vary too.
        assert all(len({names[place] for names in listed}) >= 8 for place in (2, 3, 4))


def test_a_sample_of_very_many_sentences_is_cheap():
    bridge = Bridge(tuple(f"kind {i:04d}x" for i in range(1000)), "topk", top_k=300)
    written = bridge.text_examples(per_class=3, seed=0)
    assert len({sentence for sentence, _ in written}) == 3000


def test_text_examples_follow_the_seed():
    bridge = Bridge(tuple("abcdefghijkl"), "hedged")

    def written(seed):
        return [sentence for sentence, _ in bridge.text_examples(6, seed)]

    assert written(1) == written(1)
    assert any(written(1) != written(seed) for seed in (2, 3, 4))
    with pytest.raises(ValueError, match=r"per_class must be at least 1. Received: 0"):
        bridge.text_examples(0, seed=1)


def test_a_matching_temperature_brings_what_was_learned_to_the_doubts_of_the_rest():
    random = np.random.default_rng(3)
    logits = random.normal(size=(3000, 5)) * 3
    wanted = softmax(logits[:1000])
    # The same classifier, four times as sure of other examples.
    assert match_temperature(4 * logits[1000:], wanted) == pytest.approx(4, rel=0.1)
    assert match_temperature(np.ones((4, 5)), wanted) == 1.0
    # No temperature makes ties as sure as that: the end of the range.
    ties = np.repeat([[1.0, 1, 0, 0, 0]], 9, axis=0)
    assert match_temperature(ties, np.eye(5)) == pytest.approx(TEMPERATURES[0])
    assert match_temperature(logits, np.full((3, 5), 0.2)) == pytest.approx(TEMPERATURES[1])


def test_softmax_is_stable():
    logits = np.array([[1000.0, 1000.0], [-1000.0, 0.0]])
    np.testing.assert_allclose(softmax(logits), [[0.5, 0.5], [0.0, 1.0]])
    np.testing.assert_allclose(softmax(np.array([0.0, np.log(9)]), temperature=2), [0.25, 0.75])


def drawn(n: int, classes: int, sharpness: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits, and labels drawn from their softmax: calibrated by construction."""
    random = np.random.default_rng(seed)
    logits = sharpness * random.normal(size=(n, classes))
    labels = (softmax(logits).cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
    return logits, np.minimum(labels, classes - 1)


@pytest.mark.parametrize("factor", [0.02, 0.3, 1.0, 7.0, 200.0])
def test_temperature_undoes_a_known_one(factor):
    logits, labels = drawn(20_000, 5, 2.0, seed=0)
    assert fit_temperature(logits * factor, labels) == pytest.approx(factor, rel=0.03)


def negative_log_likelihood(probabilities, labels):
    return -np.log(probabilities[np.arange(len(labels)), labels]).mean()


def test_temperature_is_the_minimum():
    logits, labels = drawn(500, 3, 1.5, seed=4)
    # The objective with one example's weight spread over the classes.
    smooth = (len(labels) * np.eye(3)[labels] + 1 / 3) / (len(labels) + 1)

    def loss(temperature):
        return -(smooth * np.log(softmax(logits, temperature))).sum(axis=1).mean()

    best = fit_temperature(logits, labels)
    grid = np.exp(np.linspace(-2, 2, 4001))
    assert best == pytest.approx(grid[np.argmin([loss(t) for t in grid])], rel=2e-3)
    # And with hundreds of examples it is hardly another than that of the likelihood alone.
    plain = grid[np.argmin([negative_log_likelihood(softmax(logits, t), labels) for t in grid])]
    assert best == pytest.approx(plain, rel=0.02)


def test_temperature_of_answers_that_are_all_right():
    labels = np.arange(400) % 10
    logits = 5.0 * np.eye(10)[labels]
    temperature = fit_temperature(logits, labels)
    assert TEMPERATURES[0] < temperature < 1
    confidence = softmax(logits, temperature).max()
    assert confidence == pytest.approx(1 - 0.9 / 401, abs=1e-6)


def test_temperature_at_its_limits():
    labels = np.arange(400) % 10
    assert fit_temperature(np.zeros((400, 10)), labels) == 1.0
    wrong = np.eye(10)[(labels + 1) % 10]
    assert fit_temperature(wrong, labels) == pytest.approx(TEMPERATURES[1])
    assert fit_temperature(1e-4 * np.eye(10)[labels], labels) == pytest.approx(TEMPERATURES[0])


def test_mixture_is_the_minimum():
    strong, labels = drawn(4000, 4, 2.0, seed=6)
    random = np.random.default_rng(7)
    p_a = softmax(strong + random.normal(size=strong.shape))
    p_b = softmax(strong + 1.5 * random.normal(size=strong.shape))
    weight = fit_mixture(p_a, p_b, labels)
    grid = np.linspace(0, 1, 2001)
    losses = [negative_log_likelihood(mix(p_a, p_b, w), labels) for w in grid]
    assert 0.5 < weight < 1
    assert weight == pytest.approx(grid[np.argmin(losses)], abs=1e-3)
    assert min(losses) < min(losses[0], losses[-1])


def test_mixture_with_a_useless_partner():
    logits, labels = drawn(2000, 4, 2.0, seed=8)
    p, uniform = softmax(logits), np.full((2000, 4), 0.25)
    wrong = p[:, ::-1]
    assert fit_mixture(p, wrong, labels) > 0.9
    assert fit_mixture(p, uniform, labels) == pytest.approx(1.0, abs=0.05)
    assert fit_mixture(p, p, labels) == 0.0
    # A sharper truth than both lies beyond the end.
    certain = np.eye(4)[labels]
    assert fit_mixture(certain, p, labels) == 1.0
    assert fit_mixture(p, certain, labels) == 0.0


def test_mix():
    p_a, p_b = np.array([[0.9, 0.1]]), np.array([[0.5, 0.5]])
    np.testing.assert_allclose(mix(p_a, p_b, 1.0), p_a)
    np.testing.assert_allclose(mix(p_a, p_b, 0.0), p_b)
    np.testing.assert_allclose(mix(p_a, p_b, 0.5), [[0.75, 0.25]])
    # A zero does not veto.
    vetoed = mix(np.array([[0.0, 1.0]]), np.array([[1 - 1e-6, 1e-6]]), 0.25)
    odds = FLOOR**0.25 * (1e6 - 1) ** 0.75
    np.testing.assert_allclose(vetoed, [[odds / (1 + odds), 1 / (1 + odds)]], rtol=1e-6)
    assert vetoed[0, 0] > 0.99


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (np.zeros((0, 2)), np.zeros(0, int), r"N > 0. Received: \(0, 2\) and \(0,\)"),
        (np.zeros((3, 2)), np.zeros(2, int), r"Received: \(3, 2\) and \(2,\)"),
        (np.full((1, 2), np.inf), np.zeros(1, int), "scores must be finite"),
        (np.zeros((1, 2)), np.array([2]), "labels must be class indices below 2"),
        (np.zeros((1, 2)), np.array([0.0]), "labels must be class indices below 2"),
    ],
)
def test_fits_name_what_does_not_fit(scores, labels, message):
    with pytest.raises(ValueError, match=message):
        fit_temperature(scores, labels)
    with pytest.raises(ValueError, match=message):
        fit_mixture(scores, scores, labels)


def test_fit_mixture_needs_one_shape():
    with pytest.raises(ValueError, match=r"one shape. Received: \(2, 3\) and \(2, 2\)"):
        fit_mixture(np.full((2, 3), 1 / 3), np.full((2, 2), 0.5), np.zeros(2, int))


def test_sentences_grow_with_classes_not_with_images():
    classes = 12
    bridge = Bridge(tuple("abcdefghijkl"), "hedged")
    distinct = set(bridge.sentences(rows(classes, seed=9)).numpy().ravel())
    named = [hedge.count("{}") + rival.count("{}") for hedge, rival in zip(HEDGES, RIVAL_HEDGES, strict=True)]
    assert len(distinct) <= sum(math.perm(classes, count) for count in named) <= 3 * classes**2
