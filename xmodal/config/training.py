"""What is common to every training."""

from dataclasses import dataclass
from pathlib import Path

OPTIMIZERS = ("adamw", "sgd")
SCHEDULES = ("cosine", "linear", "constant")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


@dataclass(frozen=True)
class TracedSteps:
    """The first and the last step of each training that are traced, from 1 on, and where to."""

    first: int
    last: int
    folder: Path


@dataclass(frozen=True)
class TrainConfig:
    """What is common to every training."""

    optimizer: str = "adamw"
    schedule: str = "cosine"
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip_norm: float = 0.0
    accumulate: int = 1
    ema: float = 0.0
    precision: str = "float32"
    jit: str = "auto"
    baseline: bool = True
    scratch_learning_rates: tuple[float, ...] = (1e-4, 3e-4, 1e-3)
    steps_per_call: int = 1
    data_service: str = ""
    profile_steps: TracedSteps | None = None
