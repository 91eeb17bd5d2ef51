"""Rows of `bench/speed.py` that start processes: the first step of a training, and a whole run."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from xmodal.bench import paired_timing
from xmodal.config.config import Config

Row = dict[str, Any]


def start(settings: Config, strategy: tf.distribute.Strategy) -> list[Row]:
    """Compares what passes until a new process has taken a training step, and its memory, with Keras."""
    reports: dict[str, list[dict[str, Any]]] = {"xmodal": [], "keras": []}

    def seconds(way: str) -> float:
        reports[way].append(
            json.loads(run_module("xmodal.bench.first_step", way, str(settings.data.image_size)))
        )
        return 1 / reports[way][-1]["seconds"]

    pair = paired_timing.compare_rates(lambda: seconds("xmodal"), lambda: seconds("keras"), warm_up=False)
    ours, theirs = (_medians(reports[way]) for way in ("xmodal", "keras"))
    row = _seconds("from the start of a process to its first training step", "Keras fit", pair)
    return [
        row
        | {"megabytes": ours.pop("megabytes"), "megabytes_of_peer": theirs.pop("megabytes")}
        | {"parts": {part: (ours[part], theirs[part]) for part in ours}}
    ]


def _medians(reports: list[dict[str, Any]]) -> dict[str, float]:
    """Returns the medians of the parts and the memory of what several processes told."""
    figures = [report["parts"] | {"megabytes": report["megabytes"]} for report in reports]
    return {name: float(np.median([report[name] for report in figures])) for name in figures[0]}


def whole_run(settings: Config, strategy: tf.distribute.Strategy) -> list[Row]:
    """Compares a whole run, once, with plain Keras that passes every image in every epoch."""
    with tempfile.TemporaryDirectory() as folder:
        flags = Path(folder) / "config.cfg"
        flags.write_text(settings.flagfile)
        output = Path(folder) / "run"
        # The plain code trains no head on text alone: a sentence of each class is the least that ours takes.
        plain_flags = ("--nobaseline", "--nosmall", "--noexport", "--feature_cache_gb=0", "--text_examples=1")
        our_flags = (f"--output_dir={output}", f"--precision={settings.train.precision}", *plain_flags)
        our_seconds, _ = paired_timing.time_call(
            lambda: run_module("xmodal.run", f"--flagfile={flags}", *our_flags)
        )
        results = json.loads((output / "metrics.json").read_text())["results"]
        peer_flags = (
            f"--precision={settings.train.precision}",
            f"--peer_epochs={settings.bench.peer_epochs}",
        )
        peer_seconds, line = paired_timing.time_call(
            lambda: run_module("xmodal.bench.plain_flow", f"--flagfile={flags}", *peer_flags)
        )
    report = json.loads(line)
    peer_seconds += report["seconds_reckoned"]
    ratio = peer_seconds / our_seconds
    pair = {
        "first": 1 / our_seconds,
        "second": 1 / peer_seconds,
        "ratio": ratio,
        "ratio_least": ratio,
        "ratio_most": ratio,
    }
    what = f"whole run of vgg_to_bert, {settings.train.precision}"
    row = _seconds(what, "every image through the whole network in every epoch", pair)
    if estimated_seconds := report["seconds_reckoned"]:
        # A network that was trained less is no equal.
        return [row | {"reckoned": estimated_seconds / peer_seconds}]
    accuracy = {name: (results[name]["accuracy"], report[name]) for name in ("image_only", "text")}
    return [row | {"accuracy": accuracy}]


def _seconds(what: str, peer: str, pair: dict[str, float]) -> Row:
    """Turns rates of something that takes long into seconds; the ratio says how many times as fast it is."""
    seconds = {name: 1 / pair[name] for name in ("first", "second")}
    return {"what": what, "unit": "seconds", "peer": peer, **pair, **seconds}


def run_module(module: str, *arguments: str) -> str:
    """Runs a module as a process, and returns the last line that it prints."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    process = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return process.stdout.splitlines()[-1]
