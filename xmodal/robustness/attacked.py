"""How hard classifiers are to fool: what they answer for examples as they are, and for changed ones."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from xmodal import report
from xmodal.evaluation.intervals import Comparison, compare_paired, wilson_interval
from xmodal.runs.session import Session
from xmodal.training.checkpoint import State
from xmodal.training.rehearsal import under_way

_BETWEEN = ": "
# Examples that a dry run attacks.
REHEARSED = 2


@dataclass(frozen=True)
class AttackResult:
    """Which of N examples a classifier answers rightly.

    Attributes:
        clean: bool (N,), of the examples as they are.
        changed: kind of change -> its budget in words, the mildest first -> bool (N,).
        misled: rows about examples that a change misled: a name, a size, the kind, and what was changed.
    """

    clean: np.ndarray
    changed: dict[str, dict[str, np.ndarray]]
    misled: tuple[tuple[str, int, str, str], ...] = ()

    def worst(self) -> dict[str, np.ndarray]:
        """Returns what is answered under the largest budget of each kind, by the kind and the budget."""
        return {
            f"{kind} {[*right_by_budget][-1]}": [*right_by_budget.values()][-1]
            for kind, right_by_budget in self.changed.items()
        }


def attacked_examples(size: int, count: int, seed: int) -> np.ndarray:
    """Returns which of so many examples are attacked: `count` of them by chance, in their order.

    In a rehearsal there are `REHEARSED` at most: an attack takes long, and goes from example to example.
    """
    count = min(REHEARSED, count) if under_way() else count
    return np.sort(np.random.default_rng(seed).permutation(size)[:count])


def attack_all(
    session: Session, names: Iterable[str], attack: Callable[[str], AttackResult]
) -> dict[str, AttackResult]:
    """Attacks classifiers by name, each in a stage of the run whose result is kept."""
    repeats = max(1.0, session.config.attack.attacked_examples / REHEARSED)

    def attacked(name: str) -> AttackResult:
        stage = f"{name}: under attack"
        with session.clock.stage(stage, repeats):
            return _result(session.trainer.once(stage, lambda: _state(attack(name))))

    return {name: attacked(name) for name in names}


def attack_table(attacked: Mapping[str, AttackResult], unit: str) -> report.Table:
    """Puts classifiers side by side: accuracy with its 95% interval by change.

    Args:
        attacked: name of a classifier -> what it answers, for the same examples and changes.
        unit: what the examples are.
    """
    first = next(iter(attacked.values()))
    head = [f"test {unit}"]
    for name in attacked:
        head += [name, f"{name}: 95% from", f"{name}: to"]
    rows = [_row("as they are", [item.clean for item in attacked.values()])]
    rows += [
        _row(f"{kind} {budget}", [item.changed[kind][budget] for item in attacked.values()])
        for kind, right_by_budget in first.changed.items()
        for budget in right_by_budget
    ]
    caption = f"Accuracy on {len(first.clean):,} test {unit}, as they are and changed to mislead"
    return report.Table(caption, tuple(head), tuple(rows))


def training_cost(name: str, plain: str, seconds: Mapping[str, float]) -> dict[str, float | int | str]:
    """Returns as a fact how many times as long a robust training took as the plain one.

    Args:
        name, plain: of the classifiers.
        seconds: name of a classifier -> wall seconds of its training.
    """
    return {f"training of {name}, times as long as of {plain}": round(seconds[name] / seconds[plain], 2)}


def adversarial_table(attacked: AttackResult, name: str, unit: str) -> report.Table:
    """Shows some of the examples that changes misled a classifier on.

    Args:
        attacked: what the classifier answers.
        name: of the classifier.
        unit: of the examples' sizes, such as "words".
    """
    head = ("example", unit, "change", "what stands in the place of what")
    return report.Table(f"Some examples that changes mislead {name} on", head, attacked.misled)


def attack_comparisons(attacked: Mapping[str, AttackResult], unit: str) -> tuple[Comparison, ...]:
    """Says what the worst change of each kind costs a classifier, and how others fare under it.

    Args:
        attacked: name of a classifier -> what it answers: first the plain one.
        unit: what the examples are.
    """
    (name, baseline), *others = attacked.items()
    worst = baseline.worst()
    gains = [
        compare_paired(right, baseline.clean, what=f"{change}, asked of {name},", unit=unit)
        for change, right in worst.items()
    ]
    gains += [
        compare_paired(
            right, worst[change], what=f"{other} in the place of {name}, under {change},", unit=unit
        )
        for other, item in others
        for change, right in item.worst().items()
    ]
    return tuple(gains)


def _state(result: AttackResult) -> State:
    arrays = {
        f"{kind}{_BETWEEN}{budget}": right
        for kind, rights in result.changed.items()
        for budget, right in rights.items()
    }
    return State({"clean": result.clean} | arrays, {"misled": result.misled})


def _result(state: State) -> AttackResult:
    right_by_change: dict[str, dict[str, np.ndarray]] = {}
    for name, right in state.arrays.items():
        kind, separator, budget = name.partition(_BETWEEN)
        if separator:
            right_by_change.setdefault(kind, {})[budget] = right
    return AttackResult(state.arrays["clean"], right_by_change, tuple(map(tuple, state.facts["misled"])))


def _row(change: str, rights: list[np.ndarray]) -> tuple[str | float, ...]:
    cells: list[str | float] = [change]
    for right in rights:
        count = int(right.sum())
        cells += [count / len(right), *wilson_interval(count, len(right))]
    return tuple(cells)
