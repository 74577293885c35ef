"""The verbs that look at a store: check, history and backup."""

import json

from tests.helpers.live_doubles import OURS, URL, refused


def test_the_verbs(planned, call):
    assert call("run", URL, "--models", OURS)[0] == 0
    code, out, _ = call("check", URL, "--models", OURS)
    assert (code, out.splitlines()[-1]) == (0, "sound")
    assert "a search finds 100.0% of the exact nearest items" in out
    with planned.transaction() as cursor:
        cursor.execute("DELETE FROM vectors_1 WHERE row = 7")
    code, out, _ = call("check", URL, "--models", OURS, "--queries", 0, "--json")
    assert (code, json.loads(out)["misplaced"]) == (1, ["i6"])
    code, out, _ = call("history", URL)
    assert [line.split("phase: ")[1] for line in out.splitlines()][:2] == [
        '"running" -> "complete"',
        '"planned" -> "running"',
    ]
    assert len(json.loads(call("history", URL, "-n", 1, "--json")[1])) == 1
    assert call("backup", URL, "copy.db")[0] == 0
    refused(call("backup", URL, "copy.db"), "backup", "expected a new file")
    refused(call("backup", "sqlite:///none.db", "other.db"), "none.db")
