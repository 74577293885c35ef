"""Benchmarks of all methods, in several orders and under several merge rules, on small images."""

import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
import yaml

from benchmarks import run as runner
from benchmarks.config.parse import parse
from benchmarks.tables.table import tables
from compat import Embeddings
from compat.methods import Upgrade
from compat.models import Precomputed
from compat.results import load_experiment, load_failures, load_query_auc, load_results
from compat.system import serve
from tests.helpers.running import TINY, forget, main

ORDERS = ("Random", "Uncertainty", "Entropy", "Margin", "Density", "ClassDistance", "Clusters", "Oracle")
RULES = ("Raw", "ZScore", "Quantile", "Isotonic", "ReciprocalRank")
TOY = """
from compat.methods import Upgrade


class Doubled(Upgrade):
    encoder_passes = 1

    def __init__(self, old, new, factor: float = 2.0) -> None:
        super().__init__(old, new)
        self.factor = factor

    def query_for_old(self, old, query_new):
        return self.factor * query_new[:, : old.shape[1]]


class Broken(Upgrade):
    def gallery(self, old, new):
        raise RuntimeError("this method | is broken")
"""


def named(module, classes):
    return {name.lower(): {"class_path": f"compat.{module}.{name}"} for name in classes}


def changed(config, **changes):
    content = {**yaml.safe_load(config.read_text()), **changes}
    config.write_text(yaml.safe_dump(content))
    return runner.run(parse([str(config)], []))[0]


def test_each_order_and_each_rule_starts_and_ends_in_the_same_systems(config):
    replay = {"orders": 2, "progress": 5, "by": named("orders", ORDERS), "merge": named("merge", RULES)}
    folder = changed(config, replay=replay)
    assert load_failures(folder) == []
    results = load_results(folder)
    assert len(results) == 3 * len(ORDERS) * len(RULES)
    for method in ("independent", "rqt", "rqt_mcl_rho"):
        group = [r for r in results if r.method == method]
        for result in group:
            for key in group[0].curves.keys() - {"negative_flip_rate"}:
                values, first = result.curves[key], group[0].curves[key]
                assert values[0] == pytest.approx(first[0], rel=1e-8)
                assert values[-1] == pytest.approx(first[-1], rel=1e-8)
            areas = load_query_auc(folder, result)
            assert areas is not None
            assert np.nanmean(areas) == pytest.approx(result.auc, abs=1e-3)
    needs = {r.order: r.needs["order"] for r in results} | {r.merge: r.needs["merge"] for r in results}
    assert needs["uncertainty"] == ["uncertainty"]
    assert needs["isotonic"] == ["training distances", "training labels"]
    assert needs["random"] == needs["raw"] == []
    assert "| rqt + oracle + zscore | training embeddings, labels if known, head training, all matrices" in tables(
        folder
    )


def test_a_method_from_a_file_outside_the_package_needs_nothing_else(config, monkeypatch):
    (config.parent / "toy_methods.py").write_text(TOY)
    (config.parent / "toy.yaml").write_text("class_path: toy_methods.Doubled\ninit_args: {factor: 3.0}\n")
    monkeypatch.syspath_prepend(config.parent)
    folder = changed(config, methods={"independent": {"class_path": "compat.methods.Upgrade"}, "toy": "toy.yaml"})
    (toy,) = (r for r in load_results(folder) if r.method == "toy")
    assert toy.encoder_passes_per_query == 1
    assert toy.spec["init_args"] == {"factor": 3}
    assert toy.mean_ap[-1] == pytest.approx(toy.new["mean_ap"])


def test_a_method_that_fails_does_not_stop_the_others(config, monkeypatch, capsys):
    (config.parent / "toy_methods.py").write_text(TOY)
    monkeypatch.syspath_prepend(config.parent)
    content = yaml.safe_load(config.read_text())
    content["methods"] = {"broken": {"class_path": "toy_methods.Broken"}, **content["methods"]}
    config.write_text(yaml.safe_dump(content))
    monkeypatch.setattr(sys, "argv", ["run", str(config)])
    with pytest.raises(SystemExit) as stop:
        runner.main()
    assert stop.value.code == 1
    assert "broken (random, raw, seed 0) failed: RuntimeError: this method | is broken" in capsys.readouterr().out
    folder = config.parent / "results" / "tiny"
    assert {r.method for r in load_results(folder)} == {"independent", "rqt", "rqt_mcl_rho"}
    (config.parent / "toy_methods.py").write_text(
        TOY.replace('raise RuntimeError("this method | is broken")', "return old, new")
    )
    sys.modules.pop("toy_methods")
    forget()
    runner.run(parse([str(config)], []), overwrite=True)
    assert load_failures(folder) == []
    assert "broken" in {r.method for r in load_results(folder)}


def test_bict_stands_on_the_model_of_bct_and_joint_methods_replace_the_new_training(config):
    bct = {"class_path": "compat.methods.BCT", "init_args": {"weight": 1.0}}
    methods = {
        "bct": bct,
        "bict": {"class_path": "compat.methods.BiCT", "init_args": {"hidden": 8}, "based_on": bct},
        "bt2": {"class_path": "compat.methods.BT2", "init_args": {"extra": 4}},
    }
    folder = changed(config, methods=methods)
    found = {r.method: r for r in load_results(folder)}
    trained = {name: r.seconds[f"learn {name}"] for name, r in found.items()}
    new = found["bt2"].seconds["train new"]
    assert found["bct"].training_seconds == pytest.approx(trained["bct"], abs=0.02)
    assert found["bict"].training_seconds == pytest.approx(trained["bict"] + trained["bct"], abs=0.02)
    assert found["bt2"].training_seconds == pytest.approx(trained["bt2"] + new, abs=0.02)
    assert found["bict"].spec == methods["bict"]
    assert found["bict"].mean_ap[-1] == pytest.approx(found["bct"].mean_ap[-1])
    assert (found["bct"].bytes_per_item, found["bict"].bytes_per_item) == (4 * 7, 2 * 4 * 7)
    cost = {name: r.cost["seconds"] for name, r in found.items()}
    embedded = {
        name: cost[name].fixed[0] for name in cost
    }  # beside what is trained, the old model's embeddings of its images
    embedded["bct"] -= max(found["bct"].training_seconds - new, 0)  # in place of the plain training
    embedded["bt2"] -= found["bt2"].training_seconds - new
    embedded["bict"] -= max(found["bict"].training_seconds - new, 0)
    images = load_experiment(folder)["trained_on"]["new"]["images"]
    plain = images * cost["bct"].plain
    own = next(took for label, took in found["bict"].seconds.items() if label.startswith("extract b"))
    assert embedded["bct"] > 0
    assert embedded["bt2"] - embedded["bct"] == pytest.approx(plain)  # by the plain new model
    by_own = own / found["bict"].seconds["extract new"]
    assert embedded["bict"] - embedded["bct"] == pytest.approx(plain * by_own)  # by the model below the head
    assert (cost["bct"].each, cost["bict"].item) == ([0.0], cost["bict"].plain)
    assert cost["bict"].each[0] > 0  # its map of the old gallery
    assert [found[name].cost["bytes"].each for name in ("bct", "bict")] == [[0.0], [4.0 * 7]]


def test_side_information_comes_from_the_side_model(config, capsys, monkeypatch):
    content = yaml.safe_load(config.read_text())
    side = {**content["old"], "model": {**content["old"]["model"], "embed_dim": 5}}
    side["model"] = {"class_path": "compat.methods.SimCLR", "init_args": side["model"]}
    methods = {"fct": {"class_path": "compat.methods.FCT", "init_args": {"hidden": 8, "side": 5}}}
    folder = changed(config, methods=methods, side=side)
    assert [r.method for r in load_results(folder)] == ["fct"]
    changed_methods = {"fct": {"class_path": "compat.methods.FCT", "init_args": {"hidden": 8, "side": 6}}}
    config.write_text(yaml.safe_dump({**content, "methods": changed_methods, "side": side, "name": "other"}))
    code, error = main(capsys, monkeypatch, config)
    assert code == 2
    assert "side: 5 dimensions, expected a side model of 6 dimensions" in error


def test_orders_and_rules_of_a_sequence_are_refused(config, capsys, monkeypatch):
    content = yaml.safe_load(config.read_text())
    content |= {"generations": ["old", "new", "newest"], "newest": TINY}
    content |= {"replay": {"by": named("orders", ["Entropy"])}}
    config.write_text(yaml.safe_dump(content))
    code, error = main(capsys, monkeypatch, config)
    assert code == 2
    assert "replay.by, replay.merge: given for a sequence of upgrades, expected neither" in error


class Forward(Upgrade):
    """Old items times two, as a forward transform would move them."""

    def gallery(self, old, new):
        return 2 * old, new


def test_items_that_neither_upgrade_has_reached_go_forward_twice():
    rows, labels = torch.randn(3, 6, 4), torch.arange(6) % 2
    first, second = (Forward(Precomputed(4), Precomputed(4)) for _ in range(2))
    plain = [Embeddings(old, new, old, new, labels, labels) for old, new in pairwise(rows)]
    torch.testing.assert_close(serve(second, plain[1]).gallery_old, 2 * rows[1])
    torch.testing.assert_close(serve(second, plain[1], (first, plain[0])).gallery_old, 4 * rows[0])


def test_a_sequence_refuses_a_method_that_serves_another_dimension(config, capsys, monkeypatch):
    content = yaml.safe_load(config.read_text())
    content |= {"generations": ["old", "new", "newest"], "newest": TINY}
    content |= {"methods": {"bt2": {"class_path": "compat.methods.BT2"}}}
    content["methods"]["bt2"]["init_args"] = {"extra": 2}
    config.write_text(yaml.safe_dump(content))
    code, error = main(capsys, monkeypatch, config)
    assert code == 2
    assert "generations: 3, but bt2 serves 9 dimensions of a projection to 13" in error


def test_several_processes_are_refused_for_methods_that_train_the_new_model(config, capsys, monkeypatch):
    content = yaml.safe_load(config.read_text())
    content["methods"] = {"bct": {"class_path": "compat.methods.BCT"}}
    for part in ("old", "new"):
        content[part]["trainer"] = {**content[part]["trainer"], "devices": 2}
    config.write_text(yaml.safe_dump(content))
    code, error = main(capsys, monkeypatch, config)
    assert code == 2
    assert "old.trainer.devices: 2, expected 1 as bct trains a new model of its own" in error


def test_a_name_that_reads_like_an_order_is_another_row(config, capsys, monkeypatch):
    content = yaml.safe_load(config.read_text())
    upgrade = {"class_path": "compat.methods.Upgrade"}
    content |= {"methods": {"a": upgrade, "a-entropy": upgrade}}
    content["replay"] = {"by": {**named("orders", ["Random"]), "entropy": {"class_path": "compat.orders.Entropy"}}}
    config.write_text(yaml.safe_dump(content))
    results = load_results(runner.run(parse([str(config)], []))[0])
    rows = {("a", "random"), ("a", "entropy"), ("a-entropy", "random"), ("a-entropy", "entropy")}
    assert {(r.method, r.order) for r in results} == rows
    content["replay"] = {"by": {"random": {"class_path": "compat.orders.Entropy"}}}
    config.write_text(yaml.safe_dump(content))
    code, error = main(capsys, monkeypatch, config)
    assert code == 2
    assert "replay.by: random is Entropy, expected random for Random alone" in error
