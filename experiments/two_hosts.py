"""Trains on two hosts, kills one of them in mid-epoch, and checks that nothing is lost.

    sudo python experiments/two_hosts.py [--result=FILE]

The hosts are two network namespaces with addresses of their own, joined by a veth pair (iproute2, root).
A job of two workers trains once without interruption and once with: one worker gets SIGKILL in the middle
of an epoch; the other must notice within NOTICED_SECONDS and exit with 75, as a supervisor (systemd,
Slurm's requeue, Kubernetes' restartPolicy) expects; both are started again, go on from the last checkpoint,
and must end with the weights of the uninterrupted job, bit for bit. The chief and the other worker are
killed in turn. Only the chief sees the folder of checkpoints.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
NAMES = ("xmodal-host-0", "xmodal-host-1")
ADDRESSES = ("10.77.0.1", "10.77.0.2")
PORT = 9000
NOTICED_SECONDS = 30
LOST = 75


def main() -> None:
    """Runs the jobs and prints, or writes to --result, what was seen."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("--result", type=Path, help="JSON file for what was seen")
    options = parser.parse_args()
    make_network()
    try:
        with tempfile.TemporaryDirectory() as folder:
            seen = {f"worker {killed} killed": interrupted_job(Path(folder), killed) for killed in (0, 1)}
    finally:
        remove_network()
    print(json.dumps(seen, indent=2))
    if options.result:
        options.result.write_text(json.dumps(seen, indent=2) + "\n")


def interrupted_job(folder: Path, killed: int) -> dict[str, float | int]:
    """Runs a job whole and one that loses a worker, and compares their weights."""
    whole, cut = folder / f"whole-{killed}", folder / f"cut-{killed}"
    if not all(process.wait(timeout=300) == 0 for process in start_job(whole)):
        raise SystemExit(f"the uninterrupted job failed: {tail(whole)}")
    job = start_job(cut)
    step = wait_for_step(cut, 7)
    # `ip netns exec` became the worker itself.
    job[killed].kill()
    died = time.monotonic()
    survivor = job[1 - killed]
    try:
        code = survivor.wait(timeout=NOTICED_SECONDS)
    except subprocess.TimeoutExpired:
        survivor.kill()
        raise SystemExit(f"worker {1 - killed} did not notice within {NOTICED_SECONDS} s") from None
    noticed = time.monotonic() - died
    if code != LOST:
        raise SystemExit(f"worker {1 - killed} exited with {code}, not {LOST}: {tail(cut)}")
    job[killed].wait()
    if not all(process.wait(timeout=300) == 0 for process in start_job(cut)):
        raise SystemExit(f"the job did not go on: {tail(cut)}")
    differences = [
        float(np.abs(a[name] - b[name]).max())
        for index in range(2)
        for a, b in [(np.load(whole / f"{index}.npz"), np.load(cut / f"{index}.npz"))]
        for name in a.files
    ]
    if max(differences) != 0.0:
        raise SystemExit(f"the weights differ by {max(differences)}")
    return {"killed after step": step, "noticed seconds": round(noticed, 1), "largest difference": 0.0}


def start_job(folder: Path) -> list[subprocess.Popen]:
    """Starts both workers, each in its own namespace; only the first gets the folder of checkpoints."""
    folder.mkdir(exist_ok=True)
    hosts = [f"{address}:{PORT}" for address in ADDRESSES]
    processes = []
    for index, name in enumerate(NAMES):
        told = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
        kept = folder / "kept" if index == 0 else folder / "of nobody"
        command = ["ip", "netns", "exec", name, sys.executable, str(ROOT / "tests" / "helpers" / "worker.py")]
        with open(folder / f"{index}.log", "w") as log:
            processes.append(
                subprocess.Popen(
                    [*command, str(folder / f"{index}.npz"), str(kept)],
                    env=os.environ | {"TF_CONFIG": json.dumps(told), "PYTHONPATH": str(ROOT)},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )
    return processes


def wait_for_step(folder: Path, number: int) -> int:
    """Waits until a step of that number has been saved, and returns the last one."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        saved = sorted(path.name for path in (folder / "kept" / "several").glob("[0-9]*"))
        if saved and int(saved[-1]) >= number:
            return int(saved[-1])
        time.sleep(0.02)
    raise SystemExit(f"no step {number} within 300 s: {tail(folder)}")


def tail(folder: Path) -> str:
    """Returns the last lines of both workers."""
    return "\n".join((folder / f"{index}.log").read_text()[-1500:] for index in range(2))


def make_network() -> None:
    """Makes the two namespaces and the cable between them."""
    remove_network()
    for name in NAMES:
        ip("netns", "add", name)
    ip("link", "add", "xmodal0", "netns", NAMES[0], "type", "veth", "peer", "xmodal1", "netns", NAMES[1])
    for index, (name, address) in enumerate(zip(NAMES, ADDRESSES, strict=True)):
        ip("-n", name, "address", "add", f"{address}/24", "dev", f"xmodal{index}")
        for device in ("lo", f"xmodal{index}"):
            ip("-n", name, "link", "set", device, "up")


def remove_network() -> None:
    """Removes the namespaces, and with them their devices."""
    there = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    for name in NAMES:
        if name in there:
            ip("netns", "delete", name)


def ip(*words: str) -> None:
    """Runs iproute2's ip."""
    subprocess.run(["ip", *words], check=True)


if __name__ == "__main__":
    main()
