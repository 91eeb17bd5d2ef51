"""Examples of several modalities find each other by the names that are said of them."""

from types import SimpleNamespace

import numpy as np
import pytest

from xmodal.recipes.cnn_to_text.retrieval import named, retrieval_tables, shared_names


def modality(class_names, labels):
    return SimpleNamespace(class_names=class_names, labels={"test": np.array(labels)})


IMAGES = modality(("0", "1", "2"), [0, 1, 2, 0, 1, 2])
SOUNDS = modality(("two", "one", "dog"), [0, 1, 2, 0])


def test_names_are_shared_as_they_are_read():
    assert shared_names(IMAGES, SOUNDS) == ("one", "two")
    of_sounds = named(SOUNDS, np.eye(3)[[0, 1, 2, 0]] + 0.1, ("one", "two"))
    assert of_sounds.labels.tolist() == [1, 0, 1]
    np.testing.assert_allclose(of_sounds.shares.sum(axis=1), 1)
    assert of_sounds.shares.argmax(axis=1).tolist() == [1, 0, 1]


def test_what_is_named_alike_is_found():
    sure = {"images": np.eye(3)[IMAGES.labels["test"]], "sounds": np.eye(3)[SOUNDS.labels["test"]]}
    (table,) = retrieval_tables({"images": IMAGES, "sounds": SOUNDS}, sure)
    rows = {row[0]: row[1:] for row in table.rows}
    assert list(rows) == ["images -> sounds", "names -> sounds", "sounds -> images", "names -> images"]
    assert rows["sounds -> images"][:2] == (3, 4)
    for row in rows.values():
        assert row[2].startswith("100.0% (")
        assert row[4].startswith("1.000 (")


def test_a_wrong_name_finds_the_wrong_ones():
    wrong = {"images": np.eye(3)[IMAGES.labels["test"]], "sounds": np.eye(3)[[1, 0, 2, 1]]}
    (table,) = retrieval_tables({"images": IMAGES, "sounds": SOUNDS}, wrong)
    assert {row[0]: row[3] for row in table.rows}["sounds -> images"].startswith("0.0% (")


@pytest.mark.parametrize("names", [("a", "b"), ("one", "b")])
def test_without_shared_names_there_is_nothing_to_retrieve(names):
    others = modality(names, [0, 1])
    shares = {"images": np.ones((6, 3)) / 3, "documents": np.eye(2)}
    assert list(retrieval_tables({"images": IMAGES, "documents": others}, shares)) == []
