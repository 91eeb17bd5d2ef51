"""The bridge and the text classifier."""

from dataclasses import dataclass
from pathlib import Path

from xmodal.bridge.styles import STYLES
from xmodal.config.fields import MAX_IN_BATCH, MAX_UNITS, Group, documented, option, require_named
from xmodal.core.files import shipped_path

TEXT_HEADS = ("finetune", "zero_shot")
CLASS_WEIGHTS = ("none", "balanced")


@documented
@dataclass(frozen=True)
class TextConfig(Group):
    """The bridge and the text classifier.

    Raises:
        UserError: for a value out of an option's limits.

    Example:
        >>> TextConfig(text_trainable="head", sequence_length=16).text_epochs
        6
        >>> TextConfig(text_style="hedge")
        Traceback (most recent call last):
        xmodal.core.errors.UserError: `text_style=hedge` is not known; did you mean 'hedged'?
    """

    text_style: str = option("hedged", "How class probabilities are put into words.", choices=STYLES)
    template: tuple[str, ...] = option(
        ("a photo of {}",),
        "Sentence around the class names, with {} for them; repeat for an ensemble.",
        repeat=True,
    )
    top_k: int = option(3, "Number of classes that --text_style=topk names.", least=1)
    text_encoder: str = option(
        "minilm_l6",
        "Text encoder: a named asset, a KerasHub preset of BERT, RoBERTa, DistilBERT, ALBERT, ELECTRA, "
        "DeBERTa, XLM-RoBERTa or FNet, hf://..., or a folder.",
    )
    text_head: str = option(
        "finetune", "finetune trains a head and the encoder; zero_shot trains nothing.", choices=TEXT_HEADS
    )
    target_map: Path | None = option(
        None, "CSV with the columns description,target: the question to answer.", parse=shipped_path
    )
    also_ask: tuple[str, ...] = option(
        (),
        "Another question, answered from the same sentences: NAME=FILE, a CSV like that of "
        "--target_map; repeat, or take back by an empty one.",
        repeat=True,
    )
    sequence_length: int = option(32, "Maximum number of tokens per text.", least=8, most=MAX_UNITS)
    text_epochs: int = option(6, "Epochs of the text classifier.", least=1)
    text_batch_size: int = option(32, "Global batch size of texts.", least=1, most=MAX_IN_BATCH)
    text_learning_rate: float = option(2e-4, "Peak learning rate of the text classifier.", least=0)
    text_examples: int = option(
        30, "Sentences per class for the head that is trained on text alone.", least=1
    )
    similarity_scale: float = option(
        20.0, "Scale of the cosine similarity in scores; the initial value where it is learned.", least=0
    )
    text_trainable: str = option(
        "all",
        "What to train: head, all, or a layer of the encoder such as transformer_layer_3 (it and all "
        "after it).",
    )
    text_head_epochs: int = option(
        0,
        "Epochs of a new head on the frozen encoder, before the encoder is trained with it.",
        least=0,
    )
    layer_decay: float = option(
        1.0, "Ratio of each layer's learning rate to that of the layer above it.", least=0, most=1.0
    )
    class_weights: str = option(
        "none",
        "Weights of the documents in the loss; balanced weighs a class by its inverse frequency.",
        choices=CLASS_WEIGHTS,
    )
    length_window: int = option(
        1,
        "Batches whose texts are sorted by length together, so that texts of similar length share a "
        "batch; 1 keeps the order random.",
        least=1,
    )

    def __post_init__(self):
        super().__post_init__()
        require_named("also_ask", self.also_ask, "can_fly=can_fly.csv")
