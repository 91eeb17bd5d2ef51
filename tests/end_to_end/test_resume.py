"""Runs that are killed, and end as if they had not been."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import warm_python
from kills import killed, run_job
from tiny_bert import save_tiny_bert

PROGRAM = Path(__file__).parents[1] / "helpers" / "resumable.py"


def start(folder: Path, result: Path, steps: int = 1) -> subprocess.Popen:
    return subprocess.Popen(
        [warm_python.path(), str(PROGRAM), str(folder), str(result), str(steps)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    return output


def outcome(result: Path) -> tuple[list[np.ndarray], list[dict]]:
    with np.load(result) as arrays:
        weights = [arrays[name] for name in arrays.files]
    return weights, json.loads(Path(f"{result}.json").read_text())


def assert_same_bits(a: Path, b: Path) -> None:
    (weights_a, history_a), (weights_b, history_b) = outcome(a), outcome(b)
    assert history_a == history_b
    for one, other in zip(weights_a, weights_b, strict=True):
        assert one.tobytes() == other.tobytes()


def saved(folder: Path) -> list[Path]:
    return sorted((folder / "resumable").glob("[0-9]*"))


def wait_for_save(process: subprocess.Popen, folder: Path, count: int) -> None:
    """Waits until the training has saved a step whose number is at least `count`."""
    while not saved(folder) or int(saved(folder)[-1].name) < count:
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.01)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    finish(start(folder / "kept", folder / "result.npz"))
    return folder / "result.npz"


def test_a_training_killed_in_two_epochs_ends_with_the_same_bits(uninterrupted, tmp_path):
    for step in (3, 14):
        process = start(tmp_path / "kept", tmp_path / "result.npz")
        wait_for_save(process, tmp_path / "kept", step)
        warm_python.kill(process)
        process.communicate()
    finish(start(tmp_path / "kept", tmp_path / "result.npz"))
    assert_same_bits(uninterrupted, tmp_path / "result.npz")


def test_a_truncated_checkpoint_is_noticed_and_the_one_before_it_used(uninterrupted, tmp_path):
    process = start(tmp_path / "kept", tmp_path / "result.npz")
    wait_for_save(process, tmp_path / "kept", 5)
    warm_python.kill(process)
    process.communicate()
    last = saved(tmp_path / "kept")[-1]
    os.truncate(last / "arrays.npz", 1000)
    output = finish(start(tmp_path / "kept", tmp_path / "result.npz"))
    assert f"warning: the checkpoint {str(last)!r} is broken" in output
    assert_same_bits(uninterrupted, tmp_path / "result.npz")


def test_sigterm_sighup_and_ctrl_c_save_the_step_that_they_find(uninterrupted, tmp_path):
    # Nothing is saved but by the signals.
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        before = saved(tmp_path / "kept")
        process = start(tmp_path / "kept", tmp_path / "result.npz", steps=10**6)
        assert "step 5\n" in process.stdout
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == -number, output
        assert saved(tmp_path / "kept")[-1:] != before[-1:]
    finish(start(tmp_path / "kept", tmp_path / "result.npz"))
    assert_same_bits(uninterrupted, tmp_path / "result.npz")


@pytest.mark.slow
def test_a_training_killed_at_twenty_random_points_ends_with_the_same_bits(uninterrupted, tmp_path):
    rng = random.Random(0)
    kills = 0
    folder = tmp_path / "kept"
    while kills < 20:
        process = start(folder, tmp_path / "result.npz")
        time.sleep(rng.uniform(1.0, 7.0))
        if process.poll() is not None:
            # It came to its end: it is compared, and a new one killed.
            assert process.returncode == 0, process.stdout.read()
            assert_same_bits(uninterrupted, tmp_path / "result.npz")
            shutil.rmtree(folder)
        else:
            warm_python.kill(process)
            kills += 1
        process.communicate()
    finish(start(folder, tmp_path / "result.npz"))
    assert_same_bits(uninterrupted, tmp_path / "result.npz")


@pytest.mark.slow
def test_a_run_killed_at_twenty_random_points_measures_the_same_bits(tmp_path):
    save_tiny_bert(tmp_path / "bert", dropout=0.1)
    rng = np.random.default_rng(0)
    for label, name in enumerate(("red", "green", "blue")):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(30):
            pixels = rng.integers(0, 160, (32, 32, 3))
            pixels[..., label] += 60
            encoded = tf.io.encode_png(pixels.astype(np.uint8)).numpy()
            (tmp_path / "images" / name / f"{number}.png").write_bytes(encoded)

    flags = [
        *("--noexport", "--offline", "--image_size=32", "--image_weights=none"),
        # A small network: what is tested is how often it is killed, not how long it takes.
        *(f"--dataset=folder:{tmp_path / 'images'}", "--features=block1_pool,block2_pool"),
        *(f"--text_encoder={tmp_path / 'bert'}", "--sequence_length=16", "--text_examples=4"),
        *("--head_epochs=3", "--epochs=2", "--text_epochs=3", "--batch_size=8", "--checkpoint_steps=1"),
    ]
    count = killed(run_job(flags, exports=False), 20, tmp_path / "runs")
    assert (count.kills, count.same) == (20, count.ended)
