"""Every method where the old model has seen none of the new one's classes, and what cannot be learned is refused."""

import numpy as np
import pytest
import yaml

from benchmarks import run as runner
from benchmarks.artifacts.source import arguments
from benchmarks.config.parse import parse
from compat.results import load_failures, load_results
from tests import ROOT
from tests.helpers.running import main

OPEN = ["--config", str(ROOT / "configs/settings/open_class.yaml")]
SMALL = {"hidden": 8, "extra": 4, "centres": 8, "rank": 2}
CORES = "{cores: {class_path: compat.methods.DSimplex, shared: true}}"


def small(spec):
    """The same with less to compute; the side model has five dimensions."""
    taken = arguments(spec.class_path) or []
    based_on = {} if spec.based_on is None else {"based_on": small(spec.based_on)}
    options = {name: value for name, value in SMALL.items() if name in taken}
    side = {"side": 5} if spec.init_args.get("side") else {}
    return {**spec.having(**options, **side).content, **based_on}


@pytest.mark.slow
def test_every_method_learns_from_classes_that_the_old_model_has_not_seen(config):
    content = yaml.safe_load(config.read_text())
    listed = parse([str(config)], [f"--methods={ROOT / 'configs/methods/all.yaml'}"]).methods
    side = {**content["old"], "model": {**content["old"]["model"], "embed_dim": 5}}
    side["model"] = {"class_path": "compat.methods.SimCLR", "init_args": side["model"]}
    content |= {"side": side, "methods": {name: small(spec) for name, spec in listed.items()}}
    content["replay"] = {"orders": 1, "progress": 3}
    for part in ("old", "new", "heads", "side"):
        content[part]["trainer"]["max_epochs"] = 1
    config.write_text(yaml.safe_dump(content))
    folder, _, _ = runner.run(parse([str(config), OPEN[1]], []))
    assert load_failures(folder) == []
    results = load_results(folder)
    assert {result.method for result in results} == set(listed)
    assert all(np.isfinite(result.mean_ap).all() for result in results)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            [*OPEN, "--methods={bct: {class_path: compat.methods.BCT, classes: old}}"],
            "error: methods.bct.init_args.classes: old, but the old model has seen none of the new one's, expected all",
        ),
        (
            ["--methods", CORES, "--new.model.embed_dim=11", "--old.model.embed_dim=11"],
            "error: old.model.simplex: false, expected true, as shared: true is for one simplex",
        ),
        (
            ["--methods", CORES, "--old.model.simplex=true"],
            "error: new.model.embed_dim: 7, expected the old model's 6, as for one simplex",
        ),
        (
            [*OPEN, "--methods", CORES, "--old.model.simplex=true", "--new.model.embed_dim=6"],
            "error: new.model.embed_dim: 6 for 12 classes, expected at least 11 for a simplex",
        ),
        (
            ["--methods={dsimplex: {class_path: compat.methods.DSimplex}}"],
            "error: new.model.embed_dim: 7 for 12 classes, expected at least 11 for a simplex",
        ),
        (
            ["--new.model.simplex=true"],
            "error: new.model.embed_dim: 7 for 12 classes, expected at least 11 for a simplex",
        ),
        (
            ["--new.sees.classes=[0.9, 1.0]"],
            "error: data: training images of a single class for new, expected at least 2",
        ),
        (["--new.model.warmup=1.5"], "error: new.model.warmup: 1.5, expected a share in (0, 1)"),
        (
            ["--methods.rqt.init_args.warmup=0"],
            "error: methods.rqt.init_args.warmup: 0.0, expected a share in (0, 1)",
        ),
        (
            ["--methods={kernel: {class_path: compat.methods.KernelQuery, centres: 73}}"],
            "error: methods.kernel.init_args.centres: 73, expected at most 72, as there are so many training images",
        ),
        (
            ["--replay.by={dense: {class_path: compat.orders.Density, neighbours: 36}}"],
            "error: replay.by.dense.init_args.neighbours: 36, expected at most 35, as the gallery has 36 items",
        ),
        (
            ["--replay.by={k_means: {class_path: compat.orders.Clusters, clusters: 37}}"],
            "error: replay.by.k_means.init_args.clusters: 37, expected at most 36, as the gallery has 36 items",
        ),
        (
            ["--replay.by={k_means: {class_path: compat.orders.Clusters, clusters: 0}}"],
            "error: replay.by.k_means.init_args.clusters: 0, expected at least 1",
        ),
        (
            ["--replay.merge={quantile: {class_path: compat.merge.Quantile, knots: 1}}"],
            "error: replay.merge.quantile.init_args.knots: 1, expected at least 2",
        ),
        (
            ["--replay.by={ours: {class_path: compat.orders.Scores, path: nowhere.npy}}"],
            "error: replay.by: nowhere.npy (No such file or directory), expected scores in a .npy file",
        ),
    ],
)
def test_what_cannot_be_learned_or_ordered_is_refused_before_any_training(config, capsys, monkeypatch, given, message):
    assert main(capsys, monkeypatch, config, *given) == (2, message)
    assert not (config.parent / "runs").exists()


def test_cores_runs_on_a_simplex_that_both_models_share(config):
    options = [f"--methods={CORES}", "--old.model.simplex=true", "--old.model.embed_dim=11", "--new.model.embed_dim=11"]
    folder, _, _ = runner.run(parse([str(config)], options))
    assert [result.method for result in load_results(folder)] == ["cores"]
