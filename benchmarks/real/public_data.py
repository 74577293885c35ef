"""Public collections of texts or images with judgements or classes, read from clones of public repositories."""

from __future__ import annotations

import csv
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from compat.errors import InputError

LARGEST = 2000  # items of a collection, its first ones
OWN_PAIRS = 500  # items of a judged gallery, embedded by both models, that serve as training pairs
Judgement = tuple[str, str, int]


@dataclass(frozen=True)
class Source:
    """Where a collection comes from.

    Attributes:
        repository: its address, or the name of the data set.
        folder: name of its clone in the folder of sources.
        files: those that are read.
        licence: of the data.
    """

    repository: str
    folder: str
    files: tuple[str, ...]
    licence: str


@dataclass(frozen=True)
class Collection:
    """Texts, or files of images, with classes or with judgements.

    Attributes:
        queries: Q inputs.
        gallery: G inputs.
        training: T inputs of training pairs; empty: `OWN_PAIRS` items of the gallery.
        labels: classes of queries, gallery and training, none under judgements.
        ids: of queries and gallery, under judgements.
        judgements: query id, item id, grade.
    """

    queries: list[str]
    gallery: list[str]
    training: list[str] = field(default_factory=list)
    labels: tuple[list[int], list[int], list[int]] | None = None
    ids: tuple[list[str], list[str]] = field(default_factory=lambda: ([], []))
    judgements: list[Judgement] = field(default_factory=list)

    def own_rows(self) -> np.ndarray:
        """Return the rows of the gallery that are training pairs, ascending; none if there are others."""
        if self.training:
            return np.zeros(0, np.int64)
        return np.sort(np.random.default_rng(0).permutation(len(self.gallery))[:OWN_PAIRS])


def by_class(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Collect inputs by class, in the order of the file."""
    found = defaultdict(list)
    for value, name in pairs:
        found[name].append(value)
    return dict(found)


def classified(
    train: dict[str, list[str]], test: dict[str, list[str]], items: int, pairs: int, queries: int
) -> Collection:
    """Take a class's first inputs of `train` as items, the next ones for training, the first of `test` as queries.

    Raises:
        InputError: both parts have different classes.
    """
    names = sorted(train)
    if names != sorted(test):
        raise InputError(f"sources: {len(names)} classes for training and {len(test)} for testing, expected the same")

    def part(of: dict[str, list[str]], start: int, stop: int) -> tuple[list[str], list[int]]:
        rows = [(value, number) for number, name in enumerate(names) for value in of[name][start:stop]]
        return [value for value, _ in rows], [number for _, number in rows]

    asked, gallery, training = part(test, 0, queries), part(train, 0, items), part(train, items, items + pairs)
    return Collection(asked[0], gallery[0], training[0], labels=(asked[1], gallery[1], training[1]))


def smart(text: str, fields: str) -> dict[str, str]:
    """Read a file of the SMART system: .I id, then fields such as .T title and .W text; id -> the wanted fields."""
    found = {}
    for part in re.split(r"^\.I ", text, flags=re.M)[1:]:
        number, *rest = re.split(r"^\.([A-Z])\s*$", part, flags=re.M)
        by_name: dict[str, str] = {}
        for name, content in zip(rest[::2], rest[1::2], strict=True):
            by_name.setdefault(name, " ".join(content.split()))
        found[number.strip()] = " ".join(by_name[name] for name in fields if by_name.get(name))
    return found


def cranfield(folder: Path) -> Collection:
    """Read Cranfield: 1,400 abstracts, 225 questions; codes 1 (best) to 4 become grades 4 to 1, others are dropped.

    Judgements name queries by their place in the file.
    """
    documents, asked = (smart((folder / name).read_text(), "W") for name in ("cran.all.1400", "cran.qry"))
    rows = [line.split()[:3] for line in (folder / "cranqrel").read_text().splitlines() if line.strip()]
    judged = [(query, item, 5 - int(code)) for query, item, code in rows if 1 <= int(code) <= 4]
    query_ids = [str(place + 1) for place in range(len(asked))]
    return Collection(
        list(asked.values()), list(documents.values()), ids=(query_ids, list(documents)), judgements=judged
    )


def cisi(folder: Path) -> Collection:
    """Read CISI: 1,460 abstracts with titles, and the 76 questions with judgements."""
    documents, asked = (smart((folder / f"CISI.{name}").read_text(), f) for name, f in (("ALL", "TW"), ("QRY", "W")))
    rows = [line.split()[:2] for line in (folder / "CISI.REL").read_text().splitlines() if line.strip()]
    asked = {name: text for name, text in asked.items() if name in {query for query, _ in rows}}
    judged = [(query, item, 1) for query, item in rows]
    return Collection(
        list(asked.values()), list(documents.values()), ids=(list(asked), list(documents)), judgements=judged
    )


def beir(name: str) -> Callable[[Path], Collection]:
    """Return a reader of a collection in BEIR's layout: its first documents, and the queries judged on them."""

    def read(folder: Path) -> Collection:
        here = folder / "datasets" / name
        documents, asked = (
            {row["_id"]: f"{row.get('title') or ''} {row['text']}".strip() for row in map(json.loads, lines)}
            for lines in ((here / f"{part}.jsonl").open() for part in ("corpus", "queries"))
        )
        documents = dict(list(documents.items())[:LARGEST])
        with (here / "qrels" / "test.tsv").open(newline="") as file:
            rows = list(csv.reader(file, delimiter="\t"))[1:]
        judged = [(query, item, int(grade)) for query, item, grade in rows if item in documents]
        asked = {name: text for name, text in asked.items() if name in {query for query, _, _ in judged}}
        return Collection(
            list(asked.values()), list(documents.values()), ids=(list(asked), list(documents)), judgements=judged
        )

    return read


def clinc(folder: Path) -> Collection:
    """Read CLINC150: 20 texts of each of 150 intents in the gallery, 20 others for training, 10 queries."""
    data = json.loads((folder / "data" / "data_full.json").read_text())
    return classified(by_class(data["train"]), by_class(data["test"]), 20, 20, 10)


def banking77(folder: Path) -> Collection:
    """Read Banking77: at most 20 texts of each of 77 intents in the gallery, 15 others for training, 15 queries."""
    parts = []
    for name in ("train", "test"):
        with (folder / "banking_data" / f"{name}.csv").open(newline="") as file:
            parts.append(by_class((text, intent) for text, intent in list(csv.reader(file))[1:]))
    return classified(parts[0], parts[1], 20, 15, 15)


def tiny_imagenet(folder: Path) -> Collection:
    """Read class folders of Tiny ImageNet: 25 validation images a class in the gallery, 10 others as queries."""

    def files(part: str, start: int, stop: int) -> dict[str, list[str]]:
        classes = sorted(one for one in (folder / part).iterdir() if one.is_dir())
        return {one.name: sorted(str(f) for f in one.rglob("*.JPEG"))[start:stop] for one in classes}

    gallery, queries, training = files("val", 0, 25), files("val", 25, 35), files("train", 0, 15)
    return classified({name: gallery[name] + training[name] for name in gallery}, queries, 25, 15, 10)


LEADERBOARD = "https://github.com/agentset-ai/embedding-leaderboard"


def _of_leaderboard(name: str, licence: str) -> Source:
    files = tuple(f"datasets/{name}/{part}" for part in ("corpus.jsonl", "queries.jsonl", "qrels/test.tsv"))
    return Source(LEADERBOARD, "embedding-leaderboard", files, licence)


COLLECTIONS: dict[str, tuple[Callable[[Path], Collection], Source]] = {
    "cranfield": (
        cranfield,
        Source(
            "https://github.com/noramtboraas/information-retrieval",
            "information-retrieval",
            ("cran.all.1400", "cran.qry", "cranqrel"),
            "no formal licence; the public test collection of 1967",
        ),
    ),
    "cisi": (
        cisi,
        Source(
            "https://github.com/Shakiba-Alipour/Information-Retrieval-on-CISI",
            "Information-Retrieval-on-CISI",
            ("CISI.ALL", "CISI.QRY", "CISI.REL"),
            "no formal licence; a public test collection",
        ),
    ),
    "clinc": (
        clinc,
        Source("https://github.com/clinc/oos-eval", "oos-eval", ("data/data_full.json",), "CC BY 3.0"),
    ),
    "banking77": (
        banking77,
        Source(
            "https://github.com/PolyAI-LDN/task-specific-datasets",
            "task-specific-datasets",
            ("banking_data/train.csv", "banking_data/test.csv"),
            "CC BY 4.0",
        ),
    ),
    "dbpedia": (beir("dbpedia"), _of_leaderboard("dbpedia", "CC BY-SA 3.0 (DBpedia)")),
    "msmarco": (beir("msmarco"), _of_leaderboard("msmarco", "MS MARCO terms: research only")),
    "tiny_imagenet": (
        tiny_imagenet,
        Source("Tiny ImageNet, class folders in train/ and val/", "tiny-imagenet", (), "ImageNet terms: research only"),
    ),
}


def read(name: str, sources: Path) -> Collection:
    """Read a collection.

    Raises:
        InputError: its clone or a file of it is missing.
    """
    reader, source = COLLECTIONS[name]
    folder = sources / source.folder
    for file in (".", *source.files):
        if not (folder / file).exists():
            raise InputError(f"sources: {folder / file} (no such file), expected a clone of {source.repository}")
    return reader(folder)
