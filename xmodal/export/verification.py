"""Does an export say what the model in memory says? Asked in a process that knows nothing of this package."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import keras
import numpy as np

from xmodal.export import fresh_process_answers
from xmodal.export.saved_model import ExportFacts, ServedModel, publish, save
from xmodal.training.checkpoint import Stage

# Largest difference of a probability, or of a number of an embedding, between the model in memory and the
# export, by what they compute in: other batches are added up in another order.
TOLERANCES = {"float32": 1e-4, "float16": 5e-3, "bfloat16": 2e-2}


@dataclass(frozen=True)
class Question:
    """What a signature is asked, and what it should say.

    Attributes:
        inputs: encoded images or texts, N of each, by the name of the input.
        expected: what the model in memory says (N, D).
        signature: which one is asked.
        output: what is compared.
    """

    inputs: Mapping[str, Sequence[bytes]]
    expected: np.ndarray
    signature: str = "serving_default"
    output: str = "probabilities"


def check(exported: Path, questions: Sequence[Question]) -> dict[str, float]:
    """Loads an export in a fresh process, and compares what it says with the model in memory.

    Args:
        exported: folder of the SavedModel.
        questions: one a signature.

    Returns:
        The largest absolute difference of each signature.

    Raises:
        RuntimeError: when the export cannot be loaded, or differs by more than `TOLERANCES` allow.
    """
    with tempfile.TemporaryDirectory() as folder:
        for question in questions:
            for name, values in question.inputs.items():
                inputs = Path(folder) / question.signature / name
                inputs.mkdir(parents=True)
                for number, value in enumerate(values):
                    (inputs / f"{number:06d}").write_bytes(value)
        asked = (f"{question.signature}={Path(folder) / question.signature}" for question in questions)
        process = subprocess.run(
            [sys.executable, fresh_process_answers.__file__, str(exported), *asked],
            capture_output=True,
            text=True,
        )
    if process.returncode:
        raise RuntimeError(f"the export in {exported} cannot be used: {process.stderr.strip()[-2000:]}")
    answers = json.loads(process.stdout.splitlines()[-1])
    tolerance = TOLERANCES[keras.config.dtype_policy().compute_dtype]
    differences = {}
    for question in questions:
        told = np.array(answers[question.signature][question.output])
        difference = float(np.max(np.abs(told - question.expected)))
        if not difference <= tolerance:
            raise RuntimeError(
                f"{question.signature} of the export in {exported} differs from the model in memory by "
                f"{difference:.2e}, more than {tolerance:.0e}"
            )
        differences[question.signature] = difference
    return differences


def export_checked(
    served: ServedModel,
    folder: Path,
    questions: Sequence[Question],
    kept: Stage | None = None,
) -> ExportFacts:
    """Exports a model if it says what the model in memory says, and returns the facts that a run reports.

    Args:
        served: the model.
        folder, kept: as `publish` takes them.
        questions: one a signature.
    """
    exported, told = publish(folder, partial(save, served), partial(differences, questions=questions), kept)
    return {"export": str(exported), **told}


def differences(exported: Path, questions: Sequence[Question]) -> ExportFacts:
    """Checks an export, and returns what a run reports of that."""
    return {
        f"export: largest difference, {name}": value for name, value in check(exported, questions).items()
    }
