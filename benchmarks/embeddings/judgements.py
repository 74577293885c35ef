"""Options of commands that take judgements of relevance in place of labels."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from compat.errors import InputError

if TYPE_CHECKING:
    from compat.relevance import Relevance

LABELS = ("query_labels", "gallery_labels")
FILES = ("qrels", "query_ids", "gallery_ids")


def add_judgements(group: argparse._ActionsContainer) -> None:
    """Add the options."""
    what = "judgements in place of labels: query, item and grade a line (TREC or BEIR), or .parquet"
    group.add_argument("--qrels", metavar="FILE", help=what)
    for part in ("query", "gallery"):
        note = f"ids of the rows of {part}_new, as in --qrels: a line each, or .npy or .parquet"
        group.add_argument(f"--{part}-ids", metavar="FILE", help=note)
    group.add_argument("--min-grade", type=int, metavar="N", help="lowest grade of a relevant item (default 1)")


def check_judgements(arguments: argparse.Namespace) -> bool:
    """Check the options without reading the files; return whether there are judgements.

    Raises:
        InputError: one of the options without the others, labels beside them, a missing file.
    """
    if arguments.qrels is None:
        for name in ("query_ids", "gallery_ids", "min_grade"):
            if (value := getattr(arguments, name)) is not None:
                raise InputError(f"{name}: {value} without --qrels, expected both")
        return False
    for name in LABELS:
        if (value := getattr(arguments, name)) is not None:
            raise InputError(f"{name}: {value} beside --qrels, expected labels or judgements")
    for name in FILES:
        if (value := getattr(arguments, name)) is None:
            raise InputError(f"{name}: not given, expected --{name.replace('_', '-')} FILE beside --qrels")
        if not Path(value).is_file():
            raise InputError(f"{name}: {value} (no such file), expected a file")
    if arguments.min_grade is not None and arguments.min_grade < 1:
        raise InputError(f"min_grade: {arguments.min_grade}, expected at least 1")
    return True


def load_judgements(arguments: argparse.Namespace, queries: int, items: int) -> Relevance:
    """Read the judgements of so many queries and items.

    Raises:
        InputError: a wrong file.
    """
    from compat.qrels import read_ids, read_qrels  # imports torch

    query_ids = read_ids("query_ids", arguments.query_ids, queries)
    gallery_ids = read_ids("gallery_ids", arguments.gallery_ids, items)
    return read_qrels(arguments.qrels, query_ids, gallery_ids, arguments.min_grade or 1)
