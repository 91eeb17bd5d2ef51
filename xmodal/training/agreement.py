"""Processes of one job that were started differently would train different models: they are refused."""

import json
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from xmodal.core.errors import UserError
from xmodal.training.replicas import bytes_from_chief, sum_over_workers
from xmodal.training.strategy import workers


def require_agreement(own: Mapping[str, str], strategy: tf.distribute.Strategy) -> None:
    """Compares what every process of a job was given with what worker 0 has; every process calls it.

    Args:
        own: what is compared -> its value in this process, such as a digest, or lines of which the order
            does not matter.
        strategy: the tf.distribute strategy. With a single process nothing is compared.

    Raises:
        UserError: in every process, when one of them differs from worker 0. That one's error has
            both values, the errors of the others name the worker.
    """
    worker = workers(strategy)
    if worker.workers == 1:
        return
    chief_values = json.loads(bytes_from_chief(json.dumps(dict(own)).encode(), strategy))
    differences = [
        _difference(name, own.get(name, ""), chief_values.get(name, ""))
        for name in sorted({*own, *chief_values})
    ]
    own_differences = "; ".join(filter(None, differences))
    flags = np.zeros(worker.workers, np.float32)
    flags[worker.index] = bool(own_differences)
    differing_workers = np.flatnonzero(sum_over_workers(flags, strategy))
    if not len(differing_workers):
        return
    remedy = "start every process with the same code, flags and data"
    if own_differences:
        raise UserError(f"worker {worker.index} of the job differs from worker 0: {own_differences}", remedy)
    names = ", ".join(map(str, differing_workers))
    raise UserError(f"worker {names} of the job differs from worker 0; its own error says in what", remedy)


def _difference(name: str, own: str, chief: str) -> str:
    own_lines, chief_lines = set(own.splitlines()), set(chief.splitlines())
    if own_lines == chief_lines:
        return ""
    here, there = sorted(own_lines - chief_lines), sorted(chief_lines - own_lines)
    return f"{name} ({' '.join(here)} here, {' '.join(there)} there)"
