"""A result as a line of JSON and back: labels first, plain columns for `pandas.read_json(path, lines=True)`."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from compat.cost import Cost
from compat.curve_metrics import CURVE_METRICS
from compat.errors import InputError
from compat.results.result import Failure, Result

DIGITS = 9  # significant ones: with eight or fewer the last printed digit of some figures changes
OPEN = ("labels", "progress", "curves", "cost")  # looked into by themselves
HINTS = {name: get_origin(kind) if name in OPEN else kind for name, kind in get_type_hints(Result).items()}
COST = get_type_hints(Cost)
T = TypeVar("T")


def rounded(value: Any) -> Any:
    """Round the floats of JSON values to 9 significant digits."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return [rounded(item) for item in value] if isinstance(value, list | tuple) else value


def line_of(result: Result | Failure) -> str:
    """Write one line: the labels, `key` (of a failure `benchmark`), then the fields; curves and systems are columns."""
    first = "key" if isinstance(result, Result) else "benchmark"
    content = {**result.labels, first: getattr(result, first)}
    for each in fields(result):
        value = rounded(getattr(result, each.name))
        if each.name in ("old", "new"):
            content |= {f"{each.name}_{figure}": number for figure, number in value.items()}
        elif each.name == "curves":
            content |= value
        elif each.name == "cost":
            content["cost"] = {quantity: rounded(vars(cost)) for quantity, cost in value.items()}
        elif each.name not in ("labels", first):
            content[each.name] = value
    return json.dumps(content, separators=(",", ":"))


def result_of(line: str) -> Result:
    """Read a result from `line_of`; unknown columns are ignored, and of the curves only mAP is required.

    Raises:
        ValueError: no JSON object, or a column is missing.
    """
    labels, content = _split(line, "key")
    told = content.get("metrics", {})
    if not (isinstance(told, dict) and all(_tells(how) for how in told.values())):
        raise ValueError(f"column 'metrics' is {str(told)[:40]!r}")
    names = [name for name in (*CURVE_METRICS, *told) if content.get(name) is not None]
    if "mean_ap" not in names:
        raise ValueError("no column 'mean_ap'")
    content["curves"] = {name: content[name] for name in names}
    for system in ("old", "new"):
        found = {k.removeprefix(f"{system}_"): v for k, v in content.items() if k.startswith(f"{system}_")}
        content[system] = found or None
    known: dict[str, Any] = {f.name: content.get(f.name) for f in fields(Result) if f.name in content}
    needed = [f.name for f in fields(Result) if f.default is MISSING and f.default_factory is MISSING]
    for name in needed:
        if name != "labels" and known.get(name) is None:
            raise ValueError(f"no column {name!r}")
    if any(isinstance(name, int) for name in content.get("provenance") or ()):
        raise ValueError("column 'provenance' counts records (before 0.1; delete the folder and run it again)")
    for name, kind in HINTS.items():
        if name in known and not _fits(known[name], kind):
            raise ValueError(f"column {name!r} is {str(known[name])[:40]!r}")
    points = len(known["progress"])
    for name, values in {"progress": known["progress"], **known["curves"]}.items():
        if not isinstance(values, list):
            raise ValueError(f"column {name!r} is {str(values)[:40]!r}")
        if len(values) != points or not all(isinstance(value, float | int) for value in values):
            raise ValueError(f"column {name!r} is not {points} numbers, as many as progress")
    for system in ("old", "new"):
        if "mean_ap" not in known[system]:
            raise ValueError(f"no column '{system}_mean_ap'")
    known["cost"] = {quantity: _cost(told) for quantity, told in known.get("cost", {}).items()}
    return Result(labels=labels, **known)


def _cost(told: Any) -> Cost:
    """Read the cost of one quantity.

    Raises:
        ValueError: other fields than those of `Cost`, or of other types; lists of different lengths.
    """
    if not (isinstance(told, dict) and told.keys() == COST.keys() and all(_fits(told[k], COST[k]) for k in COST)):
        raise ValueError(f"column 'cost' is {str(told)[:40]!r}")
    if not len(told["at"]) == len(told["fixed"]) == len(told["each"]):
        raise ValueError("column 'cost' has not as many figures as completion ratios")
    return Cost(**told)


def _tells(how: Any) -> bool:
    """Whether a metric of `Result.metrics` has its label and direction, and nothing else."""
    kinds = {"label": str, "higher_is_better": bool}
    return isinstance(how, dict) and {name: type(value) for name, value in how.items()} == kinds


def _fits(value: Any, kind: Any) -> bool:
    """Whether a JSON value is of a type, with everything inside it."""
    inner = get_args(kind)
    if get_origin(kind) is list:
        return isinstance(value, list) and all(_fits(item, inner[0]) for item in value)
    if get_origin(kind) is dict:
        return isinstance(value, dict) and all(_fits(item, inner[1]) for item in value.values())
    return kind is Any or isinstance(value, (int, float) if kind is float else kind)


def failure_of(line: str) -> Failure:
    """Read a failure from `line_of`.

    Raises:
        ValueError: no JSON object, or a column is missing.
    """
    labels, content = _split(line, "benchmark")
    if "reason" not in content:
        raise ValueError("no column 'reason'")
    return Failure(content["benchmark"], labels, content["reason"])


def _split(line: str, first: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Split a record into the labels, which come before the first field, and the fields."""
    content = json.loads(line)
    if not isinstance(content, dict) or first not in content or "method" not in content:
        raise ValueError(f"no column {first!r}")
    if not isinstance(content.get("seed"), int | str) or not str(content["seed"]).lstrip("-").isdigit():
        raise ValueError(f"column 'seed' is {str(content.get('seed'))[:40]!r}")
    names = list(content)
    labels = names[: names.index(first)]
    return {name: content[name] for name in labels}, {name: content[name] for name in names if name not in labels}


def packed(path: Path) -> Path:
    """Return the path of the gzip file."""
    return path.with_name(f"{path.name}.gz")


def read_lines(path: Path, parse: Callable[[str], T], broken: list[str] | None) -> list[T]:
    """Parse each line of a file, or of its gzip; none without a file.

    Args:
        path: of the file.
        parse: parses one line.
        broken: receives a message for each unreadable line, in place of an error.

    Raises:
        InputError: the file cannot be read, or a line cannot and `broken` is None.
    """
    try:
        if path.exists():
            lines = path.read_bytes().splitlines()
        elif packed(path).exists():
            lines = gzip.decompress(packed(path).read_bytes()).splitlines()
        else:
            return []
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: {error}, expected lines of JSON") from error
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(parse(line.decode()))
        except (ValueError, TypeError) as error:
            message = f"{path}:{number}: {error}, expected a line of JSON with the columns of a result"
            if broken is None:
                raise InputError(message) from error
            broken.append(message)
    return found
