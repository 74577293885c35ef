"""Demonstration: a whole migration of digits with two killed workers, writes and queries, plotted over its replay."""

from __future__ import annotations

import subprocess
import sys
import time
from argparse import Namespace
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from sklearn.metrics import average_precision_score

from compat.backfill import backfill_curve
from compat.embeddings import Embeddings
from compat.errors import InputError
from compat.live.control import throttle
from compat.live.items import Item, Journal
from compat.live.migration import Migration
from compat.live.models import Models
from compat.live.open import open_store
from compat.live.searcher import Searcher
from compat.live.store import Store
from compat.live.throttle import wait
from compat.live.verbs.digits import DigitImages, embed, load_models, prepare, write
from compat.live.verbs.operating import size
from compat.live.writer import Writer
from compat.progress import backfill_order
from compat.system import serve

SEED, BATCH, K = 0, 16, 10
STOPS = (0.0, 0.1, "kill", "write", 0.3, 0.4, 0.5, "kill", 0.7, 0.8, 0.9, 1.0)
BEYOND = 0.12  # share of the gallery a worker migrates before it is killed
SPEED = 250.0  # items per second of a worker to be killed
WRITES = 3  # items inserted, updated and deleted
PICTURES = (".png", ".pdf", ".svg")
ALLOWED = 1e-6  # tolerance between live and replayed figures
WORKER = "import sys; from compat.live.verbs.demo import work; work(sys.argv[1])"


class DemoPoint(NamedTuple):
    """A measurement: share of items migrated, live and replayed mAP, and the event before it."""

    share: float
    live: float
    replayed: float
    event: str


@dataclass
class Show:
    """The demonstration's store and data.

    Attributes:
        digits: all images.
        vectors: embeddings of all images by both models.
        store: the store.
        models: models of the migration.
        image: image number of each item by id, in the order of the migration.
        points: measurements so far.
        answered: number of queries answered.
    """

    digits: DigitImages
    vectors: tuple[torch.Tensor, torch.Tensor]
    store: Store
    models: Models
    image: dict[str, int]
    points: list[DemoPoint] = field(default_factory=list)
    answered: int = 0

    def __post_init__(self) -> None:
        self.searcher = Searcher(self.store, self.models)
        self.queries = [self.digits.files[n] for n in self.digits.queries]

    def ask(self, *_: int) -> None:
        """Answer a query."""
        hits = self.searcher.search(self.queries[self.answered % len(self.queries)], K)
        if len({hit.id for hit in hits}) != K:
            raise RuntimeError(f"a query found {len(hits)} items, expected {K}")
        self.answered += 1

    def measure(self, event: str = "") -> None:
        """Rank all items for all queries, live and in the replay, and print both mAP."""
        labels = self.digits.labels
        items, migrated = np.array(list(self.image.values())), self.store.counts().new
        found = []
        for n, hits in zip(self.digits.queries, self.searcher.search_many(self.queries, len(items)), strict=True):
            relevant = np.array([labels[self.image[hit.id]] == labels[n] for hit in hits])
            found.append(average_precision_score(relevant, [-hit.distance for hit in hits]))
        share = migrated / len(items)
        replayed = float(replay(self, [min((migrated + 0.5) / len(items), 1.0)])[0])
        self.points.append(DemoPoint(share, float(np.mean(found)), replayed, event))
        print(f"{share:6.1%}  live mAP {np.mean(found):.4%}  replayed {replayed:.4%}  {event}", flush=True)


def replay(show: Show, progress: list[float]) -> np.ndarray:
    """Replay the migration of the present items at completion ratios (T,), and return the mAP."""
    queries, items = show.digits.queries, np.array(list(show.image.values()))
    old, new = show.vectors
    labels = torch.from_numpy(show.digits.labels)
    plain = Embeddings(old[queries], new[queries], old[items], new[items], labels[queries], labels[items])
    upgrade = show.models.upgrade_for(old.shape[1], new.shape[1])
    return backfill_curve(serve(upgrade, plain), range(len(items)), progress).mean_ap


def demo(arguments: Namespace) -> int:
    """Run the demonstration; return 1 if live and replayed figures differ."""
    started = time.perf_counter()
    output = Path(arguments.output)
    if not output.absolute().parent.is_dir() or output.is_dir():
        raise InputError(f"output: {output}, expected a file in an existing folder")
    if output.suffix not in PICTURES:
        raise InputError(f"output: {output}, expected a file ending in {', '.join(PICTURES)}")
    with TemporaryDirectory() as name:
        folder = Path(name)
        workers = [start_worker(folder) for _ in range(STOPS.count("kill"))]
        try:
            show, curves = run_story(folder, workers)
        finally:
            for process in workers:
                process.kill()
                process.communicate()
    worst = max(abs(point.live - point.replayed) for point in show.points)
    draw(show.points, curves).savefig(output, dpi=100)
    print(f"{show.answered:,} queries were answered on the way; the picture is in {output}")
    took = time.perf_counter() - started
    print(f"largest difference of live and replayed mAP: {worst:.1e}, expected below {ALLOWED:.0e}; {took:.0f} s")
    return 0 if worst < ALLOWED else 1


def run_story(folder: Path, workers: list[subprocess.Popen[bytes]]) -> tuple[Show, list[tuple[np.ndarray, np.ndarray]]]:
    """Run the migration; return the measurements, and the replayed curves before and after the writes."""
    digits = write(folder)
    prepare(folder, digits)
    print(f"two small networks were trained on {len(digits.train)} digits, the old one on 0 to 4 alone", flush=True)
    its = load_models(folder)
    vectors = embed(its, digits.files)
    store = open_store(f"sqlite:///{folder / 'gallery.db'}")
    store.create(Journal(vectors[0].shape[1], its.distance))
    store.add(Item(str(n), digits.files[n], {}, old=vectors[0][n].numpy()) for n in digits.gallery)
    migration = Migration(store, its)
    migration.plan(seed=SEED, batch=BATCH)
    order = backfill_order(len(digits.gallery), (SEED,))
    show = Show(digits, vectors, store, its, {str(n): int(n) for n in digits.gallery[order]})
    print(f"{len(order)} items, {len(digits.queries)} queries, {size(store.size())} on disk before the migration")
    curves = [replay_curve(show)]
    for stop in STOPS:
        if stop == "kill":
            show.measure(kill_worker(show, workers.pop(0)))
        elif stop == "write":
            show.measure(write_items(show))
            curves.append(replay_curve(show))
        else:
            migration.run(float(stop), show.ask)
            show.measure()
    if (found := migration.verify()).drifted:
        raise RuntimeError(f"items {found.drifted} are not as they are embedded")
    migration.finalize()
    show.measure("verified and finalized")
    store.close()
    return show, curves


def replay_curve(show: Show) -> tuple[np.ndarray, np.ndarray]:
    """Replay the whole curve: shares of the items, and mAP."""
    shares = np.linspace(0, 1, 101)
    return shares, replay(show, shares.tolist())


def start_worker(folder: Path) -> subprocess.Popen[bytes]:
    """Start a process which migrates once it is told to; imports take a while, so it is started early."""
    return subprocess.Popen([sys.executable, "-c", WORKER, str(folder)], stdin=subprocess.PIPE)


def work(folder: str) -> None:
    """Wait for a line on standard input, then migrate."""
    if sys.stdin.readline():
        Migration(open_store(f"sqlite:///{Path(folder) / 'gallery.db'}"), load_models(Path(folder))).run()


def kill_worker(show: Show, process: subprocess.Popen[bytes]) -> str:
    """Let a worker migrate some items while queries are answered, and kill it."""
    throttle(show.store, SPEED)
    end = show.store.counts().new + BEYOND * len(show.image)
    assert process.stdin is not None
    process.stdin.write(b"go\n")
    process.stdin.flush()
    while show.store.counts().new < end:
        if process.poll() is not None:
            raise RuntimeError("the worker ended, expected one to kill")
        show.ask()
        wait(0.05)
    process.kill()
    process.wait()
    throttle(show.store)
    return f"a worker was killed (SIGKILL) with {sum(count for count, _ in show.store.claims().values())} items claimed"


def write_items(show: Show) -> str:
    """Insert, update and delete some items, as users do."""
    writer = Writer(show.store, show.models)
    images, ids = [int(n) for n in show.digits.reserve], list(show.image)
    inserted = [f"new {n}" for n in range(WRITES)]
    updated, deleted = ids[1 : 1 + WRITES], ids[-WRITES:]
    contents = dict(zip([*inserted, *updated], images, strict=False))
    for id, image in contents.items():
        writer.put(id, show.digits.files[image])
    for id in deleted:
        writer.delete(id)
    rest = {id: image for id, image in show.image.items() if id not in contents and id not in deleted}
    show.image = contents | rest  # written items count as migrated
    return f"{WRITES} items each were inserted, updated and deleted"


def draw(points: list[DemoPoint], curves: list[tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Plot live figures as dots over the replayed curves, with the events."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    panel = figure.subplots()
    wrote = next(point.share for point in points if "inserted" in point.event)
    spans = ((0, wrote, "replayed"), (wrote, 1, None))
    for (shares, values), (first, last, label) in zip(curves, spans, strict=True):
        shown = (shares >= first - 0.01) & (shares <= last + 0.01)
        panel.plot(shares[shown], 100 * values[shown], color="C0", linewidth=1.5, label=label, zorder=2)
    live = [100 * point.live for point in points]
    panel.plot([point.share for point in points], live, "o", color="C1", markersize=5, label="live", zorder=3)
    for value, color, label in ((points[0].live, "0.55", "before"), (points[-1].live, "0.1", "after")):
        panel.axhline(100 * value, linestyle="--", color=color, linewidth=1, label=label, zorder=1)
    floor = panel.get_ylim()[0]
    style: dict[str, Any] = {"fontsize": 8, "rotation": 90, "va": "bottom", "textcoords": "offset points"}
    for point in points:
        for sign, text, color, above in (("killed", "worker killed", "C3", 6), ("inserted", "users write", "C2", 80)):
            if sign in point.event:
                panel.axvline(point.share, color=color, linewidth=1, zorder=1)
                panel.annotate(text, (point.share, floor), xytext=(4, above), color=color, **style)
    panel.set(xlabel="share of the items migrated", ylabel="mAP (%, higher is better)", xlim=(0, 1))
    panel.grid(alpha=0.3)
    panel.legend(loc="center left", frameon=False)
    figure.suptitle("digits: a live migration and its replay")
    return figure
