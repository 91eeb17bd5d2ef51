"""How `fusion` is exported and checked."""

import numpy as np
import tensorflow as tf

from xmodal.data.pairs import PairData
from xmodal.export.served_pairs import ServedPairs
from xmodal.export.serving import of_length_one
from xmodal.export.verification import Question, export_checked
from xmodal.recipes.fusion.classifiers import Fused, Setting
from xmodal.recipes.fusion.tables import Measured
from xmodal.tasks.pair_encoders import image_parts

CHECKED_PAIRS = 32


def export_best(
    setting: Setting, fused: Fused, measured: Measured, data: PairData
) -> dict[str, float | int | str]:
    """Exports the best model, and compares each of its signatures in a fresh process."""
    config = setting.config
    served = ServedPairs(
        encoders=setting.encoders,
        image_size=config.data.image_size,
        model=fused.model,
        temperature=fused.temperature,
        names=data.class_names,
    )
    folder = config.run.saved_models_dir / config.run.experiment
    whole = np.flatnonzero(data.test.has_image & data.test.has_text)[:CHECKED_PAIRS]
    row = np.cumsum(data.test.has_image) - 1
    images = data.test.images()
    image_bytes = {"image_bytes": [images.encoded(row[place]) for place in whole]}
    text = {"text": [str(data.test.texts[place]).encode("utf-8", "replace") for place in whole]}
    probabilities = {shown: part[whole] for shown, part in measured.probabilities[fused.name].items()}
    encoded = setting.encoded["test"]
    seen = image_parts(tf.gather(encoded.views[0], encoded.image_row[whole]), setting.encoders.map_shape)
    said = tf.gather(encoded.texts, encoded.text_row[whole])[:, 0]
    return export_checked(
        served,
        folder,
        [
            Question(image_bytes | text, probabilities["both"]),
            Question(image_bytes, probabilities["image"], "image"),
            Question(text, probabilities["text"], "text"),
            Question(image_bytes, of_length_one(seen["image"]).numpy(), "embed_image", "embedding"),
            Question(text, of_length_one(said).numpy(), "embed_text", "embedding"),
        ],
        setting.checkpoints.stage("export"),
    )
