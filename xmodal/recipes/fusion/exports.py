"""How `fusion` is exported and checked."""

from shlex import quote

import numpy as np
import tensorflow as tf

from xmodal.data.pairs import PairData
from xmodal.evaluation.limits import AnswerLimits
from xmodal.export.served_pairs import ServedPairs
from xmodal.export.serving import unit_vectors
from xmodal.export.verification import Question
from xmodal.recipes.export import export_model
from xmodal.recipes.fusion.classifiers import EncodedPairs, Fused
from xmodal.recipes.fusion.tables import FusionResults
from xmodal.runs.session import ASK
from xmodal.tasks.pair_encoders import image_parts
from xmodal.text.cleaning import text_of

CHECKED_PAIRS = 32


def export_best(
    pairs: EncodedPairs, fused: Fused, measured: FusionResults, data: PairData, limits: AnswerLimits
) -> dict[str, float | int | str]:
    """Exports the best model, and compares each of its signatures in a fresh process."""
    served = ServedPairs(
        encoders=pairs.encoders,
        image_size=pairs.session.config.data.image_size,
        max_pixels=pairs.session.config.data.max_pixels,
        model=fused.model,
        temperature=fused.temperature,
        prepare=text_of(pairs.session.config.documents.scrub),
        names=data.class_names,
        limits=limits,
    )
    whole = np.flatnonzero(data.test.has_image & data.test.has_text)[:CHECKED_PAIRS]
    image_bytes = {"image_bytes": [data.test.image(index) for index in whole]}
    text = {"text": [str(data.test.texts[index]).encode("utf-8", "replace") for index in whole]}
    probabilities = {visible: part[whole] for visible, part in measured.probabilities[fused.name].items()}
    encoded = pairs.encoded["test"]
    seen = image_parts(tf.gather(encoded.views[0], encoded.image_row[whole]), pairs.encoders.map_shape)
    token_vectors = tf.gather(encoded.texts, encoded.text_row[whole])[:, 0]
    facts = export_model(
        pairs.session,
        served,
        [
            Question(image_bytes | text, probabilities["both"]),
            Question(image_bytes, probabilities["image"], "image"),
            Question(text, probabilities["text"], "text"),
            Question(image_bytes, unit_vectors(seen["image"]).numpy(), "embed_image", "embedding"),
            Question(text, unit_vectors(token_vectors).numpy(), "embed_text", "embedding"),
        ],
    )
    command = f"python -m xmodal.predict --model={quote(str(facts['export']))} --pair IMAGE_FILE TEXT"
    return facts | {ASK: command}
