"""What every recipe begins and ends with."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any

import keras
import tensorflow as tf

from xmodal import report
from xmodal.config.config import Config
from xmodal.core import versions
from xmodal.core.clock import Clock
from xmodal.core.files import target_of, write_text
from xmodal.data.audit import DataReport
from xmodal.report.model_card import CARD
from xmodal.runs import provenance
from xmodal.runs.folder import bind, binding
from xmodal.training.agreement import require_agreement
from xmodal.training.checkpoint import Checkpoints
from xmodal.training.strategy import make_strategy, wait_for_all, workers

# The fact that tells how the exported model is asked: a command.
ASK = "ask"


@dataclass(frozen=True)
class Job:
    """A run under way.

    Attributes:
        config: all flags, as dataclasses.
        clock: times the stages, and says how it goes.
        strategy: what its models are built and trained in.
        checkpoints: keeps the state of its stages.
    """

    config: Config
    clock: Clock
    strategy: tf.distribute.Strategy
    checkpoints: Checkpoints

    def check_data(self, data: DataReport, what: str = "") -> None:
        """Says what is doubtful about a data set, and binds the run to it.

        Args:
            data: its report.
            what: its name, where there are several.

        Raises:
            UserError: when the run goes on with one that was begun with other data, or another process of
                the job has other data.
        """
        for warning in data.warnings:
            self.clock.say(f"warning: {what}: {warning}" if what else f"warning: {warning}")
        digests = {f"{part} of {what or 'the examples'}": digest for part, digest in data.digests.items()}
        require_agreement(digests, self.strategy)
        # The chief alone writes.
        if self.checkpoints.writes:
            bind(self.config.run.output_dir, digests)

    def told(self) -> dict[str, Any]:
        """Returns what a `report.Run` says of itself, whatever was measured."""
        run = self.config.run
        return {
            "experiment": run.experiment,
            "seed": run.seed,
            "flags": self.config.flagfile,
            "command": f"python -m xmodal.run --flagfile={run.output_dir / 'config.cfg'} --overwrite",
            "seconds": self.clock.seconds,
        }


def begin(config: Config, clock: Clock) -> Job:
    """Makes the strategy and finds the checkpoints of a run.

    Raises:
        UserError: when the devices that the flags ask for are not there, or --record may not be written;
            when the processes of the job were started with other code or flags.
    """
    strategy = make_strategy(
        config.run.strategy, config.run.virtual_devices, deterministic=config.run.deterministic
    )
    files = provenance.digests_of_files(config)
    require_agreement(
        versions.code() | {"flags": "\n".join(binding(config.flagfile).values())} | files, strategy
    )
    if config.run.record and workers(strategy).is_chief:
        target_of(config.run.record, report.RECORD, overwrite=config.run.overwrite)
    keras.config.set_dtype_policy(config.train.precision)
    checkpoints = Checkpoints(
        config.run.output_dir / "checkpoints",
        seconds=config.run.checkpoint_seconds,
        steps=config.run.checkpoint_steps,
        writes=workers(strategy).is_chief,
        say=clock.say,
    )
    if workers(strategy).is_chief:
        bind(config.run.output_dir, files)
    return Job(config, clock, strategy, checkpoints)


def finish(
    job: Job,
    run: report.Run,
    export: Callable[[], dict[str, float | int | str]] | None = None,
    shrink: Callable[[Path], tuple[report.Table, ...]] | None = None,
) -> report.Run:
    """Writes all files of a run, the chief alone, and waits for the other processes of the job.

    Args:
        job: the run that ends.
        run: what was measured.
        export: exports the model and returns facts about that: "export", its folder, and "ask", the command
            that asks it, where that is not `xmodal.predict`; called unless --noexport.
        shrink: makes small forms of that export, and returns tables about them; called with --small.

    Returns:
        The run, with the facts of the export and these tables.

    Raises:
        UserError: when there is no space, or no permission to write.
    """
    settings, clock = job.config.run, job.clock
    if workers(job.strategy).is_chief:
        report.write(run, settings.output_dir)
        if export and settings.export:
            with clock.stage("export"):
                facts = export()
            predict = f"python -m xmodal.predict --model={quote(str(facts['export']))} FILE_OR_FOLDER"
            run = replace(run, facts=run.facts | {ASK: predict} | facts)
            made = report.card(run, provenance.of_run(job.config), str(run.facts[ASK]))
            write_text(Path(str(facts["export"])) / CARD, made)
            report.write(run, settings.output_dir)
            if shrink and settings.small:
                with clock.stage("small forms"):
                    run = replace(run, tables=run.tables + shrink(Path(str(facts["export"]))))
                report.write(run, settings.output_dir)
        report.write_tensorboard(run, settings.output_dir / "tensorboard")
        if settings.record:
            report.record(run, settings.record, clock.wall_seconds(), overwrite=settings.overwrite)
        clock.say(report.console_table(run))
        clock.say(_next_steps(run, settings.output_dir))
    wait_for_all(job.strategy)
    return run


def _next_steps(run: report.Run, folder: Path) -> str:
    """Returns three commands to copy: look at what was found, at how it went, and use the model."""
    last = run.facts.get(ASK, f"python -m xmodal.compare {quote(str(folder))} ANOTHER_RUN")
    commands = (
        f"xdg-open {quote(str(folder / 'report.html'))}",
        f"tensorboard --logdir {quote(str(folder / 'tensorboard'))}",
        str(last),
    )
    return "\n".join(["", "next:", *(f"  {command}" for command in commands)])
