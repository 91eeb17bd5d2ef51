"""A ready classifier that speaks, and the answers that are wanted."""

from dataclasses import dataclass
from pathlib import Path

from xmodal.bridge.names_text import NAME_TEXTS
from xmodal.config.fields import Group, option

READERS = ("name_mixture", "top1_sentence", "hedged_sentence", "written_head", "projected")
SELF_TRAIN, NOISY_STUDENT = "self_train", "noisy_student"
ADAPTS = ("none", "prior", SELF_TRAIN, NOISY_STUDENT)


@dataclass(frozen=True)
class NamesConfig(Group):
    """A ready classifier that speaks, and the answers that are wanted."""

    speaker: str = option(
        "none",
        "A classifier with names of its own: efficientnet_lite0_imagenet, imagenet:NAME of Keras "
        "Applications, an image classifier of KerasHub, an export or a run of xmodal, or a .keras file. "
        "For vgg_to_bert its sentence stands beside the network's own; none leaves it out.",
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
    concepts: str = option(
        "",
        "Concepts that answers are learned from: shipped for 128 of them, or a file with one a line, which "
        "goes on from 'something that', such as has wheels.",
    )
    concept_weights: Path | None = option(
        None, "The concepts.csv of a run, perhaps edited, in the place of learning.", parse=Path
    )
    adapt: str = option(
        "none",
        "What unlabelled images add: prior finds how frequent the answers are, self_train teaches the "
        "features of images what the names said, noisy_student then teaches the network of --target.",
        choices=ADAPTS,
    )
    shots: tuple[int, ...] = option(
        ("0",), "Labelled examples a class to measure with, beside none.", least=0, parse=int, rising=True
    )
    draws: int = option(10, "Draws of these examples.", least=1)
