"""Runs one experiment: `python -m xmodal.run --flagfile=experiments/vgg_to_bert.cfg`."""

import importlib
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from xmodal import config, versions
from xmodal.clock import Clock
from xmodal.errors import UserError
from xmodal.files import folder_lock, write_text

DONE, USER_ERROR, INTERRUPTED = 0, 2, 130
# What a run leaves in its folder, and --overwrite therefore removes.
LEFT = ("config.cfg", "metrics.json", "metrics.jsonl", "transfer.json", "report.html", "tensorboard")


def main(argv: Sequence[str]) -> int:
    """Runs the experiment that a command line asks for.

    Args:
        argv: the program's name, then flags.

    Returns:
        The exit code: 0 done, 2 something that the user can mend, 130 interrupted.
    """
    if {"--help", "-h", "--helpfull"} & set(argv):
        print(f"{__doc__}\n{config.help_text()}")
        return DONE
    try:
        versions.check()
        words = config.parse(argv)
        if words:
            raise UserError(f"{words[0]!r} is no flag", "flags start with --; see --help")
        _run(config.from_flags())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return USER_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    return DONE


def _run(settings: config.Config) -> None:
    # Read when TensorFlow is first imported, which the recipe does.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    clock = Clock()
    folder = settings.run.output_dir
    with folder_lock(folder, wait=False):
        _clear(folder, settings.run.overwrite)
        write_text(folder / "config.cfg", settings.flagfile)
        with clock.stage("start"):
            recipe = importlib.import_module(f"xmodal.recipes.{settings.run.experiment}")
        recipe.run(settings, clock)


def _clear(folder: Path, overwrite: bool) -> None:
    if (folder / "metrics.json").exists() and not overwrite:
        raise UserError(
            f"--output_dir={folder} holds a finished run", "choose another folder or add --overwrite"
        )
    for path in (folder / name for name in LEFT if (folder / name).exists()):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


if __name__ == "__main__":
    sys.exit(main(sys.argv))
