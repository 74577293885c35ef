"""Folders of results that are damaged, and what a command says of them: the file, the rest, an exit code."""

import json
import sys

import numpy as np
import pytest

from benchmarks import plot, table
from compat.results import collect
from tests.helpers.running import main, run
from tests.helpers.toy import labelled


@pytest.fixture
def damaged(tmp_path):
    """Three results with each query's areas."""
    results = [labelled(method=name) for name in ("rqt", "fct", "bct")]
    collect(tmp_path / "toy", results, [np.linspace(0, 1, 10)] * 3)
    return tmp_path / "toy"


def told(command, capsys, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
    try:
        command.main()
        code = 0
    except SystemExit as stop:
        code = stop.code  # type: ignore[assignment]
    printed = capsys.readouterr()
    return code, printed.out, printed.err.splitlines()


def second_line(folder, change):
    path = folder / "results.jsonl"
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([lines[0], change(lines[1]), lines[2]]) + b"\n")


def changed(line, **columns):
    """The line with other columns, or without those that are ...; in place, as labels stand before the others."""
    content = {**json.loads(line), **columns}
    return json.dumps({name: value for name, value in content.items() if value is not ...}).encode()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda line: line[:-9], "expected a line of JSON"),
        (lambda line: b"[]", "no column 'key'"),
        (lambda line: line.replace(b'"mean_ap":[0.2,0.3,0.6]', b'"mean_ap":"oops"'), "column 'mean_ap' is 'oops'"),
        (lambda line: line.replace(b'"mean_ap":[0.2,0.3,0.6]', b'"mean_ap":[0.2,0.3]'), "'mean_ap' is not 3 numbers"),
        (lambda line: line.replace(b'"mean_ap":[0.2,', b'"mean_ap":["a",'), "'mean_ap' is not 3 numbers"),
        (lambda line: line.replace(b"fct", b"\xff\xfe"), "can't decode byte"),
        (lambda line: changed(line, old_mean_ap="x"), "column 'old' is"),
        (lambda line: changed(line, new_cmc_1=None), "column 'new' is"),
        (lambda line: changed(line, new_mean_ap=...), "no column 'new_mean_ap'"),
        (lambda line: changed(line, metrics={"a": {"label": 3, "higher_is_better": True}}), "column 'metrics' is"),
        (lambda line: changed(line, mean_ap_orders=[["x", 0.1, 0.2]]), "column 'mean_ap_orders' is"),
        (lambda line: changed(line, seconds={"replay": "long"}), "column 'seconds' is"),
        (lambda line: changed(line, needs={"order": [1]}), "column 'needs' is"),
        (lambda line: changed(line, seed="first"), "column 'seed' is 'first'"),
    ],
)
@pytest.mark.parametrize("command", [table, plot])
def test_a_broken_line_is_named_and_the_rest_shown(damaged, capsys, monkeypatch, command, change, reason):
    second_line(damaged, change)
    more = ["-o", damaged / "a.png"] if command is plot else []
    code, out, errors = told(command, capsys, monkeypatch, damaged, *more)
    assert code == 1
    (error,) = errors
    assert error.startswith(f"error: {damaged / 'results.jsonl'}:2: ")
    assert reason in error
    assert ("rqt" in out and "bct" in out) or (damaged / "a.png").exists()


def test_where_every_line_is_broken_each_is_named(damaged, capsys, monkeypatch):
    (damaged / "results.jsonl").write_text("{\n[]\n")
    code, _, errors = told(table, capsys, monkeypatch, damaged)
    assert (code, len(errors)) == (2, 3)
    assert errors[2] == f"error: {damaged}: no result that can be read of 2, expected a folder with results.jsonl"


def test_comparisons_and_documents_leave_a_broken_line_out(damaged, capsys, monkeypatch):
    second_line(damaged, lambda line: b"{")
    code, out, errors = told(table, capsys, monkeypatch, damaged, "--compare", "rqt", "bct")
    assert (code, len(errors)) == (1, 1)
    assert "not separable" in out
    document = damaged.parent / "a.md"
    document.write_text("<!-- table: toy -->\n<!-- end -->\n")
    code, _, errors = told(table, capsys, monkeypatch, "--write", document)
    assert (code, len(errors)) == (1, 1)
    assert "| rqt |" in document.read_text()


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 torn"])
def test_damaged_query_figures_are_named_and_the_table_shown_without_comparisons(damaged, capsys, monkeypatch, content):
    (damaged / "queries.npz").write_bytes(content)
    code, out, errors = told(table, capsys, monkeypatch, damaged)
    assert code == 1
    (error,) = errors
    assert error.startswith(f"error: {damaged / 'queries.npz'}: damaged (")
    assert "unsafe" not in error
    assert "rqt" in out


def test_a_run_does_not_begin_on_a_damaged_folder(config, capsys, monkeypatch):
    run(config, "--only=independent")
    folder = config.parent / "results" / "tiny"
    capsys.readouterr()
    for name in ("experiment.yaml", "queries.npz"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(b"{ torn")
        code, line = main(capsys, monkeypatch, config)
        assert code == 2
        assert line.startswith(f"error: {folder / name}: ")
        (folder / name).write_bytes(content)


@pytest.mark.parametrize("label", ["method", "seed", "order"])
def test_any_label_may_name_the_panels(damaged, capsys, monkeypatch, label):
    code, out, _ = told(plot, capsys, monkeypatch, damaged, "--by", label, "-o", damaged / "a.png")
    assert code == 0, out


def test_wrong_options_are_one_line(capsys, monkeypatch):
    code, _, errors = told(table, capsys, monkeypatch, "--compare", "a")
    assert (code, errors) == (2, ["error: argument --compare: expected 2 arguments; expected what --help names"])


def test_where_there_is_no_terminal_there_are_no_bars(config, capsys, monkeypatch):
    run(config, "--only=independent")
    printed = capsys.readouterr()
    assert "it/s" not in printed.out + printed.err
    assert all(line.startswith("[") for line in printed.err.splitlines())
