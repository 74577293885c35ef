"""Run a tool's driver in a process of its own, within a time limit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.live.server import postgres
from benchmarks.rivals.environment import NotInstalledError, environment, last_line
from benchmarks.rivals.pair import MATRICES, ModelPair
from benchmarks.rivals.tools import Tool
from compat.errors import InputError

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Way:
    """A way of a tool to search, as its driver wrote it.

    Attributes:
        name: of its row.
        fit: CPU seconds until it serves.
        query: CPU seconds of a query beside its encoding and the search.
        passes: encodings a query needs.
        memory_mib: the largest memory of its process.
        arrays: `query` and `gallery` in place of the old ones, or `lists` with their `ratios`.
    """

    name: str
    fit: float
    query: float
    passes: str
    memory_mib: float
    arrays: dict[str, np.ndarray]


@dataclass(frozen=True)
class Driven:
    """What came of a tool.

    Attributes:
        version: of its package; empty if it did not say.
        ways: those that it wrote before its end.
        failure: one line, empty if it went well.
    """

    version: str = ""
    ways: list[Way] = field(default_factory=list)
    failure: str = ""


def drive(tool: Tool, pair: ModelPair, environments: Path, limit: float) -> Driven:
    """Run a tool on a pair of models; what goes wrong with it is told, not raised.

    Args:
        tool: the tool.
        pair: the matrices.
        environments: folder of the tools' environments.
        limit: seconds until its processes are killed.
    """
    try:
        python = environment(tool, environments)
    except NotInstalledError as error:
        return Driven(failure=f"not installed: {error}")
    with tempfile.TemporaryDirectory(prefix="rival-") as temporary:
        given, made = Path(temporary, "given"), Path(temporary, "made")
        given.mkdir()
        made.mkdir()
        write_matrices(pair, given)
        try:
            with surroundings(tool) as variables:
                failure = run([python, str(tool.driver), str(given), str(made)], made, limit, variables)
        except InputError as error:
            return Driven(failure=f"not run: {error}")
        try:
            found = read_ways(made)
        except (OSError, ValueError, KeyError, TypeError) as error:
            return Driven(failure=failure or f"wrote no result: {error}")
        return Driven(found.version, found.ways, failure or ("" if found.ways else "wrote no result"))


@contextmanager
def surroundings(tool: Tool) -> Iterator[dict[str, str]]:
    """Run the server that a tool needs, if any, and yield the variables of its environment.

    Raises:
        InputError: there is no server to start.
    """
    if not tool.server:
        yield {} if tool.requirements else {"PYTHONPATH": str(ROOT)}
        return
    with postgres(fsync="off") as found:
        yield {tool.server: found.url}


def write_matrices(pair: ModelPair, folder: Path) -> None:
    """Write what a driver reads."""
    for name in MATRICES:
        np.save(folder / f"{name}.npy", getattr(pair.plain, name).numpy())
    for name, rows in (("train_old", pair.train_old), ("train_new", pair.train_new)):
        np.save(folder / f"{name}.npy", rows.numpy())
    (folder / "pair.json").write_text(json.dumps({"queries_are_items": pair.queries_are_items}))


def run(command: list[str], folder: Path, limit: float, variables: Mapping[str, str]) -> str:
    """Run a command in a folder, which is its home too, on one thread; return how it failed, or nothing."""
    own = {"HOME": str(folder), "OMP_NUM_THREADS": "1", **variables}
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    with tempfile.TemporaryFile("w+") as said:
        files: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": said, "stderr": said}
        process = subprocess.Popen(command, cwd=folder, env=kept | own, start_new_session=True, **files)
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            return f"no end within {limit:g} s"
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        said.seek(0)
        return f"crashed: {last_line(said.read())}" if code else ""


def read_ways(folder: Path) -> Driven:
    """Read what a driver wrote.

    Raises:
        OSError, ValueError, KeyError, TypeError: it is missing, or not what a driver writes.
    """
    driven: dict[str, Any] = json.loads((folder / "driven.json").read_text())
    ways = []
    for number, way in enumerate(driven["ways"]):
        arrays = {kind: np.load(folder / f"{number}.{kind}.npy") for kind in way.pop("arrays")}
        ways.append(Way(**way, arrays=arrays))
    return Driven(driven["version"], ways)
