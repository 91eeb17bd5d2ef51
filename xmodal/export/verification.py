"""Does an export say what the model in memory says? Asked in a process that knows nothing of this package."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
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
        inputs: encoded images or texts, or serialized tensors, N of each, by the name of the input.
        expected: what the model in memory says (N, D).
        signature: which one is asked.
        output: what is compared.
    """

    inputs: Mapping[str, Sequence[bytes]]
    expected: np.ndarray
    signature: str = "serving_default"
    output: str = "probabilities"


@contextmanager
def fresh_process() -> Iterator[subprocess.Popen[str]]:
    """Starts a process that loads TensorFlow, and waits to be told which export to ask."""
    command = [sys.executable, fresh_process_answers.__file__]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def check(
    exported: Path, questions: Sequence[Question], process: subprocess.Popen[str] | None = None
) -> dict[str, float]:
    """Loads an export in a fresh process, and compares what it says with the model in memory.

    Args:
        exported: folder of the SavedModel.
        questions: one a signature.
        process: one of `fresh_process`, where it was started already.

    Returns:
        The largest absolute difference of each signature.

    Raises:
        RuntimeError: when the export cannot be loaded, or differs by more than `TOLERANCES` allow.
    """
    if process is None:
        with fresh_process() as process:
            return check(exported, questions, process)
    with tempfile.TemporaryDirectory() as folder:
        for question in questions:
            for name, values in question.inputs.items():
                inputs = Path(folder) / question.signature / name
                inputs.mkdir(parents=True)
                for number, value in enumerate(values):
                    (inputs / f"{number:06d}").write_bytes(value)
        arguments = (f"{question.signature}={Path(folder) / question.signature}" for question in questions)
        output, errors = process.communicate(json.dumps([str(exported), *arguments]) + "\n")
    if process.returncode:
        raise RuntimeError(f"the export in {exported} cannot be used: {errors.strip()[-2000:]}")
    answers = json.loads(output.splitlines()[-1])
    tolerance = TOLERANCES[keras.config.dtype_policy().compute_dtype]
    differences = {}
    for question in questions:
        outputs = np.array(answers[question.signature][question.output])
        difference = float(np.max(np.abs(outputs - question.expected)))
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
    stage: Stage | None = None,
) -> ExportFacts:
    """Exports a model if it says what the model in memory says, and returns the facts that a run reports.

    Args:
        served: the model.
        folder, stage: as `publish` takes them.
        questions: one a signature.
    """
    # It loads TensorFlow while the export is written.
    with fresh_process() as process:
        compare = partial(differences, questions=questions, process=process)
        version, report = publish(folder, partial(save, served), compare, stage)
    return {"export": str(version), **report}


def differences(
    exported: Path, questions: Sequence[Question], process: subprocess.Popen[str] | None = None
) -> ExportFacts:
    """Checks an export, and returns what a run reports of that."""
    return {
        f"export: largest difference, {name}": value
        for name, value in check(exported, questions, process).items()
    }
