"""Every shipped config: its header's command parses, its parts can be built, and it runs end to end on small images."""

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import run as runner
from benchmarks.artifacts.source import arguments as arguments_of_class
from benchmarks.artifacts.systems import Method
from benchmarks.config.parse import parse
from benchmarks.config.schema import Experiment
from compat import merge, orders
from compat.data import RetrievalData
from compat.merge import Merge
from compat.methods import SingleModel
from compat.orders import Order
from compat.results import load_experiment, load_failures, load_results
from tests import ROOT
from tests.helpers.layouts import (
    write_cifar100,
    write_fashion_mnist,
    write_imagenet,
    write_images,
    write_market1501,
    write_omniglot,
    write_places365,
)

METHODS = sorted((ROOT / "configs" / "methods").glob("*.yaml"))
AXES = sorted((ROOT / "configs" / "axes").glob("*.yaml"))
OTHERS = [path for name in ("tuning", "policies") for path in (ROOT / "configs").glob(f"{name}*.yaml")]
CONFIGS = sorted({*(ROOT / "configs").rglob("*.yaml")} - {*METHODS, *AXES, *OTHERS})
PRETRAINED = "model.backbone.init_args.pretrained"


def arguments_of(path: Path) -> list[str]:
    """The arguments of the command that the first line of a config names."""
    command = path.read_text().splitlines()[0]
    _, program, subcommand, *arguments = shlex.split(command)
    assert (program, subcommand) == ("compat-bench", "run")
    assert path.relative_to(ROOT / "configs").with_suffix("").as_posix() in arguments
    return arguments


def experiment(arguments: list[str], overrides: list[str]) -> Experiment:
    """As the command parses its arguments."""
    own, given = runner.command_line([*arguments, *overrides])
    return parse(own.config, given)


def offline(arguments: list[str]) -> list[str]:
    """What keeps a config from downloading weights."""
    generations = experiment(arguments, []).generations
    return [
        f"--{name}.{PRETRAINED}=false"
        for name, generation in generations.items()
        if "pretrained" in generation.model.init_args["backbone"]["init_args"]
    ]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_header_s_command_parses_and_every_part_can_be_built(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    arguments = arguments_of(path)
    found = experiment(arguments, offline(arguments))
    models = {name: generation.model.build(SingleModel) for name, generation in found.generations.items()}
    for model in models.values():
        model.embedder.eval()(torch.zeros(1, 3, 64, 64))
    old, new = list(models.values())[:2]
    for spec in found.methods.values():
        spec.build(Method)(old.embedder, new.embedder)
    if found.data.class_path == "compat.data.Digits":
        found.data.build(RetrievalData)


WRITE: dict[str, Any] = {
    "CIFAR100": (write_cifar100, []),
    "FashionMNIST": (write_fashion_mnist, ["--data.train_per_class=6"]),
    "Omniglot": (write_omniglot, []),
    "ImageNet": (write_imagenet, ["--data.image_size=32"]),
    "Places365": (write_places365, ["--data.image_size=32"]),
    "Market1501": (write_market1501, ["--data.height=32", "--data.width=16", "--data.batch_size=8"]),
}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_runs_end_to_end_on_small_images(path, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    arguments = arguments_of(path)
    config = experiment(arguments, [])
    kind = config.data.class_path.rsplit(".", 1)[1]
    if kind in WRITE:
        write, overrides = WRITE[kind]
        write(tmp_path / "data")
        overrides = [*overrides, "--data.verify=false"]
    elif kind == "ImageFolder":
        for split, count in (("train", 6), ("val", 3)):
            write_images(tmp_path / "data", split, [str(number) for number in range(10)], count, 64)
        overrides = ["--data.image_size=32"]
    else:
        overrides = []
    if kind != "Digits":
        overrides.append(f"--data.root={tmp_path / 'data'}")
    if "--data.batch_size=8" not in overrides:
        overrides.append("--data.batch_size=16")
    for part in [*config.generations, *(["side"] if config.side else []), "heads"]:
        overrides += [f"--{part}.trainer.max_epochs=1", f"--{part}.trainer.enable_progress_bar=false"]
        overrides.append(f"--{part}.trainer.accelerator=cpu")
    for name, spec in config.methods.items():
        for taken in {"hidden", "centres"} & {*(arguments_of_class(spec.class_path) or [])}:
            overrides.append(f"--methods.{name}.init_args.{taken}=8")
    overrides += [
        "--data.num_workers=0",
        "--heads.batch_size=16",
        "--seed=0",
        "--replay.orders=2",
        "--replay.progress=3",
    ]
    overrides += [f"--runs={tmp_path / 'runs'}", f"--results={tmp_path / 'results'}", *offline(arguments)]
    methods = set(config.methods)
    if path.stem == "digits_methods":  # `make bench-all` runs all of them, in all its orders and under all its rules
        methods = {"independent", "bct", "fastfill", "rqt"}
        overrides.append(f"--only={','.join(methods)}")
    folder, _, _ = runner.run(experiment(arguments, overrides))

    assert [failure.reason for failure in load_failures(folder)] == []
    results, trained_on = load_results(folder), load_experiment(folder)["trained_on"]
    upgrades = 1 + (len(config.generations) - 2) * len(config.starts)
    learners = {name for name in methods if config.methods[name].declared("learns_on_the_way", False)}  # raw alone
    rules = len(config.replay.merge) * len(methods - learners) + len(learners)
    assert {result.method for result in results} == methods
    assert len(results) == upgrades * len(config.replay.by) * rules
    for seen in trained_on.values():
        assert seen["images"] <= len(seen["classes"]) * 100
    for result in results:
        assert np.isfinite(result.mean_ap).all()
        if result.method == "independent" and not result.starts_at:
            assert result.mean_ap[0] == pytest.approx(result.old["mean_ap"], rel=1e-8)
            assert result.mean_ap[-1] == pytest.approx(result.new["mean_ap"], rel=1e-8)


@pytest.mark.parametrize("path", AXES, ids=lambda path: path.stem)
def test_every_order_and_rule_is_listed(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    replay = parse(["configs/digits.yaml", str(path)], []).replay
    kind, found, module = {"orders": (Order, replay.by, orders), "merges": (Merge, replay.merge, merge)}[path.stem]
    built = {type(spec.build(kind)).__name__ for spec in found.values()}
    shipped = {name for name, value in vars(module).items() if isinstance(value, type) and issubclass(value, kind)}
    assert built == shipped - {kind.__name__, "Scores"}
