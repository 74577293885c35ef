"""Seeds of backbones: every model trained once for each, and results that say so."""

import pytest

from benchmarks.artifacts.kinds import Weights
from benchmarks.tables.table import tables
from compat.errors import InputError
from compat.results import load_experiment, load_results
from tests.helpers.running import keys, planned, run

EACH = ("--seed=[0, 1]", "--old.seed=null", "--new.seed=null")


def test_models_without_a_seed_are_trained_once_for_each(config):
    same, each = planned(config, "--seed=[0, 1]"), planned(config, *EACH)
    assert len(keys(same, Weights)) == 2
    assert len(keys(each, Weights)) == 4
    assert keys(same, Weights) < keys(each, Weights)
    assert keys(each, Weights) == keys(same, Weights) | keys(planned(config, "--old.seed=1", "--new.seed=1"), Weights)


def test_results_tell_trainings_apart(config):
    once = run(config, "--seed=[0, 1]", "--only=rqt,independent")
    each = run(config, "--seed=[0, 1]", "--only=rqt,independent", "--old.seed=null", "--new.seed=null", "--name=each")
    assert len({tuple(r.backbones) for r in once.values()}) == 1
    assert each["rqt-s0"].backbones == each["independent-s0"].backbones == once["rqt-s1"].backbones
    assert not {*each["rqt-s0"].backbones} & {*each["rqt-s1"].backbones}
    cells = [line.split(" | ") for line in tables(config.parent / "results" / "each").splitlines()[4:]]
    assert {cell[2] for cell in cells} == {"2 backbones"}
    cells = [line.split(" | ") for line in tables(config.parent / "results" / "tiny").splitlines()[4:]]
    assert [cell[2] for cell in cells] == ["2 orders", "2 heads"]


def test_figures_of_each_query_are_kept_only_where_asked_for(config):
    run(config, "--only=rqt", "--queries=false")
    assert not list(config.parent.rglob("queries.npz"))


def test_the_config_of_the_results_says_that_models_are_trained_for_each_seed(config):
    run(config, "--seed=[0, 1]", "--only=independent", *EACH[1:])
    shared = load_experiment(config.parent / "results" / "tiny")["config"]
    assert [shared[name]["seed"] for name in ("old", "new")] == [None, None]
    run(config, "--name=once", "--only=independent")
    assert load_experiment(config.parent / "results" / "once")["config"]["old"]["seed"] == 0


def test_one_model_trained_anew_is_no_seed_of_backbones(config):
    run(config, "--seed=[0, 1]", "--only=rqt,independent", "--old.seed=null")
    cells = [line.split(" | ") for line in tables(config.parent / "results" / "tiny").splitlines()[4:]]
    assert {cell[2] for cell in cells} == {"2 orders", "2 heads"}


def test_other_systems_for_one_seed_are_no_row_of_the_benchmark(config):
    run(config, "--only=independent")
    run(config, "--only=rqt", "--new.trainer.max_epochs=1", "--name=other")
    folder = config.parent / "results"
    line = (folder / "other" / "results.jsonl").read_text()
    with (folder / "tiny" / "results.jsonl").open("a") as file:
        file.write(line)
    with pytest.raises(InputError, match=r"new differs between independent \(seed 0\) and rqt \(seed 0\)"):
        load_results(folder / "tiny")
