"""Parse a command line into an `Experiment`: YAML files overlaid, then options, checked without torch."""

from __future__ import annotations

import argparse
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from jsonargparse.typing import register_type
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from benchmarks.config.check import check_metric, check_numbers, check_processes
from benchmarks.config.named import locate
from benchmarks.config.schema import Experiment, Generation, Heads, Replay
from benchmarks.config.shapes import check_shapes
from benchmarks.config.spec import KEYS, UNDER, Spec
from compat.errors import InputError, check_name, closest
from compat.scalars import check_yaml
from compat.share import Share

register_type(Spec, serializer=lambda spec: spec.content, deserializer=Spec)
MODEL, TRAINER = "compat.methods.SingleModel", "pytorch_lightning.Trainer"
BROKEN = (OSError, YAMLError, ValueError, LookupError, RecursionError, OmegaConfBaseException)  # of invalid YAML
WHOLE = ("methods", "replay.by", "replay.merge", "replay.metrics")  # given again they replace the earlier ones


def parse(config: list[str], overrides: list[str]) -> Experiment:
    """Parse an experiment from YAML files, each over the previous ones, and options `--key=value`.

    Raises:
        InputError: a file without a mapping, an unknown key, class or argument, a value of another type.
    """
    if not config:
        raise InputError("config: none, expected a YAML file, or a name: compat-bench run digits")
    layers = [*(read(path) for path in config), from_options(overrides)]
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = overlay(merged, layer)
    names = merged.pop("generations", None) or ["old", "new"]
    check_keys(merged, names)
    merged["generations"] = {name: merged.pop(name, None) for name in names}
    return check(to_experiment(merged))


def read(path: str) -> dict[str, Any]:
    """Read one YAML file, or one of the package's by name, with the files named by its methods.

    Raises:
        InputError: no such file, not YAML, not a mapping, empty.
    """
    file = locate(path)
    return normalize(read_plain(file), file.parent)


def from_options(options: list[str]) -> dict[str, Any]:
    """Parse `--key=value` and `--key value`, the value as YAML; dots lead into mappings.

    Raises:
        InputError: not an option, no value, or an ambiguous one.
    """
    found: dict[str, Any] = {}
    waiting = list(options)
    while waiting:
        key, equals, value = waiting.pop(0).partition("=")
        if not key.startswith("--") or len(key) == 2:
            raise InputError(f"{key}: expected an option such as --new.trainer.max_epochs=3")
        if not equals:
            if not waiting or waiting[0].startswith("--"):
                raise InputError(f"{key}: no value, expected {key}=VALUE")
            value = waiting.pop(0)
        check_yaml(key, value)
        try:
            one = OmegaConf.to_container(OmegaConf.from_dotlist([key[2:] + "=" + (value or "''")]), resolve=True)
        except BROKEN as error:
            raise InputError(f"{key}: {value!r} ({one_line(error)}), expected YAML") from error
        found = overlay(found, normalize(one, Path()))  # type: ignore[arg-type]
    return found


def normalize(layer: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Put the arguments of each class under init_args, and the content of named files in their place."""
    layer = dict(layer)
    for key, value in layer.items():
        if key == "data":
            layer[key] = spec(value)
        elif key == "methods":
            layer[key] = {name: spec(entry, folder) for name, entry in read_methods(value, folder).items()}
        elif isinstance(value, dict):
            inner = {part: spec(given) if part in ("model", "trainer") else given for part, given in value.items()}
            for axis in ("by", "merge") if key == "replay" else ():
                if isinstance(inner.get(axis), dict):
                    inner[axis] = {name: spec(entry) for name, entry in inner[axis].items()}
            if key == "replay" and isinstance(metrics := inner.get("metrics"), (dict, list)):
                named = metrics if isinstance(metrics, dict) else dict.fromkeys(map(str, metrics))
                inner["metrics"] = {name: spec(entry) for name, entry in named.items()}
            layer[key] = inner
    return layer


def read_methods(methods: Any, folder: Path) -> dict[str, Any]:
    """Return methods by name; a file of them is read, its own entries relative to it."""
    if isinstance(methods, str):
        file = locate(methods, folder)
        return {name: spec(entry, file.parent) for name, entry in read_plain(file).items()}
    if not isinstance(methods, dict):
        raise InputError(f"methods: {methods!r}, expected name: class_path and init_args, or a file of them")
    return methods


def read_plain(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        InputError: no such file, not YAML, not a mapping, empty; an ambiguous value or key.
    """
    try:
        text = path.read_text(encoding="utf-8")
        found = OmegaConf.to_container(OmegaConf.load(path), resolve=True)
    except BROKEN as error:
        raise InputError(f"config: {path} ({one_line(error)}), expected a YAML file") from error
    check_yaml(f"config: {path}", text)
    if not isinstance(found, dict) or not found:
        what = f"a {type(found).__name__}" if found else "empty"
        raise InputError(f"config: {path} is {what}, expected a mapping")
    return found  # type: ignore[return-value]  # all its keys are text by now


def spec(value: Any, folder: Path = Path()) -> Any:
    """Normalise a class and its arguments: those beside class_path move into init_args."""
    if isinstance(value, str) and value.endswith((".yaml", ".yml")):
        file = folder / value
        value, folder = read_plain(file), file.parent
    if not isinstance(value, dict):
        return value
    beside = {k: v for k, v in value.items() if k not in KEYS}
    kept = {k: v for k, v in value.items() if k in KEYS}
    for under in UNDER:
        if under in kept:
            kept[under] = spec(kept[under], folder)
    given = kept.get("init_args", {})
    return {**kept, "init_args": {**given, **beside}} if beside and isinstance(given, dict) else kept


def overlay(base: dict[str, Any], layer: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Lay a layer over another: mappings are merged; a changed class_path drops the old arguments."""
    merged = dict(base)
    for key, value in layer.items():
        here, below = f"{path}{key}", merged.get(key)
        replaced = other = False
        if isinstance(value, dict) and isinstance(below, dict):
            replaced = here in WHOLE and all("class_path" in v for v in value.values() if isinstance(v, dict))
            other = below.get("class_path", value.get("class_path")) != value.get("class_path", below.get("class_path"))
        if isinstance(value, dict) and isinstance(below, dict) and not replaced and not other:
            value = overlay(below, value, f"{here}.")
        merged[key] = value
    return merged


def check_keys(merged: dict[str, Any], names: Any) -> None:
    """Refuse unknown keys, at the top and in each part.

    Raises:
        InputError: such a key; the message suggests a similar one.
    """
    texts = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not texts or len(names) < 2 or len(set(names)) < len(names):
        raise InputError(f"generations: {names}, expected two names or more, such as [old, new]")
    top = [f.name for f in fields(Experiment)] + names
    for name in names:
        if top.count(name) > 1:
            raise InputError(f"generations: {name}, expected another name, as {name} is a key of its own")
    parts = {**dict.fromkeys([*names, "side"], Generation), "heads": Heads, "replay": Replay}
    for key, value in merged.items():
        if key not in top:
            modelled = isinstance(value, dict) and isinstance(value.get("model"), dict)
            another = modelled and all(name in merged for name in names)
            listed = f"expected generations: [{', '.join(map(str, names))}, {key}]"
            raise InputError(f"{key}: unknown, {listed if another else closest(key, top)}")
        known = [f.name for f in fields(parts[key])] if key in parts else []
        for inner in value if known and isinstance(value, dict) else ():
            if inner not in known:
                raise InputError(f"{key}.{inner}: unknown, {closest(str(inner), known)}")
    shares = {f"{name}_{f.name}": f"{name}.sees.{f.name}" for name in names for f in fields(Share)}
    data = merged.get("data")
    given = data.get("init_args") if isinstance(data, dict) else None
    for argument in given if isinstance(given, dict) else ():
        if argument in shares:
            raise InputError(f"data.{argument}: unknown, expected {shares[argument]}")


def with_named(method: Any, methods: dict[str, Any], above: tuple[str, ...], place: str = "") -> Any:
    """Replace the methods that a method names, such as `onto: rho`, by their content.

    Raises:
        InputError: an unknown name, or that of a method on the way to this one.
    """
    if not isinstance(method, dict):
        return method
    whole = dict(method)
    for key in UNDER:
        other, here = method.get(key), f"{place}.{key}"
        if isinstance(other, str):
            if other not in methods or other in above:
                others = [one for one in methods if one not in above]
                raise InputError(f"methods.{above[0]}{here}: {other!r}, {closest(other, others)}")
            whole[key] = with_named(methods[other], methods, (*above, other), here)
        elif isinstance(other, dict):
            whole[key] = with_named(other, methods, above, here)
    return whole


def to_experiment(merged: dict[str, Any]) -> Experiment:
    """Convert the mapping to dataclasses; jsonargparse checks the types.

    Raises:
        InputError: a missing key or a value of another type.
    """
    merged = {key: value for key, value in merged.items() if value is not None}
    methods: dict[str, Any] = merged["methods"] if isinstance(merged.get("methods"), dict) else {}
    if methods:
        merged["methods"] = {name: with_named(method, methods, (name,)) for name, method in methods.items()}
    parts = [merged.get("side"), *merged["generations"].values()]
    for name, part in merged["generations"].items():
        if part is None:
            raise InputError(f"{name}: none, expected a model and a trainer for each of generations")
    for part in parts:
        for key, usual in (("model", MODEL), ("trainer", TRAINER)):
            if isinstance(part, dict) and isinstance(part.get(key), dict):
                part[key] = {"class_path": usual, **part[key]}
    if isinstance(heads := merged.get("heads"), dict) and isinstance(heads.get("trainer"), dict):
        merged["heads"] = {**heads, "trainer": {"class_path": TRAINER, **heads["trainer"]}}
    check_shapes("", merged, Experiment)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Experiment)
    try:
        return Experiment(**vars(parser.instantiate(parser.parse_object(merged))))
    except InputError:
        raise
    except (argparse.ArgumentError, TypeError, KeyError, ValueError) as error:
        raise InputError(wrong_type(one_line(error), merged["generations"])) from error


def wrong_type(message: str, generations: dict[str, Any]) -> str:
    """Rewrite jsonargparse's type error as key, found and expected value."""
    if share := re.search(r"- (sees\.\w+: .*?) - Expected", message):  # of an optional Share
        return f"heads.{share[1]}"
    keys = re.findall(r'Parser key "([\w.]+)"', message)
    value = re.search(r"(?:Given|Got) value: ?(.*)$", message)
    kinds = re.search(r"Subtypes: \[(.*?)\] Errors|Expected (?:an? )?(.*?)\. Got", message)
    if not keys or value is None or kinds is None:
        return f"config: {message}; expected what --help names"
    key = keys[-1]
    if keys[0] == "generations":
        part, name = key.split(".")[0], key.rpartition(".")[2]
        of = (g for g, given in generations.items() if value[1] in str((given or {}).get(part)))
        key = ".".join(filter(None, [next(of, None), part, name if name != part else None]))
    expected = re.sub(r"<class '(\w+)'>", r"\1", kinds[1] or kinds[2]).replace("typing.", "")
    return f"{key}: {value[1] or repr('')}, expected {expected}"


def check(experiment: Experiment) -> Experiment:
    """Refuse impossible names, classes and arguments.

    Raises:
        InputError: the first of them.
    """
    parts = {name: g for name, g in {**experiment.generations, "side": experiment.side}.items() if g is not None}
    specs: dict[str, Spec] = {"data": experiment.data, "heads.trainer": experiment.heads.trainer}
    specs |= {f"{name}.model": g.model for name, g in parts.items()}
    specs |= {f"{name}.trainer": g.trainer for name, g in parts.items()}
    axes = {"methods": experiment.methods, "replay.by": experiment.replay.by, "replay.merge": experiment.replay.merge}
    for axis, entries in axes.items():
        for name, entry in entries.items():
            check_name(axis, name)
            specs[f"{axis}.{name}"] = entry
    check_name("name", experiment.name)
    for name, metric in experiment.replay.metrics.items():
        check_name("replay.metrics", name)
        check_metric(name, metric is None)
        specs |= {f"replay.metrics.{name}": metric} if metric is not None else {}
    for name in experiment.generations:
        check_name("generations", name)
    for field, one in specs.items():
        one.check(field)
    check_numbers(experiment)
    check_processes(experiment)
    return experiment


def one_line(error: Exception) -> str:
    """Return an exception's message without line breaks."""
    return " ".join(str(error).split())
