"""Two virtual CPU devices for the whole test process, so that mirrored strategies are really run."""

import gc
import os
import signal
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest
import tensorflow as tf
import warm_python
from jail import run_in_jail

from xmodal.export import compressed, verification
from xmodal.training.strategy import make_strategy


def pytest_configure(config):
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As in the background of a shell script. What the tests start has to hear Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        # As under nohup. What the tests start has to hear that its terminal was closed.
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    # A third of the time of tests was spent on making graphs faster that run once or twice. Processes that
    # tests start with `sys.executable` have Grappler.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    config.mirrored = make_strategy("mirrored", virtual_devices=2)


def pytest_collection_finish():
    # What is imported stays, and need not be looked through again and again for what may go.
    gc.collect()
    gc.freeze()


class WarmPython:
    """What stands for the module `sys` where exports are checked."""

    executable = property(lambda self: warm_python.path())


@pytest.fixture(scope="session", autouse=True)
def exports_are_checked_by_a_warm_python():
    """`tests/export/test_saved_model.py` has them checked by processes that are started anew."""
    with (
        mock.patch.object(verification, "sys", WarmPython()),
        mock.patch.object(compressed, "sys", WarmPython()),
    ):
        yield


@pytest.fixture(scope="session")
def mirrored(pytestconfig):
    return pytestconfig.mirrored


@pytest.fixture(scope="session")
def one_device():
    return make_strategy("one_device")


@pytest.fixture(scope="session")
def tiny_exported(tmp_path_factory):
    """A tiny model in memory and its export, which no test may change: (ServedImages, its folder)."""
    from tiny_export import tiny_served

    from xmodal.export.saved_model import export_saved_model

    served = tiny_served(tmp_path_factory.mktemp("preset"))
    return served, export_saved_model(served, tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="session")
def render_results():
    """The script that renders the recorded runs."""
    import render_results

    return render_results


@pytest.fixture
def jailed(tmp_path):
    """An empty folder in which `jail.run_in_jail` locks processes."""
    done = run_in_jail(tmp_path, "")
    if done.returncode:
        pytest.skip(f"this system gives no namespaces: {done.stderr.splitlines()[-1]}")
    return tmp_path
