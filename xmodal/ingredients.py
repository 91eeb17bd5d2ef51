"""The weights and data that a run is made from, by the flags that name them."""

from dataclasses import dataclass

from xmodal import assets
from xmodal.config import Config


@dataclass(frozen=True)
class Ingredient:
    """Something that a run starts from.

    Attributes:
        flag: the flag that names it.
        value: its name.
        licence: of a named asset; empty for what is the user's own, or comes from elsewhere.
    """

    flag: str
    value: str
    licence: str


def of_run(config: Config) -> tuple[Ingredient, ...]:
    """Returns the weights and data that a run's experiment uses; "none" is nothing."""
    encoder = {"text_encoder": config.text.text_encoder}
    weights = {"image_weights": config.image.image_weights}
    images = {**weights, "dataset": config.data.dataset}
    documents = {"documents": config.documents.documents}
    flags = {
        "vgg_to_bert": {**images, **encoder},
        "vgg_to_vgg": images,
        "cnn_to_text": {**images, **documents, **encoder},
        "bert_news": {**documents, **encoder},
        "text_to_image": {**images, **encoder},
        "fusion": {**weights, "pairs": config.pairs.pairs, **encoder},
    }[config.run.experiment]
    return tuple(
        Ingredient(flag, value, assets.ASSETS[value].licence if value in assets.ASSETS else "")
        for flag, value in flags.items()
        if value != "none"
    )
