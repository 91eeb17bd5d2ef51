"""The export of a run's model, and its check in a fresh process."""

from collections.abc import Sequence

from xmodal.export.verification import Question, export_checked
from xmodal.runs.session import Session


def export_model(session: Session, served, questions: Sequence[Question]) -> dict[str, float | int | str]:
    """Exports what is served, and compares its answers with those of the models in memory.

    Args:
        session: the run, whose export folder it goes to.
        served: as `export_checked` takes it.
        questions: to each signature, with the answers of the models in memory.

    Returns:
        Facts about the export, see `export_checked`.
    """
    return export_checked(served, session.export_folder, questions, session.checkpoints.stage("export"))
