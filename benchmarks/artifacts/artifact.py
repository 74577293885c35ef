"""Artifacts: expensive intermediate results, identified by everything they depend on. No key is written by hand."""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.artifacts import source
from benchmarks.config.spec import Spec
from compat.errors import InputError
from compat.importing import ANYTHING, reason

# Code without influence on the content of artifacts.
INERT = frozenset(
    [
        "compat.errors",
        "compat.files",
        "benchmarks.config.spec",
        "benchmarks.fetch.commands",
        "benchmarks.config.schema",
        "benchmarks.artifacts.artifact",
        "benchmarks.artifacts.kinds",
        "benchmarks.artifacts.source",
        "benchmarks.artifacts.store",
        "benchmarks.artifacts.record",
        "benchmarks.artifacts.progress",
    ]
)


@dataclass(frozen=True)
class Artifact:
    """Base of all artifacts. Its fields are its dependencies; fields with `compare=False` are shown only.

    Attributes:
        stage: the kind of artifact, for readers of the run folder.
        maker: import path of the function making it, called with the artifact, the store and a folder for logs and
            unfinished work.
    """

    stage: ClassVar[str] = ""
    maker: ClassVar[str] = ""

    @property
    def label(self) -> str:
        """Name for messages."""
        return " ".join(filter(None, [self.stage, getattr(self, "name", "")]))


@cache
def identity(artifact: Artifact) -> dict[str, Any]:
    """Return an artifact's dependencies by name: its fields, the keys of its inputs, its files and its code.

    The code covers the maker's module, the classes named in the fields, and every project module they import. Installed
    packages count, by version, if the config names classes of them; the record lists the others. A file named by an
    argument counts by its content.
    """
    specs: list[Spec] = []
    content = {f.name: _plain(getattr(artifact, f.name), specs) for f in fields(artifact) if f.compare}
    modules, packages = {artifact.maker.rpartition(".")[0]}, set()
    for path in {path for spec in specs for path in spec.class_paths()}:
        found = source.find(path)
        module = found.module if found else path.rpartition(".")[0]
        if source.is_own(module):
            modules |= {d.module for d in source.lineage(path) if source.is_own(d.module)} or {module}
        else:
            packages.add(source.version_of(path.split(".")[0]) or path)
    code: dict[str, str] = {}
    for module in sorted(modules):
        code |= source.code_of(module, INERT)
    files = {path: checksum(path) for spec in specs for path in spec.files()}
    known = {"stage": artifact.stage, "fields": content, "code": code, "packages": sorted(packages)}
    return {**known, "files": files} if files else known


@cache
def key(artifact: Artifact) -> str:
    """Return the digest of an artifact's identity."""
    return hashlib.sha256(json.dumps(identity(artifact), sort_keys=True).encode()).hexdigest()[:16]


def load_code(artifacts: Iterable[Artifact]) -> None:
    """Import all code of the artifacts' makers: edits during a benchmark have no effect.

    Raises:
        InputError: a module that cannot be imported, or was edited since it was read.
    """
    code = {module: digest for artifact in artifacts for module, digest in identity(artifact)["code"].items()}
    for module in code:
        try:
            importlib.import_module(module)
        except ANYTHING as error:
            found = f"{module} ({reason(error)})"
            raise InputError(f"class_path: {found}, expected an importable module") from error
    for module, digest in code.items():
        if source.digest.__wrapped__(module) != digest:
            raise InputError(f"class_path: {module} was edited just now, expected it to stay; run the command again")


def checksum(path: str | Path) -> str:
    """Return the SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(2**22):
            digest.update(block)
    return digest.hexdigest()


def inputs(value: Any) -> Iterator[Artifact]:
    """Yield the artifacts in the fields of an artifact, at any depth: its direct inputs."""
    for f in fields(value) if is_dataclass(value) and not isinstance(value, type) else ():
        inner = getattr(value, f.name)
        if isinstance(inner, Artifact):
            yield inner
        elif f.compare:
            yield from inputs(inner)


def graph(artifact: Artifact) -> list[Artifact]:
    """List an artifact after all its inputs, each once."""
    found: dict[Artifact, None] = {}

    def visit(one: Artifact) -> None:
        if one not in found:
            for other in inputs(one):
                visit(other)
            found[one] = None

    visit(artifact)
    return list(found)


def _plain(value: Any, specs: list[Spec]) -> Any:
    if isinstance(value, Artifact):
        return {"product": key(value)}
    if isinstance(value, Spec):
        specs.append(value)
        return value.content
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name), specs) for f in fields(value) if f.compare}
    if isinstance(value, (list, tuple)):
        return [_plain(item, specs) for item in value]
    return value
