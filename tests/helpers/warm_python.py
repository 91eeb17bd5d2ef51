"""A Python whose imports are done: the commands that tests start are forked from it, not started anew.

A process takes 5 to 8 seconds of a core before it does anything, almost all of them to import TensorFlow and
Keras, and a third of what it does then goes into making graphs faster that run once or twice. Tests start
some hundred processes. What `path()` names is called as Python is (`PATH -m xmodal.run --seed=0`), and has
the arguments, standard streams, folder, environment, signals and exit code of the process that it stands
for. That is one of its own, in which nothing was computed before; what differs is that imports are done, and
that Grappler is off.

There are two kinds: one has imported what commands of xmodal need, and one TensorFlow and tensorflow_text
alone, as the processes that check and time exports. What imports neither is run by a Python that is started
anew.

Tests of the start itself, of the environment at that time, and of process groups take `sys.executable`.
"""

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

ANSWERS, COMMANDS = "answers", "commands"
HELPERS = Path(__file__).parent
# It starts within some hundredths of a second: it only asks for a process, and waits for it.
LAUNCHER = """#!{python} -IS
import array, json, os, signal, socket, sys

words = sys.argv[1:]
option, program = [*words, "", ""][:2]
code = program if option == "-c" else ""
script = "" if option.startswith("-") else option
if (
    (option == "-m" and program.startswith("xmodal."))
    or "import xmodal" in code
    or "from xmodal" in code
    or os.path.dirname(script) == {helpers!r}
):
    kind = "commands"
elif (
    "import tensorflow" in code
    or "tensorflow as tf" in code
    or os.path.basename(script).startswith("fresh_process_")
):
    kind = "answers"
else:
    os.execv({python!r}, [{python!r}, *words])
with socket.socket(socket.AF_UNIX) as server:
    server.connect(os.path.join({folder!r}, kind))
    asked = json.dumps([words, os.getcwd(), dict(os.environ)]).encode()
    fds = array.array("i", [0, 1, 2])
    server.sendmsg([len(asked).to_bytes(8, "little")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
    server.sendall(asked)
    answers = server.makefile()
    process = int(answers.readline())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: os.kill(process, number))
    # See `kill`.
    signal.signal(signal.SIGUSR1, lambda *_: os.kill(process, signal.SIGKILL))
    code = int(answers.readline())
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""


@cache
def path() -> str:
    """Returns what is called in the place of `sys.executable`; it is there until this process ends."""
    folder = tempfile.mkdtemp(prefix="warm_python_")
    launcher = Path(folder, "python")
    launcher.write_text(LAUNCHER.format(python=sys.executable, folder=folder, helpers=str(HELPERS)))
    launcher.chmod(0o700)
    # numpy and pyarrow have threads, which a process that is forked lacks and would wait for.
    without = {"OPENBLAS_NUM_THREADS": "1", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
    alive, held = os.pipe()
    server = subprocess.Popen(
        [sys.executable, HELPERS / "warm_server.py", folder, str(alive)],
        env=os.environ | without,
        stdin=subprocess.DEVNULL,
        pass_fds=[alive],
        # Ctrl-C in the terminal of the tests is for what they started themselves.
        start_new_session=True,
    )
    os.close(alive)
    while not all(Path(folder, kind).exists() for kind in (ANSWERS, COMMANDS)):
        assert server.poll() is None, "the warm Python did not start"

    def end() -> None:
        os.close(held)
        server.wait()
        shutil.rmtree(folder)

    atexit.register(end)
    return str(launcher)


def kill(process: subprocess.Popen) -> None:
    """Kills what was started by `path`; after `process.wait()` it is gone, not its launcher alone."""
    process.send_signal(signal.SIGUSR1)
