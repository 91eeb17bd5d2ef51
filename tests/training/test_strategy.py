"""Strategies in fresh processes, because a process splits its CPU once."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import tensorflow as tf
import warm_python

from xmodal.core.errors import UserError, WorkerLost
from xmodal.training.cluster import Worker
from xmodal.training.strategy import lost_workers_noticed

ROOT = Path(__file__).parents[2]
SCRIPT = """
import json, sys
import tensorflow as tf
from xmodal.core.errors import UserError
from xmodal.training.strategy import make_strategy

def made(kind, virtual_devices):
    try:
        strategy = make_strategy(kind, virtual_devices)
    except UserError as error:
        return str(error)
    # Asking a strategy to work starts TensorFlow.
    working = strategy.reduce("SUM", strategy.run(lambda: tf.constant(1.0)), axis=None)
    return [type(strategy).__name__, strategy.num_replicas_in_sync, float(working)]

print(json.dumps([made(*asked) for asked in json.loads(sys.argv[1])]))
"""
TWICE = """
import tensorflow as tf
from xmodal.training.strategy import make_strategy

for size in (10, 20):
    strategy = make_strategy("mirrored", virtual_devices=2)

    @tf.function
    def summed():
        return strategy.run(
            lambda: tf.distribute.get_replica_context().all_reduce("SUM", tf.ones([size]))
        )

    assert strategy.experimental_local_results(summed())[0].shape == [size]
"""
ONE, TWO = ["OneDeviceStrategy", 1, 1.0], ["MirroredStrategy", 2, 2.0]
TOO_LATE = "`virtual_devices=3` came after TensorFlow had started; set it in a new process"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (
            [("auto", 1), ("mirrored", 3), ("mirrored", 1)],
            [ONE, TOO_LATE, ["MirroredStrategy", 1, 1.0]],
        ),
        (
            [("auto", 2), ("auto", 2), ("auto", 1), ("one_device", 2), ("mirrored", 3)],
            [TWO, TWO, TWO, ONE, TOO_LATE],
        ),
    ],
    ids=["one CPU", "a CPU split in two"],
)
def test_strategies_of_a_process_in_turn(asked, expected):
    done = subprocess.run(
        [warm_python.path(), "-c", SCRIPT, json.dumps(asked)],
        cwd=ROOT,
        # The CPU is what is tested, also on a machine with a GPU.
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == expected


def test_two_mirrored_runs_of_a_process_do_not_meet():
    done = subprocess.run(
        [warm_python.path(), "-c", TWICE], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("cause", [None, tf.errors.UnavailableError(None, None, "connection reset")])
@pytest.mark.parametrize("processes", [1, 2])
def test_what_a_lost_process_broke_is_no_mistake_of_the_users(cause, processes):
    """A model that is loaded on several hosts gets the weights that the first one sends."""
    expected = WorkerLost if cause and processes > 1 else UserError
    with pytest.raises(expected), lost_workers_noticed(Worker(0, processes)):  # noqa: PT012
        try:
            raise cause or ValueError("no weights")
        except (ValueError, tf.errors.OpError) as error:
            raise UserError("the encoder could not be loaded", "check its name") from error
