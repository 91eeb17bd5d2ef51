"""Rows in memory and in files: real files."""

import numpy as np
import pytest
import tensorflow as tf

from xmodal.data.batches import array_batches
from xmodal.data.rows import ArrayShards, NpyRows
from xmodal.models.heads import standardisation


@pytest.fixture
def array():
    return np.random.default_rng(0).normal(3, 2, (9, 2, 4)).astype(np.float32)


@pytest.fixture
def stored(array, tmp_path):
    """The rows 2 to 6."""
    path = tmp_path / "rows.npy"
    np.save(path, array[2:7])
    with path.open("rb") as file:
        rows = NpyRows(file)
    path.unlink()
    return rows


@pytest.fixture
def rows(array, stored):
    return ArrayShards([array[:2], stored, array[7:]])


def test_any_rows_in_any_order_and_twice(rows, array):
    index = np.array([8, 2, 0, 6, 2, 1, 7])
    np.testing.assert_array_equal(rows[index], array[index])
    assert rows[index[:0]].shape == (0, 2, 4)


def test_they_are_an_array(rows, array):
    assert (len(rows), rows.shape, rows.dtype) == (9, (9, 2, 4), np.float32)
    np.testing.assert_array_equal(np.asarray(rows), array)


def test_a_row_that_is_not_there(rows):
    with pytest.raises(IndexError):
        rows[np.array([9])]


def test_a_file_that_ends_early(array, tmp_path):
    path = tmp_path / "rows.npy"
    np.save(path, array)
    with path.open("rb+") as file:
        stored = NpyRows(file)
        file.truncate(path.stat().st_size - 4)
    with pytest.raises(OSError, match="row 8"):
        stored[np.array([0, 8])]


def test_blocks_are_all_rows(rows, array, monkeypatch):
    monkeypatch.setattr("xmodal.data.rows.BLOCK", 4)
    blocks = list(rows.blocks())
    assert [len(block) for block in blocks] == [4, 4, 1]
    np.testing.assert_array_equal(np.concatenate(blocks), array)


def test_batches_of_them_are_those_of_an_array(rows, array):
    def batches(inputs):
        read = array_batches({"x": inputs}, np.arange(9), batch_size=4, shuffle_seed=(1, 2))
        assert read.element_spec[0]["x"].shape == (None, 2, 4)
        return [tf.nest.map_structure(lambda part: part.numpy(), batch) for batch in read]

    for one, other in zip(batches(rows), batches(array), strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, one, other)


def test_statistics_are_those_of_an_array(rows, array, monkeypatch):
    monkeypatch.setattr("xmodal.data.rows.BLOCK", 4)
    flat = array.reshape(-1, 4)
    variance = np.maximum(flat.var(axis=0), np.median(flat.var(axis=0)))
    expected = (flat - flat.mean(axis=0)) / np.sqrt(variance)
    np.testing.assert_allclose(standardisation(rows)(flat), expected, rtol=1e-4, atol=1e-5)
