"""What the READMEs and the pages in experiments tell people to type, and how a test does as told."""

import importlib
import re
import shlex
from pathlib import Path

from absl.testing import flagsaver

ROOT = Path(__file__).parents[2]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (*ROOT.glob("README*.md"), *ROOT.glob("experiments/*.md"))
}


def blocks(page: str, *languages: str) -> list[str]:
    """Returns the blocks of code in some languages, without comments, which are translated."""
    found = re.findall(rf"```(?:{'|'.join(languages)})\n(.*?)```", page, re.DOTALL)
    return [re.sub(r" +# .*", "", block) for block in found]


def commands() -> list[str]:
    """Returns every `python -m xmodal...` of all pages once."""
    found: list[str] = []
    for page in PAGES.values():
        for block in blocks(page, "sh", "bash"):
            lines = block.replace("\\\n", " ").splitlines()
            parts = (part for line in lines for part in line.split(" && "))
            found += [part[part.index("python -m xmodal") :] for part in parts if "python -m xmodal" in part]
        found += re.findall(r"`(python -m xmodal\.[^`]*)`", page)
    return sorted({" ".join(command.split()) for command in found})


def snippets() -> list[str]:
    """Returns every block of Python of all pages once."""
    return sorted({block for page in PAGES.values() for block in blocks(page, "python")})


def call(command: str, *more: str) -> int:
    """Runs a command in this process, with further arguments, and returns its exit code."""
    words = [*shlex.split(command)[2:], *more]
    with flagsaver.flagsaver():
        return importlib.import_module(words[0]).main(words)


def follow(part: str) -> None:
    """Runs the only snippet with a given part."""
    (snippet,) = (snippet for snippet in snippets() if part in snippet)
    exec(compile(snippet, part, "exec"), {})
