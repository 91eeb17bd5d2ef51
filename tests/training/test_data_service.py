"""Input that two workers of a real tf.data service read."""

import socket

import keras
import numpy as np
import pytest
import tensorflow as tf

from xmodal.config import flags as config_flags
from xmodal.config.config import Config
from xmodal.config.training import TrainConfig
from xmodal.core.errors import UserError
from xmodal.data.batches import Batches
from xmodal.training.loop import fit
from xmodal.training.losses import cross_entropy

service = tf.data.experimental.service


@pytest.fixture(scope="module")
def address():
    # All at once, or the dispatcher could be given the port of a worker.
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    own, *ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    workers = [f"localhost:{port}" for port in ports]
    dispatcher = service.DispatchServer(service.DispatcherConfig(port=own, worker_addresses=workers))
    place = dispatcher.target.removeprefix("grpc://")
    started = [
        service.WorkerServer(service.WorkerConfig(dispatcher_address=place, worker_address=worker, port=port))
        for worker, port in zip(workers, ports, strict=True)
    ]
    yield place
    del started


def trained(strategy, data_service: str, rate: float, epochs: int = 2):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(37, 6)).astype(np.float32)
    labels = (images[:, 0] > 0).astype(np.int32)
    with strategy.scope():
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(2)])
    rows = tf.data.Dataset.from_tensor_slices({"x": images, "y": labels}).batch(8)
    history = fit(
        model,
        lambda epoch: Batches(rows, lambda row: (row["x"], row["y"], tf.ones_like(row["x"][:, 0]))),
        loss=cross_entropy(),
        optimizer=lambda steps: keras.optimizers.SGD(rate),
        epochs=epochs,
        strategy=strategy,
        stage="",
        config=TrainConfig(data_service=data_service),
    )
    return history


def test_every_example_comes_once_an_epoch(address, one_device, mirrored):
    # With a rate of zero, the loss tells which examples were seen, in whatever order.
    expected = trained(one_device, "", rate=0.0)
    for strategy in (one_device, mirrored):
        seen = trained(strategy, address, rate=0.0)
        for a, b in zip(seen.epochs, expected.epochs, strict=True):
            assert a["loss"] == pytest.approx(b["loss"], abs=1e-6)
            assert a["accuracy"] == pytest.approx(b["accuracy"], abs=1e-6)


def test_a_model_learns_from_it(address, one_device):
    losses = [epoch["loss"] for epoch in trained(one_device, address, rate=0.5, epochs=8).epochs]
    assert losses[-1] < 0.7 * losses[0]


def test_an_order_that_is_not_fixed_is_not_deterministic(parsed):
    with pytest.raises(UserError, match="--data_service=host:5000 brings batches in no fixed order; leave"):
        parsed("--data_service=host:5000", "--deterministic")


@pytest.fixture
def parsed():
    from absl.testing import flagsaver

    def parse(*flags: str) -> Config:
        config_flags.parse(["run", *flags])
        return config_flags.from_flags()

    with flagsaver.flagsaver():
        yield parse
