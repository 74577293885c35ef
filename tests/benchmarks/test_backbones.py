"""Seeds of backbones: every model trained once for each, and results that say so."""

from benchmarks.products.kinds import Weights
from benchmarks.report.table import tables
from tests.running import keys, planned, run

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
    cells = [line.split(" | ") for line in tables(config.parent / "results" / "toy").splitlines()[4:]]
    assert [cell[2] for cell in cells] == ["2 orders", "2 heads"]


def test_figures_of_each_query_are_kept_only_where_asked_for(config):
    run(config, "--only=rqt", "--queries=false")
    assert not list(config.parent.rglob("queries.npz"))
