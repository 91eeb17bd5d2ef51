"""What of a network is trained."""

import keras

from xmodal.core.errors import UserError, nearest
from xmodal.kernels.layers import all_layers
from xmodal.models.q4_embedding import Q4Embedding

# Encoders with more pieces than this know many languages; BERT in English has 30,522.
MULTILINGUAL_VOCABULARY = 100_000


def set_trainable(trunk: keras.Model, trainable: str, flag: str = "trainable") -> None:
    """Freezes a trunk up to a layer.

    Args:
        trunk: an image trunk, or a sentence encoder.
        trainable: "head" freezes all of it, "all" nothing; a prefix of a layer's name, such as
            "block5", trains that layer and every one after it.
        flag: the flag that says so.

    Raises:
        UserError: when no layer of the trunk has that prefix.
    """
    names = [layer.name for layer in trunk.layers]
    matches = [index for index, name in enumerate(names) if trainable and name.startswith(trainable)]
    if trainable == "all":
        first = 0
    elif trainable == "head":
        first = len(names)
    elif matches:
        first = matches[0]
    else:
        weighted_names = [layer.name for layer in trunk.layers if layer.weights]
        blocks = {name.split("_")[0] for name in weighted_names}
        raise UserError(
            f"`{flag}={trainable}` is no layer of {trunk.name!r}",
            nearest(trainable, ["head", "all", *weighted_names, *blocks]),
        )
    for index, layer in enumerate(trunk.layers):
        layer.trainable = index >= first
    for layer in all_layers(trunk):
        if _is_multilingual_table(layer):
            layer.trainable = False


def _is_multilingual_table(layer: keras.Layer) -> bool:
    """Tells whether a layer must stay as it is, whatever else is trained.

    The languages in the training data would move away from all others, and the optimizer would keep
    two more copies of what is larger than the rest of the network.
    """
    is_piece_table = isinstance(layer, keras.layers.Embedding) and layer.input_dim > MULTILINGUAL_VOCABULARY
    return is_piece_table or isinstance(layer, Q4Embedding)
