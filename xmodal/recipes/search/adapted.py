"""A run with the flags that a search has found."""

from collections.abc import Callable
from dataclasses import replace
from shlex import quote

from xmodal.config.flagfiles import flagfile
from xmodal.core.files import write_text
from xmodal.core.formatting import printable
from xmodal.recipes.search.halving import Search
from xmodal.recipes.search.ledger import Ledger, tried_table
from xmodal.recipes.search.space import Space
from xmodal.runs.folder import CHOSEN, SEARCH
from xmodal.runs.session import Session
from xmodal.training.rehearsal import under_way
from xmodal.training.strategy import workers


def adapt_run(session: Session, space_of: Callable[[], Space]) -> Session:
    """Returns a run with the flags that a search finds for its data, where --minutes asks for one.

    It leaves the search in search.json, from which an interrupted one goes on, and the flags with the reason
    of each in chosen.cfg, which replays the run without a search.

    Args:
        session: the run, bound to its data.
        space_of: returns what may be chosen.

    Raises:
        UserError: when the time is too short, or nothing may be chosen.
    """
    config, clock, folder = session.config, session.clock, session.config.run.output_dir
    if not config.search.minutes:
        return session
    if under_way():
        clock.log("warning: what --minutes would choose is not known; this is for the flags as they are")
        return session
    with clock.stage("search"):
        space, ledger = space_of(), Ledger(folder / SEARCH, session.trainer.strategy)
        search = Search(space, ledger, config.search.minutes, config.train.until, clock.log)
        values, choices = search.choose()
    new_config = config.with_values({**values, "minutes": 0.0, "fixed": ()})
    explained_lines = {line for choice in choices for line in choice.flags}
    other_lines = [line for line in new_config.flagfile.splitlines() if line not in explained_lines]
    head = f"What a search of {config.search.minutes:g} minutes chose stands below, with the reasons."
    path = folder / CHOSEN
    if workers(session.trainer.strategy).is_chief:
        write_text(path, flagfile(quote(printable(str(path))), head, other_lines, choices))
    for choice in choices:
        clock.log(f"chosen {' '.join(choice.flags)}: {choice.why}")
    clock.log(f"{path} has these flags and their reasons")
    return replace(session, config=new_config, tables=(tried_table(ledger.trials, space.noun),))
