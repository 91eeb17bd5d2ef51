"""The weights and data that a run is made from, by the flags that name them."""

from xmodal.assets.catalog import ASSETS
from xmodal.config.config import Config
from xmodal.report.records import Ingredient


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
        Ingredient(flag, value, ASSETS[value].licence if value in ASSETS else "")
        for flag, value in flags.items()
        if value != "none"
    )
