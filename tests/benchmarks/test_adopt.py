"""Artifacts taken over from another key: all that differ by code alone, or one from a folder that is named."""

import json
import sys

import numpy as np
import pytest

from benchmarks import adopt as command
from benchmarks.config.parse import parse
from tests.helpers.running import forget, main, run, weights_of


def made_by_other_code(runs):
    """Give each record another digest of code, and each folder another key, as if code had changed since."""
    renamed = {}
    for folder in sorted(path for path in runs.iterdir() if path.is_dir()):
        stage, key = folder.name.rsplit("-", 1)
        renamed[key] = key[::-1]
        folder.rename(folder.with_name(f"{stage}-{key[::-1]}"))
    for record in runs.glob("*/record.json"):
        text = record.read_text()
        for key, other in renamed.items():
            text = text.replace(f'"product": "{key}"', f'"product": "{other}"')
        content = json.loads(text)
        content["identity"]["code"] = dict.fromkeys(content["identity"]["code"], "other")
        record.write_text(json.dumps(content))


def test_what_differs_by_code_alone_is_taken_over_and_nothing_is_made_again(config, capsys, monkeypatch):
    before = run(config)
    made_by_other_code(config.parent / "runs")
    monkeypatch.setattr(sys, "argv", ["adopt", str(config), "--why", "a refactoring"])
    command.main()
    assert capsys.readouterr().out.splitlines()[-1] == "12 artifacts taken over"
    assert command.adopt(parse([str(config)], []), "again") == []
    after = run(config)
    assert capsys.readouterr().err == ""  # nothing was made
    assert [r.seconds for r in after.values()] == [r.seconds for r in before.values()]
    assert {name: r.key for name, r in after.items()} == {name: r.key for name, r in before.items()}
    records = [json.loads(path.read_text()) for path in (config.parent / "runs").glob("*/record.json")]
    assert sum("adopted" in record for record in records) == 12


def test_another_field_is_not_taken_over(config):
    run(config, "--only=rqt")
    made_by_other_code(config.parent / "runs")
    taken = command.adopt(parse([str(config)], ["--only=rqt", "--heads.batch_size=8"]), "why")
    assert set(taken) == {"train old", "train new", "extract old", "extract new", "order random", "ends old and new"}


def test_one_artifact_is_taken_from_a_folder(config, capsys, monkeypatch):
    run(config, "--only=independent")
    folder = weights_of(config, "train old").parent.rename(config.parent / "elsewhere")
    monkeypatch.setattr(
        sys, "argv", ["adopt", str(config), "--why", "mine", "--artifact", "train old", "--from", str(folder)]
    )
    command.main()
    assert capsys.readouterr().out.splitlines() == ["train old", "1 artifacts taken over"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--artifact", "train odl", "--from", "x"], "error: artifact: 'train odl', did you mean train old?"),
        (
            ["--artifact", "order random", "--from", "x", "--seed=[0, 1]"],
            "error: artifact: 'order random' stands for",
        ),
        (["--artifact", "train old"], "error: artifact: expected --artifact and --from together, or neither"),
        (
            ["--artifact", "train old", "--from", "/nowhere"],
            "error: adopt: /nowhere, expected the folder of",
        ),
    ],
)
def test_what_cannot_be_taken_over_is_one_line(config, capsys, monkeypatch, options, message):
    code, line = main(capsys, monkeypatch, str(config), "--why", "x", *options, command=command)
    assert code == 2
    assert line.startswith(message)


def test_what_was_taken_over_in_parts_is_gone_on_with(config):
    """Also past one that lies there damaged."""
    run(config)
    made_by_other_code(config.parent / "runs")
    first = command.adopt(parse([str(config)], ["--only=independent"]), "a part")
    assert len(first) == 8
    weights_of(config, "learn rqt_mcl_rho").write_bytes(b"torn")
    rest = command.adopt(parse([str(config)], []), "the rest")
    assert set(rest) == {"learn rqt", "replay rqt seed 0"}


def test_another_content_of_a_file_is_not_taken_over(config):
    scores = config.parent / "scores.npy"
    np.save(scores, np.arange(36.0))
    by = f"--replay.by={{ours: {{class_path: compat.orders.Scores, path: {scores}}}}}"
    run(config, "--only=independent", by)
    made_by_other_code(config.parent / "runs")
    np.save(scores, -np.arange(36.0))
    forget()
    taken = command.adopt(parse([str(config)], ["--only=independent", by]), "only code")
    assert not {label for label in taken if label.startswith(("order", "replay"))}
    assert "train old" in taken
