"""Looks at this machine and says what stands in the way of a run, and what to do about it.

python -m xmodal.doctor
python -m xmodal.doctor --output_dir=/mnt/runs --json
"""

import dataclasses
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from xmodal.assets.catalog import ASSETS
from xmodal.assets.fetch import locate
from xmodal.core import versions
from xmodal.core.command import Parser, exit_code
from xmodal.core.console import log
from xmodal.core.errors import UserError
from xmodal.core.files import cache_folder
from xmodal.core.formatting import plural
from xmodal.core.machine import hardware
from xmodal.core.tensorflow_start import start_tensorflow

# What the shipped run of vgg_to_bert needs at least, in GB (10^9 bytes): the weights, a run and its export.
DISK_GB, MEMORY_GB = 2.0, 4.0
FIRST_RUN = """
A first run, and before it how long it takes on this machine, in seconds that are measured:
  xmodal run --flagfile=experiments/vgg_to_bert.cfg --dry_run
  xmodal run --flagfile=experiments/vgg_to_bert.cfg"""
# What further extras of setup.cfg are for.
EXTRAS = {
    "attacks": ("adversarial-robustness-toolbox", "--attacked_examples and --robust of image classifiers"),
    "demo": ("gradio", "python -m xmodal.demo"),
    "litert": ("ai-edge-litert", "--small; TensorFlow's own interpreter runs the same until it goes"),
    "sound": ("soundfile", "FLAC and OGG; WAV is read without it"),
    "video": ("av", "MP4, WebM and other containers; GIF, WebP and APNG are read without it"),
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        verdict: "good", "absent" for what is fetched when it is needed or can be installed, "doubtful" where
            a run works but not as well as it could, or "bad" where it fails.
        subject: what was looked at.
        detail: what was found.
        remedy: what to do about it; empty where all is well.
    """

    verdict: Literal["good", "absent", "doubtful", "bad"]
    subject: str
    detail: str
    remedy: str = ""


def examine(output_dir: Path, cache: Path) -> Iterator[Finding]:
    """Looks at packages, devices, memory, disks and caches, one after the other.

    Args:
        output_dir: where runs are to leave their files.
        cache: the folder of assets and features.
    """
    try:
        versions.check_system()
    except UserError as error:
        yield Finding("bad", "system", error.problem, error.remedy)
        return
    packages = _packages()
    yield packages
    if packages.verdict == "good":
        yield from _machine()
    yield _writable("output folder", output_dir)
    yield _writable("cache", cache)
    yield from _assets(cache)
    yield from _extras()


def _packages() -> Finding:
    try:
        versions.check()
    except UserError as error:
        return Finding("bad", "packages", error.problem, error.remedy)
    version_texts = (f"{name} {metadata.version(name)}" for name in ("tensorflow", "keras", "keras-nlp"))
    return Finding("good", "packages", ", ".join(version_texts))


def _machine() -> Iterator[Finding]:
    start_tensorflow("3")
    machine = hardware()
    yield Finding("good", "processor", f"{plural(machine['cores'], 'core')} of {machine['cpu']}")
    if machine["accelerators"]:
        yield Finding("good", "accelerators", ", ".join(machine["accelerators"]))
    elif Path("/dev/nvidia0").exists():
        remedy = "run: pip install -c constraints.txt -e '.[gpu]'"
        yield Finding("doubtful", "accelerators", "there is a GPU that TensorFlow does not see", remedy)
    else:
        detail = "none: runs take the processor; with a GPU larger images and networks take bearable time"
        yield Finding("good", "accelerators", detail)
    memory = machine["memory_gb"]
    if memory < MEMORY_GB:
        yield Finding("doubtful", "memory", f"{memory} GB", "give --batch_size and --text_batch_size less")
    else:
        yield Finding("good", "memory", f"{memory} GB")


def _writable(subject: str, folder: Path) -> Finding:
    """Tries to write, in the folder itself or the nearest one above it that exists."""
    existing_folder = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing_folder):
            pass
    except OSError as error:
        remedy = "choose one that you may write to" + (" by XMODAL_HOME" if subject == "cache" else "")
        return Finding("bad", subject, f"{folder} cannot be written ({error.strerror})", remedy)
    free_gb = shutil.disk_usage(existing_folder).free / 1e9
    detail = f"{folder}, {free_gb:.1f} GB free"
    if free_gb < DISK_GB:
        return Finding("bad", subject, detail, f"make room: a run takes up to {DISK_GB:.0f} GB")
    return Finding("good", subject, detail)


def _assets(cache: Path) -> Iterator[Finding]:
    for name in ASSETS:
        try:
            locate(name, cache=cache, offline=True)
        except UserError:
            yield Finding("absent", name, "not whole in the cache: fetched when a run needs it")
        else:
            yield Finding("good", name, "in the cache, every file with the digest it must have")


def _extras() -> Iterator[Finding]:
    for extra, (package, purpose) in EXTRAS.items():
        try:
            yield Finding("good", f"extra {extra!r}", f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            remedy = f"for {purpose}: pip install -c constraints.txt -e '.[{extra}]'"
            yield Finding("absent", f"extra {extra!r}", "not installed", remedy)


def main(argv: Sequence[str]) -> int:
    """Runs the command line, and returns its exit code: 0 a run can start, 2 something stands in its way."""
    return exit_code(_run, argv, check_versions=False)


def _run(arguments: Sequence[str]) -> None:
    parser = Parser("xmodal.doctor", __doc__)
    parser.add_argument("--output_dir", type=Path, default=Path("runs"), help="where runs leave their files")
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    options = parser.parse_args(arguments)
    findings = []
    for finding in examine(options.output_dir, cache_folder()):
        findings.append(finding)
        if not options.json:
            log(_line(finding))
    if options.json:
        log(json.dumps([dataclasses.asdict(finding) for finding in findings], indent=2))
    bad_findings = [finding for finding in findings if finding.verdict == "bad"]
    if not (bad_findings or options.json):
        log(FIRST_RUN)
    if bad_findings:
        raise UserError(
            f"{len(bad_findings)} of {len(findings)} findings stand in the way of a run: "
            + ", ".join(finding.subject for finding in bad_findings),
            bad_findings[0].remedy,
        )


def _line(finding: Finding) -> str:
    line = f"{finding.verdict:<9} {finding.subject:<22} {finding.detail}"
    return f"{line}\n{'':<32} {finding.remedy}" if finding.remedy else line


if __name__ == "__main__":
    sys.exit(main(sys.argv))
