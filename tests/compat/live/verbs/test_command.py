"""How the command line of the live engine ends, and what it takes for an argument."""

import json
import os
import subprocess
import sys

import pytest

from tests import ROOT
from tests.helpers.live_doubles import DOUBLES, ITEMS, OURS, URL, refused


def interrupted(*_):
    raise KeyboardInterrupt


def test_an_interrupt_while_a_verb_is_imported_is_a_code(call, monkeypatch):
    monkeypatch.setattr("pkgutil.resolve_name", interrupted)
    assert call("run", URL, "--models", OURS) == (130, "", "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_who_reads_no_further_is_no_error(unbuffered, made):
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "compat.live", "status", URL]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": unbuffered}
    found = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=environment)
    os.close(writing)
    assert (found.returncode, found.stderr) == (141, b"")


def test_another_pipe_that_breaks_is_an_error(made, call, monkeypatch):
    def broken(*_):
        raise BrokenPipeError("a worker's")

    monkeypatch.setattr("compat.live.verbs.operating.status", broken)
    refused(call("status", URL), "status: a worker's")


def test_a_note_is_one_line(planned, call):
    call("run", URL, "--models", OURS, "--until", 0.5)
    assert call("pause", URL, "--note", "by\n hand\x0b, at  night ")[0] == 0
    assert json.loads(call("status", URL, "--json")[1])["note"] == "by hand , at night"


def test_a_model_whose_dimension_changes_is_one_line(made, call):
    refused(call("plan", URL, "--models", f"{DOUBLES}.growing"), "models.new: shape (7,) of item", "expected (6,)")


@pytest.mark.parametrize("sample", [ITEMS, 10**20])
def test_a_sample_of_all_is_all(sample, planned, call):
    call("run", URL, "--models", OURS)
    code, out, _ = call("verify", URL, "--models", OURS, "--sample", sample)
    assert code == 0
    assert f"{ITEMS} were embedded again: 0 differ" in out
