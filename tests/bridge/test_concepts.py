"""Concepts between images and answers: the shipped list, what is learned, and tables that are edited."""

import numpy as np
import pytest

from xmodal.bridge.concepts import concepts_of, fit_concept_head, read_concept_head
from xmodal.core.errors import UserError

CONCEPTS = ("has wheels", "has fur", "is red")


@pytest.fixture
def learned():
    """Things with wheels are cars and things with fur are cats; red says nothing."""
    random = np.random.default_rng(0)
    labels = np.arange(200) % 2
    scores = random.normal(5, 3, (200, 3))
    scores[:, 0] -= 4 * labels
    scores[:, 1] += 4 * labels
    return scores, labels, fit_concept_head(scores, labels, CONCEPTS, ("car", "cat"))


def test_128_concepts_are_shipped():
    concepts = concepts_of("shipped")
    assert len(concepts) == 128
    assert {"has wheels", "is striped"} <= set(concepts)


def test_weights_tell_which_concepts_speak_for_an_answer(learned):
    scores, labels, head = learned
    assert (head(scores).argmax(axis=1) == labels).mean() > 0.8
    assert head.weights.argmax(axis=0).tolist() == [0, 1]
    assert np.abs(head.weights[2]).max() < 0.2 * np.abs(head.weights).max()
    # As sure as it is right.
    probabilities = np.exp(head(scores)) / np.exp(head(scores)).sum(axis=1, keepdims=True)
    assert probabilities.max(axis=1).mean() == pytest.approx(
        (head(scores).argmax(axis=1) == labels).mean(), abs=0.05
    )


def test_a_table_is_read_as_it_was_written(learned, tmp_path):
    scores, _, head = learned
    (tmp_path / "concepts.csv").write_text(head.table())
    again = read_concept_head(tmp_path / "concepts.csv", ("cat", "car"))
    np.testing.assert_allclose(again(scores)[:, ::-1], head(scores), rtol=1e-5, atol=1e-5)


def test_a_concept_without_weight_says_nothing_more(learned, tmp_path):
    scores, _, head = learned
    lines = head.table().splitlines()
    assert lines[2].startswith("has wheels,")
    lines[2] = ",".join([*lines[2].split(",")[:3], "0", "0"])
    (tmp_path / "edited.csv").write_text("\n".join(lines))
    edited, other = read_concept_head(tmp_path / "edited.csv", ("car", "cat")), scores.copy()
    other[:, 0] += 100
    np.testing.assert_allclose(edited(other), edited(scores))
    assert np.abs(head(other) - head(scores)).max() > 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace("car", "bus"), "has no column 'car'"),
        (lambda text: text.replace("(bias)", "bias"), r"no row \(bias\)"),
        (
            lambda text: text.replace("has fur,", "has fur,much"),
            "'much.*' in the row 'has fur'; write a number",
        ),
        (lambda text: text.replace("has fur,", "has fur,0,0,0,0\nhas fur,"), "scale that is not positive"),
        (lambda text: "", "has no column 'concept'"),
    ],
)
def test_a_table_that_was_broken(learned, tmp_path, change, message):
    (tmp_path / "concepts.csv").write_text(change(learned[2].table()))
    with pytest.raises(UserError, match=message):
        read_concept_head(tmp_path / "concepts.csv", ("car", "cat"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has 0; write two"),
        ("has fur\n", "has 1; write two"),
        ("has fur\nis red\nhas  fur\n", "has 'has fur' twice"),
    ],
)
def test_a_list_that_is_none(tmp_path, text, message):
    (tmp_path / "list.txt").write_text(text)
    with pytest.raises(UserError, match=message):
        concepts_of(str(tmp_path / "list.txt"))
    with pytest.raises(UserError, match="cannot be read"):
        concepts_of(str(tmp_path / "missing.txt"))
