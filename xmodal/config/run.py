"""The run: its files, checkpoints and devices."""

from dataclasses import dataclass
from pathlib import Path

from xmodal.config.experiments import EXPERIMENTS
from xmodal.config.fields import Group, option
from xmodal.core.files import path_of

STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker", "tpu")


@dataclass(frozen=True)
class RunConfig(Group):
    """The run: its files, checkpoints and devices."""

    experiment: str = option("vgg_to_bert", "The experiment to run.", choices=tuple(EXPERIMENTS))
    output_dir: Path = option(
        None, "Folder for the files of the run; default runs/<experiment>.", parse=path_of
    )
    saved_models_dir: Path = option(
        "saved_models", "Exports go to <this>/<experiment>/<version>/.", parse=path_of
    )
    overwrite: bool = option(False, "Replace the finished run in --output_dir.")
    restart: bool = option(False, "Discard the unfinished run in --output_dir and start from the beginning.")
    dry_run: bool = option(
        False,
        "Take a few steps of every loop, estimate time and memory of the run, and leave no files.",
    )
    checkpoint_seconds: float = option(60.0, "Seconds between two checkpoints of a training.", least=0)
    checkpoint_steps: int = option(
        0, "Steps between two checkpoints, in addition; 0 goes by the seconds alone.", least=0
    )
    deterministic: bool = option(
        False, "Use only operations that give the same bits in every run; may be slower."
    )
    export: bool = option(
        True, "Export a SavedModel and compare it with the model in memory, in a fresh process."
    )
    portable: bool = option(
        False, "Also export the model as ONNX and as a .keras file, and check both; needs the extra onnx."
    )
    small: bool = option(False, "Also export int8 and LiteRT variants of the model, and measure them.")
    record: Path | None = option(
        None, "JSON file for the results of the run, with flags, commit and hardware.", parse=path_of
    )
    track: str = option(
        "",
        "Also send epochs, results and the report to a tracker of experiments.",
        choices=("", "mlflow", "wandb"),
    )
    seed: int = option(0, "Seed of splits, initial weights, shuffling and augmentation.", least=0)
    strategy: str = option(
        "auto", "tf.distribute strategy; auto uses every GPU that it finds.", choices=STRATEGIES
    )
    virtual_devices: int = option(
        1, "Split the CPU into this many devices, to run mirrored without GPUs.", least=1, most=256
    )
    offline: bool = option(False, "Download nothing.")
    feature_cache_gb: float = option(
        10.0, "Maximum size of the cache of features of frozen backbones, in GB; 0 disables it.", least=0
    )

    def __post_init__(self):
        super().__post_init__()
        if self.output_dir is None:
            object.__setattr__(self, "output_dir", Path("runs") / self.experiment)
