"""Describe a benchmark's data set and upgrade in a few words, from its config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

UNKNOWN = "unknown"


def data_set_of(config: Mapping[str, Any]) -> str:
    """Name the data set: its class, or for a folder of images the folder.

    Example:
        >>> data_set_of({"data": {"class_path": "compat.data.ImageFolder", "init_args": {"root": "data/birds"}}})
        'birds'
    """
    data = config.get("data") or {}
    name = str(data.get("class_path", UNKNOWN)).rpartition(".")[2]
    root = str((data.get("init_args") or {}).get("root", ""))
    return PurePath(root).name or name if name == "ImageFolder" else name


def setting_of(config: Mapping[str, Any]) -> str:
    """Describe the upgrade's changes, from generation to generation, and data withheld from heads.

    Example:
        >>> old, new = ({"sees": {"classes": share, "images": 1.0}} for share in (0.5, 1.0))
        >>> setting_of({"generations": ["old", "new"], "old": old, "new": new})
        'classes 50 → 100 %'
    """
    generations = [config.get(name) or {} for name in config.get("generations", ("old", "new"))]
    parts = []
    for kind in ("classes", "images"):
        parts += _change(kind, [_share((one.get("sees") or {}).get(kind, 1.0)) for one in generations], " %")
    parts += _change("", [_backbone(one) for one in generations])
    sees = (config.get("heads") or {}).get("sees") or {}
    parts += [f"heads see {_share(sees[kind])} % of {kind}" for kind in ("classes", "images") if sees.get(kind, 1) != 1]
    if shown := _gallery_classes(config):
        parts.append(f"gallery has {_share(shown)} % of classes")
    return ", ".join(parts) or "the same twice"


def heads_miss_classes(config: Mapping[str, Any]) -> bool:
    """Whether heads and new model see other classes than the gallery has, or only some of its classes."""
    newest = [*config.get("generations", ("old", "new"))][-1]
    seen = [((config.get(name) or {}).get("sees") or {}).get("classes", 1.0) for name in (newest, "heads")]
    return any(share not in (1, [0, 1]) for share in seen) or bool(_gallery_classes(config))


def _gallery_classes(config: Mapping[str, Any]) -> Any:
    return ((config.get("data") or {}).get("init_args") or {}).get("gallery_classes")


def _change(kind: str, values: Sequence[str], unit: str = "") -> list[str]:
    """Format old and new value, if they differ."""
    return [f"{kind} {' → '.join(values)}{unit}".strip()] if len(set(values)) > 1 else []


def _share(value: Any) -> str:
    """Format a share in percent; a pair as a range."""
    if isinstance(value, list | tuple):
        return " to ".join(f"{100 * end:g}" for end in value)
    return f"{100 * value:g}"


def _backbone(generation: Mapping[str, Any]) -> str:
    """Name the backbone: its function's argument, or the function."""
    backbone = ((generation.get("model") or {}).get("init_args") or {}).get("backbone") or {}
    name = (backbone.get("init_args") or {}).get("model_name")
    return str(name or backbone.get("class_path", UNKNOWN))
