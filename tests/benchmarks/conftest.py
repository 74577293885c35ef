"""What the tests of the commands share: `python -m benchmarks.data` as a function, and a browser."""

import sys

import pytest

from benchmarks import data as command
from benchmarks.perf.page import browser as chromium


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command; returns its exit code, the lines of its stdout, and stderr."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["data", *map(str, arguments)])
        code: object = 0
        try:
            command.main()
        except SystemExit as stop:
            code = stop.code
        out, err = capsys.readouterr()
        return code, out.splitlines(), err

    return call


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium."""
    with chromium() as found:
        yield found
