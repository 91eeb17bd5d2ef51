"""A search in three parts: looks at features, successive halving of trainings, epochs of what is chosen.

Successive halving: Jamieson and Talwalkar 2016 (arXiv:1502.07943). All arms are trained for a few epochs, and
the better half of them again for twice as many, as long as the time allows; from the beginning each time,
since a schedule knows its end.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from xmodal.config.flagfiles import Choice, flag_line
from xmodal.core.errors import UserError
from xmodal.core.formatting import duration
from xmodal.recipes.search.ledger import Ledger, Trial
from xmodal.recipes.search.space import Arm, Space, Values, first_of_each, line_of, named, reason

# Of the time: what looks may take; these and the trainings; and reading all examples once, which is to be
# done several times.
LOOKS, SEARCHES, A_PASS = 0.2, 0.5, 0.2
# So many examples are looked at. Trainings learn from as many at least, and from more where so many passes
# over them fit into their time.
SAMPLE, PASSES = 600, 60


@dataclass(frozen=True)
class Search:
    """A search under way.

    Attributes:
        space: what may be chosen.
        ledger: keeps what was found.
        minutes: the time, that of the training of what is chosen included.
        until: the validation accuracy at which nothing better is searched for, 0 for none.
        log: where a line about each step goes.
    """

    space: Space
    ledger: Ledger
    minutes: float
    until: float
    log: Callable[[str], None]

    @property
    def seconds(self) -> float:
        """The time."""
        return 60 * self.minutes

    def choose(self) -> tuple[dict[str, Any], list[Choice]]:
        """Chooses options by looks and trainings in half of the time, and epochs by what is left of it.

        Returns:
            The values of all options that may be chosen, and flags with their reasons.

        Raises:
            UserError: when the time is too short for a single arm, or nothing may be chosen.
        """
        space = self.space
        looks = self._looks()
        arms = first_of_each(space.arms(looks), lambda arm: space.lines(arm.values))
        arms = [arm for arm in arms if space.is_open(arm.values)]
        if len(arms) < 2 and space.epochs in space.fixed:
            fixed_flag = f"`fixed={','.join(sorted(space.fixed))}`"
            raise self._refusal(f"has nothing to choose beside {fixed_flag}", "leave some of these out")
        best = self._best(arms, looks[0].pace)
        epochs, why = self._epochs(best)
        values = {**space.whole(best.flags), space.epochs: epochs}
        choices = [reason(space, group, values, self.ledger.trials) for group in space.groups]
        choices.append(Choice(why, (flag_line(space.epochs, epochs),)))
        return values, [choice for choice in choices if choice.flags]

    def _refusal(self, problem: str, remedy: str) -> UserError:
        """Returns an error about the time; nothing is kept of the search then."""
        self.ledger.discard()
        return UserError(f"`minutes={self.minutes:g}` {problem}", remedy)

    def _too_short(self, needed: float, what: str) -> UserError:
        remedy = f"give `minutes={math.ceil(needed / 6) / 10:g}` or more"
        return self._refusal(f"is too short: {what}", remedy)

    def _looks(self) -> list[Trial]:
        """Looks at features as far as the time goes, and returns what may be trained, the best first."""
        space, trials = self.space, list[Trial]()
        for changes in ({}, *space.looks):
            values = {**space.start, **changes}
            if not space.is_open(values) or (changes and not space.lines(values)):
                continue
            look = partial(self._look_at, values, bool(trials))
            new_trials = self.ledger.once(f"look at {named(space.lines(values))}", look)
            trials += [trial for trial in new_trials if trial.score is not None]
            self.log(line_of(max(new_trials, key=_score), space.noun))
        if not trials:
            fastest = min((trial for trial in self.ledger.trials if trial.pace), key=lambda trial: trial.pace)
            raise self._too_short(
                fastest.pace * space.examples / A_PASS, f"{named(fastest.flags)}, the fastest, {fastest.note}"
            )
        # Of equal ones the flags as they are, or else that which is read in less time.
        return sorted(
            trials,
            key=lambda trial: (round(_score(trial), 3), not trial.flags, -trial.pace),
            reverse=True,
        )

    def _look_at(self, values: Values, has_others: bool) -> list[Trial]:
        """Looks at features, unless that is in vain, or there are others and there is no time."""
        space, lines = self.space, self.space.lines(values)
        count = min(SAMPLE, space.examples)
        seconds, pace = self._expected_look(values)
        if not self._is_slow(pace):
            if has_others and self.ledger.elapsed + seconds > LOOKS * self.seconds:
                return [Trial(lines, note="no time was left to look at it")]
            try:
                pace, scores = space.look(values, count)
            except UserError as error:
                if not lines:
                    raise
                return [Trial(lines, note=error.problem)]
        if self._is_slow(pace):
            purpose = f"to read all {space.examples:,} {space.noun}"
            return [Trial(lines, pace=pace, note=f"takes {duration(pace * space.examples)} {purpose}")]
        return [
            Trial(space.lines({**values, **changes}), examples=count, pace=pace, score=score)
            for changes, score in scores
            if space.is_open({**values, **changes})
        ]

    def _is_slow(self, pace: float) -> bool:
        return pace * self.space.examples > A_PASS * self.seconds

    def _expected_look(self, values: Values) -> tuple[float, float]:
        """Returns the seconds of a look and of an example, by what the same network took before, or 0."""
        network, cost = self.space.cost(values)
        for trial in reversed(self.ledger.trials):
            other, known_cost = self.space.cost(self.space.whole(trial.flags))
            if other == network and trial.pace:
                return self._step_seconds(trial) * cost / known_cost, trial.pace * cost / known_cost
        return 0.0, 0.0

    def _step_seconds(self, trial: Trial) -> float:
        return sum(other.seconds for other in self.ledger.trials if other.step == trial.step)

    def _best(self, arms: Sequence[Arm], pace: float) -> Trial:
        """Trains arms by successive halving, and returns the training that was best on validation."""
        seconds = SEARCHES * self.seconds - self.ledger.elapsed
        count = min(self.space.examples, max(SAMPLE, int(seconds / (PASSES * pace))))
        trials: list[Trial] = []
        for epochs in self.space.rungs:
            trained_pairs = []
            for arm in arms:
                step = f"{epochs} epochs of {named(self.space.lines(arm.values))}"
                (trial,) = self.ledger.once(step, partial(self._train_arm, arm, epochs, count, not trials))
                self.log(line_of(trial, self.space.noun))
                if trial.accuracy is None:
                    continue
                trials.append(trial)
                trained_pairs.append((trial, arm))
                if self.until and trial.accuracy >= self.until:
                    self.log(f"search: nothing better is searched for, until={self.until:g}")
                    return trial
            if not trials:
                raise self._none_fits(arms, epochs, count)
            ranking = sorted(trained_pairs, key=lambda pair: merit(pair[0]), reverse=True)
            arms = [arm for _, arm in ranking[: (len(ranking) + 1) // 2]]
            if len(trained_pairs) < 2:
                break
        return max(trials, key=merit)

    def _train_arm(self, arm: Arm, epochs: int, count: int, first: bool) -> list[Trial]:
        """Trains an arm, unless it takes longer than what is left of the search."""
        space, lines = self.space, self.space.lines(arm.values)
        expected = self._expected_training(arm, epochs, count)
        # The first one may take the time of others, as long as there is some for an epoch of all examples.
        end = self.seconds - self._an_epoch(arm) if first else SEARCHES * self.seconds
        if self.ledger.elapsed + expected > end:
            return [Trial(lines, epochs, note=f"no time was left for about {duration(expected)}")]
        try:
            accuracy, loss, pace = space.train({**space.start, **arm.values}, epochs, count)
        except UserError as error:
            if not lines:
                raise
            return [Trial(lines, epochs, note=error.problem)]
        pace = max(pace, arm.look.pace)
        return [Trial(lines, epochs, count, pace=pace, accuracy=accuracy, loss=loss)]

    def _none_fits(self, arms: Sequence[Arm], epochs: int, count: int) -> UserError:
        """Returns the error that no arm fits into the time."""
        shortest = min(self._expected_training(arm, epochs, count) + self._an_epoch(arm) for arm in arms)
        needed = self.ledger.elapsed + shortest
        return self._too_short(needed, f"looks, one trial and an epoch take about {duration(needed)}")

    def _expected_training(self, arm: Arm, epochs: int, count: int) -> float:
        """Returns the seconds of a training, by what the same took with fewer epochs, or by the look."""
        lines = self.space.lines(arm.values)
        trainings = [trial for trial in self.ledger.trials if trial.accuracy is not None]
        repeats = [trial for trial in trainings if trial.flags == lines]
        if repeats:
            return repeats[-1].seconds * epochs / repeats[-1].epochs
        # What comes to reading: building the network, and starting.
        overheads = [trial.seconds - trial.pace * trial.epochs * trial.examples for trial in trainings]
        reads = arm.passes * epochs * count + (epochs + 1) * self.space.validation
        return (max(overheads) if overheads else self._step_seconds(arm.look)) + reads * arm.look.pace

    def _an_epoch(self, arm: Arm) -> float:
        return arm.passes * arm.look.pace * self.space.examples

    def _epochs(self, best: Trial) -> tuple[int, str]:
        """Returns the epochs that fit into what is left of the time, and says why so many."""
        space = self.space
        if space.epochs in space.fixed:
            return space.start[space.epochs], "As it was given."
        an_epoch = best.pace * space.examples
        time = max(0.0, self.seconds - self.ledger.elapsed)
        epochs = max(1, min(space.most_epochs, int(time / an_epoch)))
        limit_text = f" More than {space.most_epochs} are not taken." if epochs == space.most_epochs else ""
        return epochs, (
            f"{duration(time)} of {self.minutes:g} minutes were left, and an epoch of all {space.examples:,} "
            f"{space.noun} takes about {duration(an_epoch)}.{limit_text}"
        )


def merit(trial: Trial) -> tuple[float, float]:
    """Returns what trainings are ranked by: validation accuracy, then loss."""
    return trial.accuracy or 0.0, -(trial.loss or 0.0)


def _score(trial: Trial) -> float:
    return -math.inf if trial.score is None else trial.score
