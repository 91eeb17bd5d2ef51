"""The first import of TensorFlow, without the lines that it writes on every machine."""

import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# What lines have that say nothing of a fault: where the log goes, which instructions are used and which of
# two implementations, and, where there is no GPU, that there is none.
HARMLESS = (
    b"All log messages before absl::InitializeLog() is called",
    b"oneDNN custom operations are on",
    b"This TensorFlow binary is optimized to use available CPU instructions",
    b"To enable the following instructions:",
    b"Falling back to the default Eigen-based implementation if present",
)
WITHOUT_GPU = (b"Could not find cuda drivers on your machine", b"failed call to cuInit")
GPU = Path("/dev/nvidia0")


def start_tensorflow(log_level: str = "2") -> None:
    """Imports TensorFlow and lists the devices; what it writes of no use meanwhile is left out.

    Args:
        log_level: TF_CPP_MIN_LOG_LEVEL where the environment has none: "2" shows errors, "3" fatal ones.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", log_level)
    with lines_left_out(HARMLESS if GPU.exists() else HARMLESS + WITHOUT_GPU):
        tensorflow = importlib.import_module("tensorflow")
        tensorflow.config.list_physical_devices()
        _transpose_integers(tensorflow)


def _transpose_integers(tensorflow: Any) -> None:
    """Lets oneDNN say now what it says once a process: that it leaves integers to another implementation.

    In a session, and not eagerly: that would start the runtime, whose devices may be configured only before.
    """
    v1 = tensorflow.compat.v1
    on_cpu = v1.ConfigProto(device_count={"GPU": 0})
    with tensorflow.Graph().as_default(), v1.Session(config=on_cpu) as session:
        session.run(tensorflow.transpose(v1.placeholder_with_default([[1, 2]], [1, 2])))


@contextmanager
def lines_left_out(parts: tuple[bytes, ...]) -> Iterator[None]:
    """Holds back what the block, its C++ code too, writes to the standard error, and then all but some lines.

    Args:
        parts: a line with one of these is left out.
    """
    sys.stderr.flush()
    errors = os.dup(2)
    with tempfile.TemporaryFile() as buffer:
        os.dup2(buffer.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(errors, 2)
            os.close(errors)
            buffer.seek(0)
            for line in buffer:
                if not any(part in line for part in parts):
                    os.write(2, line)
