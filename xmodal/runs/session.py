"""Starts and finishes a run: strategy, checkpoints, report, export."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from shlex import quote
from typing import Any

import keras

from xmodal import report
from xmodal.assets.presets import text_encoder_path
from xmodal.config.config import Config
from xmodal.config.experiments import EXPERIMENTS
from xmodal.core import versions
from xmodal.core.clock import Clock
from xmodal.core.errors import spell_as_flags
from xmodal.core.files import cache_folder, target_of, write_text
from xmodal.core.formatting import printable
from xmodal.data.audit import DataReport
from xmodal.models.image_backbones import require_backbone
from xmodal.report.model_card import CARD
from xmodal.report.trackers import RunTracker
from xmodal.runs import provenance
from xmodal.runs.folder import CHOSEN, CONFIG, bind, binding
from xmodal.runs.inputs import feature_cache
from xmodal.training.agreement import require_agreement
from xmodal.training.checkpoint import Checkpoints
from xmodal.training.rehearsal import under_way
from xmodal.training.strategy import make_strategy, wait_for_all, workers
from xmodal.training.trainer import Trainer

# The facts that tell how the exported model is asked, a command, and where it is.
ASK, EXPORT = "ask", "export"


@dataclass(frozen=True)
class Session:
    """A run under way.

    Attributes:
        config: all flags, as dataclasses.
        clock: times the stages, and logs progress.
        trainer: trains its models, with the strategy, checkpoints, feature cache and seed of the run.
        result_seconds: name of a result -> the seconds of what it needs, see `seconds`.
        tracker: is told of epochs and results, None for none.
        tables: what is reported beside the measurements: what a search tried.
    """

    config: Config
    clock: Clock
    trainer: Trainer
    result_seconds: dict[str, float] = field(default_factory=dict)
    tracker: RunTracker | None = None
    tables: tuple[report.Table, ...] = ()

    def seconds(self, result: str, *parts: str) -> float:
        """Notes what a result takes, once that is done, and returns its seconds.

        Args:
            result: its name.
            parts: stages that it needs, and results before it that it builds on.
        """
        seconds = sum(self.result_seconds.get(part, self.clock.seconds.get(part, 0.0)) for part in parts)
        self.result_seconds[result] = seconds
        return seconds

    @property
    def checkpoints(self) -> Checkpoints:
        """Where the state of its stages is kept."""
        assert self.trainer.checkpoints is not None
        return self.trainer.checkpoints

    @property
    def export_folder(self) -> Path:
        """Where exports of the experiment go, each in a folder of its number."""
        return self.config.run.saved_models_dir / self.config.run.experiment

    def text_encoder(self) -> str:
        """Finds the text encoder that the flags name, and returns where its preset is."""
        run = self.config.run
        return text_encoder_path(self.config.text.text_encoder, cache=cache_folder(), offline=run.offline)

    def check_data(self, data: DataReport, what: str = "") -> None:
        """Says what is doubtful about a data set, and binds the run to it.

        Args:
            data: its report.
            what: its name, where there are several.

        Raises:
            UserError: when the run goes on with one that was begun with other data, or another process of
                the job has other data.
        """
        for warning in map(printable, map(spell_as_flags, data.warnings)):
            self.clock.log(f"warning: {what}: {warning}" if what else f"warning: {warning}")
        digests = {f"{part} of {what or 'the examples'}": digest for part, digest in data.digests.items()}
        require_agreement(digests, self.trainer.strategy)
        # The chief alone writes.
        if self.checkpoints.writes:
            bind(self.config.run.output_dir, digests)

    def metadata(self) -> dict[str, Any]:
        """Returns what a `report.Run` says of itself, whatever was measured."""
        run = self.config.run
        flagfile = run.output_dir / (CHOSEN if self.tables else CONFIG)
        return {
            "experiment": run.experiment,
            "seed": run.seed,
            "flags": self.config.flagfile,
            "command": f"python -m xmodal.run --flagfile={flagfile} --overwrite",
            "seconds": self.clock.seconds,
        }


def begin(config: Config, clock: Clock) -> Session:
    """Makes the strategy and finds the checkpoints and the feature cache of a run.

    Raises:
        UserError: for an unknown --base or --target; when the devices that the flags ask for are not there,
            or --record may not be written; when the processes of the job were started with other code or
            flags.
    """
    for option in {"base", "target"} & EXPERIMENTS[config.run.experiment].reads:
        require_backbone(getattr(config.image, option), offline=config.run.offline)
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
        log=clock.log,
    )
    if workers(strategy).is_chief:
        bind(config.run.output_dir, files)
    run, tracker, epoch_callback = config.run, None, None
    if run.track and workers(strategy).is_chief and not under_way():
        tracker = RunTracker(run.track, run.output_dir, config.flagfile, clock.log)
        epoch_callback = tracker.epoch
    trainer = Trainer(
        config.train,
        seed=config.run.seed,
        strategy=strategy,
        checkpoints=checkpoints,
        cache=feature_cache(config, workers(strategy).is_chief),
        log=clock.log,
        on_epoch=None if under_way() else report.EpochWriter(run.output_dir, clock.log, epoch_callback),
    )
    return Session(config, clock, trainer, tracker=tracker)


def hand_over(
    session: Session, run: report.Run, export: Callable[[], dict[str, float | int | str]]
) -> report.Run:
    """Shows what is measured so far and exports the model, both to be used while the run goes on.

    Args:
        session: a run that is still to train what its results are compared with.
        run: what was measured.
        export: as `finish` takes it, which need not export again then.

    Returns:
        The run, with the facts of the export.

    Raises:
        UserError: when there is no space, or no permission to write.
    """
    run = _with_tables(session, run)
    if workers(session.trainer.strategy).is_chief:
        session.clock.log(report.console_table(run))
        run = _export(session, run, export)
        if ASK in run.facts:
            session.clock.log(f"the model can be used while the run goes on: {run.facts[ASK]}")
    wait_for_all(session.trainer.strategy)
    return run


def finish(
    session: Session,
    run: report.Run,
    export: Callable[[], dict[str, float | int | str]] | None = None,
    shrink: Callable[[Path], tuple[report.Table, ...]] | None = None,
) -> report.Run:
    """Writes all files of a run, the chief alone, and waits for the other processes of the job.

    Args:
        session: the run that ends.
        run: what was measured; with the facts of its export where it was handed over before.
        export: exports the model and returns facts about that: "export", its folder, and "ask", the command
            that asks it, where that is not `xmodal.predict`; called unless --noexport, in the chief alone,
            where models are asked by `Trainer.alone`.
        shrink: makes small forms of that export, and returns tables about them; called with --small.

    Returns:
        The run, with the facts of the export and these tables.

    Raises:
        UserError: when there is no space, or no permission to write.
    """
    settings, clock = session.config.run, session.clock
    run = _with_tables(session, run)
    if workers(session.trainer.strategy).is_chief:
        if export:
            run = _export(session, run, export)
        else:
            _write(session, run)
        if shrink and settings.small and EXPORT in run.facts:
            with clock.stage("small forms"):
                run = replace(run, tables=run.tables + shrink(Path(str(run.facts[EXPORT]))))
            report.write(run, settings.output_dir)
        logged_epochs = getattr(session.trainer.on_epoch, "epochs", ())
        report.write_tensorboard(run, settings.output_dir / "tensorboard", logged_epochs)
        if session.tracker:
            session.tracker.finish(run)
        if settings.record:
            report.record(run, settings.record, clock.wall_seconds(), overwrite=settings.overwrite)
        clock.log(report.console_table(run))
        clock.log(_next_steps(run, settings.output_dir))
    wait_for_all(session.trainer.strategy)
    return run


def _with_tables(session: Session, run: report.Run) -> report.Run:
    """Adds the tables of the session, where they were not added before."""
    return replace(
        run, tables=run.tables + tuple(table for table in session.tables if table not in run.tables)
    )


def _export(
    session: Session, run: report.Run, export: Callable[[], dict[str, float | int | str]]
) -> report.Run:
    """Writes the report, exports the model unless --noexport, and adds what is told of the export."""
    settings = session.config.run
    report.write(run, settings.output_dir)
    if not settings.export:
        return run
    with session.clock.stage("export"):
        facts = export()
    predict_command = f"python -m xmodal.predict --model={quote(str(facts[EXPORT]))} FILE_OR_FOLDER"
    run = replace(run, facts=run.facts | {ASK: predict_command} | facts)
    _write(session, run)
    return run


def _write(session: Session, run: report.Run) -> None:
    """Writes the report, and the card of what was exported."""
    if EXPORT in run.facts:
        card = report.card(run, provenance.of_run(session.config), str(run.facts[ASK]))
        write_text(Path(str(run.facts[EXPORT])) / CARD, card)
    report.write(run, session.config.run.output_dir)


def _next_steps(run: report.Run, folder: Path) -> str:
    """Returns three commands to copy: look at what was found, at how it went, and use the model."""
    last_command = run.facts.get(ASK, f"python -m xmodal.compare {quote(str(folder))} ANOTHER_RUN")
    commands = (
        f"xdg-open {quote(str(folder / 'report.html'))}",
        f"tensorboard --logdir {quote(str(folder / 'tensorboard'))}",
        str(last_command),
    )
    return "\n".join(["", "next:", *(f"  {command}" for command in commands)])
