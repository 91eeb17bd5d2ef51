"""Which of a job's processes this one is, from the environment, before TensorFlow starts."""

import json
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from xmodal.core.console import log_error
from xmodal.core.errors import UserError

EXAMPLE = (
    'set TF_CONFIG on each host, such as {"cluster": {"worker": ["10.0.0.1:9000", "10.0.0.2:9000"]}, '
    '"task": {"type": "worker", "index": 0}}, or start it with srun'
)

# How long a process waits for the others of its job.
MAX_SECONDS = 300.0


@dataclass(frozen=True)
class Worker:
    """The number of this process among those of its job, from 0; the chief's is 0."""

    index: int
    workers: int

    @property
    def is_chief(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.index == 0


def current_worker(strategy: str, environment: Mapping[str, str] = os.environ) -> Worker:
    """Returns which process of its job this one is.

    Args:
        strategy: the flag; all but "multi_worker" are jobs of one process.
        environment: holds TF_CONFIG, or the variables that Slurm's srun sets.

    Raises:
        UserError: when it does not say, or does not fit together.
    """
    if strategy != "multi_worker":
        return Worker(0, 1)
    if "TF_CONFIG" in environment:
        return _of_tf_config(environment["TF_CONFIG"])
    if "SLURM_PROCID" in environment:
        tasks = environment.get("SLURM_STEP_NUM_TASKS") or environment.get("SLURM_NTASKS") or "1"
        number = environment["SLURM_PROCID"]
        if not (number.isdecimal() and tasks.isdecimal() and int(number[:9]) < int(tasks[:9])):
            raise UserError(f"SLURM_PROCID={number!r} is no process of {tasks!r}", "start it with srun")
        return Worker(int(number[:9]), int(tasks[:9]))
    raise UserError("`strategy=multi_worker` needs to know the other hosts", EXAMPLE)


def wait_for_hosts(
    hosts: Sequence[str],
    this: Worker,
    *,
    seconds: float = MAX_SECONDS,
    pause: float = 0.5,
    log: Callable[[str], None] = log_error,
) -> None:
    """Waits until all processes of a job have started, and says which ones have not.

    TensorFlow waits for an hour without a word, and neither Ctrl-C nor SIGTERM ends that. So each process
    first listens on its port itself.

    Args:
        hosts: HOST:PORT of each process of the job, in order.
        this: which of them this one is.
        seconds: the most that it waits.
        pause: seconds between two looks at who is there.
        log: where a line about the missing ones goes.

    Raises:
        UserError: when its port is taken, or one of the others has not come.
    """
    reported_hosts: dict[int, str] = {}
    start = time.monotonic()
    with _listen(hosts[this.index], this):
        while True:
            other_hosts = {index: host for index, host in enumerate(hosts) if index != this.index}
            missing_hosts = {index: host for index, host in other_hosts.items() if not _is_listening(host)}
            names = ", ".join(f"worker {index} ({host})" for index, host in missing_hosts.items())
            elapsed = time.monotonic() - start
            if not missing_hosts:
                return
            if elapsed > seconds:
                raise UserError(
                    f"{names} of the job did not start within {seconds:.0f} s",
                    "start every process, each with a number of its own, where the others can reach it",
                )
            # Processes that are started together come within seconds.
            if missing_hosts != reported_hosts and elapsed > min(5, seconds / 2):
                log(f"waiting for {names}, at most {seconds:.0f} s")
                reported_hosts = missing_hosts
            time.sleep(pause)


def _listen(host: str, worker: Worker) -> socket.socket:
    port = int(host.rpartition(":")[2])
    try:
        return socket.create_server(("", port), backlog=128)
    except OSError as error:
        raise UserError(
            f"worker {worker.index} of the job cannot listen on port {port} ({error.strerror})",
            "give each process a number and a port of its own",
        ) from error


def _is_listening(host: str) -> bool:
    name, _, port = host.rpartition(":")
    try:
        socket.create_connection((name.strip("[]"), int(port)), timeout=2).close()
    except OSError:
        return False
    return True


def _of_tf_config(text: str) -> Worker:
    try:
        config = json.loads(text)
        chiefs, workers = (list(config["cluster"].get(job, ())) for job in ("chief", "worker"))
        kind, index = config["task"]["type"], int(config["task"]["index"])
        jobs = {"chief": chiefs, "worker": workers}
        if len(chiefs) > 1 or not 0 <= index < len(jobs[kind]):
            raise ValueError(f"there is no task {kind} {index}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"TF_CONFIG={text!r} cannot be used ({error})", EXAMPLE) from error
    return Worker(index + (len(chiefs) if kind == "worker" else 0), len(chiefs) + len(workers))
