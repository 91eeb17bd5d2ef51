"""Two virtual CPU devices for the whole test process, so that mirrored strategies are really run."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import pytest

from xmodal.strategy import make_strategy


def pytest_configure(config):
    config.mirrored = make_strategy("mirrored", virtual_devices=2)


@pytest.fixture(scope="session")
def mirrored(pytestconfig):
    return pytestconfig.mirrored


@pytest.fixture(scope="session")
def one_device():
    return make_strategy("one_device")
