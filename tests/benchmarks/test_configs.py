"""Every shipped config: its header's command parses, its parts can be built, and it runs end to end on small images.

By default one config of each dataset and setting runs; the others differ from these in numbers alone, which a test
asserts. All run with the slow tests.
"""

import shlex
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits

from benchmarks import run as runner
from benchmarks.artifacts.artifact import Artifact, graph
from benchmarks.artifacts.source import arguments as arguments_of_class
from benchmarks.artifacts.systems import Method
from benchmarks.config.parse import parse
from benchmarks.config.schema import Experiment
from benchmarks.config.spec import Spec
from benchmarks.jobs.plan import plan
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
BACKBONE = "model.backbone.init_args"


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


def offline(arguments: list[str], folder: Path) -> list[str]:
    """What keeps a config from downloading weights; of those from files, new ones in a folder."""
    overrides = []
    for name, generation in experiment(arguments, []).generations.items():
        given = generation.model.init_args["backbone"]["init_args"]
        if "pretrained" in given:
            overrides.append(f"--{name}.{BACKBONE}.pretrained=false")
        if "weights" in given:
            file = folder / f"{given['model_name']}.safetensors"
            save_file(timm.create_model(given["model_name"]).state_dict(), file)
            overrides.append(f"--{name}.{BACKBONE}.weights={file}")
    return overrides


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_the_header_s_command_parses_and_every_part_can_be_built(path, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    arguments = arguments_of(path)
    found = experiment(arguments, offline(arguments, tmp_path))
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


EVERY_METHOD: set[str] = set()
EXECUTED: dict[str, set[str]] = {  # by default, with these of its methods
    "digits_methods": {  # `make bench-all` runs all of them
        "independent",
        "bct",
        "fastfill",
        "fct_side",
        "rqt",
        "rqt_mcl_old",
        "rqt_mcl_rho_new",
        "rqt_mcl_rho_independent",
        "rqt_mcl_rho_inside",
        "rho",
        "rho_old",
        "kernel_gallery_rho_both",
    },
    "cifar100_frozen": {"independent", "kernel_gallery"},
    "miniplaces_frozen": {"independent"},
    "digits_bigger": {"independent", "rqt"},
    "settings/own_pairs": EVERY_METHOD,
    "settings/backbones": {"independent", "rqt"},
    "settings/controls": {"rho", "rho_old", "independent_rho", "kernel_gallery_rho"},
    "settings/augmented_heads": {"rqt"},
    "audit": {
        "independent",
        "bct_old_classes",
        "oca_unit",
        "orthogonality_strict",
        "fastfill_raw",
        "rqt_mcl_rho_not_itself",
    },
    "tuned/omniglot": EVERY_METHOD,
    "cifar100": EVERY_METHOD,
    "cifar100_small": {"independent"},
    "fashion_mnist": EVERY_METHOD,
    "imagenet_resnet50": EVERY_METHOD,
    "places365": EVERY_METHOD,
    "market1501_resnet50": EVERY_METHOD,
    "market1501_small": {"independent"},
    "tiny_imagenet_sequence": EVERY_METHOD,
    "settings/cores": EVERY_METHOD,
    "settings/final_norm": {"independent", "rqt"},
}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT / "configs").with_suffix(""))


def masked(value: Any) -> Any:
    """A setting, of which a number is only a number."""
    if isinstance(value, list | tuple):
        return tuple(dict.fromkeys(map(masked, value)))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    return value if isinstance(value, bool | str | None) else "nested"


def settings(value: Any, name: str = "") -> Iterator[tuple]:
    """Owner, name and masked value of all that an artifact or a part of a config sets."""
    if isinstance(value, Spec):
        value = value.content
    if is_dataclass(value):
        for field in fields(value):
            its = getattr(value, field.name)
            if field.compare:
                nested = isinstance(its, Spec) or is_dataclass(its)
                yield type(value).__name__, field.name, type(its).__name__ if nested else masked(its)
                if not isinstance(its, Artifact):
                    yield from settings(its)
    elif isinstance(value, dict):
        owner = value.get("class_path", name)
        for key, its in value.items():
            if key not in ("init_args", "dict_kwargs"):
                yield owner, key, masked(its)
            yield from settings(its, owner)
    elif isinstance(value, list | tuple):
        for its in value:
            yield from settings(its, name)


def settings_of(path: Path, methods: set[str] = EVERY_METHOD) -> set[tuple]:
    """All that the artifacts of a config's plan set, numbers aside; of these methods alone."""
    jobs = plan(experiment(arguments_of(path), []), ("train", "query", "gallery"), (0.0, 0.5, 1.0))
    chosen = [job for job in jobs if not methods or dict(job.labels)["method"] in methods]
    artifacts = {artifact for job in chosen for artifact in graph(job.curve)}
    found = {setting for artifact in artifacts for setting in settings(artifact)}
    return {setting for setting in found if setting[-1] not in ("number", ("number",))}


def test_what_is_not_executed_differs_from_what_is_in_numbers_alone(monkeypatch):
    monkeypatch.chdir(ROOT)
    paths = {name_of(path): path for path in CONFIGS}
    executed = set().union(*(settings_of(paths[name], methods) for name, methods in EXECUTED.items()))
    others = {name: settings_of(path) - executed for name, path in paths.items()}
    assert {name: settings for name, settings in others.items() if settings} == {}


def executions() -> Iterator[Any]:
    """Configs and which of their methods run; all of each config's are slow."""
    for path in CONFIGS:
        name = name_of(path)
        if name in EXECUTED:
            yield pytest.param(path, EXECUTED[name], id=name)
        if EXECUTED.get(name) != EVERY_METHOD and name != "digits_methods":
            yield pytest.param(path, EVERY_METHOD, id=f"{name}-whole", marks=pytest.mark.slow)


def few_digits() -> Any:
    """A hundred of them."""
    found = load_digits()
    found.images, found.target = found.images[:100], found.target[:100]
    return found


@pytest.mark.parametrize(("path", "methods"), list(executions()))
def test_it_runs_end_to_end_on_small_images(path, methods, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("compat.data.digits.load_digits", few_digits)
    arguments = arguments_of(path)
    config = experiment(arguments, [])
    inner = config.data.init_args.get("data")  # of a dataset around another one
    kind = (inner or config.data.content)["class_path"].rsplit(".", 1)[1]
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
    overrides.append("--data.num_workers=0")
    if inner:
        overrides = [override.replace("--data.", "--data.data.") for override in overrides]
    for part in [*config.generations, *(["side"] if config.side else []), "heads"]:
        overrides += [f"--{part}.trainer.max_epochs=1", f"--{part}.trainer.enable_progress_bar=false"]
        overrides.append(f"--{part}.trainer.accelerator=cpu")
    for name, spec in config.methods.items():
        for taken in {"hidden", "centres"} & {*(arguments_of_class(spec.class_path) or [])}:
            overrides.append(f"--methods.{name}.init_args.{taken}=8")
    overrides += [
        "--heads.batch_size=16",
        "--seed=0",
        "--replay.orders=2",
        "--replay.progress=3",
    ]
    overrides += [f"--runs={tmp_path / 'runs'}", f"--results={tmp_path / 'results'}", *offline(arguments, tmp_path)]
    if methods:
        overrides.append(f"--only={','.join(methods)}")
    methods = methods or set(config.methods)
    folder, _, _ = runner.run(experiment(arguments, overrides))

    assert [failure.reason for failure in load_failures(folder)] == []
    results, trained_on = load_results(folder), load_experiment(folder)["trained_on"]
    upgrades = 1 + (len(config.generations) - 2) * len(config.starts)
    learners = {name for name in methods if config.methods[name].declared("online", False)}  # raw alone
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
