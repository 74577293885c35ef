"""The verbs do on each store what they do on the embedded one."""

import json

import numpy as np

from compat.live import Writer, open_store
from tests.helpers.live_doubles import DOUBLES, ITEMS, OLD, OURS, SPACES, models


def test_a_migration_with_failed_items_and_a_rollback_on_each_store(url, items, call):
    code, out, err = call("init", url, "--items", items, "--fields", "lang,year")
    assert code == 0, err
    assert "60 items of dimension 4" in out
    assert call("plan", url, "--models", OURS, "--batch", 16)[0] == 0
    assert call("run", url, "--models", OURS, "--until", 0.5)[0] == 0
    found = json.loads(call("query", url, "c61", "--models", OURS, "-k", 60, "--where", "lang=en", "--json")[1])
    assert {hit["id"] for hit in found} == {f"i{n}" for n in range(1, ITEMS, 2)}
    assert {hit["part"] for hit in found} == {"old", "new"}
    store = open_store(url)
    Writer(store, models()).put("x", "c62", {"lang": "en", "year": 2000})
    gallery = store.gallery(new=True)
    assert gallery.old.flags.writeable  # or torch warns of it
    assert gallery.new.flags.writeable
    store.close()
    assert "1 items have no old embedding" in call("rollback", url, "--models", OURS, "--dry-run")[1]
    assert call("rollback", url, "--models", OURS)[0] == 0
    assert call("plan", url, "--models", OURS, "--seed", 1)[0] == 0
    assert "2 failed items" in call("run", url, "--models", f"{DOUBLES}.broken")[1]
    code, out, _ = call("verify", url, "--models", OURS, "--json")
    assert (code, json.loads(out)["dead_letters"].keys()) == (1, {"i7", "i9"})
    code, out, _ = call("doctor", url, "--models", OURS, "--json")
    levels = {line["name"]: line["level"] for line in json.loads(out)}
    assert code == 0, out
    assert levels["failed items"] == "warning"
    assert {level for name, level in levels.items() if name not in ("failed items", "capabilities")} == {"ok"}
    assert call("run", url, "--models", OURS, "--retry-failed")[0] == 0
    assert call("verify", url, "--models", OURS)[0] == 0
    assert call("finalize", url, "--models", OURS, "--yes")[0] == 0
    assert json.loads(call("status", url, "--json")[1])["phase"] == "finalized"
    hits = json.loads(call("query", url, "c61", "--models", OURS, "-k", 61, "--json")[1])
    rows = np.delete(SPACES[: ITEMS + 3, OLD:], [ITEMS, ITEMS + 1], axis=0)
    names = [*(f"i{n}" for n in range(ITEMS)), "x"]
    similar = rows @ SPACES[61, OLD:] / np.linalg.norm(rows, axis=1)
    assert [hit["id"] for hit in hits] == [names[n] for n in np.argsort(-similar)]
