"""How `fusion` is exported and checked."""

from collections.abc import Callable, Sequence
from shlex import quote

import numpy as np

from xmodal.data.pairs import PairData
from xmodal.evaluation.limits import AnswerLimits
from xmodal.export.served_pairs import ServedPairs
from xmodal.export.serving import unit_vectors
from xmodal.export.verification import Question
from xmodal.recipes.export import export_model
from xmodal.recipes.fusion.classifiers import EncodedPairs, Fused
from xmodal.recipes.fusion.tables import FusionResults
from xmodal.runs.inputs import sound_format
from xmodal.runs.session import ASK
from xmodal.tasks.pair_encoders import vectors
from xmodal.text.cleaning import text_of

CHECKED_PAIRS = 32


def export_best(
    pairs: EncodedPairs, fused: Fused, measured: FusionResults, data: PairData, limits: AnswerLimits
) -> dict[str, float | int | str]:
    """Exports the best model, and compares each of its signatures in a fresh process."""
    config, test = pairs.session.config, data.test
    served = ServedPairs(
        encoders=pairs.encoders,
        image_size=config.data.image_size,
        max_pixels=config.data.max_pixels,
        sound=sound_format(config),
        model=fused.model,
        temperature=fused.temperature,
        prepare=text_of(config.documents.scrub),
        names=data.class_names,
        limits=limits,
    )
    contents: dict[str, tuple[str, Callable[[int], bytes]]] = {
        "image": ("image_bytes", test.image),
        "text": ("text", lambda index: str(test.texts[index]).encode("utf-8", "replace")),
        "sound": ("audio_bytes", test.sound),
    }

    def question(part: Sequence[str], expected: np.ndarray, signature: str, output: str) -> Question:
        """Asks about test pairs that have all of some modalities."""
        indices = np.flatnonzero(np.logical_and.reduce([test.present[name] for name in part]))[:CHECKED_PAIRS]
        inputs = {
            name: [read(index) for index in indices]
            for name, read in (contents[modality] for modality in part)
        }
        return Question(inputs, expected[indices], signature, output)

    probabilities, embeddings = (
        measured.probabilities[fused.name],
        vectors(pairs.encoders, pairs.encoded["test"]),
    )
    questions = [
        question(
            part,
            probabilities[visible],
            "serving_default" if visible == pairs.whole else "_and_".join(part),
            "probabilities",
        )
        for visible, part in pairs.visible.items()
    ]
    questions += [
        question((name,), unit_vectors(rows).numpy(), f"embed_{name}", "embedding")
        for name, rows in embeddings.items()
    ]
    facts = export_model(pairs.session, served, questions)
    command = f"python -m xmodal.predict --model={quote(str(facts['export']))} --pair IMAGE_FILE TEXT"
    return facts | {ASK: command}
