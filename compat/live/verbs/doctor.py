"""Diagnosis of a store, its migration and the machine, with advice."""

from __future__ import annotations

import json
import platform
import shutil
from argparse import Namespace
from collections.abc import Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from compat.errors import InputError
from compat.live.items import UNDER_WAY, Column, Item, Journal
from compat.live.store import Store
from compat.live.verbs.operating import duration, size

if TYPE_CHECKING:
    from compat.live.models import Embed

PACKAGES = ("compat-bench", "torch", "numpy", "faiss-cpu", "psycopg", "qdrant-client", "pyarrow")
CANARIES = 16  # items that are embedded again
LISTED = 3  # failed items named


class Finding(NamedTuple):
    """Result of a check: its level ("ok", "warning" or "error"), name, finding and advice."""

    level: str
    name: str
    found: str
    advice: str = ""


def doctor(arguments: Namespace, store: Store) -> int:
    """Run all checks and print a line for each; return 1 on an error."""
    lines = list(findings(store, arguments.models))
    if arguments.json:
        print(json.dumps([line._asdict() for line in lines]))
    else:
        for line in lines:
            advice = f"; {line.advice}" if line.advice else ""
            print(f"{line.level:<8}{line.name:<13}{line.found}{advice}")
    return 1 if any(line.level == "error" for line in lines) else 0


def findings(store: Store, models: str | None) -> Iterator[Finding]:
    """Yield the result of each check; a failed check stops no other, unless the store cannot be read."""
    yield environment()
    try:
        journal = store.journal()
    except (InputError, OSError) as error:
        yield Finding("error", "store", str(error), "nothing was changed; restore a backup, or correct the address")
        return
    yield Finding("ok", "store", f"answers, {size(store.size())}, {store.counts().total:,} items")
    yield from capabilities(store)
    yield phase(journal)
    yield dimensions(store, journal)
    yield unserved(store)
    yield from claims(store)
    yield failed_items(store)
    yield from disk(store, journal)
    yield from check_models(store, journal, models)


def environment() -> Finding:
    """Report the versions of Python and the main packages."""
    found = [f"Python {platform.python_version()}"]
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return Finding("ok", "environment", ", ".join(found))


def capabilities(store: Store) -> Iterator[Finding]:
    """Check the store's capabilities."""
    if "compare and set" not in store.capabilities:
        yield Finding("error", "capabilities", "no compare and set", "no migration can be planned: use another store")
    elif "many workers" not in store.capabilities:
        yield Finding("warning", "capabilities", ", ".join(sorted(store.capabilities)), "start one `run` at a time")
    else:
        yield Finding("ok", "capabilities", ", ".join(sorted(store.capabilities)))


def phase(journal: Journal) -> Finding:
    """Report the phase; reading the journal has verified its digest."""
    found = f"{journal.phase}, migration {journal.migration}" if journal.migration else "no migration yet"
    if journal.phase == "paused":
        return Finding("warning", "journal", f"{found} ({journal.note})", "continue with `run`")
    if journal.phase == "rolling_back":
        return Finding("warning", "journal", found, "a rollback was interrupted: run `rollback` again")
    return Finding("ok", "journal", found)


def dimensions(store: Store, journal: Journal) -> Finding:
    """Check the dimensions of stored embeddings."""
    wrong = [
        item.id
        for item in store.sample(CANARIES)
        for vector, dim in ((item.old, journal.dim), (item.new, journal.new_dim), (item.bridge, journal.new_dim))
        if vector is not None and vector.shape != (dim,)
    ]
    expected = f"{journal.dim}" + (f" and {journal.new_dim}" if journal.new_dim else "")
    if wrong:
        return Finding(
            "error", "dimensions", f"item {wrong[0]!r} has others than {expected}", "write it again, or roll back"
        )
    return Finding("ok", "dimensions", expected)


def unserved(store: Store) -> Finding:
    """Check for items which no query can find."""
    if count := store.counts().unserved:
        return Finding("warning", "unserved", f"{count:,} items have no embedding", "`run` embeds them")
    return Finding("ok", "unserved", "every item has an embedding")


def claims(store: Store) -> Iterator[Finding]:
    """Report the workers' claims, and expired leases."""
    held = store.claims()
    for name, (count, seconds) in held.items():
        if seconds < 0:
            text = f"{count:,} items of {name}, whose lease ran out {duration(-seconds)} ago"
            yield Finding("warning", "claims", text, "the next `run` takes them over")
    live = [count for count, seconds in held.values() if seconds >= 0]
    yield Finding("ok", "claims", f"{len(live)} workers have {sum(live):,} items")


def failed_items(store: Store) -> Finding:
    """Check for items which the new model could not read."""
    failed = store.counts().failed
    if not failed:
        return Finding("ok", "failed items", "none")
    named = "; ".join(f"{item.id}: {item.failure}" for item in store.failures(LISTED))
    advice = "repair or delete them, then `run --retry-failed`; until then they are served by their old embeddings"
    return Finding("warning", "failed items", f"{failed:,} ({named})", advice)


def disk(store: Store, journal: Journal) -> Iterator[Finding]:
    """Check the free disk space of a local store."""
    path = getattr(store, "path", None)
    if not isinstance(path, Path):
        return
    free, left = shutil.disk_usage(path.parent).free, store.counts().pending * journal.new_dim * 4
    found = f"{size(free)} free, about {size(left)} to be written"
    if free < 2 * left:
        yield Finding("warning", "disk", found, "free some space: a full disk pauses a migration and loses nothing")
    else:
        yield Finding("ok", "disk", found)


def check_models(store: Store, journal: Journal, given: str | None) -> Iterator[Finding]:
    """Check that models are the migration's, and reproduce stored embeddings."""
    if given is None:
        yield Finding("warning", "models", "not checked", "give --models module.function")
        return
    from compat.live.serving import new_model
    from compat.live.verbs.arguments import load_models

    try:
        models = load_models(given)
        models.check(journal)
    except InputError as error:
        yield Finding("error", "models", str(error), "use the models of the migration, or roll back")
        return
    yield Finding("ok", "models", "as the migration began" if journal.phase in UNDER_WAY else "fit the store")
    if journal.phase == "none" or not journal.new_dim:
        return
    migrated = store.sample(CANARIES)
    others = [item for found in store.pending(CANARIES) if (item := store.get(found.id)) is not None]
    before = [item for item in (*migrated, *others) if item.old is not None]
    checks: list[tuple[Column, Embed | None, list[Item]]] = [
        ("new", new_model(models, journal), migrated),
        ("old", models.old, before),
    ]
    for name, model, items in checks:
        if model is not None and items:
            yield check_canaries(model, items, name, journal)


def check_canaries(model: Embed, items: Sequence[Item], name: Column, journal: Journal) -> Finding:
    """Check that a model reproduces stored embeddings."""
    from compat.live.canaries import reembed

    try:
        found = reembed(model, items, name, journal.distance)
    except InputError as error:
        return Finding("error", f"{name} model", str(error), "make it answer")
    advice = "find the change in weights, preprocessing or contents"
    if found.drifted:
        level = "error" if found.mostly_drifted else "warning"
        text = f"{len(found.drifted)} of {len(items)} items are not reproduced, such as {found.drifted[0]!r}"
        return Finding(level, f"{name} model", text, advice)
    if found.unread:
        id, why = next(iter(found.unread.items()))
        text = f"{len(found.unread)} of {len(items)} items are no longer readable, such as {id!r} ({why})"
        return Finding("warning", f"{name} model", text, advice)
    return Finding("ok", f"{name} model", f"{len(items)} items were embedded again and equal the stored ones")
