"""Where a run lives and what it runs on."""

from dataclasses import dataclass
from pathlib import Path

BENCHES = ("speed", "growth", "engine", "text_stage", "scrub", "serving")
SPEED_ROWS = ("forward", "train", "bert", "input", "text", "start", "run")
STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker", "tpu")


@dataclass(frozen=True)
class RunConfig:
    """Where a run lives and what it runs on."""

    experiment: str
    output_dir: Path
    saved_models_dir: Path
    overwrite: bool
    restart: bool
    dry_run: bool
    checkpoint_seconds: float
    checkpoint_steps: int
    deterministic: bool
    export: bool
    small: bool
    record: Path | None
    bench: str
    rows: tuple[str, ...]
    peer_epochs: int
    seed: int
    strategy: str
    virtual_devices: int
    offline: bool
    feature_cache_gb: float
