"""Parser of the verbs and their options."""

from __future__ import annotations

import argparse
from typing import Any

from compat.command import command_parser

ROOM = "compat.live.verbs"
ITEMS = ".parquet or .npz with id, content, old and columns of meta; or .csv with the old embeddings in .npy beside it"
MODELS = "function which returns compat.live.Models"


def verbs_parser(doc: str | None) -> argparse.ArgumentParser:
    """Make the parser of `python -m compat.live`; `place` of the parsed arguments is the path of a verb's function.

    Args:
        doc: description, and usage after the first empty line.
    """
    whole = command_parser("compat.live", doc)
    verbs = whole.add_subparsers(dest="verb", required=True, metavar="verb")
    operating(verbs)
    migrating(verbs)
    integrations(verbs)
    one = verb(verbs, "doctor", "doctor", "diagnose the store and print advice", json=True)
    one.add_argument("--models", metavar="MODULE.FUNCTION", help=f"{MODELS}, to check them too")
    one = verbs.add_parser("demo", help="demonstrate a migration of digits with two killed workers, in about a minute")
    one.set_defaults(place="compat.live.verbs.demo.demo")
    one.add_argument("-o", "--output", default="live_demo.png", metavar="FILE", help="plot (default live_demo.png)")
    return whole


def verb(verbs: Any, place: str, name: str, help: str, models: bool = False, json: bool = False) -> Any:
    """Add a verb with the common options."""
    one = verbs.add_parser(name, help=help, description=help)
    one.set_defaults(place=f"{ROOM}.{place}.{name.replace('-', '_')}")
    one.add_argument("store", help="sqlite:///path, postgresql://... or qdrant://... (experimental)")
    if models:
        one.add_argument("--models", required=True, metavar="MODULE.FUNCTION", help=MODELS)
    if json:
        one.add_argument("--json", action="store_true", help="print JSON")
    return one


def operating(verbs: Any) -> None:
    """Add the verbs without models."""
    one = verb(verbs, "operating", "init", "make a store from a table of items")
    one.add_argument("--items", required=True, metavar="FILE", help=ITEMS)
    one.add_argument("--distance", choices=["cosine", "l2"], default="cosine", help="distance (default cosine)")
    one.add_argument("--fields", default="", metavar="A,B", help="columns by which queries can filter")
    one = verb(verbs, "operating", "status", "print the state of the migration", json=True)
    text = "repeat until it ends (default every 2 seconds)"
    one.add_argument("--watch", type=float, nargs="?", const=2.0, metavar="SECONDS", help=text)
    one = verb(verbs, "operating", "history", "print the changes of the journal: who, when, which version", json=True)
    one.add_argument("-n", "--count", type=int, default=20, help="number of changes, latest first (default 20)")
    one = verb(verbs, "operating", "backup", "copy the store to a file while it is in use (SQLite)")
    one.add_argument("copy", metavar="FILE", help="new file; the copy is a store of its own")
    one = verb(verbs, "operating", "pause", "let workers end after their batch; queries are still answered")
    one.add_argument("--note", default="by hand", help="reason, shown in status")
    verb(verbs, "operating", "resume", "let workers go on")
    text = "set speed limits of workers, also while they run; without options: none"
    one = verb(verbs, "operating", "throttle", text)
    one.add_argument("--rate", type=float, help="maximum items per second and worker")
    one.add_argument("--latency", type=float, help="target for the 99th percentile of query time, in seconds")


def migrating(verbs: Any) -> None:
    """Add the verbs with models."""
    text = "plan a migration: fix models and order, and print a forecast"
    one = verb(verbs, "migrating", "plan", text, models=True, json=True)
    text = "order of compat.orders, such as Clusters clusters=20, or module.Class (default Random)"
    one.add_argument("--order", nargs="+", default=["Random"], metavar=("ORDER", "NAME=VALUE"), help=text)
    one.add_argument("--seed", type=int, default=0, help="seed of the order (default 0)")
    one.add_argument("--batch", type=int, default=256, help="items per batch (default 256)")
    one.add_argument("--dual", action="store_true", help="also embed items written meanwhile with the old model")
    one.add_argument("--export", metavar="FILE.parquet", help="also export the pending items, see `export`")
    text = "migrate items; run it again to continue, several at once to go faster"
    one = verb(verbs, "migrating", "run", text, models=True, json=True)
    text = "share of the gallery at which to stop (default 1)"
    one.add_argument("--until", type=float, default=1.0, metavar="SHARE", help=text)
    text = "seconds after which another worker may take over a batch (default 60)"
    one.add_argument("--lease", type=float, default=60.0, metavar="SECONDS", help=text)
    one.add_argument("--retry-failed", action="store_true", help="try failed items again")
    one = verb(verbs, "migrating", "query", "print the nearest items of a query", models=True, json=True)
    one.add_argument("content", help="content of the query, as the models read it")
    one.add_argument("-k", type=int, default=10, help="number of items (default 10)")
    one.add_argument("--where", action="append", default=[], metavar="FIELD=VALUE", help="only such items; repeatable")
    one = verb(verbs, "migrating", "verify", "verify the migration on a sample", models=True, json=True)
    one.add_argument("--sample", type=int, default=300, help="items to embed again (default 300)")
    text = "check that each item is in one part, vectors are the model's, and a search agrees with a scan"
    one = verb(verbs, "migrating", "check", text, models=True, json=True)
    one.add_argument("--sample", type=int, default=30, help="migrated items to embed again (default 30)")
    one.add_argument("--queries", type=int, default=20, help="searches to compare with a scan (default 20; 0: none)")
    one = verb(verbs, "migrating", "rollback", "return to the old system", models=True)
    one.add_argument("--dry-run", action="store_true", help="only print what would be done")
    one = verb(verbs, "migrating", "finalize", "drop all old embeddings; no rollback afterwards", models=True)
    one.add_argument("--yes", action="store_true", help="required as confirmation")


def integrations(verbs: Any) -> None:
    """Add the verbs for other programs."""
    one = verb(verbs, "integrations", "export", "export the pending items for another engine")
    one.add_argument("manifest", metavar="FILE.parquet", help="columns id, version, content, place, migration")
    text = "apply vectors of another engine; late or repeated ones do no harm"
    one = verb(verbs, "integrations", "apply", text, models=True, json=True)
    text = "file or folder with id, version, migration as exported, vector, and failure (reason) of unreadable items"
    one.add_argument("vectors", metavar="VECTORS.parquet", help=text)
    one = verb(verbs, "integrations", "serve-metrics", "serve metrics to Prometheus until interrupted")
    one.add_argument("--port", type=int, default=9464, help="port of http://.../metrics (default 9464)")
    text = "address to listen at (default 127.0.0.1: this machine only; 0.0.0.0: all)"
    one.add_argument("--address", default="127.0.0.1", help=text)
