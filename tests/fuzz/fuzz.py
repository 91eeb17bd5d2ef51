"""Gives every door of the package what nobody means to give, in a jail, and counts what holds.

    python tests/fuzz/fuzz.py --cases=35000 --record=experiments/results/fuzz.json
    python tests/fuzz/fuzz.py --target=tables --cases=1000 --seed=7

The same seed gives the same cases.
"""

import argparse
import collections
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/helpers"), str(Path(__file__).parent)]
# No case takes longer than this: in seconds of the processor, and by the clock, where something else may run.
BUSIEST, LONGEST = 20, 200
# Of failures that are told of one target.
TOLD = 5


@dataclass
class Count:
    """What came of the cases of a target.

    Attributes:
        cases: how many were tried.
        held: how many of them did as they should.
        failures: a line each for the first others.
    """

    cases: int = 0
    held: int = 0
    failures: list[str] = field(default_factory=list)


def tried(name: str, cases: int, seed: int) -> Count:
    """Tries cases of one target in this process, which is in the jail."""
    import hypothesis
    import targets
    from hypothesis import HealthCheck, Phase, settings
    from hypothesis import strategies as st
    from hypothesis.errors import HypothesisException

    count = Count()

    @hypothesis.seed(seed)
    @settings(
        max_examples=cases,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(st.data())
    def attempt(data):
        try:
            _limit(BUSIEST, LONGEST)
            targets.TARGETS[name].check(data)
        except HypothesisException:
            raise
        except (Exception, TooLong) as error:
            count.failures.append(_line(error))
        else:
            count.held += 1
        finally:
            _limit(0, 0)
        count.cases += 1

    for number in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(number, _too_long)
    if targets.TARGETS[name].tensorflow:
        # It is no case that takes so long to start.
        importlib.import_module("tensorflow")
    attempt()
    counted = collections.Counter(count.failures)
    count.failures = [f"{times} x {line}" for line, times in counted.most_common(TOLD)]
    return count


class TooLong(BaseException):
    """No Exception, which somebody may take for an error of the system."""


def _limit(busy: int, seconds: int) -> None:
    """Lets a case take so many seconds of the processor, and by the clock; 0 for any."""
    signal.setitimer(signal.ITIMER_PROF, busy)
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _too_long(number, frame) -> None:
    raise TooLong(f"more than {BUSIEST if number == signal.SIGPROF else LONGEST} s")


def _line(error: BaseException) -> str:
    """Says where something went wrong, in the package if it was there."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/xmodal/" in frame.filename] or frames
    told = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return f"{Path(ours[-1].filename).name}:{ours[-1].lineno}: {told!a}"


def in_jail(divided: dict[str, int], seed: int) -> dict[str, Count]:
    """Tries cases of targets in one process of their own, locked in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.run(
            [
                sys.executable,
                __file__,
                f"--jail={folder}",
                f"--seed={seed}",
                f"--divided={json.dumps(divided)}",
            ],
            env=_environment(folder),
            capture_output=True,
            text=True,
            timeout=300 + 2 * sum(divided.values()),
            check=False,
        )
        assert os.listdir(folder) == [], "something was written outside of the jail"
    counts = {name: Count(**json.loads(told)) for name, told in map(_split, process.stdout.splitlines())}
    # Of a process that crashes, nothing held in the target that it was at, nor in those after it.
    crashed = f"the process ended with {process.returncode}: {process.stderr[-300:]!a}"
    return {name: counts.get(name, Count(cases, 0, [crashed])) for name, cases in divided.items()}


def _split(line: str) -> tuple[str, str]:
    name, _, told = line.partition(" ")
    return name, told


def _environment(folder: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
    places = dict.fromkeys(("HOME", "TMPDIR", "XMODAL_HOME", "MPLCONFIGDIR"), folder)
    # No variable of the user's reaches a case.
    return {
        **kept,
        **places,
        "PYTHONDONTWRITEBYTECODE": "1",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "CUDA_VISIBLE_DEVICES": "",
    }


def parts(cases: int, target: str | None, *, tensorflow: bool) -> list[dict[str, int]]:
    """Divides so many cases, or some more, among the targets without TensorFlow, and those with it."""
    import targets

    found = targets.TARGETS
    chosen = [name for name in found if target in (None, name) and (tensorflow or not found[name].tensorflow)]
    whole = sum(found[name].share for name in chosen)
    divided = {name: -(-cases * found[name].share // whole) for name in chosen}
    kinds = ({n: c for n, c in divided.items() if found[n].tensorflow == needs} for needs in (False, True))
    return [part for part in kinds if part]


def main(arguments: Sequence[str]) -> int:
    """Runs the command line. Returns 0 when everything held."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=2000, help="in all; default %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default %(default)s")
    parser.add_argument("--target", help="one alone")
    parser.add_argument("--tensorflow", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--record", type=Path, help="a file for what was counted")
    for name in ("--jail", "--divided"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.jail:
        import jail

        jail.enter(Path(options.jail))
        warnings.simplefilter("ignore")
        for name, cases in json.loads(options.divided).items():
            print(name, json.dumps(vars(tried(name, cases, options.seed))), flush=True)
        return 0
    started = time.perf_counter()
    counts = {}
    for part in parts(options.cases, options.target, tensorflow=options.tensorflow):
        counts |= in_jail(part, options.seed)
    for name, count in counts.items():
        print(f"{name:<28} {count.held:>7,} of {count.cases:>7,}", *count.failures, sep="\n    ", flush=True)
    cases, held = (sum(getattr(count, what) for count in counts.values()) for what in ("cases", "held"))
    print(f"{held:,} of {cases:,} held, in {time.perf_counter() - started:.0f} s")
    if options.record:
        from counts import write_counts

        told = {
            "cases": cases,
            "held": held,
            "targets": {name: vars(count) for name, count in counts.items()},
        }
        write_counts(options.record, "fuzz", options.seed, time.perf_counter() - started, told)
    return int(held < cases)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
