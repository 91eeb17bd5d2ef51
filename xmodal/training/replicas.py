"""Work that the devices of a strategy share: equal parts of each batch, and what comes of them joined."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tqdm import tqdm

from xmodal.core.formatting import printable
from xmodal.data.batches import Batches, read_ahead, without_autotuning
from xmodal.kernels.layers import all_layers
from xmodal.training.rehearsal import TAKEN, Steps, under_way
from xmodal.training.strategy import lost_workers_noticed, workers

SHARD_HINT = tf.data.experimental.SHARD_HINT


def distribute(
    batches: tf.data.Dataset | Batches,
    strategy: tf.distribute.Strategy,
    microbatches: int = 1,
    data_service: str = "",
) -> Iterable[Any]:
    """Splits each batch over the devices, after its last example has filled it up to equal parts.

    TensorFlow's fused convolutions refuse an empty part. Every process lists the same batches and reads
    its own rows: which rows a device gets does not depend on how TensorFlow would shard the data set.

    Args:
        batches: batches of (B, ...).
        strategy: the tf.distribute strategy.
        microbatches: a replica batch is filled up so that it can be cut into this many equal parts.
        data_service: address of a tf.data service whose workers read the rows in the place of this
            process, HOST:PORT; in no fixed order then.

    Returns:
        What gives each device its replica batch of every batch, as `unpad` takes it.
    """
    replicas, cluster = strategy.num_replicas_in_sync, workers(strategy)
    # A single CPU takes batches as they are. What tf.distribute puts around them costs a fifth of a second
    # for each epoch, and has a tuner of its own that an epoch waits for; see `without_autotuning`.
    is_single = replicas == cluster.workers and not tf.config.list_logical_devices("GPU")
    rows = without_autotuning(batches.rows if isinstance(batches, Batches) else batches)
    if data_service:
        # Each worker of the service reads batches of its own, and no two the same.
        rows = rows.shard(SHARD_HINT, SHARD_HINT)
    if not _is_padded(strategy, microbatches):
        dataset = _serve(
            read_ahead(rows, batches.read) if isinstance(batches, Batches) else rows, data_service
        )
        return dataset if is_single else strategy.experimental_distribute_dataset(dataset)
    padded_rows = rows.map(_make_pad(replicas * microbatches))

    def read_padded(replica_batches: tf.data.Dataset) -> tf.data.Dataset:
        if isinstance(batches, Batches):
            load = batches.read
            replica_batches = read_ahead(replica_batches, lambda row, valid_mask: (load(row), valid_mask))
        return _serve(replica_batches, data_service)

    def own_batches(context: tf.distribute.InputContext) -> tf.data.Dataset:
        count = replicas // context.num_input_pipelines
        first = context.input_pipeline_id * count
        return read_padded(padded_rows.map(_make_cut(replicas, first, count)).unbatch()).prefetch(2 * count)

    if replicas == 1:
        dataset = read_padded(padded_rows)
        return dataset if is_single else strategy.experimental_distribute_dataset(dataset)
    if is_single:
        return own_batches(tf.distribute.InputContext(cluster.workers, cluster.index, replicas))
    return strategy.distribute_datasets_from_function(own_batches)


def _make_pad(multiple: int) -> Callable:
    """Returns what repeats the last row until the size is a multiple, and adds the mask of real rows."""

    def pad(*row):
        row = row[0] if len(row) == 1 else row
        size = tf.shape(tf.nest.flatten(row)[0])[0]
        index = tf.range(size + -size % multiple)
        valid_mask = tf.cast(index < size, tf.float32)
        return tf.nest.map_structure(
            lambda part: tf.gather(part, tf.minimum(index, size - 1)), row
        ), valid_mask

    return pad


def _make_cut(replicas: int, first: int, count: int) -> Callable:
    """Returns what cuts a padded batch into replica batches, and gives so many of them from one on."""

    def cut_batch(row, valid_mask):
        size = tf.shape(valid_mask)[0] // replicas
        index = tf.range(first * size, (first + count) * size)

        def cut_part(part):
            shape = tf.concat([[count, size], tf.shape(part)[1:]], axis=0)
            return tf.ensure_shape(tf.reshape(tf.gather(part, index), shape), [count, None, *part.shape[1:]])

        return tf.nest.map_structure(cut_part, (row, valid_mask))

    return cut_batch


def unpad(
    replica_batch: Any, strategy: tf.distribute.Strategy, microbatches: int = 1
) -> tuple[Any, tf.Tensor]:
    """Returns the rows of a replica batch, and 1.0 for a real one and 0.0 for one that fills up (b,)."""
    if _is_padded(strategy, microbatches):
        return replica_batch
    return replica_batch, tf.ones(tf.shape(tf.nest.flatten(replica_batch)[0])[0])


def _is_padded(strategy: tf.distribute.Strategy, microbatches: int) -> bool:
    return strategy.num_replicas_in_sync * microbatches > 1


def _serve(shares: tf.data.Dataset, address: str) -> tf.data.Dataset:
    service = tf.data.experimental.service
    if not address:
        return shares
    return shares.apply(service.distribute(service.ShardingPolicy.HINT, f"grpc://{address}"))


class Stopped(Exception):
    """A run over a data set was stopped."""


def stream_over_replicas(
    function: Callable, strategy: tf.distribute.Strategy
) -> Callable[..., Iterator[tuple[np.ndarray, ...]]]:
    """Returns what runs a function on the devices and yields what it gives, batch by batch, in order.

    Args:
        function: a batch -> a tuple of outputs (B, ...). It is traced once.
        strategy: the tf.distribute strategy.

    Returns:
        A function of batches, of a name for the progress bar ("" shows none) and of what tells between
        two batches whether to raise `Stopped`.
    """

    @tf.function(reduce_retracing=True)
    def step(share):
        def replica(share):
            batch, valid_mask = unpad(share, strategy)
            # Truth values and half precision cannot be gathered.
            narrow_dtypes = (tf.bool, tf.bfloat16, tf.float16)
            outputs = function(batch)
            wide_outputs = [
                tf.cast(output, tf.float32) if output.dtype in narrow_dtypes else output for output in outputs
            ]
            return *wide_outputs, valid_mask

        # Each process gets the outputs of all.
        return [strategy.gather(output, axis=0) for output in strategy.run(replica, (share,))]

    def run(
        batches: tf.data.Dataset | Batches, stage: str = "", stopped: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[np.ndarray, ...]]:
        steps = Steps(int(batches.cardinality()))
        with progress_bar(stage, steps.planned, strategy) as bar, lost_workers_noticed(strategy):
            shares: Any = iter(distribute(batches, strategy))
            # Once for batches of all sizes and lengths: the first batch would be traced as large as it is.
            step.get_concrete_function(shares.element_spec)
            if under_way() and steps.planned < TAKEN:
                # So that the pace of a single step is not that of the first one.
                step(next(iter(distribute(batches, strategy))))
            for share in steps.few(shares):
                *outputs, valid_mask = (output.numpy() for output in step(share))
                real_outputs = tuple(output[valid_mask.astype(bool)] for output in outputs)
                yield real_outputs
                bar.update()
                if stopped():
                    raise Stopped
            steps.close()
            # What was left out has outputs too, as many as it should.
            for size in _sizes(batches, steps.taken) if under_way() else ():
                yield tuple(np.resize(output, (size, *output.shape[1:])) for output in real_outputs)

    return run


def _sizes(batches: tf.data.Dataset | Batches, first: int) -> Iterator[int]:
    """Returns the sizes of the batches from one on, which need not be read for that."""
    rows = (batches.rows if isinstance(batches, Batches) else batches).skip(first)
    return (int(tf.shape(tf.nest.flatten(row)[0])[0]) for row in rows)


def map_over_replicas(
    function: Callable, strategy: tf.distribute.Strategy
) -> Callable[..., tuple[np.ndarray, ...]]:
    """As `stream_over_replicas`, of what joins the outputs: (N, ...)."""
    run = stream_over_replicas(function, strategy)

    def join(*arguments, **options) -> tuple[np.ndarray, ...]:
        return tuple(map(np.concatenate, zip(*run(*arguments, **options), strict=True)))

    return join


def from_chief(array: np.ndarray, strategy: tf.distribute.Strategy) -> np.ndarray:
    """Returns the chief's array, in every process; the others give one of its shape."""
    return sum_over_workers(array if workers(strategy).is_chief else np.zeros_like(array), strategy)


def sum_over_workers(array: np.ndarray, strategy: tf.distribute.Strategy) -> np.ndarray:
    """Returns the sum of the arrays that the processes of a job give, in every process; all of one shape."""
    devices_each = strategy.num_replicas_in_sync // workers(strategy).workers

    @tf.function
    def sum_replicas(own):
        def replica(own):
            device = tf.distribute.get_replica_context().replica_id_in_sync_group
            return own * tf.cast(device % devices_each == 0, own.dtype)

        return strategy.reduce(tf.distribute.ReduceOp.SUM, strategy.run(replica, (own,)), axis=None)

    with lost_workers_noticed(strategy):
        return sum_replicas(tf.constant(array)).numpy()


def bytes_from_chief(text: bytes, strategy: tf.distribute.Strategy) -> bytes:
    """Returns the chief's bytes, in every process; what the others give does not count."""
    if workers(strategy).workers == 1:
        return text
    size = int(from_chief(np.array([len(text)], np.int64), strategy)[0])
    if size == 0:
        # TensorFlow crashes when it reduces an empty array across processes.
        return b""
    words = np.zeros(-(-size // 4), np.int32)
    source = np.frombuffer(text, np.uint8)[:size]
    words.view(np.uint8)[: len(source)] = source
    return from_chief(words, strategy).tobytes()[:size]


def moving_statistics(model: keras.Model) -> list[keras.Variable]:
    """Returns what batch normalisation learns from the data that its own device sees."""
    return [
        variable
        for layer in all_layers(model)
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        for variable in (layer.moving_mean, layer.moving_variance)
    ]


def progress_bar(name: str, steps: int, strategy: tf.distribute.Strategy) -> tqdm:
    """Returns a progress bar on the chief's terminal, and a silent one elsewhere or without a name."""
    is_visible = name and workers(strategy).is_chief
    return tqdm(total=steps, desc=printable(name), leave=False, disable=None if is_visible else True)
