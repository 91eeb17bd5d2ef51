"""tf.distribute strategies from a word, and what they run on."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache

import keras
import tensorflow as tf

from xmodal.core.console import log_error
from xmodal.core.errors import UserError, WorkerLost
from xmodal.training import cluster

LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)


def make_strategy(
    kind: str, virtual_devices: int = 1, *, deterministic: bool = False
) -> tf.distribute.Strategy:
    """Makes the strategy that a run's models are built and trained in.

    Args:
        kind: "one_device", "mirrored" (every device of the best kind, in step), "auto" (mirrored
            when there is more than one such device), "multi_worker" (the devices of several processes,
            which TF_CONFIG or Slurm's variables tell, in step) or "tpu" (untested).
        virtual_devices: split the CPU into this many devices, before TensorFlow starts its runtime.
        deterministic: take only operations that give the same bits in every run on the same hardware.

    Raises:
        UserError: when the CPU cannot be split because the runtime has started, or there are GPUs;
            when the other processes are not named, or there is no TPU.
    """
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    if virtual_devices > 1:
        _split_cpu(virtual_devices)
    if kind == "multi_worker":
        return _multi_worker()
    if kind == "tpu":
        return _tpu()
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    names = [device.name for device in devices]
    if kind == "mirrored" or (kind == "auto" and len(names) > 1):
        return _mirrored(*names)
    return tf.distribute.OneDeviceStrategy(names[0])


def workers(strategy: tf.distribute.Strategy) -> cluster.Worker:
    """Returns which process this one is among those that a strategy spans."""
    is_multi_worker = isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy)
    return cluster.current_worker("multi_worker" if is_multi_worker else "")


def require_scope(model: keras.Model, strategy: tf.distribute.Strategy) -> None:
    """Checks that a model was built in a strategy's scope: only then is there a copy of it on each device.

    Raises:
        UserError: when it was not, or has no weights yet.
    """
    if not model.built:
        raise UserError(
            f"the model {model.name!r} has no weights yet",
            "begin it with keras.Input, or call it on a batch where it is built",
        )
    for variable in model.variables:
        if not strategy.extended.variable_created_in_scope(variable.value):
            raise UserError(
                f"{variable.path!r} of the model {model.name!r} was not made in the scope of the "
                f"{type(strategy).__name__.lstrip('_')} that is to train it",
                "build or load the model within `with trainer.scope():`",
            )


@contextmanager
def lost_workers_noticed(among: tf.distribute.Strategy | cluster.Worker) -> Iterator[None]:
    """Turns the errors of operations across processes into a `WorkerLost`; with a single process, nothing.

    TensorFlow raises them in every other process within about ten seconds of one's death: its
    coordination service misses the heartbeat, or the connection breaks. What was loaded meanwhile may have
    taken that for a mistake in a file.
    """
    try:
        yield
    except (*LOST, UserError) as error:
        failure = next((cause for cause in _causes(error) if isinstance(cause, LOST)), None)
        if failure is None or (among if isinstance(among, cluster.Worker) else workers(among)).workers == 1:
            raise
        message = " ".join(failure.message.split())
        raise WorkerLost(f"another process of the job was lost ({message[:200]})") from error


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error, what it was raised from, and so on."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def wait_for_all(strategy: tf.distribute.Strategy) -> None:
    """Waits until every process of the job has come here: one that ended before would be taken for lost.

    Raises:
        WorkerLost: when one of them died.
    """
    if workers(strategy).workers == 1:
        return

    @tf.function
    def meet():
        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(lambda: tf.constant(1.0)), axis=None)

    with lost_workers_noticed(strategy):
        meet()
    # A process may have its part, and end, while another one still fetches from it. Who is here has left the
    # first meeting, so that it does not matter to anybody when the second one breaks off.
    with suppress(*LOST):
        meet()


@cache
def _mirrored(*devices: str) -> tf.distribute.Strategy:
    # One for a process: two of them number their collective operations alike, which then meet each other's.
    return tf.distribute.MirroredStrategy(devices)


def _multi_worker() -> tf.distribute.Strategy:
    worker = cluster.current_worker("multi_worker")
    resolvers = tf.distribute.cluster_resolver
    resolver = (
        resolvers.TFConfigClusterResolver() if "TF_CONFIG" in os.environ else resolvers.SlurmClusterResolver()
    )
    jobs = resolver.cluster_spec().as_dict()
    cluster.wait_for_hosts([host for job in ("chief", "worker") for host in jobs.get(job, ())], worker)
    try:
        with _end_after(cluster.MAX_SECONDS):
            return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)
    except RuntimeError as error:
        raise UserError(
            f"`strategy=multi_worker` could not start ({error})", "make it first in a new process"
        ) from error


@contextmanager
def _end_after(seconds: float) -> Iterator[None]:
    """Lets the system end this process when the block takes longer (SIGALRM): nothing in Python can.

    One of the processes that were there may have died since, and TensorFlow waits for an hour.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    log_error(f"all processes of the job are there; this one is ended if they do not meet in {seconds:.0f} s")
    previous_handler = signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous_handler)


def _tpu() -> tf.distribute.Strategy:
    # Never run: no TPU was at hand.
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver.connect(tpu="")
    except (ValueError, tf.errors.OpError) as error:
        raise UserError(f"`strategy=tpu` found no TPU ({error})", "run it on a host with one") from error
    return tf.distribute.TPUStrategy(resolver)


def _split_cpu(virtual_devices: int) -> None:
    if tf.config.list_physical_devices("GPU"):
        raise UserError(
            f"`virtual_devices={virtual_devices}` splits the CPU, but there is a GPU",
            "leave the flag out, or hide the GPU with CUDA_VISIBLE_DEVICES=''",
        )
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * virtual_devices
        )
    except RuntimeError as error:
        raise UserError(
            f"`virtual_devices={virtual_devices}` came after TensorFlow had started",
            "set it in a new process",
        ) from error
