"""Results of an experiment on policies: one JSON file, extended during the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from filelock import FileLock

from compat.errors import InputError
from compat.files import replace
from compat.results.lines import rounded

Content = dict[str, Any]
PARTS = ("asked", "made", "environments", "ends", "areas", "decisions", "together", "seconds")


def read(path: str | Path) -> Content:
    """Read the results; {} without a file.

    Raises:
        InputError: not a file of results.
    """
    try:
        found = json.loads(Path(path).read_text())
        if set(found) - set(PARTS):
            raise ValueError(f"unknown {', '.join(sorted(set(found) - set(PARTS)))}")
        return found
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: {error}, expected a file of benchmarks.policies") from error


class RolloutStore:
    """Results in a file; several processes may add to it, with the same settings and environments.

    Args:
        path: of the file.
        asked: settings.
        environments: description of each.

    Raises:
        InputError: the file has results of other settings, of other environments or of other embeddings of one.
    """

    def __init__(self, path: Path, asked: Content, environments: Content) -> None:
        self.path = path
        there = read(path)
        if there.get("asked", asked) != asked:
            differ = sorted(key for key in asked if there["asked"].get(key) != asked[key])
            raise InputError(f"output: {path} has results of another {', '.join(differ)}, expected another file")
        for name, one in environments.items():
            if there.get("environments", {}).get(name, one) != one:
                raise InputError(f"output: {path} has results of other embeddings of {name}, expected another file")
        if "environments" in there and (others := sorted(set(there["environments"]) ^ set(environments))):
            raise InputError(f"output: {path} has results with or without {others[0]}, expected another file")
        path.parent.mkdir(parents=True, exist_ok=True)
        self.content = there
        self.add({"asked": asked, "environments": environments})

    def add(self, new: Content) -> None:
        """Overlay mappings on the file's, and read others' additions."""
        with FileLock(self.path.with_name(f".{self.path.name}.lock")):
            content = overlay(read(self.path), rounded(new))
            replace(self.path, lambda file: file.write_text(text_of(content)))
        self.content = content

    def area(self, place: str, seed: int, policy: str) -> float | None:
        """Return the area under a policy's mAP curve, if measured."""
        return self.content.get("areas", {}).get(place, {}).get(str(seed), {}).get(policy)


def overlay(below: Content, above: Content) -> Content:
    """Merge mappings, replace everything else."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = overlay(merged[key], value) if both else value
    return merged


def text_of(content: Content) -> str:
    """Format as JSON with a line per episode."""
    lines = []
    for part in PARTS:
        value = content.get(part, {})
        if part != "areas":
            lines.append(f'"{part}": {json.dumps(value)}')
            continue
        places = [
            f'"{place}": {{\n' + ",\n".join(f'"{seed}": {json.dumps(row)}' for seed, row in by_seed.items()) + "\n}"
            for place, by_seed in value.items()
        ]
        lines.append('"areas": {\n' + ",\n".join(places) + "\n}")
    return "{" + ",\n".join(lines) + "}\n"
