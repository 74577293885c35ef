"""A folder, a table, a store and a migration for tests of the live engine's command line."""

import numpy as np
import pytest

from compat.live import open_store
from compat.live.__main__ import main
from tests.helpers.live_doubles import ITEMS, OLD, OURS, SPACES, URL, columns


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder of its own, and no waiting."""
    monkeypatch.chdir(tmp_path)
    for module in ("throttle", "extraction", "worker", "verbs.operating"):
        monkeypatch.setattr(f"compat.live.{module}.wait", lambda seconds: None)
    return tmp_path


@pytest.fixture
def call(capsys):
    """A function that calls the command and returns its code, its output, and its last line on stderr."""

    def called(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return ended.value.code, out, err.strip()

    return called


@pytest.fixture
def items():
    """The file of a table of items."""
    np.savez("items.npz", old=SPACES[:ITEMS, :OLD], **columns())
    return "items.npz"


@pytest.fixture
def made(items, call):
    """The store of these items, open."""
    assert call("init", URL, "--items", items, "--fields", "lang,year")[0] == 0
    store = open_store(URL)
    yield store
    store.close()


@pytest.fixture
def planned(made, call):
    """The same, with a migration that was planned in batches of 7."""
    assert call("plan", URL, "--models", OURS, "--batch", 7)[0] == 0
    return made
