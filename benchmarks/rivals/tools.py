"""The public tools, and what a table says of each: versions, licences, needs, behaviour during writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from compat.errors import InputError, closest

DRIVERS = Path(__file__).parent / "drivers"
OURS = "compat-bench"


@dataclass(frozen=True)
class Tool:
    """A tool and its driver.

    Attributes:
        name: of its rows.
        driver: the script that runs it, see `drivers/contract.py`.
        requirements: what pip installs for it; none: it runs in this environment.
        python: the oldest version that it supports.
        server: the variable that names a PostgreSQL server to its driver; none: it needs no server.
        licence: as its package states it.
        needs: what a user must have.
        writes: what it does with items written during the migration, by its documents.
        cause: why its ways find what they find.
    """

    name: str
    driver: Path
    requirements: tuple[str, ...] = ()
    python: tuple[int, int] = (3, 10)
    server: str = ""
    licence: str = ""
    needs: str = ""
    writes: str = ""
    cause: str = ""


def _tool(name: str, release: str, licence: str, extra: str = "", **about: Any) -> Tool:
    driver = DRIVERS / f"run_{name.replace('-', '_')}.py"
    return Tool(name, driver, (f"{name}{extra}=={release}",), licence=licence, **about)


PAIRS = "pairs of both models' embeddings"
TOOLS = (
    Tool(
        OURS,
        DRIVERS / "run_ours.py",
        licence="Apache-2.0",
        needs=f"{PAIRS}; independent: both models for each query; own_forward: the migrated items",
        writes="served and migrated, at any time",
        cause="migrated items are searched in the new space, the others by a map of kernels",
    ),
    _tool(
        "embedflow",
        "0.8.0",
        "AGPL-3.0-only",
        "[faiss]",
        needs="both models for each query, and the new one for K items of a query until they are kept",
        writes="to the old index, by its owner; an item whose text changed is encoded again",
        cause="the new model itself ranks the K items that the old one finds, whatever has been migrated",
    ),
    _tool(
        "rebasis",
        "0.1.0",
        "Apache-2.0",
        python=(3, 12),
        needs=f"{PAIRS}, 32 or more; Cascade: the new model for 100 items of a query until they are kept",
        writes="Bridge and Cascade leave the index alone; migrate does not say",
        cause="the map is chosen by held-back pairs; a Cascade lets the new model rank what the map recalls",
    ),
    _tool(
        "isotrieve",
        "0.4.0",
        "Apache-2.0",
        needs=f"{PAIRS}, 2,000 or more by its advice",
        writes="not taken: all items are rewritten in one go",
        cause="ridge regression shrinks towards the mean of the new embeddings",
    ),
    _tool(
        "drift-spark",
        "0.5.0",
        "MIT",
        needs=f"{PAIRS}, equal dimensions (zeros appended here)",
        writes="from Delta's change feed",
        cause="an orthogonal map without means",
    ),
    _tool(
        "vectormigrate",
        "1.0.1",
        "MIT",
        needs=f"{PAIRS}, equal dimensions (zeros appended here)",
        writes="to both indexes at once",
        cause="an orthogonal map with means, and an affine one without a penalty",
    ),
    _tool(
        "embspec",
        "0.1.0",
        "Apache-2.0",
        needs=f"{PAIRS}, as many as the new dimension or more",
        writes="leaves the index alone",
        cause="least squares of old on new embeddings",
    ),
    _tool(
        "rat-embed",
        "0.3.0",
        "MIT",
        needs="500 pairs as anchors",
        writes="leaves the index alone, but rewrites it as similarities",
        cause="similarities to anchors blur what is near",
    ),
    _tool(
        "vecshift",
        "0.4.0",
        "Apache-2.0",
        python=(3, 11),
        server="VECSHIFT_DSN",
        needs="all texts encoded before the cutover; PostgreSQL with pgvector, or Qdrant",
        writes="a trigger clears the new embedding of a changed text, which is then encoded again (seen in this run)",
        cause="the old system serves until all items have new embeddings",
    ),
)


def names() -> list[str]:
    """Return the names of all tools, in the order of tables."""
    return [tool.name for tool in TOOLS]


def chosen(wanted: list[str]) -> list[Tool]:
    """Return the tools of these names; of none, all.

    Raises:
        InputError: an unknown name.
    """
    for name in wanted:
        if name not in names():
            raise InputError(f"only: {name!r}, {closest(name, names())}")
    return [tool for tool in TOOLS if not wanted or tool.name in wanted]
