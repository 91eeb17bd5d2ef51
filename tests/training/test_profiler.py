"""Traces of training steps, as TensorBoard's profiler reads them."""

import keras
import numpy as np
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from xmodal.config.training import TrainConfig
from xmodal.data.batches import array_batches
from xmodal.training.loop import fit
from xmodal.training.losses import cross_entropy


def trained(folder, one_device, stage, first, last, epochs=2):
    with one_device.scope():
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    inputs = np.zeros((30, 3), np.float32)
    fit(
        model,
        lambda epoch: array_batches(inputs, batch_size=10),
        loss=cross_entropy(),
        optimizer=lambda steps: keras.optimizers.SGD(0.1),
        epochs=epochs,
        strategy=one_device,
        stage=stage,
        config=TrainConfig(profile_steps=(first, last), profile_folder=folder),
    )


def step_numbers(path):
    """Returns the steps that a trace has marks of, and the names of all that it timed."""
    space = xplane_pb2.XSpace.FromString(path.read_bytes())
    steps, names = set(), set()
    for plane in space.planes:
        stats = {number: stat.name for number, stat in plane.stat_metadata.items()}
        events = {number: event.name for number, event in plane.event_metadata.items()}
        for line in plane.lines:
            for event in line.events:
                names.add(events[event.metadata_id])
                if events[event.metadata_id] == "train":
                    steps |= {
                        stat.int64_value or stat.uint64_value
                        for stat in event.stats
                        if stats[stat.metadata_id] == "step_num"
                    }
    return steps, names


def test_the_steps_of_each_training_are_traced_under_its_name(tmp_path, one_device):
    # The last of the first epoch and the first of the second.
    trained(tmp_path, one_device, "text head, text alone", 3, 4)
    trained(tmp_path, one_device, "too short", 7, 9)
    # It ends before the last one.
    trained(tmp_path, one_device, "images", 6, 60)
    traces = {path.relative_to(tmp_path).parts[0]: path for path in tmp_path.rglob("*.xplane.pb")}
    assert set(traces) == {"text_head_text_alone", "images"}
    assert traces["images"].relative_to(tmp_path).parts[1:3] == ("plugins", "profile")
    steps, names = step_numbers(traces["text_head_text_alone"])
    assert steps == {3, 4}
    assert any("MatMul" in name for name in names)
    assert step_numbers(traces["images"])[0] == {6}
