"""What made the answers for some test examples, asked of the export of a run."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from xmodal import report
from xmodal.evaluation.selection import gallery_indices
from xmodal.export.predictor import Item, Predictor
from xmodal.export.why import why
from xmodal.runs.session import EXPORT, Session
from xmodal.training.rehearsal import under_way


def with_explained(
    session: Session,
    run: report.Run,
    probabilities: np.ndarray,
    labels: np.ndarray,
    class_names: tuple[str, ...],
    item_of: Callable[[int], Item],
) -> report.Run:
    """Returns a run that tells what made the answers for some test examples, half of them wrong ones.

    Args:
        session: the run.
        run: with the facts of its export; without one nothing is explained.
        probabilities: of the test examples (N, C), which are chosen by these.
        labels: the right answers (N,).
        class_names: the C answers.
        item_of: the index of a test example -> what the export is asked.
    """
    count = session.config.trust.explained
    if not count or EXPORT not in run.facts or under_way():
        return run
    with session.clock.stage("why"):
        indices_by_kind = gallery_indices(probabilities, labels, count, session.config.run.seed)
        wrong, right = indices_by_kind["wrong"], indices_by_kind["right"]
        # Where there are few of one sort, there are more of the other.
        wrong = wrong[: max(count // 2, count - len(right))]
        indices = [*wrong, *right[: count - len(wrong)]]
        predictor = Predictor(Path(str(run.facts[EXPORT])))
        items = [item_of(int(index)) for index in indices]
        explanations = tuple(
            replace(why(predictor, item, answer), truth=class_names[labels[index]])
            for item, answer, index in zip(items, predictor(items), indices, strict=True)
            if not answer.problem
        )
    return replace(run, explained=explanations)
