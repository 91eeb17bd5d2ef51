"""What the benchmark of inputs of another kind cannot ask; `test_run` has one that it asks."""

import pytest
from absl.testing import flagsaver

from xmodal.bench import open_set
from xmodal.config import flags
from xmodal.core.clock import Clock
from xmodal.core.errors import UserError


def measured(*options):
    with flagsaver.flagsaver():
        flags.parse(["bench", "--bench=open_set", "--dataset=mnist_5k", "--limit=60", *options])
        return open_set.measure(flags.from_flags(), Clock())


def test_what_cannot_be_asked(tiny_exported):
    with pytest.raises(UserError, match=r"^`--bench=open_set` needs an export; give its folder as `model`$"):
        measured()
    with pytest.raises(UserError, match="does not tell how strange an input is"):
        measured(f"--model={tiny_exported[1]}")
