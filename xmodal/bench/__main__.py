"""Measures what a part of the project costs: `python -m xmodal.bench --bench=engine --record=FILE`."""

import importlib
import sys
from collections.abc import Sequence

from xmodal import report
from xmodal.config import flags
from xmodal.core import versions
from xmodal.core.clock import Clock
from xmodal.core.console import log, log_error
from xmodal.core.errors import UserError, system_errors, with_flags
from xmodal.core.files import target_of, write_json, write_text
from xmodal.core.tensorflow_start import start_tensorflow
from xmodal.report import markup
from xmodal.runs.comparison import text


def main(argv: Sequence[str]) -> int:
    """Runs a benchmark with the flags of a run. Returns the exit code, 2 an error that the user can fix."""
    if set(flags.HELP) & set(argv):
        log(f"{__doc__}\n\n{flags.help_text()}")
        return 0
    try:
        versions.check()
        start_tensorflow()
        flags.parse(argv)
        settings = flags.from_flags()
        clock, overwrite = Clock(), settings.run.overwrite
        if settings.run.record:
            target_of(settings.run.record, report.RECORD, overwrite=overwrite)
        bench = importlib.import_module(f"xmodal.bench.{settings.bench.bench}")
        with system_errors():
            figures = bench.measure(settings, clock)
        if hasattr(bench, "tables"):
            log(text(bench.tables(figures)))
        else:
            log("\n".join(f"{name}: {value}" for name, value in figures.items()))
        if settings.run.record:
            record = {
                "bench": settings.bench.bench,
                **figures,
                "hardware": report.hardware(),
                "versions": report.versions(),
                "commit": report.commit(),
                "flags": settings.flagfile.splitlines(),
                "seconds": clock.seconds,
                "wall_seconds": clock.wall_seconds(),
            }
            write_json(settings.run.record, record, report.RECORD, overwrite=overwrite)
            if hasattr(bench, "page"):
                page = settings.run.record.with_suffix(".html")
                write_text(page, bench.page(figures), markup.PAGE, overwrite=overwrite)
    except UserError as error:
        log_error(f"error: {with_flags(error)}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
