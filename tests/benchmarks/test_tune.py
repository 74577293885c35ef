"""Tuning: as many trials for each method, on training images alone, the same ones again when it is repeated."""

import json

import pytest
import yaml

from benchmarks import run as runner
from benchmarks import tune
from benchmarks.artifacts.images import dataset
from benchmarks.config.heldout import HeldOut
from benchmarks.config.parse import parse
from benchmarks.jobs import trials
from benchmarks.tables.table import tables
from compat.data import Share
from tests.helpers.running import main, run

SPACE = """
rqt: {hidden: {low: 4, high: 16}, blocks: {low: 1, high: 3}}
rqt_mcl_rho: {temperature: {low: 0.05, high: 0.5, log: true}, k_neg: {choices: [null, 10]}}
"""


@pytest.fixture
def tuned(config, monkeypatch, tmp_path, capsys):
    """Runs the command on a space; gives the exit code with the last line of stderr, or the file that it wrote."""
    space, output, layer = (
        tmp_path / "space.yaml",
        tmp_path / "results" / "tuning" / "toy.json",
        tmp_path / "tuned.yaml",
    )

    def call(text=SPACE, *more):
        space.write_text(text)
        arguments = [config, "--space", space, "--trials", "3", "-o", output, "--write", layer, *more]
        monkeypatch.setattr("sys.argv", ["tune", *map(str, arguments)])
        if text != SPACE or more:
            return main(capsys, monkeypatch, *arguments, command=tune)
        tune.main()
        return json.loads(output.read_text())["methods"], layer

    return call


def test_each_method_has_as_many_trials_the_first_as_it_is_and_the_best_is_chosen(tuned, config):
    methods, layer = tuned()
    assert [len(one["trials"]) for one in methods.values()] == [1, 3, 3]  # independent has no range
    first = methods["rqt_mcl_rho"]["trials"][0]["init_args"]
    assert first == {"temperature": 0.1, "k_neg": None}
    for one in methods.values():
        best = max(one["trials"], key=lambda trial: trial["area"])
        assert one["chosen"] == best["init_args"]
        assert one["chosen"].items() <= one["spec"].get("init_args", {}).items()
        assert one["seconds"] == pytest.approx(sum(trial["seconds"] for trial in one["trials"]), abs=0.01)
    assert yaml.safe_load(layer.read_text())["methods"] == {name: one["spec"] for name, one in methods.items()}


def test_trials_are_found_again(tuned, config):
    methods, _ = tuned()
    before = {path: path.stat().st_mtime_ns for path in (config.parent / "runs").glob("*/record.json")}
    again, _ = tuned()
    assert again == methods
    assert {path: path.stat().st_mtime_ns for path in (config.parent / "runs").glob("*/record.json")} == before


def test_the_table_says_what_tuning_took_only_of_what_was_tuned(tuned, config):
    _, layer = tuned()
    folder, _, _ = runner.run(parse([str(config), str(layer)], []))
    rows = [line.split(" | ") for line in tables(folder).splitlines()[2:]]
    assert rows[0][-1] == "tuning |"
    assert [row[-1].split(",")[0].rstrip(" |") for row in rows[2:]] == [
        "nothing to tune",
        "toy: 3 trials",
        "toy: 3 trials",
    ]
    run(config, "--name=untuned", "--methods.rqt.init_args.hidden=5", "--only=rqt")
    assert "tuning" not in tables(folder.parent / "untuned")


def test_tuning_looks_at_training_images_only(config):
    data = dataset(trials.held_out(parse([str(config)], [])).data)
    assert isinstance(data, HeldOut)
    assert sorted([*data.rows(Share()).tolist(), *data.held.tolist()]) == list(range(72))
    assert len(data.gallery_images()) == len(data.held) == 18
    assert set(data.gallery_images().images) <= set(data.data.train_images(False).images)


def test_a_trial_that_fails_is_noted_and_not_chosen(config, monkeypatch):
    experiment = parse([str(config)], ["--only=rqt"])
    trial, asked = trials.Tuner.trial, []

    def failing(self, name, init_args, made):
        asked.append(init_args)
        failed = trials.TunedTrial(init_args, None, None, 0.0, "not finite")
        return trial(self, name, init_args, made) if len(asked) == 2 else failed

    monkeypatch.setattr(trials.Tuner, "trial", failing)
    ((_, _, found),) = tune.tune(experiment, yaml.safe_load(SPACE), 3)
    assert [one["error"] for one in found["trials"]] == ["not finite", None, "not finite"]
    assert found["chosen"] == asked[1]


@pytest.mark.parametrize(
    ("space", "more", "message"),
    [
        ("none: {x: {low: 0, high: 1}}", [], "space: 'none', expected some of independent, rqt, rqt_mcl_rho"),
        ("rqt: {hiden: {low: 4, high: 9}}", [], "space.rqt.hiden: not an argument of"),
        ("rqt: {hidden: {low: 4}}", [], "space.rqt.hidden: {'low': 4} ('high'), expected choices, or low and high"),
        ("rqt: {hidden: {low: 9, high: 4}}", [], "space.rqt.hidden: "),
        ("rqt: {hidden: {low: 300, high: 400}}", [], "space.rqt.hidden: without"),
        ("rqt: {mcl: {choices: [joint]}}", [], "space.rqt.mcl: without None, expected the method's own value in it"),
        (SPACE, ["--trials=0"], "trials: 0, expected at least 1"),
        ("rqt: [hidden]", [], "space.rqt: ['hidden'], expected argument: range"),
        ("rqt: {k_neg: {low: 1, high: 9}}", [], "space.rqt.k_neg: without None, expected the method's own value"),
    ],
)
def test_what_cannot_be_tuned_is_refused(tuned, space, more, message):
    code, error = tuned(space, *more)
    assert code == 2
    assert message in error


def test_trials_of_another_number_are_not_mixed_with_those_that_are_there(tuned):
    tuned()
    code, error = tuned(SPACE, "--trials=2")
    assert code == 2
    assert "expected of {'trials': 2" in error


def test_a_damaged_file_is_named_before_anything_is_tried(tuned, tmp_path, config):
    path = tmp_path / "results" / "tuning" / "toy.json"
    path.parent.mkdir(parents=True)
    path.write_text('{"methods": ')
    code, error = tuned(SPACE, "--only=rqt")
    assert code == 2
    assert "toy.json: JSONDecodeError" in error
    assert not (config.parent / "runs").exists()
