"""A run in the process of the tests, without the seconds of starting one: for what ends before a training."""

import logging
import subprocess
from contextlib import chdir, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import keras
from absl.testing import flagsaver

from xmodal.run import main


def run_here(*words: str, cwd: Path) -> subprocess.CompletedProcess:
    """Returns what `python -m xmodal.run WORDS` in a folder would leave: exit code and output."""
    output, errors = StringIO(), StringIO()
    policy, logger = keras.config.dtype_policy(), logging.getLogger("tensorflow")
    level = logger.level
    try:
        with flagsaver.flagsaver(), chdir(cwd), redirect_stdout(output), redirect_stderr(errors):
            code = main(["xmodal.run", *words])
    finally:
        keras.config.set_dtype_policy(policy)
        logger.setLevel(level)
    return subprocess.CompletedProcess(words, code, output.getvalue(), errors.getvalue())
