"""Several operators at once, one transaction after the other in any order, any of whom may die: nothing breaks."""

from __future__ import annotations

import shutil
import uuid
from dataclasses import replace
from itertools import pairwise
from tempfile import mkdtemp

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

import compat.live.extraction
import compat.live.sqlite.file
import compat.live.throttle
import compat.live.worker
from compat.live import Item, Journal, Migration, Searcher, Writer, control, open_store
from compat.live.worker import Worker
from tests.helpers.live_operators import Named, Operator, apart, between, models_of

ITEMS, AT_ONCE, MANY, LEASE = 6, 3, 400, 1e-9
NEXT = {  # phases that may follow each
    "none": {"planned"},
    "planned": {"running", "rolled_back"},
    "running": {"paused", "complete", "rolling_back"},
    "paused": {"running", "rolling_back"},
    "complete": {"running", "verified", "rolling_back"},
    "verified": {"complete", "finalized", "rolling_back"},
    "finalized": {"none"},
    "rolling_back": {"rolled_back"},
    "rolled_back": {"planned"},
}
VERBS = {
    "plan": lambda store, models: Migration(store, models).plan(batch=2),
    "plan dual": lambda store, models: Migration(store, models).plan(batch=2, dual=True),
    "run": lambda store, models: Worker(store, models, LEASE).run(),
    "run half": lambda store, models: Worker(store, models, LEASE).run(0.5),
    "verify": lambda store, models: Migration(store, models).verify(),
    "finalize": lambda store, models: Migration(store, models).finalize(),
    "rollback": lambda store, models: Migration(store, models).rollback(),
    "pause": lambda store, models: control.pause(store),
    "resume": lambda store, models: control.resume(store),
    "throttle": lambda store, models: control.throttle(store, rate=1e9),
    "status": lambda store, models: control.status(store),
    "retry": lambda store, models: store.retry(),
    "sweep": lambda store, models: store.sweep(1),
}
ONWARD = {  # what an operator does next
    "none": "plan",
    "planned": "run half",
    "running": "run",
    "paused": "resume",
    "complete": "verify",
    "verified": "finalize",
    "finalized": "plan",
    "rolling_back": "rollback",
    "rolled_back": "plan dual",
}
IDS = st.sampled_from([f"i{n}" for n in range(ITEMS + 2)])


class Schedule(RuleBasedStateMachine):
    """A store, what it has to hold, and who works on it.

    Attributes:
        server: address of one; None: a file.
    """

    server: str | None = None

    def __init__(self) -> None:
        super().__init__()
        self.folder = mkdtemp()
        self.url = self.server or f"sqlite:///{self.folder}/gallery.db"
        if self.server:
            self.url += f"&schema=s{uuid.uuid4().hex}"
        self.store = open_store(self.url)
        old = Named(0)
        self.store.create(Journal(old.dim, "cosine", ("lang",)))
        self.held = {f"i{n}": f"i{n}" for n in range(ITEMS)}
        self.store.add(Item(id, text, {"lang": "en"}, old=old.row(text)) for id, text in self.held.items())
        self.operators: list[tuple[Operator, dict[str, str | None]]] = []
        self.number = 0

    @initialize(verbs=st.integers(0, 12))
    def begun(self, verbs):
        """Some of a migration is over."""
        for _ in range(verbs):
            journal = self.store.journal()
            verb = ONWARD[journal.phase]
            VERBS[verb](self.store, models_of(journal, following=verb == "plan"))

    def begin(self, act, changes) -> None:
        """Let another operator begin, if there is room: no precondition, as how long one takes is up to the clock."""
        if len(self.operators) == AT_ONCE:
            return
        self.operators.append((Operator(self.url, act), changes))
        self.looked_after(len(self.operators) - 1)

    @rule()
    def onward(self):
        self.verb(ONWARD[self.store.journal().phase])

    @rule(verb=st.sampled_from(["pause", "resume", "rollback", "plan"]), old=st.booleans())
    def otherwise(self, verb, old):
        self.verb(verb, old)

    @rule(verb=st.sampled_from(sorted(VERBS)))
    def verb(self, verb, old=True):
        models = models_of(self.store.journal(), following=verb.startswith("plan"))
        models = models if old else replace(models, old=None)
        self.begin(lambda store: VERBS[verb](store, models), {})

    @rule(id=IDS, old=st.booleans())
    def put(self, id, old):
        self.number += 1
        content, models = f"w{self.number}", models_of(self.store.journal())
        models = models if old else replace(models, old=None)
        self.begin(lambda store: Writer(store, models).put(id, content, {"lang": "en"}), {id: content})

    @rule(id=IDS)
    def delete(self, id):
        self.begin(lambda store: store.delete(id), {id: None})

    @rule(id=IDS)
    def add(self, id):
        self.number += 1
        item = Item(id, f"w{self.number}", {}, old=Named(between(self.store.journal())[0]).row(f"w{self.number}"))
        self.begin(lambda store: store.add([item]), {id: item.content})

    @rule(which=st.integers(0, AT_ONCE - 1), steps=st.sampled_from([1, 1, 2, 3, 5, MANY, MANY]))
    def go(self, which, steps):
        if not self.operators:
            return
        which %= len(self.operators)
        operator = self.operators[which][0]
        for _ in range(steps):
            if not operator.ended:
                operator.step()
        self.looked_after(which)

    @rule(which=st.integers(0, AT_ONCE - 1))
    def kill(self, which):
        if self.operators:
            self.operators.pop(which % len(self.operators))[0].kill()

    def looked_after(self, which) -> None:
        """Note what an operator that has ended has changed."""
        operator, changes = self.operators[which]
        if not operator.ended:
            return
        del self.operators[which]
        assert operator.broke is None, repr(operator.broke)
        assert "\n" not in operator.refused
        if operator.refused:
            assert ", expected " in operator.refused or " twice" in operator.refused, operator.refused
            return
        for id, content in changes.items():
            if content is None:
                self.held.pop(id, None)
            else:
                self.held[id] = content

    @invariant()
    def the_store_is_as_it_was_left(self):
        journal, counts = self.store.journal(), self.store.counts()
        assert (counts.total, counts.unserved) == (len(self.held), 0)
        assert counts.new + counts.pending + counts.failed == counts.total
        before, after = (Named(number) for number in between(journal))
        items = [item for id in self.held if (item := self.store.get(id))]
        assert {item.id: item.content for item in items} == self.held
        for item in items:
            served = {"none": item.old, "planned": item.old, "rolled_back": item.old, "finalized": item.new}
            assert served.get(journal.phase, item.new if item.old is None else item.old) is not None
            for vector, model in ((item.old, before), (item.new, after)):
                assert vector is None or np.array_equal(vector, model.row(item.content))

    @invariant()
    def a_query_finds_each_item_once(self):
        journal = self.store.journal()
        hits = Searcher(self.store, models_of(journal)).search("query", ITEMS + 9)
        assert sorted(hit.id for hit in hits) == sorted(self.held)
        for hit in hits:
            assert abs(apart("query", self.held[hit.id], hit.part, journal) - hit.distance) < 1e-6

    def teardown(self):
        """Whoever is left comes to an end, all taking turns."""
        for _ in range(MANY):
            for operator, _changes in list(self.operators):
                operator.step()
                self.looked_after([o for o, _ in self.operators].index(operator))
        left = [operator for operator, _ in self.operators]
        for operator in left:
            operator.kill()
        while self.store.sweep():
            pass
        self.the_store_is_as_it_was_left()
        self.a_query_finds_each_item_once()
        phases = [entry.changes["phase"] for entry in self.store.history(10**6) if "phase" in entry.changes]
        assert all(after in NEXT[before] for before, after in phases), phases
        assert all(b == a for (b, _), (_, a) in pairwise(phases)), phases  # latest first
        self.store.close()
        shutil.rmtree(self.folder)
        assert not left, "an operator that does not end"


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Nothing here waits, for time or for the disk."""
    for module in (compat.live.worker, compat.live.extraction, compat.live.throttle):
        monkeypatch.setattr(module, "wait", lambda seconds: None)
    draw = (
        np.random.default_rng
    )  # what is drawn decides how many transactions follow: the same in each run of a schedule
    monkeypatch.setattr("numpy.random.default_rng", lambda seed=0: draw(seed))
    honest = compat.live.sqlite.file.connect

    def connect(*arguments, **options):
        base = honest(*arguments, **options)
        base.execute("PRAGMA synchronous = OFF")
        return base

    monkeypatch.setattr(compat.live.sqlite.file, "connect", connect)


def several(examples: int, steps: int) -> settings:
    """How many schedules, and how long."""
    unhurried = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    return settings(max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=unhurried)


def test_few_schedules():
    run_state_machine_as_test(Schedule, settings=several(15, 40))


@pytest.mark.slow
def test_many_schedules():
    run_state_machine_as_test(Schedule, settings=several(300, 60))


@pytest.mark.slow
def test_schedules_on_a_server(server):
    class OnServer(Schedule):
        pass

    OnServer.server = server.url
    run_state_machine_as_test(OnServer, settings=several(15, 40))
