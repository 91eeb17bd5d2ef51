"""A few pictures, letters and pairs in folders, and flags of a run on them that takes seconds."""

from pathlib import Path

import numpy as np
import tensorflow as tf
from absl.testing import flagsaver
from tiny_bert import save_tiny_bert

from xmodal.config import flags
from xmodal.config.config import Config
from xmodal.config.experiments import EXPERIMENTS
from xmodal.core.errors import UserError

CLASSES = ("cat", "dog")
# Small networks and no repetition; paths start in the folder of `save_tiny_data`.
FLAGS = """\
--dataset=folder:photos
--documents=dir:letters
--pairs=csv:pairs.csv
--image_folder=photos
--text_encoder=bert
--image_weights=none
--features=block1_pool
--region_layer=block1_pool
--image_size=32
--sequence_length=16
--units=8
--word_vectors=random
--unseen=0
--seeds=1
--per_class=all
--generator_widths=8
--generator_epochs=1
--sampling_steps=2
--drawn=4
--min_per_class=2
--batch_size=8
--text_batch_size=8
--epochs=1
--head_epochs=1
--text_epochs=1
--text_examples=2
--fusion_epochs=1
--strategy=one_device
--offline
"""


def flags_for(*arguments: str) -> list[str]:
    """Returns those of `FLAGS` that a run with these arguments reads."""
    read = EXPERIMENTS[_parsed(*arguments).run.experiment].reads
    taken = [flag for flag in FLAGS.split() if flag.removeprefix("--").partition("=")[0] in read]
    config = _parsed(*arguments, *taken)
    with flagsaver.flagsaver():
        flags.parse(["run", *arguments, *taken])
        return [flag for flag in taken if not _is_idle(config, flag)]


def _parsed(*arguments: str) -> Config:
    with flagsaver.flagsaver():
        flags.parse(["run", *arguments])
        return flags.from_flags()


def _is_idle(config: Config, flag: str) -> bool:
    try:
        flags.require_read(config, ["run", flag])
    except UserError:
        return True
    return False


def save_tiny_data(folder: Path) -> None:
    """Writes 40 noisy pictures, 40 letters and a table of pairs of two classes, and a tiny BERT.

    The flagfile of an experiment is called like it, with what it reads; small.cfg holds all `FLAGS`.
    """
    save_tiny_bert(folder / "bert", longest=64)
    rng = np.random.default_rng(0)
    lines = ["image,text,label"]
    for number in range(40):
        name = CLASSES[number % 2]
        picture = f"{name}/{number}.png"
        pixels = rng.integers(0, 255, (32, 32, 3)).astype(np.uint8)
        _write(folder / "photos" / picture, tf.io.encode_png(pixels).numpy())
        letter = f"a photo of a {name} {'very ' * (number % 7)}number {number}"
        _write(folder / "letters" / name / f"{number}.txt", letter.encode())
        lines.append(f"{picture},a {name} or {number},{name}")
    (folder / "pairs.csv").write_text("\n".join(lines))
    (folder / "small.cfg").write_text(FLAGS)
    for experiment in EXPERIMENTS:
        own = [f"--experiment={experiment}", *flags_for(f"--experiment={experiment}")]
        (folder / f"{experiment}.cfg").write_text("\n".join(own))


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
