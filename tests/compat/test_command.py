"""How commands end: by wrong input, by a signal, in a terminal that lacks letters."""

import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

import compat
from compat.command import GO_ON, Interrupted, Parser, exit_on_input_error, warn
from compat.errors import InputError
from tests import ROOT

COMMANDS = [path for folder in ("benchmarks", "compat") for path in (ROOT / folder).rglob("*.py")]
ELSEWHERE = ROOT / "benchmarks/real/encoders.py"  # a script in an environment without this project
COMMANDS = [path for path in COMMANDS if '__name__ == "__main__"' in path.read_text() and path != ELSEWHERE]


def python(code, **environment):
    """Code and output of a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_command_ends_likewise(path):
    assert "with exit_on_input_error(" in path.read_text()


SIGNALLED = """
import os, signal
from compat.command import exit_on_input_error
with exit_on_input_error():
    print("before")
    os.kill(os.getpid(), signal.{})
    print("after")
"""


@pytest.mark.parametrize(("number", "code", "word"), [("SIGTERM", 143, "terminated"), ("SIGINT", 130, "interrupted")])
def test_a_signal_is_one_line_and_the_shell_s_code(number, code, word):
    assert python(SIGNALLED.format(number)) == (code, "before\n", f"{word}; run the same command again\n")


FORKED = """
import os, signal
from compat.command import exit_on_input_error
with exit_on_input_error():
    if not (child := os.fork()):
        os.kill(os.getpid(), signal.SIGTERM)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_a_fork_dies_of_a_signal_as_without_us():
    assert python(FORKED) == (0, "-15\n", "")


PRINTING = """
import sys
from compat.command import Parser, exit_on_input_error
with exit_on_input_error():
    Parser(description="what").parse_args()
    print("a" * {})
"""
NOWHERE = "error: disk: [Errno 28] No space left on device, expected room for what is written\n"


@pytest.mark.parametrize(
    ("length", "option", "unbuffered"),
    [(1, [], ""), (1, [], "1"), (10**6, [], ""), (10**6, [], "1"), (1, ["--help"], "")],
)
@pytest.mark.parametrize(("where", "code", "told"), [("a reader that has gone", 141, ""), ("/dev/full", 2, NOWHERE)])
def test_output_that_nobody_gets_is_no_traceback(length, option, where, code, told, unbuffered):
    if where == "/dev/full":
        writing = os.open(where, os.O_WRONLY)
    else:
        reading, writing = os.pipe()
        os.close(reading)
    command = [sys.executable, "-c", PRINTING.format(length), *option]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered}
    found = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environment, text=True)
    os.close(writing)
    assert (found.returncode, found.stderr) == (code, told)


def test_bytes_that_are_no_text_are_one_line(capsys):
    for given in (["--name=caf\udce9"], ["--name", "\udce9"], ["\udce9"]):
        with pytest.raises(SystemExit) as ended:
            Parser().parse_known_args(given)
        assert ended.value.code == 2
        assert capsys.readouterr().err == f"error: arguments: {given[-1]!r} is not UTF-8, expected text\n"


def test_handlers_are_restored():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(SystemExit), exit_on_input_error():
        raise InputError("x: 1, expected 2")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


class Killed(pl.LightningModule):
    """Gets a signal in its first step, and goes on for a long time."""

    def __init__(self, number):
        super().__init__()
        self.layer, self.number, self.steps = torch.nn.Linear(1, 1), number, 0

    def training_step(self, batch):
        self.steps += 1
        if self.steps == 1:
            signal.raise_signal(self.number)
        return self.layer(batch[0]).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_training_with_that_code(number, code, monkeypatch, capsys, tmp_path):
    """Lightning by itself makes exit code 0 of SIGTERM, after the batch, and 1 of SIGINT."""
    codes: list[int] = []
    module = Killed(number)
    monkeypatch.setattr("os._exit", codes.append)
    quiet: dict[str, Any] = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "accelerator": "cpu",
    }
    with exit_on_input_error(again=GO_ON):
        pl.Trainer(max_epochs=5, default_root_dir=tmp_path, **quiet).fit(
            module, DataLoader(TensorDataset(torch.ones(9, 1)))
        )
    assert codes == [code]
    assert module.steps == 1
    assert capsys.readouterr().err.splitlines()[-1].endswith("; run the same command to go on where it was")


def test_nothing_but_a_signal_is_taken_for_one():
    for error in (KeyboardInterrupt(), SystemExit(3), OSError("x")):
        with pytest.raises(type(error)), exit_on_input_error():
            raise error
    assert not issubclass(Interrupted, (Exception, KeyboardInterrupt, SystemExit))


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_letters_that_the_terminal_lacks_are_escaped(encoding):
    code = "from compat.command import exit_on_input_error\nwith exit_on_input_error(): print('na\\u0142o\\udce9')"
    code, out, err = python(code, PYTHONIOENCODING=encoding)
    assert (code, err) == (0, "")
    assert out.endswith("o\\udce9\n")
    assert ("\\u0142" in out) == (encoding != "utf-8")


def test_a_warning_is_one_line(capsys):
    before = warnings.showwarning
    with exit_on_input_error():
        warnings.warn("two\n lines", stacklevel=1)
    assert capsys.readouterr().err == "warning: two lines\n"
    assert warnings.showwarning is before is not warn


def test_help_has_no_letter_that_a_terminal_may_lack():
    assert Path(compat.__file__).is_relative_to(ROOT)
    for path in COMMANDS:
        assert path.read_text().isascii(), path
