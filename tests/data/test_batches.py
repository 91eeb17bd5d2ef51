"""Batches that are listed by every process, and read only where they are used."""

import numpy as np
import pytest
import tensorflow as tf

from xmodal.data import images
from xmodal.data.batches import Batches, concatenate
from xmodal.data.images import ImageSplit, batches
from xmodal.training.replicas import Stopped, distribute, map_over_replicas


def numbers(count: int, size: int) -> Batches:
    return Batches(tf.data.Dataset.range(count).batch(size), lambda rows: rows * 10)


def test_they_are_read_in_order_and_mapped_after_that():
    read = numbers(5, 2)
    assert [batch.tolist() for batch in read.dataset().as_numpy_iterator()] == [[0, 10], [20, 30], [40]]
    told = [batch.numpy().tolist() for batch in read.map(lambda batch: batch + 1).skip(1)]
    assert told == [[21, 31], [41]]
    assert int(read.cardinality()) == 3


def test_batches_are_joined_one_after_the_other():
    told = concatenate([numbers(3, 2), numbers(2, 2)])
    assert [batch.numpy().tolist() for batch in told] == [[0, 10], [20], [0, 10]]
    assert int(told.cardinality()) == 3
    listed = concatenate([tf.data.Dataset.range(2).batch(2), tf.data.Dataset.range(1).batch(2)])
    assert [batch.numpy().tolist() for batch in listed] == [[0, 1], [0]]


def test_an_iteration_does_not_wait_for_a_tuner(one_device):
    listed = tf.data.Dataset.range(5).batch(2)
    for read in (
        numbers(5, 2).dataset(),
        *(distribute(given, one_device) for given in (listed, numbers(5, 2))),
    ):
        assert read.options().autotune.enabled is False


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """Eight images, too many to be kept, of which the files behind the first four are gone."""
    monkeypatch.setattr(images, "KEPT_BYTES", 0)
    places = [tmp_path / f"{number}.png" for number in range(8)]
    for number, place in enumerate(places):
        if number > 3:
            place.write_bytes(tf.io.encode_png(np.full((4, 4, 3), number, np.uint8)).numpy())
    items = np.array([str(place) for place in places], object)
    return ImageSplit(items, np.arange(8, dtype=np.int32), tuple(map(str, items)), (b"",) * 8, False)


def test_what_is_skipped_is_not_read(broken):
    (batch,) = batches(broken, image_size=4, batch_size=4, augment=("flip",)).skip(1)
    assert batch["image"].numpy()[:, 0, 0, 0].tolist() == [4, 5, 6, 7]


def test_a_process_reads_its_own_rows_only(broken):
    """Each of two devices takes half of a batch: the second half needs nothing of the first."""
    split = tf.distribute.InputContext(num_input_pipelines=2, input_pipeline_id=1, num_replicas_in_sync=2)

    class Two:
        num_replicas_in_sync = 2

        def distribute_datasets_from_function(self, function):
            return function(split)

    read = batches(broken, image_size=4, batch_size=8).map(lambda batch: batch["image"])
    (share,) = distribute(read, Two())
    assert share[0].numpy()[:, 0, 0, 0].tolist() == [4, 5, 6, 7]
    assert share[1].numpy().tolist() == [1, 1, 1, 1]


def test_shares_are_filled_up_and_put_together_again(one_device, mirrored):
    for strategy in (one_device, mirrored):
        (outputs,) = map_over_replicas(lambda rows: (rows + 1,), strategy)(numbers(5, 3))
        assert outputs.tolist() == [1, 11, 21, 31, 41]


def test_a_run_stops_between_two_batches(one_device):
    seen = []
    run = map_over_replicas(lambda rows: (rows,), one_device)
    with pytest.raises(Stopped):
        run(numbers(5, 1), stopped=lambda: len(seen) > 1 or seen.append(None))
    assert len(seen) == 2
