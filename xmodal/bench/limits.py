"""The machine's own limits: how fast it multiplies, convolves and copies, and whether it is quiet."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from xmodal.bench.paired_timing import QUIET, time_call
from xmodal.kernels.layers import all_layers

# Images, side, channels in and out of convolutions as VGG has them at 32 to 224 pixels.
CONVOLUTIONS = ((64, 56, 64, 64), (64, 28, 128, 128), (64, 16, 256, 256), (64, 8, 512, 512))
SIDES = (1024, 2048, 4096)
COPIED_BYTES = 512 * 2**20
ROUNDS = 5
STATISTICS = Path("/proc/stat")


def limits(dtype: str) -> dict[str, float]:
    """Measures the largest rates that TensorFlow reaches with one operation.

    Args:
        dtype: "float32" or "bfloat16".

    Returns:
        "matrix_gflops" and "convolution_gflops", 10^9 multiplications and additions a second; and
        "copy_gigabytes", 10^9 bytes read and written a second.
    """
    return {
        "matrix_gflops": max(_matrix(side, dtype) for side in SIDES),
        "convolution_gflops": max(_convolution(*shape, dtype) for shape in CONVOLUTIONS),
        "copy_gigabytes": _copy(),
    }


def busy() -> float | None:
    """Returns the share of all processors that others used during a second, None where nobody tells."""
    read_share = others_since()
    time.sleep(1)
    return read_share()


def others_since() -> Callable[[], float | None]:
    """Returns what tells the share of all processors that others have used since this call.

    Others are all processes but this one and those of its children that have ended. None where nobody tells.
    """
    if not STATISTICS.exists():
        return lambda: None
    ticks_before, own_seconds_before = _processor_times(), _own_seconds()

    def share() -> float:
        ticks = _processor_times() - ticks_before
        own_ticks = (_own_seconds() - own_seconds_before) * os.sysconf("SC_CLK_TCK")
        used_ticks = ticks.sum() - ticks[3:5].sum() - own_ticks
        return float(np.clip(used_ticks / max(ticks.sum(), 1), 0, 1))

    return share


def warning(share: float | None) -> str | None:
    """Returns a line about a machine that is not quiet, None for one that is.

    PyTorch's threads wait for each other at the end of every operation, so that it loses more to another
    process than TensorFlow does: rows of a busy machine may flatter the latter.
    """
    if share is None or share <= QUIET:
        return None
    return (
        f"warning: other processes use {share:.0%} of this machine: stop them and measure again, "
        "for PyTorch loses more to them than TensorFlow"
    )


def convolution_flops(model) -> int:
    """Returns the multiplications and additions of a model's convolutions for one image."""
    layers = [layer for layer in all_layers(model) if hasattr(layer, "kernel_size")]
    return sum(
        2 * int(np.prod(layer.output.shape[1:3])) * int(np.prod(layer.kernel.shape)) for layer in layers
    )


def _best(function, work: float) -> float:
    function()
    return work / min(time_call(function)[0] for _ in range(ROUNDS)) / 1e9


def _matrix(side: int, dtype: str) -> float:
    matrix = tf.cast(tf.random.stateless_normal([side, side], (0, 0)), dtype)
    multiply = tf.function(lambda: tf.reduce_max(matrix @ matrix))
    return _best(lambda: multiply().numpy(), 2 * side**3)


def _convolution(images: int, side: int, channels: int, kernels: int, dtype: str) -> float:
    inputs = tf.cast(tf.random.stateless_normal([images, side, side, channels], (0, 0)), dtype)
    kernel = tf.cast(tf.random.stateless_normal([3, 3, channels, kernels], (0, 1)), dtype)
    convolve = tf.function(lambda: tf.reduce_max(tf.nn.conv2d(inputs, kernel, 1, "SAME")))
    return _best(lambda: convolve().numpy(), 2 * images * side**2 * 9 * channels * kernels)


def _copy() -> float:
    source = np.ones(COPIED_BYTES // 8)
    target = np.empty_like(source)
    return _best(lambda: np.copyto(target, source), 2 * COPIED_BYTES)


def threads() -> int:
    """Returns how many threads TensorFlow computes with: one for each processor that it may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _own_seconds() -> float:
    """Returns the seconds of processors that this process and its ended children have used."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _processor_times() -> np.ndarray:
    """Returns what Linux counts for all processors: user, nice, system, idle, waiting, ..."""
    return np.array(STATISTICS.read_text().splitlines()[0].split()[1:9], float)
