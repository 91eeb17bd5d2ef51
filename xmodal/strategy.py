"""tf.distribute strategies from a word, and what they run on."""

import tensorflow as tf

from xmodal.errors import UserError


def make_strategy(
    kind: str, virtual_devices: int = 1, *, deterministic: bool = False
) -> tf.distribute.Strategy:
    """Makes the strategy that a run's models are built and trained in.

    Args:
        kind: "one_device", "mirrored" (every device of the best kind, in step), or "auto" (mirrored
            when there is more than one such device).
        virtual_devices: split the CPU into this many devices, before TensorFlow starts its runtime.
        deterministic: take only operations that give the same bits in every run on the same hardware.

    Raises:
        UserError: when the CPU cannot be split because the runtime has started, or there are GPUs.
    """
    if deterministic:
        tf.config.experimental.enable_op_determinism()
    if virtual_devices > 1:
        _split_cpu(virtual_devices)
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    names = [device.name for device in devices]
    if kind == "mirrored" or (kind == "auto" and len(names) > 1):
        return tf.distribute.MirroredStrategy(names)
    return tf.distribute.OneDeviceStrategy(names[0])


def _split_cpu(virtual_devices: int) -> None:
    if tf.config.list_physical_devices("GPU"):
        raise UserError(
            f"--virtual_devices={virtual_devices} splits the CPU, but there is a GPU",
            "leave the flag out, or hide the GPU with CUDA_VISIBLE_DEVICES=''",
        )
    cpu = tf.config.list_physical_devices("CPU")[0]
    try:
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * virtual_devices
        )
    except RuntimeError as error:
        raise UserError(
            f"--virtual_devices={virtual_devices} came after TensorFlow had started",
            "set it in a new process",
        ) from error
