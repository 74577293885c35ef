"""Losses of power while a store is made: it is complete, empty or absent, consistent with its acknowledgements."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress
from functools import partial

from benchmarks.faults.disk import Disk
from benchmarks.faults.evidence import Evidence
from benchmarks.faults.history import NEVER, Wrong
from benchmarks.faults.lines import SMALL
from benchmarks.faults.oracle import FIELDS, OLD, Told
from benchmarks.faults.places import Place
from benchmarks.faults.power import ENDS, watched
from benchmarks.faults.processes import Log, call, ended, read
from benchmarks.faults.recorder import read as read_events
from benchmarks.faults.roles import Setting
from compat.errors import InputError
from compat.live.items import Item, Journal
from compat.live.open import open_store
from compat.live.store import Store


def filled(store: Store, setting: Setting) -> None:
    """Add the gallery."""
    store.add(Item(f"i{n}", f"i{n}", {}, old=Told("old").row(f"i{n}")) for n in range(setting.items))


def begun(setting: Setting, log: Log) -> None:
    """Make a store and fill it, and note the moment of completion."""
    store = open_store(setting.url)
    store.create(Journal(OLD, "cosine", FIELDS))
    log.write(made=True)
    filled(store, setting)
    log.write(filled=True)
    store.close()


def begun_again(setting: Setting) -> list[int]:
    """Count the items in the store after the loss, -1 without a store, and after the recovery."""
    store = open_store(setting.url)
    try:
        found = store.counts().total
    except InputError:
        found = -1
    if found < setting.items:
        with suppress(InputError):
            store.create(Journal(OLD, "cosine", FIELDS))
        filled(store, setting)
    return [found, store.counts().total]


def losses(place: Place, count: int, seed: int) -> list[Evidence]:
    """Lose power this many times during one recording, or at its end."""
    chance, found = random.Random(seed), []
    with place.setting(**SMALL) as setting:
        if ended(watched(setting, "FULL", lambda: begun(setting, Log(setting.folder / "log")))):
            raise RuntimeError(setting.errors.read_text())
        events = list(read_events(setting.folder / "recording"))
        log = list(read(setting.folder / "log"))
    for number in range(count):
        at = len(events) if number % ENDS == 0 else chance.randrange(len(events))
        now = events[at].at if at < len(events) else NEVER
        done = sum(event["at"] <= now for event in log)
        with place.setting(**SMALL) as setting:
            for name, data in Disk({}).run(events[:at]).after(chance).items():
                (setting.folder / name).write_bytes(data)
            held = call(partial(begun_again, setting), setting.errors)
        legal = [(-1, 0, setting.items), (0, setting.items), (setting.items,)][done]
        right = held[0] in legal and held[1] == setting.items
        wrong = [] if right else [Wrong("acknowledged and gone", f"{held[0]} items of {setting.items} after a loss")]
        found.append(Evidence(Counter(losses_of_power=1, items_checked=held[1]), [], wrong))
    return found
