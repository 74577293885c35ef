"""Workers: claim a batch, extract it and hand it in until nothing is left. They may die at any moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TypeVar

import numpy as np

from compat.errors import InputError, not_negative
from compat.experience.fits import dump
from compat.live import breaker, canaries, invariants
from compat.live.canaries import CANARIES
from compat.live.control import slowest_query
from compat.live.extraction import Extraction, Unreachable, extract, retry
from compat.live.histogram import Histogram
from compat.live.items import Journal, Report, StoredGallery, Turn, Work
from compat.live.models import Models
from compat.live.process import this_process
from compat.live.serving import StoredModel, refit, search_vectors
from compat.live.store import Conflict, Store, change_journal
from compat.live.throttle import Throttle, wait
from compat.methods.upgrade import Upgrade

CHUNK = 4096  # items rewritten in one transaction
FRESH = 10.0  # seconds for which searchers' figures count
LEASE = 60.0  # seconds for which a batch is claimed
SMOOTH = 0.9  # weight of earlier batches in the speed
WAITING = 0.1  # seconds between two looks at others' claims
GLANCE = 0.5  # seconds between two checks for a stop while waiting
LOOK_EVERY = 60.0  # seconds between two checks of invariants
LOOKED_AT = 4  # items embedded again by such a check
LOOKED_THROUGH = 1000  # rows counted by such a check
T = TypeVar("T")
RUNS = ("planned", "running", "paused", "complete")


class Worker:
    """Migrates items; its only state besides the store is one batch and figures.

    Args:
        store: the store.
        models: models of the migration.
        lease: seconds after which another worker may take over the batch of a stopped one.
        on_batch: called after each batch with its number of items and of vectors written.
    """

    def __init__(
        self, store: Store, models: Models, lease: float = LEASE, on_batch: Callable[[int, int], None] | None = None
    ) -> None:
        self.store, self.models, self.lease, self.on_batch = store, models, lease, on_batch
        self.stored_model, self.throttle, self.stopping = StoredModel(models), Throttle(), False
        self.histogram, self.last_check = Histogram("batch"), time.monotonic()
        self.figures = {"written": 0.0, "conflicts": 0.0, "dead_letters": 0.0, "items_per_second": 0.0}

    def stop(self) -> None:
        """Make `run` return after handing in its current batch; for signal handlers."""
        self.stopping = True

    def run(self, until: float = 1.0) -> Journal:
        """Migrate items until none is left; an interrupted run is continued by the next.

        Args:
            until: share of the planned gallery at which to stop.

        Returns:
            The journal: complete, running if it stopped at `until` or on request, or paused, with the reason in its
            note.

        Raises:
            InputError: no migration to run; models which changed; another migration planned since; a store which does
                not answer after several tries (its state is that of the last batch).
        """
        not_negative(until=until)
        if until > 1:
            raise InputError(f"until: {until}, expected a share of the gallery in [0, 1]")
        journal, extracted = self.start(), Extraction()
        while True:
            started, stopping = time.perf_counter(), self.stopping
            limit, learns = self.next_stop(journal, until)
            turn = self.exchange(journal, extracted, journal.batch, limit)
            journal, extracted = self.reload(journal), Extraction()
            if journal.phase != "running" or stopping:
                return journal
            if turn.work:
                try:
                    extracted = self.extract(turn.work, journal)
                except Unreachable as error:
                    return self.change_if_running(journal, partial(replace, phase="paused", note=str(error)))
                self.histogram.add(time.perf_counter() - started)
                self.check_invariants()
                if pause := self.delay(journal, len(turn.work), time.perf_counter() - started):
                    self.exchange(journal, extracted, 0, limit)  # the lease may end during the wait
                    extracted = Extraction()
                    self.wait(pause, journal)
            elif turn.left:
                self.wait(WAITING, journal)  # claimed by others
            elif learns:
                journal = self.learn(journal, limit)
            elif until < 1:
                return journal
            else:
                return self.change_if_running(journal, partial(replace, phase="complete"))

    def start(self) -> Journal:
        """Set the migration running, and return the journal."""
        journal = self.store.journal()
        self.models.check(journal)
        if journal.phase not in RUNS:
            raise InputError(f"run: the store is in phase {journal.phase}, expected a planned migration")
        known = canaries.draw_migrated(self.store, CANARIES)
        canaries.check_model(self.stored_model, known, "new", journal.distance, "new", "the same model")
        upgrade = self.models.upgrade_for(journal.dim, journal.new_dim)
        if journal.phase == "planned" and upgrade.transforms_gallery:
            gallery = self.store.gallery()
            try:
                self.write_bridge(
                    gallery, search_vectors(upgrade, gallery.old).numpy(), np.arange(len(gallery.ids)), journal
                )
            except Conflict:
                return self.reload(journal)  # another worker began, and has refitted since
        else:
            gallery = None
        bridged = upgrade.transforms_gallery or journal.bridged

        def running(now: Journal) -> Journal:
            runs = now.migration == journal.migration and now.phase in RUNS
            return replace(now, phase="running", bridged=bridged, note="") if runs else now

        change_journal(self.store, running)
        journal = self.reload(journal)
        if gallery is not None and self.store.counts().unserved:
            self.write_added_bridge(gallery, upgrade, journal)
        if journal.learned and self.store.fit(journal) is None:  # the fit is older than their storage
            return self.learn(journal, journal.learned)
        return journal

    def reload(self, journal: Journal) -> Journal:
        """Read the journal again.

        Raises:
            InputError: another migration has begun, with models of its own.
        """
        now = retry_store(self.store.journal)
        if now.migration != journal.migration:
            mine = f"{journal.migration}, which this worker began with"
            raise InputError(f"run: migration {now.migration} is {now.phase}, expected {mine}")
        return now

    def exchange(self, journal: Journal, extracted: Extraction, count: int, limit: int | None) -> Turn:
        """Hand in a batch and claim up to `count` items."""
        figures = {**self.figures, **self.histogram.figures}
        report = Report(this_process(), journal.migration, extracted.done, extracted.failed, figures)
        some = 0 if self.stopping else count
        turn = retry_store(lambda: self.store.exchange(report, some, self.lease, limit))
        self.figures["written"] += turn.written
        self.figures["conflicts"] += len(extracted.done) - turn.written
        self.figures["dead_letters"] += len(extracted.failed)
        if self.on_batch is not None and (items := len(extracted.done) + len(extracted.failed)):
            self.on_batch(items, turn.written)
        return turn

    def extract(self, work: Sequence[Work], journal: Journal) -> Extraction:
        """Extract a batch; if much of it failed, check that the items are at fault.

        Raises:
            Unreachable: the model does not answer, or is broken.
        """
        found = extract(self.stored_model, work, "new", journal.new_dim)
        if breaker.is_suspicious(work, found):
            by = retry_store(lambda: breaker.draw_witnesses(self.store, work, journal))
            breaker.check_model(self.stored_model, work, found, by, journal)
        return found

    def delay(self, journal: Journal, items: int, seconds: float) -> float:
        """Return the seconds to wait after a batch, from the rate limit and the latency of queries."""
        beats = retry_store(lambda: self.store.beats(FRESH)).values() if journal.latency is not None else ()
        pause = self.throttle.delay(items, seconds, journal.rate, journal.latency, slowest_query(beats))
        now, before = items / max(seconds + pause, 1e-9), self.figures["items_per_second"]
        self.figures["items_per_second"] = SMOOTH * before + (1 - SMOOTH) * now if before else now
        return pause

    def wait(self, seconds: float, during: Journal) -> None:
        """Wait, but return early on `stop` or when the journal changes (a rate, a pause)."""
        while seconds > 0 and not self.stopping:
            wait(min(seconds, GLANCE))
            seconds -= GLANCE
            if seconds > 0 and retry_store(self.store.journal) != during:
                return

    def next_stop(self, journal: Journal, until: float) -> tuple[int | None, bool]:
        """Return the place up to which to migrate now, and whether the online method is refitted there."""
        stop = None if until == 1 else int(np.floor(until * journal.items))
        moments = [] if self.models.learner is None else [int(np.floor(m * journal.items)) for m in self.models.refit]
        due = [m for m in moments if journal.learned < m < (journal.items if stop is None else stop + 1)]
        return (min(due), True) if due else (stop, False)

    def learn(self, journal: Journal, limit: int | None) -> Journal:
        """Refit the online method to all pairs up to a place, and store the fit with the journal."""
        assert limit is not None
        moment, gallery = replace(journal, learned=limit), retry_store(lambda: self.store.gallery(new=True))
        serving = refit(gallery, self.models, moment)
        fit = dump(serving)
        bridged = serving.rewrites or self.models.upgrade_for(journal.dim, journal.new_dim).transforms_gallery
        try:
            if bridged:
                self.write_bridge(gallery, serving.gallery.numpy(), np.isnan(gallery.new).any(1).nonzero()[0], journal)
        except Conflict:
            return self.reload(journal)  # another worker was faster
        while True:
            now = self.reload(journal)
            taught = retry_store(lambda: self.store.fit(moment)) is not None
            if now.phase != "running" or now.learned != journal.learned or taught:
                return now
            with suppress(Conflict):
                retry_store(partial(self.store.amend, now, replace(now, learned=limit, bridged=bridged), fit))

    def write_bridge(self, gallery: StoredGallery, vectors: np.ndarray, rows: np.ndarray, during: Journal) -> None:
        """Write the bridge vectors of these rows of the gallery (N,).

        While the bridge is being searched this is one step (in stores with transactions), so no answer mixes two fits.

        Raises:
            Conflict: the vectors were made for an earlier state.
        """
        at_once = CHUNK if during.phase == "planned" else max(len(rows), 1)
        for some in np.array_split(rows, range(at_once, len(rows), at_once)):
            found = ((gallery.ids[n], int(gallery.version[n]), vectors[n]) for n in some)
            self.store.fill("bridge", found, during)

    def write_added_bridge(self, known: StoredGallery, upgrade: Upgrade, during: Journal) -> None:
        """Write the bridge vectors of items added since the gallery was read."""
        gallery, before = self.store.gallery(), set(known.ids)
        rows = np.array([n for n, id in enumerate(gallery.ids) if id not in before], np.int64)
        with suppress(Conflict):  # another worker has refitted since, to these too
            self.write_bridge(gallery, search_vectors(upgrade, gallery.old).numpy(), rows, during)

    def check_invariants(self) -> None:
        """Check some of the store's invariants now and then, and report the result as figures."""
        if time.monotonic() - self.last_check >= LOOK_EVERY:
            with suppress(InputError, OSError):  # a broken model is reported elsewhere
                invariants.check(self.store, self.models, sample=LOOKED_AT, queries=0, rows=LOOKED_THROUGH)
            self.last_check = time.monotonic()

    def change_if_running(self, journal: Journal, change: Callable[[Journal], Journal]) -> Journal:
        """Change the journal if the migration is still running, and return it."""
        change_journal(
            self.store,
            lambda now: change(now) if (now.phase, now.migration) == ("running", journal.migration) else now,
        )
        return self.reload(journal)


def retry_store(step: Callable[[], T]) -> T:
    """Call a store, retrying while it does not answer.

    Raises:
        InputError: it still does not answer.
    """
    try:
        return retry(step, lambda error: isinstance(error, OSError))
    except Unreachable as error:
        kept = "its state is kept, and run continues from there"
        raise InputError(f"store: {error}, expected an answer; {kept}") from error
