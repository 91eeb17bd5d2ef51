"""Kills a run at random moments until it comes to its end, and tells whether it ends as if nothing had been.

    python tests/helpers/kills.py --kills=40 --flagfile=experiments/vgg_to_bert.cfg --limit=300 --epochs=2

Flags that are not its own are those of the run. A first run, which is left alone, is what is compared with.
The saved states, the cache of features and the export are of each run's own; assets are those of the user's.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xmodal.core.files import cache_folder

# Sooner than this a run has hardly begun, in seconds.
SOONEST = 2.0


def command(flags: Sequence[str], folder: Path) -> list[str]:
    """Returns the command of a run that leaves everything in a folder, with the same bits each time."""
    places = [f"--output_dir={folder / 'run'}", f"--saved_models_dir={folder / 'models'}"]
    return [sys.executable, "-m", "xmodal.run", *flags, "--deterministic", *places]


def environment(folder: Path) -> dict[str, str]:
    """Returns an environment in which no run takes the features that another one left."""
    home = folder / "home"
    home.mkdir(parents=True, exist_ok=True)
    assets = cache_folder() / "assets"
    if assets.is_dir() and not (home / "assets").exists():
        (home / "assets").symlink_to(assets)
    return os.environ | {"XMODAL_HOME": str(home)}


def outcome(folder: Path) -> Any:
    """Returns what a finished run measured, and its epochs; seconds are left out."""
    run = folder / "run"
    results = json.loads((run / "metrics.json").read_text())["results"]
    epochs = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return without_seconds([results, epochs])


def without_seconds(value: Any) -> Any:
    """Returns JSON without what no two runs have in common."""
    if isinstance(value, dict):
        return {
            name: without_seconds(part) for name, part in value.items() if name not in ("seconds", "waiting")
        }
    return [without_seconds(part) for part in value] if isinstance(value, list) else value


def is_finished(folder: Path) -> bool:
    """Tells whether a run came to its end."""
    record = folder / "run" / "checkpoints" / "run.json"
    return record.exists() and json.loads(record.read_text())["finished"]


def killed_runs(flags: Sequence[str], kills: int, place: Path, seed: int = 0) -> tuple[int, int]:
    """Runs, kills and goes on, until so many kills are done and a run has come to its end.

    Args:
        flags: of the run.
        kills: how many.
        place: an empty folder.
        seed: of the moments.

    Returns:
        How many runs came to their end, and how many of them as the one that was left alone.

    Raises:
        RuntimeError: when a run ends in another way.
    """
    whole, cut = place / "whole", place / "cut"
    started = time.monotonic()
    _run(flags, whole, None)
    longest = max(10.0, 0.6 * (time.monotonic() - started))
    moments = random.Random(seed)
    ended = same = 0
    while kills or not ended:
        survived = _run(flags, cut, moments.uniform(SOONEST, longest) if kills else None)
        kills -= not survived
        # Maybe it came to its end just before the kill.
        if is_finished(cut):
            ended += 1
            same += outcome(cut) == outcome(whole)
            shutil.rmtree(cut)
    return ended, same


def _run(flags: Sequence[str], folder: Path, seconds: float | None) -> bool:
    """Runs, and returns whether it came to its end before it was killed."""
    process = subprocess.Popen(
        command(flags, folder), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment(folder)
    )
    try:
        _, told = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return False
    if process.returncode:
        raise RuntimeError(f"exit code {process.returncode}: {told.decode(errors='replace')[-2000:]}")
    return True


def main(arguments: Sequence[str]) -> int:
    """Runs the command line. Returns 0 when all runs ended as the one that was left alone."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--kills", type=int, default=10, help="default %(default)s")
    parser.add_argument("--seed_of_kills", type=int, default=0, help="of the moments; default %(default)s")
    options, flags = parser.parse_known_args(arguments)
    with tempfile.TemporaryDirectory() as place:
        ended, same = killed_runs(flags, options.kills, Path(place), options.seed_of_kills)
    print(f"{options.kills} kills; {same} of {ended} runs ended as if there had been none")
    return int(same < ended)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
