"""Verbs for other programs: extraction engines and Prometheus."""

from __future__ import annotations

import json
from argparse import Namespace

from compat.live.store import Store


def export(arguments: Namespace, store: Store) -> int:
    """Export the pending items."""
    from compat.live import manifest

    count = manifest.export(store, arguments.manifest)
    print(f"{count:,} items are pending; next: apply, with another engine's vectors of {arguments.manifest}")
    return 0


def apply(arguments: Namespace, store: Store) -> int:
    """Apply vectors of another engine; return 1 if the migration was paused meanwhile."""
    from compat.live import manifest
    from compat.live.verbs.arguments import load_models
    from compat.live.verbs.progress import show_progress

    models = load_models(arguments.models)
    with show_progress(store) as on_batch:
        found = manifest.apply(store, models, arguments.vectors, on_batch)
    if arguments.json:
        print(json.dumps(found._asdict()))
    else:
        ahead = {"complete": "verify", "paused": "apply again, or run"}.get(found.phase, "export what is left, or run")
        late = f"{found.late:,} came late, {found.failures:,} could not be read"
        print(f"{found.written:,} vectors were written, {late}; {found.phase}; next: {ahead}")
    return 1 if found.phase == "paused" else 0


def serve_metrics(arguments: Namespace, store: Store) -> int:
    """Serve metrics to Prometheus."""
    from compat.live.prometheus import serve

    serve(store, arguments.port, arguments.address)
    return 0
