"""A BERT of a few thousand weights, saved as KerasHub saves its presets."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import keras
import keras_nlp
import numpy as np

WORDS = (
    "a photo of surely probably perhaps possibly or , red green blue cat dog bird oak fir warm cold "
    "animal plant colour one two three not very"
)


def save_tiny_bert(
    folder: Path,
    *,
    seed: int = 0,
    dropout: float = 0.0,
    longest: int = 24,
    alike: Sequence[Sequence[str]] = (),
    more_words: str = "",
) -> str:
    """Saves a BERT with random weights and its WordPiece vocabulary, and returns the folder.

    It has 1 layer, 16 dimensions, knows `WORDS` and `more_words`, and reads `longest` tokens at most. With
    groups of words that are alike it has learned something: the words of a group have nearly one vector.
    """
    keras.utils.set_random_seed(seed)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS.split(), "##s", *more_words.split()]
    backbone = keras_nlp.models.BertBackbone(
        vocabulary_size=len(vocabulary),
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=longest,
        dropout=dropout,
    )
    # Its own initial weights differ so little that all texts have nearly one vector.
    backbone.set_weights([8 * weight if weight.ndim > 1 else weight for weight in backbone.get_weights()])
    if alike:
        _teach(backbone, [[vocabulary.index(word) for word in words] for words in alike])
    with warnings.catch_warnings():
        # Keras asks TensorFlow's variables for arrays in a way that NumPy 2 is leaving behind.
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        backbone.save_to_preset(str(folder))
    keras_nlp.models.BertTokenizer(vocabulary, lowercase=True).save_to_preset(str(folder))
    return str(folder)


def _teach(backbone: keras.Model, groups: Sequence[Sequence[int]]) -> None:
    table = backbone.token_embedding.embeddings
    vectors = table.numpy()
    for pieces in groups:
        vectors[pieces] = 4 * vectors[pieces[0]] + 0.1 * vectors[pieces]
    table.assign(vectors)
    # A bias that has moved, as every training moves it.
    beta = backbone.embeddings_layer_norm.beta
    beta.assign(np.full(beta.shape, 0.01))
