import numpy as np
import pytest

from xmodal.text.length_buckets import STEP, length_order, token_batches, token_lengths

LENGTHS = np.random.default_rng(0).integers(3, 60, 203)


def tokens(lengths: np.ndarray, width: int) -> dict[str, np.ndarray]:
    kept = np.arange(width)[None, :] < lengths[:, None]
    numbers = np.arange(len(lengths))[:, None] * kept
    return {"token_ids": numbers.astype(np.int32), "padding_mask": kept}


def test_without_a_seed_texts_are_sorted():
    order = length_order(LENGTHS, batch_size=8)
    assert (np.diff(LENGTHS[order]) >= 0).all()
    assert sorted(order) == list(range(203))


@pytest.mark.parametrize("window", [1, 2, 7, 1000])
def test_every_text_comes_once_and_the_order_follows_the_seed(window):
    first, again, other = (
        length_order(LENGTHS, batch_size=8, window=window, shuffle_seed=(3, epoch)) for epoch in (0, 0, 1)
    )
    assert sorted(first) == list(range(203))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.9


def padded(order: np.ndarray, batch_size: int) -> int:
    """How many tokens batches have, with the filling."""
    batches = np.split(LENGTHS[order], range(batch_size, len(order), batch_size))
    return sum(len(batch) * batch.max() for batch in batches)


def test_windows_make_short_texts_cheap():
    random, windowed, best = (
        padded(order, 8)
        for order in (
            length_order(LENGTHS, batch_size=8, shuffle_seed=(0, 0)),
            length_order(LENGTHS, batch_size=8, window=10, shuffle_seed=(0, 0)),
            length_order(LENGTHS, batch_size=8),
        )
    )
    assert best <= windowed < 1.2 * LENGTHS.sum() < 0.75 * random


def test_batches_of_a_window_come_in_another_order_than_that_of_their_lengths():
    order = length_order(LENGTHS, batch_size=8, window=1000, shuffle_seed=(0, 0))
    longest = LENGTHS[order][:200].reshape(25, 8).max(axis=1)
    assert (np.diff(longest) < 0).sum() > 5


def test_a_batch_is_cut_to_its_longest_text():
    held = tokens(LENGTHS, 64)
    order = length_order(LENGTHS, batch_size=8, window=4, shuffle_seed=(1, 2))
    batches = list(token_batches(held, LENGTHS % 5, LENGTHS / 2, batch_size=8, order=order))
    assert len(batches) == 26
    seen = []
    for inputs, labels, weights in batches:
        numbers, kept = inputs["token_ids"].numpy(), inputs["padding_mask"].numpy()
        lengths = kept.sum(axis=1)
        assert kept.shape[1] == min(64, -(-lengths.max() // STEP) * STEP)
        np.testing.assert_array_equal(labels, lengths % 5)
        np.testing.assert_array_equal(weights, (lengths / 2).astype(np.float32))
        seen += numbers.max(axis=1).tolist()
    assert sorted(seen) == list(range(203))
    assert token_batches(held, batch_size=8, order=order).cardinality() == 26


def test_a_width_that_is_no_multiple_of_the_step():
    held = tokens(np.array([3, 21]), 21)
    [(inputs, _, _)] = token_batches(held, batch_size=8, order=np.arange(2))
    assert inputs["token_ids"].shape == (2, 21)
    np.testing.assert_array_equal(token_lengths(held), [3, 21])
