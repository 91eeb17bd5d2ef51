"""What the time of a computation goes to, by kinds of TensorFlow's operations."""

import re
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

# As the profiler names an operation on a CPU: its name in the graph, and its kind.
OPERATION = re.compile(r"[^:\s]+:(\w+)")


def shares(function: Callable[[], object]) -> dict[str, float]:
    """Runs a function once, and returns which share of the time of all operations each kind took.

    Args:
        function: computes with TensorFlow on a CPU; what it traces and compiles does not count.

    Returns:
        Kind -> share, the largest first.
    """
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        try:
            function()
        finally:
            tf.profiler.experimental.stop()
        (trace,) = Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(trace.read_bytes())
    durations: Counter[str] = Counter()
    for plane in space.planes:
        for event in (event for line in plane.lines for event in line.events):
            if kind := OPERATION.fullmatch(plane.event_metadata[event.metadata_id].name):
                durations[kind[1]] += event.duration_ps
    total = durations.total()
    return {kind: picoseconds / total for kind, picoseconds in durations.most_common()}
