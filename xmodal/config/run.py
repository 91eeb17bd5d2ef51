"""Where a run lives and what it runs on."""

from dataclasses import dataclass
from pathlib import Path

from xmodal.config.experiments import EXPERIMENTS
from xmodal.config.fields import Group, option

BENCHES = ("speed", "growth", "engine", "text_stage", "scrub", "serving")
SPEED_ROWS = ("forward", "train", "bert", "input", "text", "start", "run")
STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker", "tpu")


@dataclass(frozen=True)
class RunConfig(Group):
    """Where a run lives and what it runs on."""

    experiment: str = option("vgg_to_bert", "The system to run.", choices=EXPERIMENTS)
    output_dir: Path = option(None, "Folder of the run's files; default runs/<experiment>.", parse=Path)
    saved_models_dir: Path = option(
        "saved_models", "Exports go to <this>/<experiment>/<version>/.", parse=Path
    )
    overwrite: bool = option(False, "Replace the finished run that --output_dir holds.")
    restart: bool = option(False, "Drop what an unfinished run left in --output_dir, and begin anew.")
    dry_run: bool = option(
        False,
        "Take a few steps of every loop, say how long the run would take and how much memory, and "
        "leave nothing.",
    )
    checkpoint_seconds: float = option(60.0, "Save a training when so many seconds have passed.", least=0)
    checkpoint_steps: int = option(
        0, "Save a training also every so many steps; 0 goes by the seconds.", least=0
    )
    deterministic: bool = option(
        False, "Take only operations that give the same bits in every run; may be slower."
    )
    export: bool = option(True, "Export a SavedModel and compare it in a fresh process.")
    small: bool = option(
        False, "Make int8 and LiteRT forms of the export of bert_news or vgg_to_bert, and measure them."
    )
    record: Path | None = option(
        None, "JSON file for the run's figures, with flags, commit and hardware.", parse=Path
    )
    bench: str = option("speed", "What python -m xmodal.bench measures.", choices=BENCHES)
    rows: tuple[str, ...] = option(SPEED_ROWS, "What --bench=speed compares.", choices=SPEED_ROWS)
    peer_epochs: int = option(
        0,
        "Epochs that the plain Keras code of --rows=run takes; the time of the others is reckoned. 0 "
        "takes all.",
        least=0,
    )
    seed: int = option(0, "Seed of splits, initial weights, orders and augmentation.", least=0)
    strategy: str = option(
        "auto", "tf.distribute strategy; auto takes every GPU that it finds.", choices=STRATEGIES
    )
    virtual_devices: int = option(
        1, "Split the CPU into this many devices, to run mirrored without GPUs.", least=1, most=256
    )
    offline: bool = option(False, "Make no attempt to fetch anything.")
    feature_cache_gb: float = option(
        10.0, "Most GB of kept features of frozen trunks; 0 keeps none.", least=0
    )

    def __post_init__(self):
        super().__post_init__()
        if self.output_dir is None:
            object.__setattr__(self, "output_dir", Path("runs") / self.experiment)
