"""A mapping, a list, null or a plain value where another of these is due: one line that names the key."""

import re
import sys
from dataclasses import fields

import pytest

from benchmarks.config.parse import parse
from benchmarks.config.schema import Experiment, Generation, Heads, Replay
from benchmarks.jobs.plan import part_of
from benchmarks.report.__main__ import main
from compat.errors import InputError
from compat.share import Share
from tests import ROOT

CONFIG = str(ROOT / "configs" / "digits.yaml")
PARTS = {
    "": Experiment,
    "old.": Generation,
    "side.": Generation,
    "heads.": Heads,
    "replay.": Replay,
    "old.sees.": Share,
}
KEYS = [f"{part}{field.name}" for part, kind in PARTS.items() for field in fields(kind)]
CLASSES = ["data", "old.model", "old.trainer", "heads.trainer", "methods.a", "replay.by.a", "replay.merge.a"]
KEYS += [f"{key}{part}" for key in CLASSES for part in ("", ".class_path", ".init_args", ".dict_kwargs", ".based_on")]
VALUES = ["~", "5", "text", "[1]", "{a: 1}", "''", "1e23", "[~]", "{class_path: ~}"]


def told(*options):
    """What is refused; empty if nothing is."""
    try:
        parse([CONFIG], list(options))
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("key", KEYS)
def test_whatever_a_key_is_given_is_taken_or_one_line(key):
    for value in VALUES:
        message = told(f"--{key}={value}")
        assert "\n" not in message
        assert not re.search(r"<class|Parser key|NoneType' object|what --help names", message), (value, message)


CLASS = "class_path: compat.orders.Random"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--replay.by=~", "replay.by: null, expected a mapping"),
        ("--replay.merge=~", "replay.merge: null, expected a mapping"),
        ("--replay.refit=~", "replay.refit: null, expected a list"),
        ("--replay=5", "replay: 5, expected a mapping"),
        ("--data.init_args=~", "data.init_args: null, expected a mapping of arguments"),
        ("--data.init_args=5", "data.init_args: 5, expected a mapping of arguments"),
        ("--old.trainer.init_args=[1]", "old.trainer.init_args: [1], expected a mapping of arguments"),
        ("--old.sees=~", "old.sees: null, expected a mapping"),
        ("--old.sees={a: 1}", "old.sees.a: unknown, expected some of classes, images"),
        ("--seed=''", 'seed: "", expected an integer or a list'),
        (f"--seed=0x{'f' * 5000}", "--seed: a number of 5000 digits, expected fewer"),
        ("--name=~", "name: none, expected text"),
        ("--methods={a: {class_path: ~}}", "methods.a.class_path: null, expected module.Class"),
        ("--methods={a: {class_path: .x}}", 'methods.a.class_path: ".x", expected module.Class'),
        ("--methods={a: {class_path: ../x.Y}}", 'methods.a.class_path: "../x.Y", expected module.Class'),
        (f"--methods={{a: {{{CLASS}, init_args: 5}}}}", "methods.a.init_args: 5, expected a mapping of arguments"),
        (
            f"--methods={{a: {{{CLASS}, init_args: 5, b: 1}}}}",
            "methods.a.init_args: 5, expected a mapping of arguments",
        ),
        (f"--methods={{a: {{{CLASS}, init_args: [1]}}}}", "methods.a.init_args: [1], expected a mapping of arguments"),
        (
            f"--methods={{a: {{{CLASS}, based_on: 5}}}}",
            "methods.a.based_on: 5, expected a method, or class_path and init_args",
        ),
        (
            "--replay.progress=10000000000000",
            "replay.progress: 10000000000000 completion ratios, expected at most 10000",
        ),
        ("--replay.orders=10000000000000", "replay.orders: 10000000000000, expected at most 1000"),
        (
            "--heads.batch_size=100000000000000000000000",
            "heads.batch_size: 100000000000000000000000, expected an even number below 2147483648",
        ),
        (
            "--old.trainer.max_epochs=100000000000000000000000",
            "old.trainer.max_epochs: 100000000000000000000000, expected at least 1 and below 2147483648",
        ),
    ],
)
def test_the_key_what_was_found_and_what_is_expected(option, message):
    assert told(option) == message


@pytest.mark.parametrize("part", ["9" * 5000 + "/3", "0/" + "9" * 5000])
def test_a_part_of_too_many_digits_is_none(part):
    with pytest.raises(InputError, match="expected i/n with i from 0 to n - 1"):
        part_of([], part)


@pytest.mark.parametrize("option", [["-o", "a" * 300 + ".html"], ["x" * 5000], ["x" * 5000 + ".yaml"]])
def test_a_name_that_is_too_long_is_one_line(option, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["report", *([CONFIG] if option[0] == "-o" else []), *option])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert re.fullmatch("error: .*, expected .*\n", capsys.readouterr().err)
