"""The command that compares methods over folders of results, and its tables in documents."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from benchmarks import rank
from benchmarks.tables import document, ranks
from compat.results import collect
from tests import ROOT
from tests.helpers.toy import RESULT, curved, labelled

LEVELS = {"a": {"low": 0.25, "rqt": 0.3, "best": 0.5}, "b": {"low": 0.22, "rqt": 0.35, "best": 0.4, "alone": 0.3}}


@pytest.fixture
def folders(tmp_path):
    for name, levels in LEVELS.items():
        results = [
            labelled(replace(curved(mean_ap=[level, level, level]), benchmark=name), method=method)
            for method, level in levels.items()
        ]
        collect(tmp_path / name, [*results, labelled(results[0], order="entropy")])
    return [tmp_path / name for name in LEVELS]


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command; returns its exit code, stdout and stderr."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["rank", *map(str, arguments)])
        code: object = 0
        try:
            rank.main()
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return call


def test_the_command_prints_writes_and_draws(folders, tmp_path, run):
    output, plot = tmp_path / "ranks.json", tmp_path / "ranks.png"
    code, printed, _ = run(*folders, "--only", "order=random", "-o", output, "--plot", plot)
    assert code == 0
    lines = printed.splitlines()
    assert lines[0].startswith("3 methods by relative gain in 2 folders (and trainings in each): a (1), b (1). ")
    assert [line.split()[0] for line in lines[4:8]] == ["best", "rqt", "low", "alone"]
    assert lines[4].split()[1:4] == ["*", "75.00", "50.00"]
    found = json.loads(output.read_text())
    assert [(row["name"], row["mean"]["mean"], row["effects"]["b"]["mean"]) for row in found["ranked"]] == [
        ("best", 0.625, 0), ("rqt", 0.3125, -0.125), ("low", 0.0875, -0.45)
    ]  # fmt: skip
    assert found["blocks"] == {"a": 1, "b": 1}
    assert plot.stat().st_size > 1000
    _, printed, _ = run(*folders, "--against", "rqt", "--fixed", "--only", "order=random")
    assert "difference to rqt" in printed
    assert "folders fixed" in printed.splitlines()[0]


def test_a_document_has_the_table_of_the_command(folders, tmp_path, run):
    text = tmp_path / "README.md"
    text.write_text("<!-- ranks: a b order=random -->\nold\n<!-- end -->\n\n<!-- table: a -->\n<!-- end -->\n")
    document.write(text)
    written = text.read_text()
    _, printed, _ = run(*folders, "--only", "order=random", "--wide")
    table = ranks.table(ranks.ranking(folders, ["order=random"]))
    assert table in written
    assert printed.startswith(table)
    assert "| **best** | 1 | - | 75.00 | 50.00 | 62.5 [50.0, 75.0] | - |" in table
    assert "| low | 1 | - | 12.50 (-62.5) | 5.00 (-45.0) | " in table
    assert " [-62.5, -45.0] |\n| alone" in table
    assert table.splitlines()[-1] == "| alone | 1 | - | - | 25.00 | - | - |"
    assert written.count("mAP of the old system") == 1
    document.write(text)
    assert text.read_text() == written


def test_a_mark_may_name_the_reference_and_rows_not_told_from_it_are_marked(tmp_path):
    for name, order in (("a", "xyzuvw"), ("b", "yxzuvw"), ("c", "xyzuvw")):
        results = [curved(mean_ap=[0.5 - place / 20] * 3) for place in range(6)]
        collect(tmp_path / name, [labelled(r, method=method) for r, method in zip(results, order, strict=True)])
    (tmp_path / "x.md").write_text("<!-- ranks: a b c against=y -->\n<!-- end -->\n")
    rows = [line for line in document.write_tables(tmp_path / "x.md").splitlines() if line.startswith("| ")][2:]
    assert [row.split(" | ")[0].strip("| ") for row in rows] == ["**x**", "y", "z", "u", "v", "w"]
    assert [row.endswith("≈ |") for row in rows] == [True, False, False, False, False, False]
    assert rows[1].endswith("| - |")


def test_wrong_input_is_one_line(folders, tmp_path, run, sequence):
    a, b = folders
    collect(tmp_path / "more" / "a", [RESULT])
    for arguments, message in (
        ((a,), "rank: 1 folder, expected two or more"),
        ((a, a), "rank: two folders named a, expected a name for each"),
        ((a, tmp_path / "more" / "a"), "rank: two folders named a"),
        ((a, tmp_path / "none"), f"{tmp_path / 'none'}: no results"),
        ((a, sequence), f"rank: {sequence} is a sequence, expected --only upgrade= and one of first, "),
        ((a, b, "--only", "colour=red"), "only: 'colour', expected a field"),
        ((a, b, "--only", "method=alone"), "only: method=alone leaves nothing"),
        ((a, b, "--only", "method=rqt"), "rank: methods in all of a, b: rqt, expected two or more"),
        ((a, b, "--metric", "beauty"), "metric: 'beauty', expected some of auc, relative_gain"),
        ((a, b, "--against", "alone"), "against: 'alone', expected a method in all folders: best, "),
        ((), "the following arguments are required: folder"),
        ((a, b, "-o", tmp_path / "none" / "x.json"), "output: "),
        ((a, b, "--plot", tmp_path / "x.nothing"), "output: "),
    ):
        code, _, errors = run(*arguments)
        assert (code, len(errors.splitlines())) == (2, 1), errors
        assert errors.startswith(f"error: {message}")


def test_ranking_needs_no_torch(folders, tmp_path):
    code = (
        "import sys\nfrom benchmarks import rank\n"
        f"sys.argv = ['rank', *{[str(folder) for folder in folders]!r}, '--plot', {str(tmp_path / 'ranks.png')!r}]\n"
        "rank.main()\nassert not {'torch', 'pytorch_lightning'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
