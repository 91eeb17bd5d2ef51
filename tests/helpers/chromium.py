"""Headless Chromium, driven over its DevTools protocol: through pipes, so that no package is needed."""

import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
# The protocol's pipes are the file descriptors 3 and 4.
START = "import os, sys; os.dup2({0}, 3); os.dup2({1}, 4); os.execv(sys.argv[1], sys.argv[1:])"


class Page:
    """A page of a browser of its own.

    Attributes:
        events: what the protocol told without being asked.
    """

    def __init__(self, folder: Path):
        (theirs, self._out), (self._in, their_out) = os.pipe(), os.pipe()
        # Above 4, so that one does not take the place of the other.
        ends = [os.dup(os.dup(os.dup(end))) for end in (theirs, their_out)]
        command = [PROGRAM, *FLAGS, "--remote-debugging-pipe", f"--user-data-dir={folder}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-c", START.format(*ends), *command],
            pass_fds=ends,
            stderr=subprocess.DEVNULL,
        )
        self._read, self._number, self.events = b"", 0, []
        targets = self.send("Target.getTargets")["targetInfos"]
        target = next(found["targetId"] for found in targets if found["type"] == "page")
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "DOM"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters):
        """Sends a command, and returns its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if hasattr(self, "_session"):
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def open(self, url: str, ready: str):
        """Goes to a page, and waits until an expression is true there."""
        seen = len(self.events)
        self.send("Page.navigate", url=url)
        while not any(event["method"] == "Page.loadEventFired" for event in self.events[seen:]):
            self.events.append(self._next())
        self.wait(ready)

    def evaluate(self, script: str):
        """Returns the value of a JavaScript expression."""
        result = self.send("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, script: str, seconds: float = 30):
        """Returns the value of an expression as soon as it is true."""
        end = time.monotonic() + seconds
        while not (value := self.evaluate(script)):
            assert time.monotonic() < end, f"{script}; the page: {self.evaluate('document.body.innerText')}"
            time.sleep(0.1)
        return value

    def upload(self, selector: str, *files: Path):
        """Gives files to an <input>, as a user who picks them does."""
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", files=[*map(str, files)], nodeId=node)

    def requests(self) -> list[str]:
        """Returns the URLs that the page asked for, whether or not it got an answer."""
        asked = (event for event in self.events if event["method"] == "Network.requestWillBeSent")
        return [event["params"]["request"]["url"] for event in asked]

    def problems(self) -> list[str]:
        """Returns what the page's scripts threw."""
        thrown = (event for event in self.events if event["method"] == "Runtime.exceptionThrown")
        return [event["params"]["exceptionDetails"]["text"] for event in thrown]

    def close(self):
        """Ends the browser."""
        self._process.terminate()
        self._process.wait(20)

    def _next(self) -> dict:
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._in], [], [], 60)
            assert ready, "the browser does not answer"
            part = os.read(self._in, 1 << 20)
            assert part, "the browser ended"
            self._read += part
        message, _, self._read = self._read.partition(b"\0")
        return json.loads(message)
