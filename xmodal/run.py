"""Runs one experiment: `python -m xmodal.run --flagfile=experiments/vgg_to_bert.cfg`."""

import importlib
import os
import signal
import sys
from collections.abc import Sequence

from xmodal import config, run_folder, versions
from xmodal.errors import UserError
from xmodal.files import folder_lock

DONE, USER_ERROR, INTERRUPTED, TERMINATED = 0, 2, 130, 143
GOES_ON = "the same command goes on from the last checkpoint"


class Terminated(BaseException):
    """SIGTERM came. No `except Exception` may take it for an error."""


def main(argv: Sequence[str]) -> int:
    """Runs the experiment that a command line asks for.

    Args:
        argv: the program's name, then flags.

    Returns:
        The exit code: 0 done, 2 something that the user can mend, 130 interrupted, 143 terminated.
    """
    if {"--help", "-h", "--helpfull"} & set(argv):
        print(f"{__doc__}\n{config.help_text()}")
        return DONE
    before = signal.signal(signal.SIGTERM, _terminate)
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
        print(f"interrupted; {GOES_ON}", file=sys.stderr)
        return INTERRUPTED
    except Terminated:
        print(f"terminated; {GOES_ON}", file=sys.stderr)
        return TERMINATED
    finally:
        signal.signal(signal.SIGTERM, before)
    return DONE


def _run(settings: config.Config) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    run = settings.run
    with folder_lock(run.output_dir, wait=False):
        run_folder.begin(run.output_dir, settings.flagfile, overwrite=run.overwrite, restart=run.restart)
        recipe = importlib.import_module(f"xmodal.recipes.{run.experiment}")
        recipe.run(settings)
        run_folder.finish(run.output_dir, settings.flagfile)


def _terminate(number, frame):
    raise Terminated


if __name__ == "__main__":
    sys.exit(main(sys.argv))
