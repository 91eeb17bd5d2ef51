"""Runs one experiment: `python -m xmodal.run --flagfile=experiments/vgg_to_bert.cfg`."""

import importlib
import logging
import sys
from collections.abc import Sequence

from xmodal.config import flags
from xmodal.config.config import Config
from xmodal.core import versions
from xmodal.core.clock import Clock
from xmodal.core.console import log, log_error
from xmodal.core.errors import START_AGAIN, UserError, WorkerLost, system_errors, with_flags
from xmodal.core.signals import Terminated, sigterm_raised
from xmodal.core.tensorflow_start import start_tensorflow
from xmodal.runs import dry_run
from xmodal.runs.folder import CHECKPOINTS, lock_run_folder
from xmodal.training import cluster

DONE, USER_ERROR, INTERRUPTED, TERMINATED = 0, 2, 130, 143
GOES_ON = "the same command goes on from the last checkpoint"


def main(argv: Sequence[str]) -> int:
    """Runs the experiment that a command line asks for.

    Args:
        argv: the program's name, then flags.

    Returns:
        The exit code: 0 done, 2 an error that the user can fix, 75 another process of the job was lost,
        130 interrupted, 143 terminated.
    """
    if len(argv) < 2:
        log(flags.USAGE)
        return DONE
    try:
        if set(flags.HELP) & set(argv):
            log(f"{__doc__}\n\n{flags.help_text(argv)}")
            return DONE
        versions.check()
        words = flags.parse(argv)
        if words:
            raise UserError(f"{words[0]!r} is no flag", "flags start with --; see --help")
        with sigterm_raised(), system_errors():
            settings = flags.from_flags()
            flags.require_read(settings, argv)
            _run(settings)
    except UserError as error:
        log_error(f"error: {with_flags(error)}")
        return USER_ERROR
    except WorkerLost as error:
        log_error(f"error: {error}; start every process of the job again: {GOES_ON}")
        return START_AGAIN
    except KeyboardInterrupt:
        log_error(f"interrupted; {GOES_ON}")
        return INTERRUPTED
    except Terminated:
        log_error(f"terminated; {GOES_ON}")
        return TERMINATED
    return DONE


def _run(settings: Config) -> None:
    start_tensorflow()
    # It warns of retracing whenever several models are run one after the other.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    run = settings.run
    if run.dry_run:
        dry_run.dry_run(settings, _recipe)
    # The chief alone writes and speaks.
    elif cluster.current_worker(run.strategy).is_chief:
        folder, seconds_file = run.output_dir, run.output_dir / CHECKPOINTS / "seconds.json"
        with lock_run_folder(folder, settings.flagfile, overwrite=run.overwrite, restart=run.restart):
            _recipe(settings, Clock(record_path=seconds_file))
    else:
        _recipe(settings, Clock(log=lambda line: None))


def _recipe(settings: Config, clock: Clock) -> None:
    with clock.stage("start"):
        recipe = importlib.import_module(f"xmodal.recipes.{settings.run.experiment}")
        from xmodal.training.strategy import lost_workers_noticed
    with lost_workers_noticed(cluster.current_worker(settings.run.strategy)):
        recipe.run(settings, clock)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
