"""Which of a job's processes this one is, told from the environment before TensorFlow starts."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from xmodal.core.errors import UserError

EXAMPLE = (
    'set TF_CONFIG on each host, such as {"cluster": {"worker": ["10.0.0.1:9000", "10.0.0.2:9000"]}, '
    '"task": {"type": "worker", "index": 0}}, or start it with srun'
)


@dataclass(frozen=True)
class Place:
    """The number of this process among those of its job, from 0; the chief's is 0."""

    index: int
    workers: int

    @property
    def is_chief(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.index == 0


def place(strategy: str, environment: Mapping[str, str] = os.environ) -> Place:
    """Returns the place of this process in its job.

    Args:
        strategy: the flag; all but "multi_worker" are jobs of one process.
        environment: holds TF_CONFIG, or the variables that Slurm's srun sets.

    Raises:
        UserError: when it does not say, or does not fit together.
    """
    if strategy != "multi_worker":
        return Place(0, 1)
    if "TF_CONFIG" in environment:
        return _of_tf_config(environment["TF_CONFIG"])
    if "SLURM_PROCID" in environment:
        tasks = environment.get("SLURM_STEP_NUM_TASKS") or environment.get("SLURM_NTASKS") or "1"
        return Place(int(environment["SLURM_PROCID"]), int(tasks))
    raise UserError("--strategy=multi_worker needs to know the other hosts", EXAMPLE)


def _of_tf_config(text: str) -> Place:
    try:
        told = json.loads(text)
        chiefs, workers = (list(told["cluster"].get(job, ())) for job in ("chief", "worker"))
        kind, index = told["task"]["type"], int(told["task"]["index"])
        jobs = {"chief": chiefs, "worker": workers}
        if len(chiefs) > 1 or not 0 <= index < len(jobs[kind]):
            raise ValueError(f"there is no task {kind} {index}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"TF_CONFIG={text!r} cannot be used ({error})", EXAMPLE) from error
    return Place(index + (len(chiefs) if kind == "worker" else 0), len(chiefs) + len(workers))
