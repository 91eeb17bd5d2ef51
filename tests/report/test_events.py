"""Files of events for TensorBoard."""

import os

import pytest
import tensorflow as tf

from xmodal.report.tensorboard.events import require_whole


def test_a_file_of_events_that_was_cut_short_is_noticed(tmp_path):
    """TensorFlow says nothing when the disk is full."""
    with tf.summary.create_file_writer(str(tmp_path)).as_default():
        tf.summary.text("words", "red cat " * 1000, step=0)
    (written,) = tmp_path.iterdir()
    require_whole(written)
    os.truncate(written, written.stat().st_size - 10)
    with pytest.raises(OSError, match="No space left on device"):
        require_whole(written)
