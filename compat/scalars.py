"""Find YAML scalars read differently by different YAML versions: `010`, `1:30`, `no`, a key `1`."""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from compat.errors import InputError

TAG = "tag:yaml.org,2002:"
ALIKE = {  # words read alike by YAML 1.1 and 1.2
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    "str": r"(?![-+]?0[0-9]+$|0o[0-7]+$|[-+]?\.?[0-9](?=[0-9.]*_)[0-9_]*\.?[0-9_]*([eE][-+]?[0-9]+)?$).*",
}
LONGEST = 100  # letters of a hexadecimal number
KEYS = ("str", "merge", "value", "timestamp")


def check_yaml(field: str, text: str) -> None:
    """Refuse plain scalars with different meanings in different YAML readers.

    Text with a YAML syntax error is left to its reader.

    Args:
        field: the option or field naming the text.
        text: of one document.

    Raises:
        InputError: a number with a leading zero, colons or underscores, yes, no, on or off, a non-text key.

    Example:
        >>> check_yaml("--seed", "[10, 0x10, 1e-3, true, '010']")
        >>> check_yaml("--seed", "[9, 010]")
        Traceback (most recent call last):
        compat.errors.InputError: --seed: 010 is read in several ways, expected it in quotes, or a plain number
    """
    try:
        root = yaml.compose(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (yaml.YAMLError, RecursionError):
        return
    for node, is_key in _scalars(root):
        tag, found = node.tag.removeprefix(TAG), node.value
        where = f"{field}, line {node.start_mark.line + 1}" if "\n" in text else field
        if tag == "int" and found[:2] == "0x" and len(found) > LONGEST:
            raise InputError(f"{where}: a number of {len(found) - 2} digits, expected fewer")
        if (not node.style or (found and tag != "str")) and not re.fullmatch(ALIKE.get(tag, ".*"), found, re.DOTALL):
            other = "true or false" if tag == "bool" else "a plain number"
            raise InputError(f"{where}: {found} is read in several ways, expected it in quotes, or {other}")
        if is_key and tag not in KEYS:
            raise InputError(f"{where}: the key {found or 'null'} is no text, expected it in quotes")


def _scalars(root: yaml.Node | None) -> Iterator[tuple[yaml.ScalarNode, bool]]:
    """Yield all scalars of a document, each once, and whether it is a key."""
    waiting, seen = [(root, False)], set()
    while waiting:
        node, is_key = waiting.pop()
        if isinstance(node, yaml.ScalarNode):
            yield node, is_key
        elif node is not None and id(node) not in seen:
            seen.add(id(node))
            pairs = node.value if isinstance(node, yaml.MappingNode) else [(None, inner) for inner in node.value]
            waiting += [one for key, inner in reversed(pairs) for one in ((inner, False), (key, True))]
