"""The processes that `warm_python` forks: `python warm_server.py FOLDER PIPE`, until the pipe is closed."""

import array
import atexit
import gc
import importlib
import json
import os
import random
import runpy
import select
import signal
import socket
import sys
import threading
import traceback
from contextlib import suppress

# What is imported in the first, and in the second on top of that.
ANSWERS = ("tensorflow", "tensorflow_text")
COMMANDS = ("keras", "keras_hub", "matplotlib.pyplot", "xmodal.export.predictor", "xmodal.export.why")


def serve(listener: socket.socket, pipe: int) -> None:
    """Forks a process for each connection, and tells it what that ended with; ends with the pipe."""
    running: dict[int, socket.socket] = {}
    while True:
        # With processes under way it looks after them.
        ready, _, _ = select.select([listener, pipe, *running.values()], [], [], 0.02 if running else None)
        if pipe in ready:
            break
        if listener in ready:
            connection, _ = listener.accept()
            asked = received(connection)
            process = os.fork()
            if process == 0:
                for other in (listener, connection, *running.values()):
                    other.close()
                os.close(pipe)
                os._exit(answer(*asked))
            for stream in asked[0]:
                os.close(stream)
            connection.sendall(f"{process}\n".encode())
            running[process] = connection
        for process, connection in list(running.items()):
            ended, status = os.waitpid(process, os.WNOHANG)
            if ended:
                told = f"{os.waitstatus_to_exitcode(status)}\n".encode()
                with suppress(BrokenPipeError):
                    connection.sendall(told)
            elif connection in ready:
                # Nothing more is said: who asked was killed.
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
            else:
                continue
            connection.close()
            del running[process]
    for process in running:
        os.kill(process, signal.SIGKILL)


def received(connection: socket.socket) -> tuple[list[int], list[str], str, dict[str, str]]:
    """Returns what is asked for: standard streams, the words of the command line, folder and environment."""
    size, ancillary, _, _ = connection.recvmsg(8, socket.CMSG_SPACE(3 * array.array("i").itemsize))
    with connection.makefile("rb") as file:
        words, folder, environment = json.loads(file.read(int.from_bytes(size, "little")))
    return list(array.array("i", ancillary[0][2])), words, folder, environment


def answer(streams: list[int], words: list[str], folder: str, environment: dict[str, str]) -> int:
    """Runs what is asked for in this process, and returns its exit code."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    assert environment.get("PYTHONPATH") == os.environ.get("PYTHONPATH"), "what is imported has another path"
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.stdout.reconfigure(write_through="PYTHONUNBUFFERED" in environment)
    # What is run checks its exports with this.
    sys.executable = LAUNCHER
    random.seed()
    code = ended_with(run, words)
    # As at the end of any process.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    return code


def run(words: list[str]) -> None:
    """Runs a module, a text or a file as Python does."""
    option, *rest = words
    if option == "-m":
        sys.argv = rest
        sys.path.insert(0, os.getcwd())
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif option == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.path.insert(0, "")
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = words
        sys.path.insert(0, os.path.dirname(option))
        runpy.run_path(option, run_name="__main__")


def ended_with(function, *arguments) -> int:
    """Calls a function, and returns the code that a process exits with; that of its signal is negative."""
    try:
        function(*arguments)
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            return (error.code or 0) & 255
        print(error.code, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        traceback.print_exc()
        return -signal.SIGINT
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def listen(folder: str, name: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(os.path.join(folder, name))
    listener.listen(16)
    return listener


def warm(modules: tuple[str, ...]) -> None:
    """Imports, and makes sure that what is forked from here is as sound as a new process."""
    for module in modules:
        importlib.import_module(module)
    import tensorflow as tf
    from tensorflow.python.eager import context

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    assert context.context()._context_handle is None, "the runtime of TensorFlow has started"
    assert len(os.listdir("/proc/self/task")) == 1, "something has started threads"
    gc.collect()
    gc.freeze()


def main(folder: str, pipe: int) -> None:
    global LAUNCHER
    LAUNCHER = os.path.join(folder, "python")
    # It stands in the folder of the helpers, where what is run does not look.
    sys.path.pop(0)
    listeners = {name: listen(folder, name) for name in ("answers", "commands")}
    warm(ANSWERS)
    answers = os.fork()
    if answers == 0:
        listeners["commands"].close()
        serve(listeners["answers"], pipe)
        os._exit(0)
    listeners["answers"].close()
    # As `xmodal` has it.
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    from xmodal.config.experiments import EXPERIMENTS

    # Most modules of tests start no command.
    if pipe not in select.select([listeners["commands"], pipe], [], [])[0]:
        warm((*COMMANDS, *(f"xmodal.recipes.{name}" for name in EXPERIMENTS)))
    serve(listeners["commands"], pipe)
    os.waitpid(answers, 0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
