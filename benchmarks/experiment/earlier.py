"""A config as earlier versions kept it, every default spelled out, as this version would write it."""

from __future__ import annotations

import inspect
import pkgutil
from functools import cache
from typing import Any

from benchmarks.experiment.collect import as_config, without_circumstances
from benchmarks.experiment.parse import typed
from benchmarks.experiment.spec import KEYS, Spec, canonical
from compat.results import Result

SEES = ("classes", "images")


def present(config: dict[str, Any]) -> dict[str, Any]:
    """A whole config, without what says how or where it was run."""
    content = brief({name: part for name, part in config.items() if part is not None})
    names = [name for name in ("old", "new", "newest") if name in content]
    arguments = dict(content["data"].get("init_args", {}))
    for name in names:
        seen = {part: arguments.pop(f"{name}_{part}", None) for part in SEES}
        content[name] = {**content[name], "sees": {part: share for part, share in seen.items() if share is not None}}
    content["data"] = {**content["data"], "init_args": arguments}
    content["replay"] = {name: part for name, part in content.get("replay", {}).items() if part}
    if "second_starts" in content:
        content["starts"] = content.pop("second_starts")
    content["generations"] = {name: content.pop(name) for name in names}
    return without_circumstances(as_config(typed(content)))


def brief(value: Any) -> Any:
    """Classes without the arguments that are their defaults; what one stood on without saying so is said."""
    if isinstance(value, list):
        return [brief(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "class_path" not in value:
        return {name: brief(part) for name, part in value.items()}
    given = dict(value.get("init_args") or {})
    beside = {name: brief(part) for name, part in value.items() if name in KEYS and name != "init_args"}
    if value["class_path"] == "compat.methods.BiCT" and "based_on" not in value:
        beside["based_on"] = brief(
            {"class_path": "compat.methods.BCT", "init_args": {"weight": given.pop("backward", 1.0)}}
        )
    usual = defaults(value["class_path"])
    told = {name: brief(part) for name, part in given.items() if name not in usual or canonical(part) != usual[name]}
    return canonical({**beside, "init_args": told})


@cache
def defaults(path: str) -> dict[str, Any]:
    """Of the arguments of a class or function, as jsonargparse writes them."""
    from jsonargparse import ArgumentParser

    kind, parser = pkgutil.resolve_name(path), ArgumentParser(exit_on_error=False)
    add = parser.add_class_arguments if inspect.isclass(kind) else parser.add_function_arguments
    add(kind, "value", fail_untyped=False)
    return dict(canonical(parser.get_defaults().as_dict().get("value", {})))


def needs(result: Result, config: dict[str, Any]) -> dict[str, list[str]]:
    """What a result's method, order and merge rule say today that they look at."""
    replay = config["replay"]
    return {
        "method": list(Spec(result.spec).needs()),
        "order": list(Spec(replay["by"][result.order]).needs()),
        "merge": list(Spec(replay["merge"][result.merge]).needs()),
    }
