"""The verbs and their options."""

from __future__ import annotations

import argparse
from typing import Any

from compat.command import command_parser

ROOM = "compat.live.verbs"
ITEMS = ".parquet or .npz with id, content and old, all else is meta; or .csv with the old embeddings in .npy beside it"


def verbs_parser(doc: str | None) -> argparse.ArgumentParser:
    """The command line of `python -m compat.live`; the parsed arguments have a verb's function in `place`.

    Args:
        doc: what it is, with usage after the first empty line.
    """
    whole = command_parser("compat.live", doc)
    verbs = whole.add_subparsers(dest="verb", required=True, metavar="verb")
    operating(verbs)
    migrating(verbs)
    elsewhere(verbs)
    one = verb(verbs, "doctor", "doctor", "what may be wrong, and what to do about it", json=True)
    one.add_argument("--models", metavar="MODULE.FUNCTION", help="returns compat.live.Models, to look at them as well")
    one = verbs.add_parser("demo", help="a whole migration of digits, killed twice on the way, in about a minute")
    one.set_defaults(place="compat.live.verbs.demo.demo")
    one.add_argument("-o", "--output", default="live_demo.png", metavar="FILE", help="picture (default live_demo.png)")
    return whole


def verb(verbs: Any, place: str, name: str, help: str, models: bool = False, json: bool = False) -> Any:
    """Its parser, with what most verbs have."""
    one = verbs.add_parser(name, help=help, description=help)
    one.set_defaults(place=f"{ROOM}.{place}.{name.replace('-', '_')}")
    one.add_argument("store", help="sqlite:///path, postgresql://... or qdrant://...")
    if models:
        one.add_argument("--models", required=True, metavar="MODULE.FUNCTION", help="returns compat.live.Models")
    if json:
        one.add_argument("--json", action="store_true", help="as JSON")
    return one


def operating(verbs: Any) -> None:
    """Verbs without models."""
    one = verb(verbs, "operating", "init", "make a store of a table of items")
    one.add_argument("--items", required=True, metavar="FILE", help=ITEMS)
    one.add_argument("--distance", choices=["cosine", "l2"], default="cosine", help="of the retrieval (default cosine)")
    one.add_argument("--fields", default="", metavar="A,B", help="columns that queries may be filtered by")
    one = verb(verbs, "operating", "status", "how far it is", json=True)
    text = "again and again until it ends (every 2 seconds)"
    one.add_argument("--watch", type=float, nargs="?", const=2.0, metavar="SECONDS", help=text)
    one = verb(verbs, "operating", "history", "who changed the journal, when, and by which version", json=True)
    one.add_argument("-n", "--count", type=int, default=20, help="changes to show, the latest first (default 20)")
    one = verb(verbs, "operating", "backup", "copy the store as it is at a moment, while it is used (SQLite)")
    one.add_argument("copy", metavar="FILE", help="new file; the copy is a store of its own")
    one = verb(verbs, "operating", "pause", "let workers end after their batch; queries are answered")
    one.add_argument("--note", default="by hand", help="why")
    verb(verbs, "operating", "resume", "let workers go on")
    text = "how fast workers may go, also while they run; without options: no limit"
    one = verb(verbs, "operating", "throttle", text)
    one.add_argument("--rate", type=float, help="items a second of each worker, at most")
    one.add_argument("--latency", type=float, help="seconds that the slowest query in a hundred may take")


def migrating(verbs: Any) -> None:
    """Verbs with models."""
    text = "begin a migration: fix models and order, and say what to expect"
    one = verb(verbs, "migrating", "plan", text, models=True, json=True)
    text = "of compat.orders, such as Clusters clusters=20, or module.Class (default Random)"
    one.add_argument("--order", nargs="+", default=["Random"], metavar=("ORDER", "NAME=VALUE"), help=text)
    one.add_argument("--seed", type=int, default=0, help="of the order (default 0)")
    one.add_argument("--batch", type=int, default=256, help="items extracted at a time (default 256)")
    one.add_argument("--dual", action="store_true", help="what is written meanwhile gets an old embedding too")
    one.add_argument(
        "--export", metavar="FILE.parquet", help="what is to be embedded, for another engine, see `export`"
    )
    text = "migrate; again to go on, several times at once to go faster"
    one = verb(verbs, "migrating", "run", text, models=True, json=True)
    text = "of the gallery at which to stop (default 1)"
    one.add_argument("--until", type=float, default=1.0, metavar="SHARE", help=text)
    text = "after which another worker may take over a batch (default 60)"
    one.add_argument("--lease", type=float, default=60.0, metavar="SECONDS", help=text)
    one.add_argument("--retry-failed", action="store_true", help="try dead letters again")
    one = verb(verbs, "migrating", "query", "the nearest items", models=True, json=True)
    one.add_argument("content", help="of the query, as the models read it")
    one.add_argument("-k", type=int, default=10, help="how many (default 10)")
    one.add_argument("--where", action="append", default=[], metavar="FIELD=VALUE", help="that items must have")
    one = verb(verbs, "migrating", "verify", "whether all is migrated as the new model has it", models=True, json=True)
    one.add_argument("--sample", type=int, default=300, help="items that are embedded again (default 300)")
    text = "whether each item is in one part, vectors are the model's, and a search finds what a scan finds"
    one = verb(verbs, "migrating", "check", text, models=True, json=True)
    one.add_argument("--sample", type=int, default=30, help="migrated items that are embedded again (default 30)")
    one.add_argument("--queries", type=int, default=20, help="searches compared with a scan (default 20; 0: none)")
    one = verb(verbs, "migrating", "rollback", "go back to the old system", models=True)
    one.add_argument("--dry-run", action="store_true", help="say what it would take")
    one = verb(verbs, "migrating", "finalize", "drop all old embeddings, for good", models=True)
    one.add_argument("--yes", action="store_true", help="needed")


def elsewhere(verbs: Any) -> None:
    """Verbs for other programs: engines that extract, and Prometheus."""
    one = verb(verbs, "elsewhere", "export", "what is still to be embedded, for another engine")
    one.add_argument("manifest", metavar="FILE.parquet", help="columns id, version, content, place, migration")
    text = "take vectors that another engine made; late or doubled ones do no harm"
    one = verb(verbs, "elsewhere", "apply", text, models=True, json=True)
    text = "file or folder with id, version, migration as exported, vector, and failure of what could not be read"
    one.add_argument("vectors", metavar="VECTORS.parquet", help=text)
    one = verb(verbs, "elsewhere", "serve-metrics", "tell Prometheus how far it is, until it is interrupted")
    one.add_argument("--port", type=int, default=9464, help="of http://.../metrics (default 9464)")
    text = "to listen at (default 127.0.0.1, which only this machine reaches; 0.0.0.0: all)"
    one.add_argument("--address", default="127.0.0.1", help=text)
