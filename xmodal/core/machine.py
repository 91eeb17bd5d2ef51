"""What a run ran on."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from xmodal import __version__

PACKAGES = ("tensorflow", "tensorflow-text", "keras", "keras-nlp", "tensorboard", "numpy", "matplotlib")


def hardware() -> dict[str, Any]:
    """Returns the processor's name, its usable cores, memory in GB (10^9 bytes) and accelerators' names."""
    return {
        "cpu": _cpu(),
        "cores": _cores(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "accelerators": _accelerators(),
        "system": platform.platform(),
    }


def commit() -> str | None:
    """Returns the commit of the source tree, with "+" when files differ from it; None outside of one."""
    source = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=source, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + (
            "+" if git("status", "--porcelain", "--", str(source.parent)) else ""
        )
    except (OSError, subprocess.CalledProcessError):
        return None


def versions() -> dict[str, str]:
    """Returns the versions of Python, xmodal and the installed packages that figures depend on."""
    versions = {"python": platform.python_version(), "xmodal": __version__}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _cpu() -> str:
    table = Path("/proc/cpuinfo")
    if table.exists():
        for line in table.read_text(errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    # A container or taskset may leave this process fewer cores than the machine has.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _accelerators() -> list[str]:
    import tensorflow as tf

    devices = [device for device in tf.config.list_physical_devices() if device.device_type != "CPU"]
    return [
        tf.config.experimental.get_device_details(device).get("device_name", device.name)
        for device in devices
    ]
