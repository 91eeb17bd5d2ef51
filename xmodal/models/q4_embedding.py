"""A table of embeddings in 4 bits."""

import keras


@keras.saving.register_keras_serializable("xmodal")
class Q4Embedding(keras.layers.Layer):
    """Pieces (B, T) -> their rows of a table that stays in 4 bits (B, T, D).

    The table is not trained: the rows of the languages in the training data would move away from those
    of all others. Kept as it is, it takes an eighth of the memory, in checkpoints and exports too.

    Args:
        rows: the number of pieces.
        width: D, a multiple of 32.
    """

    def __init__(self, rows: int, width: int, trainable: bool = False, **kwargs):
        super().__init__(trainable=trainable, **kwargs)
        self.input_dim, self._width = rows, width

    def get_config(self):
        """Returns the arguments."""
        return super().get_config() | {"rows": self.input_dim, "width": self._width}

    def build(self, input_shape):
        """Makes the table: `scales` (rows, D / 32) and `pairs` (rows, D / 32, 16), as in the file."""
        blocks = (self.input_dim, self._width // 32)
        self.scales = self.add_weight(
            shape=blocks, dtype="float16", initializer="zeros", trainable=False, name="scales"
        )
        self.pairs = self.add_weight(
            shape=(*blocks, 16), dtype="uint8", initializer="zeros", trainable=False, name="pairs"
        )

    def call(self, token_ids):
        pairs = keras.ops.cast(keras.ops.take(self.pairs, token_ids, axis=0), self.compute_dtype)
        scales = keras.ops.cast(keras.ops.take(self.scales, token_ids, axis=0), self.compute_dtype)
        # By arithmetic, since LiteRT has no operations on bits.
        high = keras.ops.floor(pairs / 16)
        weights = keras.ops.stack([pairs - 16 * high, high], axis=-2) - 8
        rows = weights * scales[..., None, None]
        return keras.ops.reshape(rows, (*keras.ops.shape(token_ids), self._width))

    def compute_output_shape(self, input_shape):
        return (*input_shape, self._width)
