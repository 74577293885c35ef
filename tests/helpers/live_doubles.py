"""Models and a table for tests of the live engine's command line: what `--models` names is here."""

from __future__ import annotations

import numpy as np

from compat.live import Models, Rows
from compat.merge import ReciprocalRank

ITEMS, OLD, NEW = 60, 4, 6
CONTENTS = [f"c{n}" for n in range(ITEMS + 5)]
SPACES = np.random.default_rng(0).normal(size=(ITEMS + 5, OLD + NEW)).astype(np.float32)
URL = "sqlite:///gallery.db"
DOUBLES = __name__
OURS = f"{DOUBLES}.models"


class Reads(Rows):
    """Rows that cannot read some contents, of a version of its own."""

    def __init__(self, rows, unreadable=(), version=""):
        super().__init__(CONTENTS, rows)
        self.unreadable = set(unreadable)
        self.version = version or self.version

    def __call__(self, contents):
        if broken := self.unreadable.intersection(contents):
            raise ValueError(f"no image in {min(broken)}")
        return super().__call__(contents)


def models(**options):
    return Models(**{"new": Reads(SPACES[:, OLD:]), "old": Reads(SPACES[:, :OLD])} | options)


def others():
    return models(new=Reads(SPACES[:, OLD:], version="another"))


def drifted():
    return models(new=Reads(SPACES[:, OLD:] + 1, version=models().new.version))


def old_drifted():
    return models(old=Reads(-SPACES[:, :OLD], version=models().old.version))


def broken():
    return models(new=Reads(SPACES[:, OLD:], {"c7", "c9"}, models().new.version))


def growing():
    class Grows(Reads):
        calls = 0

        def __call__(self, contents):
            self.calls += 1
            return np.pad(super().__call__(contents), ((0, 0), (0, self.calls > 2)))

    return models(new=Grows(SPACES[:, OLD:]))


def away():
    class Away(Reads):
        def __call__(self, contents):
            if "c30" in contents:
                raise ConnectionError("no route to the model")
            return super().__call__(contents)

    return models(new=Away(SPACES[:, OLD:]))


def silent():
    class Nothing(Reads):
        def __call__(self, contents):
            raise ConnectionError("no route to the model")

    return models(new=Nothing(SPACES[:, OLD:]), old=Nothing(SPACES[:, :OLD]))


def without_old():
    return models(old=None)


def ranked():
    return models(merge=ReciprocalRank())


def without_weights():
    raise RuntimeError("no weights\nat this address")


def something_else():
    return 3


def columns():
    number = range(ITEMS)
    described = {"lang": ["en" if n % 2 else "de" for n in number], "year": [2000 + n % 3 for n in number]}
    return {"id": [f"i{n}" for n in number], "content": CONTENTS[:ITEMS], **described}


def refused(result, *words):
    code, _, err = result
    assert code == 2, err
    assert len(err.splitlines()) == 1, err
    assert err.startswith("error: "), err
    assert all(word in err for word in words), err
