"""EfficientNet-Lite0 (Tan & Le 2019, arXiv:1905.11946; the Lite form of the TensorFlow authors, 2020).

EfficientNet-B0 without squeeze-and-excitation and with ReLU6 in the place of swish. Layers are called as in
the EfficientNet of Keras Applications.
"""

from collections.abc import Mapping

import keras
import numpy as np

IMAGE_SIZE = 224

# The share of the shorter side that the network was trained to see of a photograph: its middle.
CROP = 224 / 256

# Kernel, repeats, filters out, expansion and first stride of each stage.
_STAGES = (
    (3, 1, 16, 1, 1),
    (3, 2, 24, 6, 2),
    (5, 2, 40, 6, 2),
    (3, 3, 80, 6, 2),
    (5, 3, 112, 6, 1),
    (5, 4, 192, 6, 2),
    (3, 1, 320, 6, 1),
)
# The layers of a block here, and the names of their weights in torch's file.
_PARTS = {
    "expand_conv": "_expand_conv",
    "expand_bn": "_bn0",
    "dwconv": "_depthwise_conv",
    "bn": "_bn1",
    "project_conv": "_project_conv",
    "project_bn": "_bn2",
}
_ENDS = {
    "stem_conv": "_conv_stem",
    "stem_bn": "_bn0",
    "top_conv": "_conv_head",
    "top_bn": "_bn1",
    "predictions": "_fc",
}
_STATISTICS = ("weight", "bias", "running_mean", "running_var")


def efficientnet_lite0(classes: int = 1000, image_size: int = IMAGE_SIZE) -> keras.Model:
    """Builds the network with random weights.

    Args:
        classes: C.
        image_size: H and W.

    Returns:
        A functional model: RGB images (B, H, W, 3) from 0 to 255 -> logits (B, C). Its layer "avg_pool"
        gives the features (B, 1280).

    Example:
        >>> efficientnet_lite0(classes=10).output_shape
        (None, 10)
    """
    images = keras.Input((image_size, image_size, 3), name="image")
    x = keras.layers.Rescaling(1 / 128, offset=-127 / 128, name="rescaling")(images)
    x = _convolution(x, "stem", 32, 3, strides=2)
    for stage, (kernel, repeats, filters, expansion, stride) in enumerate(_STAGES, start=1):
        for repeat in range(repeats):
            name = f"block{stage}{chr(ord('a') + repeat)}_"
            x = _block(x, name, kernel, filters, expansion, stride if repeat == 0 else 1)
    x = _convolution(x, "top", 1280, 1)
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    x = keras.layers.Dropout(0.2, name="top_dropout")(x)
    logits = keras.layers.Dense(classes, name="predictions")(x)
    return keras.Model(images, logits, name="efficientnet_lite0")


def set_torch_weights(model: keras.Model, arrays: Mapping[str, np.ndarray]) -> None:
    """Gives `efficientnet_lite0()` the weights that torch's file holds.

    Args:
        model: what `efficientnet_lite0` built.
        arrays: what `efficientnet_lite0_arrays` read.
    """
    blocks = [layer.name.removesuffix("dwconv") for layer in model.layers if layer.name.endswith("dwconv")]
    sources = dict(_ENDS)
    for number, block in enumerate(blocks):
        sources |= {f"{block}{part}": f"_blocks.{number}.{torch_part}" for part, torch_part in _PARTS.items()}
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(_keras_weights(layer, sources[layer.name], arrays))


def _block(x, name: str, kernel: int, filters: int, expansion: int, stride: int):
    """An inverted residual block (Sandler et al. 2018, arXiv:1801.04381)."""
    start = x
    if expansion > 1:
        x = _convolution(x, f"{name}expand", expansion * x.shape[-1], 1)
    x = keras.layers.DepthwiseConv2D(kernel, stride, "same", use_bias=False, name=f"{name}dwconv")(x)
    x = _activation(_batch_norm(x, f"{name}bn"), f"{name}activation")
    x = keras.layers.Conv2D(filters, 1, use_bias=False, name=f"{name}project_conv")(x)
    x = _batch_norm(x, f"{name}project_bn")
    if stride == 1 and start.shape[-1] == filters:
        x = keras.layers.Add(name=f"{name}add")([x, start])
    return x


def _convolution(x, name: str, filters: int, kernel: int, strides: int = 1):
    x = keras.layers.Conv2D(filters, kernel, strides, "same", use_bias=False, name=f"{name}_conv")(x)
    return _activation(_batch_norm(x, f"{name}_bn"), f"{name}_activation")


def _batch_norm(x, name: str):
    return keras.layers.BatchNormalization(epsilon=1e-3, name=name)(x)


def _activation(x, name: str):
    return keras.layers.ReLU(6.0, name=name)(x)


def _keras_weights(layer: keras.Layer, name: str, arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """A layer's weights in the order and with the axes of Keras."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return [arrays[f"{name}.{statistic}"] for statistic in _STATISTICS]
    weight = arrays[f"{name}.weight"]
    if isinstance(layer, keras.layers.Dense):
        return [weight.T, arrays[f"{name}.bias"]]
    # Torch has (out, in, height, width), and in = 1 where each channel has a kernel of its own.
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    return [weight.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))]
