"""Text encoders of every kind with a few thousand random weights, saved as KerasHub saves its presets."""

import io
import warnings
from collections.abc import Callable
from pathlib import Path

import keras
import keras_hub
import sentencepiece
from tiny_bert import WORDS

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDPIECES = [*SPECIAL, *WORDS.split(), "##s"]
SIZES = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16, "intermediate_dim": 32, "max_sequence_length": 24}


def _pieces(pad: str, start: str, end: str, unknown: str) -> bytes:
    """A vocabulary of whole words by SentencePiece, in the order padding, unknown, start, end."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([WORDS] * 3),
        model_writer=written,
        vocab_size=5 + len(set(WORDS.split())),
        model_type="word",
        pad_id=0,
        unk_id=1,
        bos_id=2,
        eos_id=3,
        pad_piece=pad,
        unk_piece=unknown,
        bos_piece=start,
        eos_piece=end,
        user_defined_symbols="[MASK]",
        minloglevel=2,
    )
    return written.getvalue()


def _xlm_pieces() -> bytes:
    """A vocabulary as XLM-R has it: <unk>, <s>, </s> and then the words."""
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([WORDS] * 3),
        model_writer=written,
        vocab_size=3 + len(set(WORDS.split())),
        model_type="word",
        minloglevel=2,
    )
    return written.getvalue()


BYTE_PAIRS = ["<s>", "<pad>", "</s>", "<unk>", "Ġ", *map(chr, range(33, 127)), "Ġa", "<mask>"]


def of_byte_pairs(tokenizer):
    """Returns a tokenizer of single letters, and of one pair of them."""
    return tokenizer({piece: number for number, piece in enumerate(BYTE_PAIRS)}, ["Ġ a"])


def _roberta():
    backbone = keras_hub.models.RobertaBackbone(vocabulary_size=len(BYTE_PAIRS), **SIZES)
    return backbone, of_byte_pairs(keras_hub.models.RobertaTokenizer)


def _of_word_pieces(backbone, tokenizer, **sizes):
    sizes = {"vocabulary_size": len(WORDPIECES)} | SIZES | sizes
    kept = {name: size for name, size in sizes.items() if size}
    return backbone(**kept), tokenizer(WORDPIECES, lowercase=True)


def _of_sentence_pieces(backbone, tokenizer, *marks: str, **sizes):
    proto = _pieces(*marks)
    kept = {name: size for name, size in (SIZES | sizes).items() if size}
    return backbone(vocabulary_size=5 + len(set(WORDS.split())), **kept), tokenizer(proto)


def _xlm_roberta():
    size = 5 + len(set(WORDS.split()))
    return (
        keras_hub.models.XLMRobertaBackbone(vocabulary_size=size, **SIZES),
        keras_hub.models.XLMRobertaTokenizer(_xlm_pieces()),
    )


MODELS = keras_hub.models
MARKS = ("<pad>", "[CLS]", "[SEP]", "<unk>")
ENCODERS: dict[str, Callable[[], tuple[keras.Model, keras.Layer]]] = {
    "bert": lambda: _of_word_pieces(MODELS.BertBackbone, MODELS.BertTokenizer),
    "distil_bert": lambda: _of_word_pieces(MODELS.DistilBertBackbone, MODELS.DistilBertTokenizer),
    "electra": lambda: _of_word_pieces(
        MODELS.ElectraBackbone,
        MODELS.ElectraTokenizer,
        embedding_dim=8,
        vocab_size=len(WORDPIECES),
        vocabulary_size=0,
    ),
    "roberta": _roberta,
    "xlm_roberta": _xlm_roberta,
    "albert": lambda: _of_sentence_pieces(
        MODELS.AlbertBackbone, MODELS.AlbertTokenizer, *MARKS, embedding_dim=8
    ),
    "deberta_v3": lambda: _of_sentence_pieces(
        MODELS.DebertaV3Backbone, MODELS.DebertaV3Tokenizer, "[PAD]", "[CLS]", "[SEP]", "[UNK]", bucket_size=8
    ),
    "f_net": lambda: _of_sentence_pieces(MODELS.FNetBackbone, MODELS.FNetTokenizer, *MARKS, num_heads=0),
}


def save_tiny_encoder(kind: str, folder: Path) -> str:
    """Saves an encoder of a kind with its tokenizer, and returns the folder."""
    keras.utils.set_random_seed(0)
    backbone, tokenizer = ENCODERS[kind]()
    # Their own initial weights differ so little that all texts have nearly one vector.
    backbone.set_weights([8 * weight if weight.ndim > 1 else weight for weight in backbone.get_weights()])
    with warnings.catch_warnings():
        # Keras asks TensorFlow's variables for arrays in a way that NumPy 2 is leaving behind.
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        backbone.save_to_preset(str(folder))
    tokenizer.save_to_preset(str(folder))
    return str(folder)
