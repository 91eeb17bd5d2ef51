"""Which layers of an image network are read, where nobody says so."""

import keras

from xmodal.kernels.layers import producers, tensor_made, tensors_read

# Reads the layers that suit a network.
AUTO = ("auto",)
# Where VGG is read: the ends of its upper blocks.
VGG_FEATURES = ("block3_pool", "block4_pool", "block5_pool")
# How many depths of another network are read.
LEVELS = 3
# A layer whose maps have this share of the side, or less, begins a coarser level.
COARSER = 2 / 3


def is_map(tensor: object) -> bool:
    """Tells whether a tensor of a model is one of feature maps (B, H, W, C)."""
    return isinstance(tensor, keras.KerasTensor) and len(tensor.shape) == 4


def default_features(model: keras.Model) -> tuple[str, ...]:
    """Returns the names of the layers that a network is read at, from the finest maps to the coarsest.

    Of VGG they are the ends of the upper blocks; of a network with several outputs these; of any other its
    end and what its last two reductions of the resolution read, the richest in channels at each resolution.

    Args:
        model: a flat model that ends in maps (B, H, W, C) or tokens (B, T, D).

    Example:
        >>> network = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(64, 64, 3))
        >>> default_features(network)
        ('block_6_expand_relu', 'block_13_expand_relu', 'out_relu')
    """
    makers = producers(model)
    names = {maker.name for maker in makers.values()}
    if set(VGG_FEATURES) <= names:
        return VGG_FEATURES
    ends = tuple(makers[id(output)].name for output in model.outputs)
    if len(ends) > 1:
        return ends
    richest: dict[int, keras.KerasTensor] = {}
    for maker in makers.values():
        source = _input_map(maker, makers)
        if source is not None and _is_reduced(source, maker):
            best = richest.get(source.shape[1])
            if best is None or source.shape[-1] > best.shape[-1]:
                richest[source.shape[1]] = source
    inner = tuple(makers[id(richest[size])].name for size in sorted(richest, reverse=True))
    return (*inner[1 - LEVELS :], *ends)


def _input_map(maker: keras.Operation, makers: dict[int, keras.Operation]) -> keras.KerasTensor | None:
    """Returns the one tensor of maps that a layer reads, before zeros were put around it."""
    inputs = tensors_read(maker)
    while len(inputs) == 1 and isinstance(makers.get(id(inputs[0])), keras.layers.ZeroPadding2D):
        inputs = tensors_read(makers[id(inputs[0])])
    return inputs[0] if len(inputs) == 1 and is_map(inputs[0]) else None


def _is_reduced(source: keras.KerasTensor, layer: keras.Operation) -> bool:
    """Tells whether a layer makes a coarser level of maps that are more than the image."""
    excluded_types = (
        keras.layers.GlobalAveragePooling2D | keras.layers.GlobalMaxPooling2D | keras.layers.Cropping2D
    )
    return (
        is_map(tensor_made(layer))
        and not isinstance(layer, excluded_types)
        and source.shape[-1] > 3
        and tensor_made(layer).shape[1] <= COARSER * source.shape[1]
    )
