"""The command that trains and tries policies: its settings, and the whole of it on planted galleries."""

import json
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.config.schema import REFIT
from benchmarks.policies import __main__ as policies
from benchmarks.policies import experiment as whole
from benchmarks.policies import training
from benchmarks.policies.recipes import EVALUATED, recipes
from benchmarks.policies.settings import Settings, parse
from benchmarks.policies.sites import environment, read_all
from benchmarks.policies.store import read
from benchmarks.policies.summary import StudyResults
from compat import backfill_curve
from compat.errors import InputError
from compat.experience import OwnForward, learning_curve
from compat.methods import Upgrade
from compat.models import Precomputed
from compat.policies.heuristics import DensityPolicy, heuristics
from compat.policies.rollouts import rollout
from tests import ROOT
from tests.helpers.planted_galleries import write

SMALL = {
    "cells": 4,
    "first": 0.05,
    "families": {"deep_sets": 2},
    "alternatives": 2,
    "training": {"items": 200, "queries": 100, "episodes": 2, "updates": 60},
    "curves": {"alternatives": [1], "shares": [0.5], "seeds": 1},
    "reinforcement": {"steps": 64, "seeds": 1},
}


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(json.dumps(SMALL))
    return path


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command; returns its exit code, stdout and stderr."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["policies", *map(str, arguments)])
        code: object = 0
        try:
            policies.main()
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return call


def test_the_shipped_config_is_the_usual_one_and_its_header_is_its_command():
    path = ROOT / "configs" / "policies.yaml"
    assert parse(str(path)) == Settings()
    assert Settings.of(json.loads(json.dumps(Settings().content))) == Settings()
    command = path.read_text().splitlines()[0].removeprefix("# compat-bench policies ").split()
    assert policies.parser().parse_args(command).config == "policies"
    assert f"compat-bench policies {' '.join(command)}" in (policies.__doc__ or "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cels=3"], "cels: unknown, did you mean cells?"),
        (["--training.item=3"], "training.item: unknown, did you mean items?"),
        (["--cells=many"], "cells: many, expected int"),
        (["--training.updates=25"], "training.updates: 25, expected a multiple of 10"),
        (["--training.world=2"], "world: 2.0, expected a share in (0, 1]"),
        (["--curves.shares=[0.0]"], "shares: 0.0, expected a share in (0, 1]"),
        (["--curves.seeds=7"], "curves.seeds: 7, expected 0 to 2, as deep_sets has"),
        (["--progress=1"], "progress: 1, expected at least 2"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(config, options, message):
    with pytest.raises(InputError) as error:
        parse(str(config), options)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A small experiment on planted galleries."""
    folder = tmp_path_factory.mktemp("policies")
    (folder / "environments").mkdir()
    write(folder / "environments")
    (folder / "small.yaml").write_text(json.dumps(SMALL))
    settings = parse(str(folder / "small.yaml"), ["--training.updates=100"])
    sites = read_all([str(folder / "environments")])
    made = whole.PolicyStudy(sites, settings, folder / "all.json", folder / "runs")
    made.gate()
    for fold in made.folds:
        made.run(fold)
    return folder, settings, sites, made


@pytest.mark.slow
def test_a_learned_order_beats_random_where_an_order_is_worth_something(done):
    folder, _, sites, made = done
    found = StudyResults(read(folder / "all.json"))
    for fold in found.folds:
        for method in ("il", "iwm", "sr"):
            above = found.pairs(fold, found.recipe(fold, "deep_sets", method), lambda _: "random")
            assert len(above) == 4
            assert np.mean(list(above.values())) > 0.5
    for place, one in sites.items():
        env = environment(one, made.settings, labels=True)
        order = rollout(env, DensityPolicy(), EVALUATED).order
        curve = backfill_curve(one.embeddings, order, made.settings.progress, merge=env.merge)
        assert made.store.area(place.name, EVALUATED, "density") == pytest.approx(curve.auc, abs=1e-5)


@pytest.mark.slow
def test_every_imitator_has_as_many_updates(done):
    _, settings, _, made = done
    for recipe in recipes(made.folds[0], settings):
        table = made.school.folder / recipe.name / "metrics.csv"
        assert (made.school.folder / recipe.name / "network.safetensors").exists()
        if not recipe.method.startswith("rl_"):
            rows = [line.split(",") for line in table.read_text().splitlines()]
            assert rows[-1][rows[0].index("step")] == str(settings.training.updates - 1)


@pytest.mark.slow
def test_own_pairs_serve_in_the_orders_of_policies(done):
    _, settings, sites, made = done
    for place, site in sites.items():
        areas = made.store.content["together"][place.name]
        assert set(areas) == {"random", "heuristic", "il", "expert"}
        env = environment(site, settings, labels=False)
        order = rollout(env, heuristics(EVALUATED)["random"], EVALUATED).order
        old, new = (Precomputed(rows.shape[1]) for rows in (site.embeddings.gallery_old, site.embeddings.gallery_new))
        learner = OwnForward(old, new)
        curve, _ = learning_curve(site.embeddings, Upgrade(old, new), learner, [order], REFIT, settings.progress)
        assert areas["random"] == pytest.approx(curve.auc, abs=1e-5)


@pytest.mark.slow
def test_what_is_done_is_not_done_again_and_shown_from_the_file_alone(done, run, monkeypatch):
    folder, *_ = done

    def never(*_, **__):
        raise AssertionError("made again")

    before = {part: value for part, value in read(folder / "all.json").items() if part != "seconds"}
    monkeypatch.setattr(training, "fit", never)
    monkeypatch.setattr(training, "reinforce", never)
    for module in ("measuring", "together"):
        monkeypatch.setattr(f"benchmarks.policies.{module}.rollout", never)
    asked = (folder / "small.yaml", folder / "environments", "-o", folder / "all.json", "--runs", folder / "runs")
    code, printed, _ = run(*asked, "--training.updates=100")
    assert code == 0
    after = read(folder / "all.json")
    assert {part: value for part, value in after.items() if part != "seconds"} == before
    code, shown_again, _ = run("-o", folder / "all.json", "--plot", folder / "p.png", "--markdown", folder / "t.md")
    assert code == 0
    text = (folder / "t.md").read_text()
    assert shown_again == text
    assert printed.endswith(text)
    assert text.count("\n| 0.5 |") == 2
    assert (folder / "p.png").stat().st_size > 1000
    code, _, error = run(*asked, "--only", "within/gamma", "--training.updates=100")
    assert (code, error.splitlines()[-1][:27]) == (2, "error: only: 'within/gamma'")


def test_a_killed_experiment_goes_on(config, tmp_path, run, monkeypatch):
    folder = tmp_path / "environments"
    folder.mkdir()
    write(folder, data_sets=("alpha",), seeds=1)
    asked = (config, folder, "-o", tmp_path / "all.json", "--runs", tmp_path / "runs")
    options = ("--curves.seeds=0", "--reinforcement.seeds=0", "--families={deep_sets: 1}", "--training.updates=10")
    code, printed, _ = run(*asked, *options, "--gate")
    assert code == 0
    assert "| alpha, same |" in printed
    fitted, fit = [], training.fit

    def counted(*arguments, **options):
        fitted.append(options["folder"])
        if len(fitted) == 2:
            raise KeyboardInterrupt
        return fit(*arguments, **options)

    monkeypatch.setattr(training, "fit", counted)
    with pytest.raises(KeyboardInterrupt):
        run(*asked, *options)
    code, printed, _ = run(*asked, *options)
    assert code == 0
    assert len(fitted) == 3 + 1
    assert "Same data set, other classes: points" in printed
    assert "Data set held out" not in printed
    code, _, error = run(*asked, *options, "--cells=3")
    assert (code, "results of another cells" in error) == (2, True)


def test_results_are_shown_without_torch():
    code = "import sys, benchmarks.policies; assert 'torch' not in sys.modules, 'torch'"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
