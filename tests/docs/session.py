"""Runs the blocks of a page as a reader does: a shell, and a terminal for each program that keeps running."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Timer
from typing import IO, Final

import requests

from tests.docs.answers import Shown
from tests.docs.pages import ANSWERS, ROOT, Block
from tests.ports import free_port

_PATIENCE_S: Final = 60
_COMMAND_S: Final = 300
_BIN: Final = Path(sys.executable).parent


class Session:
    """One page, run in `folder`, which stands for the checkout; `shell` is bash or zsh."""

    def __init__(self, folder: Path, shell: str) -> None:
        self._folder = folder
        self._shell_name = shell
        self._ports = {"8000": str(free_port()), "9000": str(free_port())}
        self._terminals: dict[str, Terminal] = {}
        self._shown = Shown()
        self._printed = ""
        self._is_shown = False
        self._blocks = 0
        for name in ("docs", "schema"):
            (folder / name).symlink_to(ROOT / name)
        home = folder / "home"
        home.mkdir()
        # Nothing of the machine's settings may decide what a page does.
        self._environ = {
            "PATH": f"{_BIN}:{_BIN.parent}/scim2-cli/bin:{os.environ['PATH']}",
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "WORKERS": "1",
            # How packages are installed here.
            **{name: value for name, value in os.environ.items() if name.startswith("PIP_")},
        }
        self._shell = subprocess.Popen(
            [shell],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=self._environ,
            start_new_session=True,
        )

    def run(self, block: Block) -> None:
        """Run a block, or compare the answer that it shows with what was printed last."""
        if block.language in ANSWERS:
            self._compare(block)
        elif block.title:
            self._start(block)
        elif block.language in ("bash", "sh"):
            self.check_nothing_is_left()
            self._printed = self._run(block.text)
            # An installation may have news.
            self._is_shown = block.language == "sh"

    def check_nothing_is_left(self) -> None:
        """Assert that the page shows what the last block printed."""
        assert self._is_shown or not self._printed, f"the block before prints:\n{self._printed}"

    def close(self) -> None:
        """End every program of the page."""
        for terminal in self._terminals.values():
            terminal.interrupt()
        stdin, stdout = _pipes(self._shell)
        stdin.close()
        self._shell.wait(_PATIENCE_S)
        stdout.close()

    def _run(self, text: str) -> str:
        """Run commands in the shell of the page and return what they print."""
        self._blocks += 1
        script, output = (self._folder / "home" / f"{self._blocks}.{end}" for end in ("sh", "out"))
        script.write_text(self._adapted(text))
        stdin, stdout = _pipes(self._shell)
        # The last line of a page's block is what is waited for: the shell says when it is through.
        stdin.write(f". {script} >{output} 2>&1 </dev/null; echo through\n")
        stdin.flush()
        # A command that hangs must not hang the tests.
        killer = Timer(_COMMAND_S, os.killpg, (self._shell.pid, signal.SIGKILL))
        killer.start()
        try:
            assert stdout.readline() == "through\n", output.read_text()
        finally:
            killer.cancel()
        return output.read_text()

    def _start(self, block: Block) -> None:
        running = self._terminals.pop(block.title, None)
        if running is not None:
            running.interrupt()
        serves = "make run" in block.text
        # As an interactive shell does: the program runs in place of the shell, so that it gets the signal.
        commands = self._adapted(block.text).replace("make run", f"exec {_BIN}/scim serve")
        environ = self._environ | ({"PORT": self._ports["8000"], "HOST": "127.0.0.1"} if serves else {})
        terminal = Terminal(self._shell_name, commands, self._folder, environ)
        self._terminals[block.title] = terminal
        if serves:
            terminal.wait_for_answer(f"http://127.0.0.1:{self._ports['8000']}/health")

    def _compare(self, block: Block) -> None:
        text = self._adapted(block.text)
        self._is_shown |= not block.title
        if block.title:
            self._terminals[block.title].wait_for_lines(text, self._shown)
        elif block.language == "json":
            self._shown.check_json(text, self._printed)
        elif block.language == "http":
            self._shown.check_http(text, self._printed)
        else:
            self._shown.check_text(text, self._printed)

    def _adapted(self, text: str) -> str:
        for shown, port in self._ports.items():
            text = text.replace(f"localhost:{shown}", f"localhost:{port}").replace(f" {shown} ", f" {port} ")
        return text.replace(".venv/bin/", f"{_BIN}/")


class Terminal:
    """A program that runs until it is interrupted; what it prints is in a file."""

    def __init__(self, shell: str, commands: str, folder: Path, environ: dict[str, str]) -> None:
        self._output = folder / "home" / f"terminal-{time.monotonic_ns()}"
        with self._output.open("w") as output:
            self._process = subprocess.Popen(
                [shell, "-c", commands],
                *(-1, None, subprocess.DEVNULL, output, output),
                cwd=folder,
                env=environ,
                start_new_session=True,
            )

    def wait_for_answer(self, url: str) -> None:
        """Return when something answers at `url`."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                requests.get(url, timeout=5)
                return
            except (requests.ConnectionError, requests.Timeout):
                assert self._process.poll() is None, self._output.read_text()
                assert time.monotonic() < deadline, self._output.read_text()
                time.sleep(0.05)

    def wait_for_lines(self, text: str, shown: Shown) -> None:
        """Return when the lines were printed, after any others; assert that they are."""
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                shown.check_text(f"…\n{text}…\n", self._output.read_text())
                return
            except AssertionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)

    def interrupt(self) -> None:
        """End the program as Ctrl+C does."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGINT)
        try:
            self._process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert process.stdin is not None and process.stdout is not None
    return process.stdin, process.stdout
