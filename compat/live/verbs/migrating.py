"""Verbs which need models: plan, run, query, verify, check, rollback and finalize."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from itertools import islice

from compat.command import warn
from compat.errors import InputError, at_least_one, not_negative, positive
from compat.live import control, invariants
from compat.live.items import UNDER_WAY
from compat.live.manifest import check_path, export
from compat.live.migration import Migration
from compat.live.searcher import Searcher
from compat.live.store import Store
from compat.live.verbs.arguments import load_models, load_order, parse_pairs
from compat.live.verbs.forecast import Forecast, forecast
from compat.live.verbs.operating import duration, size, status_line
from compat.live.verbs.progress import Signals, show_progress
from compat.live.verification import Verification
from compat.live.worker import Worker

LISTED = 20  # failed and other items named


def plan(arguments: Namespace, store: Store) -> int:
    """Plan a migration and print a forecast."""
    models = load_models(arguments.models)
    order = load_order(arguments.order)
    if arguments.export is not None:
        check_path(arguments.export)
    journal = Migration(store, models).plan(order, arguments.seed, arguments.batch, arguments.dual)
    if arguments.export is not None:
        export(store, arguments.export)
    found = forecast(store, models, journal)
    if arguments.json:
        print(json.dumps({"migration": journal.migration, "order": journal.order, **found._asdict()}))
    else:
        print(forecast_text(found, journal.order, journal.migration))
    if found.worse:
        warn(
            "halfway, queries agree less with the new model than before the migration: distances of the two parts are"
            " not comparable; give the models an upgrade, a merge rule or a learner"
        )
    return 0


def forecast_text(found: Forecast, order: str, migration: int) -> str:
    """Format a forecast."""
    if found.seconds is None:
        took = "unknown, as the new model did not answer"
    else:
        took = f"about {duration(found.seconds)} of extraction by one worker"
    if found.agreement is None:
        agreed = "not measured: too few items, reciprocal ranks, or a distance other than cosine"
    else:
        agreed = " -> ".join(f"{share:.0%}" for share in found.agreement) + " before, halfway, after"
    now, peak = found.bytes
    rows = {
        "migration": f"{migration}, order {order}",
        "items": f"{found.items:,}",
        "on disk": f"{size(now)} now, about {size(peak)} at the peak",
        "time": took,
        "agreement": f"{agreed} (with the new model's nearest items, on a sample)",
        "next": "run; nothing has been migrated yet, and a rollback is possible until finalize",
    }
    return "\n".join(f"{name:<12}{text}" for name, text in rows.items())


def run(arguments: Namespace, store: Store) -> int:
    """Migrate until nothing is left, `--until`, or a signal; return 128 + the signal's number after a signal."""
    positive(lease=arguments.lease)
    models = load_models(arguments.models)
    Migration(store, models)
    if arguments.retry_failed and (again := store.retry()):
        print(f"{again:,} failed items are tried again")
    with show_progress(store) as on_batch:
        worker = Worker(store, models, arguments.lease, on_batch)
        with Signals(worker.stop) as signals:
            journal = worker.run(arguments.until)
    found = control.status(store)
    print(json.dumps(found) if arguments.json else status_line(found))
    if signals.number:
        print("stopped after its batch; `run` continues", file=sys.stderr)
        return 128 + signals.number
    if journal.phase == "paused":
        warn(f"paused ({journal.note}); `run` continues")
        return 1
    if not arguments.json:
        print("next: verify" if journal.phase == "complete" else f"stopped at {arguments.until:.0%}; next: run")
    return 0


def query(arguments: Namespace, store: Store) -> int:
    """Answer one query."""
    where = parse_pairs("where", arguments.where)
    hits = Searcher(store, load_models(arguments.models)).search(arguments.content, arguments.k, where)
    if arguments.json:
        print(json.dumps([hit._asdict() for hit in hits]))
        return 0
    width = max((len(hit.id) for hit in hits), default=0)
    for hit in hits:
        meta = " ".join(f"{name}={value}" for name, value in hit.meta.items())
        print(f"{hit.id:<{width}}  {hit.distance:.6f}  {hit.part}  {meta}".rstrip())
    return 0


def verify(arguments: Namespace, store: Store) -> int:
    """Verify the migration; return 1 if it is not sound."""
    at_least_one(sample=arguments.sample)
    models = load_models(arguments.models)
    found = Migration(store, models).verify(arguments.sample)
    failed = store.failures(LISTED)
    if arguments.json:
        dead = {item.id: item.failure for item in failed}
        shown = {
            "sampled": found.sampled,
            "bound": found.bound,
            "unread": dict(found.unread),
            "doubt": found.failed_sample,
        }
        shown |= {"drifted": found.drifted, "dead_letters": dead}
        print(json.dumps({"sound": found.sound, **found.counts._asdict(), **shown}))
        return 0 if found.sound else 1
    print(f"{found.counts.new:,} of {found.counts.total:,} items are migrated, {found.counts.pending:,} are pending")
    print(sample_text(found))
    for id in found.drifted[:LISTED]:
        print(f"  {id}")
    for id, why in islice(found.unread.items(), LISTED):
        print(f"  {id} is no longer readable: {why}")
    if found.counts.failed:
        print(f"{found.counts.failed:,} failed items, served by their old embeddings:")
        for item in failed:
            print(f"  {item.id}: {item.failure}")
        print("repair or delete them, then: run --retry-failed")
    elif found.counts.pending:
        print("next: run")
    elif found.failed_sample and not found.drifted:
        print(
            f"next: verify --sample of more than {found.failed_sample}, as one of {found.failed_sample} was not sound"
        )
    print("sound; next: finalize --yes" if found.sound else "not sound")
    return 0 if found.sound else 1


def sample_text(found: Verification) -> str:
    """Format the result of a sample in one line."""
    wrong = f"{found.compared} were embedded again: {len(found.drifted)} differ from the stored ones"
    if found.drifted:
        return wrong
    return f"{wrong}, so at most {found.bound:.2%} of all differ (with 95 % confidence)"


def check(arguments: Namespace, store: Store) -> int:
    """Check the store's invariants; return 1 if one is violated."""
    at_least_one(sample=arguments.sample)
    not_negative(queries=arguments.queries)
    found = invariants.check(store, load_models(arguments.models), arguments.sample, arguments.queries)
    floor = store.approximate.recall  # type: ignore[attr-defined]
    sound = not found.misplaced and not found.drifted and (found.recall is None or found.recall >= floor)
    if arguments.json:
        print(json.dumps({"sound": sound, **found._asdict()}))
        return 0 if sound else 1
    print(f"{len(found.misplaced)} items are in none or both of the parts{list_ids(found.misplaced)}")
    differ = f"{len(found.drifted)} differ from the stored ones{list_ids(found.drifted)}"
    print(f"{found.sampled} were embedded again: {differ}")
    if found.recall is not None:
        print(f"a search finds {found.recall:.1%} of the exact nearest items, expected {floor:.0%}")
    print("sound" if sound else "not sound: see `doctor`")
    return 0 if sound else 1


def list_ids(ids: list[str]) -> str:
    """Format some ids, if there are any."""
    return f": {', '.join(ids[:LISTED])}" if ids else ""


def rollback(arguments: Namespace, store: Store) -> int:
    """Return to the old system."""
    migration = Migration(store, load_models(arguments.models))
    if (phase := store.journal().phase) not in UNDER_WAY:
        raise InputError(f"rollback: the store is in phase {phase}, expected a migration under way")
    counts = store.counts()
    without = len(store.without_old(counts.total))
    words = f"{without:,} items have no old embedding and {'would be' if arguments.dry_run else 'are'} embedded again"
    if arguments.dry_run:
        print(f"{counts.new:,} new embeddings would be cleared; {words}")
        if without and migration.models.old is None:
            warn("models.old is missing, and is required to embed them")
        return 0
    print(words, flush=True)
    migration.rollback()
    print("rolled back: queries are answered by the old system")
    return 0


def finalize(arguments: Namespace, store: Store) -> int:
    """Drop all old embeddings."""
    if not arguments.yes:
        raise InputError("finalize: no --yes, expected it, as no rollback is possible afterwards")
    Migration(store, load_models(arguments.models)).finalize()
    print(f"finalized: {store.counts().total:,} items have only their new embedding, {size(store.size())} on disk")
    return 0
