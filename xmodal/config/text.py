"""The bridge and the text head."""

from dataclasses import dataclass
from pathlib import Path

from xmodal.bridge.styles import STYLES
from xmodal.config.fields import MOST_IN_BATCH, MOST_UNITS, Group, option, require_named
from xmodal.core.files import shipped

TEXT_HEADS = ("finetune", "zero_shot")
CLASS_WEIGHTS = ("none", "balanced")


@dataclass(frozen=True)
class TextConfig(Group):
    """The bridge and the text head."""

    text_style: str = option("hedged", "How probabilities are put into words.", choices=STYLES)
    template: tuple[str, ...] = option(
        ("a photo of {}",), "Sentence around the words; repeat for an ensemble.", repeat=True
    )
    top_k: int = option(3, "Classes that --text_style=topk names.", least=1)
    text_encoder: str = option(
        "minilm_l6", "BERT encoder: a named asset, a KerasHub preset, hf://..., or a folder."
    )
    text_head: str = option(
        "finetune", "finetune trains a head and the encoder; zero_shot trains nothing.", choices=TEXT_HEADS
    )
    target_map: Path | None = option(
        None, "CSV with the columns description,target: the question to answer.", parse=shipped
    )
    also_ask: tuple[str, ...] = option(
        (),
        "A further question, answered from the same sentences: NAME=FILE, a CSV like --target_map's; repeat.",
        repeat=True,
    )
    sequence_length: int = option(32, "Most tokens of a text that BERT reads.", least=8, most=MOST_UNITS)
    text_epochs: int = option(6, "Epochs of the text head over the distinct sentences.", least=1)
    text_batch_size: int = option(32, "Distinct sentences in a batch.", least=1, most=MOST_IN_BATCH)
    text_learning_rate: float = option(2e-4, "Peak rate of AdamW for the text head.", least=0)
    text_examples: int = option(
        30, "Sentences of each class written for the head that is trained on text alone.", least=1
    )
    similarity_scale: float = option(
        20.0, "Scale of the cosine in scores; where it is learned, at the start.", least=0
    )
    text_trainable: str = option(
        "all",
        "What to train: head, all, or a layer of the encoder such as transformer_layer_3 (it and all "
        "after it).",
    )
    text_head_epochs: int = option(
        0,
        "Epochs of a new head on what the frozen encoder gives, before the encoder learns with it.",
        least=0,
    )
    layer_decay: float = option(
        1.0, "What each layer's rate is of that of the layer above it.", least=0, most=1.0
    )
    class_weights: str = option(
        "none", "balanced weighs a document by how rare its class is.", choices=CLASS_WEIGHTS
    )
    length_window: int = option(
        1, "Batches whose texts are sorted by length together; 1 leaves the order random.", least=1
    )

    def __post_init__(self):
        super().__post_init__()
        require_named("also_ask", self.also_ask, "can_fly=can_fly.csv")
