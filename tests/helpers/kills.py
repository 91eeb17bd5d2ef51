"""Kills commands at random moments until they end, and tells whether they end as if nothing had been.

    python tests/helpers/kills.py vgg_to_bert:40 fusion:10 fetch:20 --record=kills.json

Each job is an experiment on the data of `tiny_data`, or "fetch", which brings assets into an empty cache, and
how often it is killed. A first process, which is left alone, is what is compared with. The saved states, the
cache of features, the export, and what is fetched are of each process's own; runs find the user's assets.
"""

import argparse
import importlib
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from counts import write_counts

from xmodal.core.files import UNFINISHED, cache_folder, digests

FETCHED = ("mnist_5k", "minilm_l6", "reuters_r8")
# A step is short there: as often as it can, a run saves its state.
FLAGS = ("--deterministic", "--checkpoint_steps=1")


@dataclass(frozen=True)
class Job:
    """A command that is killed.

    Attributes:
        module: whose `main` takes a command line.
        arguments: of it, for the folder that everything is left in.
        begun: matches something in that folder as soon as the command has begun to write.
        outcome: what a finished one has left there, without what no two have in common.
        finished: tells whether one came to its end, though it was killed before it could say so.
    """

    module: str
    arguments: Callable[[Path], Sequence[str]]
    begun: str
    outcome: Callable[[Path], Any]
    finished: Callable[[Path], bool] = lambda folder: False


def run_job(flags: Sequence[str], *, exports: bool = True) -> Job:
    """Returns a run, with the same bits each time; `exports` tells whether its experiment does."""

    def arguments(folder: Path) -> list[str]:
        places = [f"--output_dir={folder / 'run'}"]
        places += [f"--saved_models_dir={folder / 'models'}"] if exports else []
        return [*flags, *FLAGS, *places]

    return Job("xmodal.run", arguments, "run/checkpoints/run.json", _outcome_of_run, is_finished)


def fetch_job(names: Sequence[str] = FETCHED) -> Job:
    """Returns what brings assets into a cache that has none."""
    return Job("xmodal.fetch", lambda folder: names, "home/assets/*", _outcome_of_fetch)


def is_finished(folder: Path) -> bool:
    """Tells whether a run came to its end."""
    record = folder / "run" / "checkpoints" / "run.json"
    return record.exists() and json.loads(record.read_text())["finished"]


def _outcome_of_run(folder: Path) -> Any:
    """What a run measured, its epochs, and which versions it exported; seconds are left out."""
    run = folder / "run"
    results = json.loads((run / "metrics.json").read_text())["results"]
    epochs = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    versions = sorted(str(path.relative_to(folder)) for path in (folder / "models").glob("*/*"))
    return [without_seconds([results, epochs]), versions, _unfinished(folder)]


def _outcome_of_fetch(folder: Path) -> Any:
    return [digests(folder / "home/assets"), _unfinished(folder)]


def _unfinished(folder: Path) -> list[str]:
    """What processes that were killed have left and none has removed."""
    return [path.name for path in folder.rglob(".*") if UNFINISHED in path.name or ".download." in path.name]


def without_seconds(value: Any) -> Any:
    """Returns JSON without what no two runs have in common."""
    if isinstance(value, dict):
        return {
            name: without_seconds(part) for name, part in value.items() if name not in ("seconds", "waiting")
        }
    return [without_seconds(part) for part in value] if isinstance(value, list) else value


@dataclass
class Count:
    """What came of the kills of a job.

    Attributes:
        kills: how often it was killed.
        ended: how many came to their end.
        same: how many of these as the one that was left alone.
    """

    kills: int = 0
    ended: int = 0
    same: int = 0


def killed(
    job: Job, kills: int, place: Path, seed: int = 0, *, kind: Literal["fork", "spawn"] = "spawn"
) -> Count:
    """Runs, kills and goes on, until so many kills are done and a process has come to its end.

    Args:
        job: what is killed, while it may write.
        kills: how often.
        place: an empty folder.
        seed: of the moments.
        kind: of processes: "fork" leaves out the start of TensorFlow, where nothing was computed before.

    Returns:
        What came of it. Every process that was killed is one of several that came to one end.

    Raises:
        RuntimeError: when a process ends in another way.
    """
    whole, cut = place / "whole", place / "cut"
    start = multiprocessing.get_context(kind).Process
    longest = 0.5 * _run(job, whole, None, start)
    moments = random.Random(seed)
    count = Count()
    while count.kills < kills or not count.ended:
        if _run(job, cut, moments.uniform(0, longest) if count.kills < kills else None, start):
            count.ended += 1
            count.same += job.outcome(cut) == job.outcome(whole)
            shutil.rmtree(cut)
        else:
            count.kills += 1
    return count


def _run(job: Job, folder: Path, seconds: float | None, start: Callable[..., Any]) -> float:
    """Runs, and returns how long it wrote until it came to its end; 0 when it was killed before."""
    (folder / "home").mkdir(parents=True, exist_ok=True)
    assets = cache_folder() / "assets"
    if job.module == "xmodal.run" and assets.is_dir() and not (folder / "home/assets").exists():
        (folder / "home/assets").symlink_to(assets)
    begun = _newest(folder, job.begun)
    process = start(target=_command, args=(job.module, job.arguments(folder), folder))
    process.start()
    while process.is_alive() and _newest(folder, job.begun) == begun:
        time.sleep(0.02)
    started = time.monotonic()
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
    if process.exitcode == -signal.SIGKILL and not job.finished(folder):
        return 0.0
    if process.exitcode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"exit code {process.exitcode}: {(folder / 'said').read_text()[-2000:]}")
    return time.monotonic() - started


def _command(module: str, arguments: Sequence[str], folder: Path) -> None:
    """Runs a command line in this process, which is a new one."""
    os.environ["XMODAL_HOME"] = str(folder / "home")
    with (folder / "said").open("wb", buffering=0) as said:
        for stream in (1, 2):
            os.dup2(said.fileno(), stream)
    try:
        code = importlib.import_module(module).main([module, *arguments])
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.exit(code)


def _newest(folder: Path, pattern: str) -> int:
    return max((path.stat().st_mtime_ns for path in folder.glob(pattern)), default=0)


def _imported() -> None:
    """Imports what runs need, and computes nothing: what TensorFlow has computed cannot be forked."""
    from xmodal.config.experiments import EXPERIMENTS

    # A process that is forked has no threads, and would wait for what they hold: pyarrow and numpy have some.
    os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    importlib.import_module("tensorflow")
    for name in EXPERIMENTS:
        importlib.import_module(f"xmodal.recipes.{name}")
    assert len(os.listdir("/proc/self/task")) == 1, "something has started threads"


def _save_data(folder: Path) -> None:
    import tiny_data

    tiny_data.save_tiny_data(folder)


def _job_of(name: str, flags: Sequence[str]) -> Job:
    if name == "fetch":
        return fetch_job()
    import tiny_data

    from xmodal.config.experiments import EXPERIMENTS

    reads = EXPERIMENTS[name].reads
    # Networks of random weights are most of the time, and are trained as others are.
    given = [f"--experiment={name}", *(["--nobaseline"] if "baseline" in reads else []), *flags]
    given += ["--speaker=efficientnet_lite0_imagenet", "--answers=cat,dog"] if "answers" in reads else []
    return run_job([*given, *tiny_data.flags_for(*given)], exports="saved_models_dir" in reads)


def _add_to(record: Path, name: str, count: Count, seed: int, seconds: float) -> None:
    """Writes what came of a job to a record, beside the jobs that the same code has added to it."""
    from xmodal import report

    before = json.loads(record.read_text()) if record.exists() else {}
    if before.get("commit") != report.commit():
        before = {}
    jobs = before.get("jobs", {}) | {name: vars(count)}
    told = {"cases": sum(job["kills"] for job in jobs.values()), "jobs": jobs}
    write_counts(record, "kills", seed, before.get("wall_seconds", 0.0) + seconds, told)


def main(arguments: Sequence[str]) -> int:
    """Runs the command line. Returns 0 when all ended as the one that was left alone."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("jobs", nargs="+", metavar="NAME:KILLS")
    parser.add_argument("--seed", type=int, default=0, help="of the moments; default %(default)s")
    parser.add_argument("--record", type=Path, help="a file for counts, beside those of this code")
    options, flags = parser.parse_known_args(arguments)
    record = options.record and options.record.absolute()
    started = time.perf_counter()
    _imported()
    counts = {}
    with tempfile.TemporaryDirectory() as folder:
        process = multiprocessing.get_context("fork").Process(target=_save_data, args=(Path(folder),))
        process.start()
        process.join()
        os.chdir(folder)
        for name, _, kills in (job.partition(":") for job in options.jobs):
            place = Path(folder, "killed", name)
            count = counts[name] = killed(_job_of(name, flags), int(kills), place, options.seed, kind="fork")
            print(
                f"{name:<18} {count.kills} kills; {count.same} of {count.ended} ends as without",
                flush=True,
            )
            shutil.rmtree(place)
            if record:
                _add_to(record, name, count, options.seed, time.perf_counter() - started)
                started = time.perf_counter()
    return int(any(count.same < count.ended for count in counts.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
