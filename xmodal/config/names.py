"""A ready classifier that speaks, and the answers that are wanted."""

from dataclasses import dataclass
from pathlib import Path

from xmodal.bridge.names_text import NAME_TEXTS
from xmodal.config.fields import Group, option

READERS = ("name_mixture", "top1_sentence", "hedged_sentence", "written_head", "projected")
ADAPTS = ("none", "prior", "self_train")


@dataclass(frozen=True)
class NamesConfig(Group):
    """A ready classifier that speaks, and the answers that are wanted."""

    speaker: str = option(
        "efficientnet_lite0_imagenet",
        "A classifier with names of its own: a named asset, imagenet:NAME of Keras Applications, an image "
        "classifier of KerasHub, an export or a run of xmodal, or a .keras file.",
    )
    speaker_names: Path | None = option(
        None, "File with a name a line, for its outputs in order.", parse=Path
    )
    name_text: str = option(
        "ancestors",
        "What is written of a name; ancestors are WordNet's, of ImageNet alone.",
        choices=NAME_TEXTS,
    )
    answers: str = option(
        "",
        "Answers to choose from: words with commas between them, or a CSV with the columns "
        "description,target; default the classes of the data.",
    )
    readers: tuple[str, ...] = option(
        READERS,
        "How answers are read from names; the first one opens the report.",
        choices=READERS,
        filled=True,
    )
    adapt: str = option(
        "none",
        "What unlabelled images add: prior finds how frequent the answers are, self_train teaches the "
        "features of images what the names said.",
        choices=ADAPTS,
    )
    shots: tuple[int, ...] = option(
        ("0",), "Labelled images a class to measure with, beside none.", least=0, parse=int, rising=True
    )
    draws: int = option(10, "Draws of these images.", least=1)
