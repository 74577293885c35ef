"""What each verb of the live engine does, called in this process."""

import json
import os
import signal
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
import torch

from compat.live import Writer, open_store, worker
from compat.live.items import Journal
from compat.live.verbs.forecast import compare
from tests import ROOT
from tests.helpers.live_doubles import DOUBLES, ITEMS, OLD, OURS, SPACES, URL, columns, models, refused
from tests.helpers.live_stores import lose


def in_order(hits):
    return [hit["id"] for hit in hits]


def test_a_migration_from_a_file_to_its_end(items, call):
    code, out, _ = call("init", URL, "--items", items, "--fields", "lang,year")
    assert code == 0
    assert "60 items of dimension 4" in out
    code, out, _ = call("plan", URL, "--models", OURS, "--batch", 7, "--seed", 3)
    assert code == 0
    assert "1, order Random 3" in out
    assert "before, halfway, after" in out
    assert json.loads(call("status", URL, "--json")[1])["phase"] == "planned"
    code, out, _ = call("run", URL, "--models", OURS, "--until", 0.5)
    assert code == 0
    assert "running, 30 of 60 (50.0%)" in out
    assert out.endswith("\nstopped at 50%; next: run\n")
    code, out, _ = call("query", URL, "c61", "--models", OURS, "-k", ITEMS, "--json")
    hits = json.loads(out)
    assert {hit["part"] for hit in hits} == {"old", "new"}
    assert len(set(in_order(hits))) == ITEMS
    assert call("run", URL, "--models", OURS)[1].endswith("complete, 60 of 60 (100.0%)\nnext: verify\n")
    assert call("verify", URL, "--models", OURS)[0] == 0
    refused(call("finalize", URL, "--models", OURS), "--yes")
    assert call("finalize", URL, "--models", OURS, "--yes")[0] == 0
    hits = json.loads(call("query", URL, "c61", "--models", OURS, "-k", ITEMS, "--json")[1])
    unit = SPACES[:, OLD:] / np.linalg.norm(SPACES[:, OLD:], axis=1, keepdims=True)
    assert in_order(hits) == [f"i{n}" for n in np.argsort(-(unit[:ITEMS] @ unit[61]))]


def test_what_is_filtered_has_the_value_that_is_asked_for(planned, call):
    code, out, _ = call("query", URL, "c61", "--models", OURS, "-k", 60, "--where", "lang=en", "--where", "year=2001")
    expected = {f"i{n}" for n in range(ITEMS) if n % 2 and n % 3 == 1}
    assert code == 0
    assert {line.split()[0] for line in out.splitlines()} == expected
    assert all("lang=en year=2001" in line for line in out.splitlines())
    assert call("query", URL, "c61", "--models", OURS, "--where", 'year="2001"')[1] == ""


def test_all_formats_make_the_same_store(items, call):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    old = SPACES[:ITEMS, :OLD]
    parquet.write_table(pa.table({**columns(), "old": list(old)}), "items.parquet")
    np.save("table.npy", old)
    rows = [",".join(columns()), *(",".join(map(str, row)) for row in zip(*columns().values(), strict=True))]
    with open("table.csv", "w") as file:
        file.write("\n".join(rows))
    found = []
    for number, name in enumerate((items, "items.parquet", "table.csv")):
        assert call("init", f"sqlite:///{number}.db", "--items", name, "--fields", "lang,year")[0] == 0
        store = open_store(f"sqlite:///{number}.db")
        all_items = [item for id in columns()["id"] if (item := store.get(id)) is not None and item.old is not None]
        found.append([(i.id, i.content, i.meta, i.old.tolist()) for i in all_items if i.old is not None])
        store.close()
    assert found[0] == found[1] == found[2]
    assert found[0][5] == ("i5", "c5", {"lang": "en", "year": 2002}, old[5].tolist())


def test_failed_items_are_named_and_block_the_end_until_they_are_mended(planned, call):
    code, out, _ = call("run", URL, "--models", f"{DOUBLES}.broken")
    assert code == 0
    assert "2 failed items" in out
    code, out, _ = call("verify", URL, "--models", f"{DOUBLES}.broken")
    assert code == 1
    assert "i7: ValueError: no image in c7" in out
    assert "i9: " in out
    found = json.loads(call("verify", URL, "--models", OURS, "--json")[1])
    assert (found["sound"], sorted(found["dead_letters"])) == (False, ["i7", "i9"])
    refused(call("finalize", URL, "--models", OURS, "--yes"), "phase complete")
    hits = json.loads(call("query", URL, "c61", "--models", OURS, "-k", ITEMS, "--json")[1])
    assert {hit["id"] for hit in hits if hit["part"] == "old"} == {"i7", "i9"}
    code, out, _ = call("run", URL, "--models", OURS, "--retry-failed")
    assert code == 0
    assert out.startswith("2 failed items are tried again")
    assert call("verify", URL, "--models", OURS)[0] == 0


def test_a_verified_store_whose_model_drifted_is_not_sound(planned, call):
    call("run", URL, "--models", OURS)
    code, out, _ = call("verify", URL, "--models", f"{DOUBLES}.drifted")
    assert code == 1
    assert "not sound" in out
    refused(call("finalize", URL, "--models", OURS, "--yes"), "phase complete")


def test_a_model_that_stays_away_pauses_the_migration(planned, call):
    code, _, err = call("run", URL, "--models", f"{DOUBLES}.away")
    assert code == 1
    assert "no route to the model" in err
    assert planned.journal().phase == "paused"
    code, out, _ = call("doctor", URL)
    assert code == 0
    assert "no route to the model" in out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_after_its_batch_with_the_shells_code(planned, call, monkeypatch, number):
    extract, batches = worker.extract, []

    def signalled(*arguments):
        batches.append(1)
        if len(batches) == 3:
            os.kill(os.getpid(), number)
        return extract(*arguments)

    before = signal.getsignal(number)
    with monkeypatch.context() as patched:
        patched.setattr(worker, "extract", signalled)
        code, _, err = call("run", URL, "--models", OURS)
    assert code == 128 + number
    assert "`run` continues" in err
    assert planned.counts().new == 21
    assert planned.claims() == {}
    assert signal.getsignal(number) == before
    assert call("run", URL, "--models", OURS)[0] == 0


def test_workers_hold_and_go_on_as_they_are_told(planned, call):
    call("run", URL, "--models", OURS, "--until", 0.3)
    assert call("pause", URL, "--note", "for lunch")[0] == 0
    assert "paused (for lunch)" in call("status", URL)[1]
    assert call("resume", URL)[0] == 0
    assert (
        "at most 500 items/s each, less while queries take over 0.1 s"
        in (call("throttle", URL, "--rate", 500, "--latency", 0.1)[1])
    )
    assert "as fast as they can" in call("throttle", URL)[1]


def test_a_rollback_says_first_what_it_takes(planned, call):
    call("run", URL, "--models", OURS, "--until", 0.5)
    Writer(planned, models()).put("x", "c62", {})
    before = planned.counts()
    code, out, _ = call("rollback", URL, "--models", OURS, "--dry-run")
    assert code == 0
    assert "31 new embeddings" in out
    assert "1 items have no old embedding" in out
    assert planned.counts() == before
    refused(call("rollback", URL, "--models", f"{DOUBLES}.without_old"), "'x'", "models.old")
    assert call("rollback", URL, "--models", OURS)[0] == 0
    assert planned.journal().phase == "rolled_back"
    assert planned.counts().new == 0


def test_a_watch_goes_on_until_the_migration_ends(planned, call, monkeypatch):
    waited = []

    def wait(seconds):
        waited.append(seconds)
        call("run", URL, "--models", OURS, "--until", min(len(waited) / 2, 1))

    monkeypatch.setattr("compat.live.verbs.operating.wait", wait)
    code, _, _ = call("status", URL, "--watch", 3, "--json")
    assert code == 0
    assert waited == [3, 3]


def test_a_watch_that_is_interrupted_ends_without_a_word(planned, call, monkeypatch):
    def wait(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr("compat.live.verbs.operating.wait", wait)
    code, _, err = call("status", URL, "--watch")
    assert (code, err) == (130, "")


@pytest.mark.parametrize("verb", [["verify"], ["run", "--until", 1], ["rollback"]])
def test_a_model_that_does_not_answer_is_one_line(planned, call, verb):
    assert call("run", URL, "--models", OURS)[0] == 0
    lose(planned.path, "i3", 0)
    result = call(verb[0], URL, "--models", f"{DOUBLES}.silent", *verb[1:])
    refused(result, "models.", "ConnectionError: no route to the model", "expected a model which answers")
    assert planned.counts().new == ITEMS


def test_doctor_finds_nothing_in_a_sound_store_and_names_what_it_finds(planned, call):
    call("run", URL, "--models", OURS, "--until", 0.5)
    lines = json.loads(call("doctor", URL, "--models", OURS, "--json")[1])
    assert {line["level"] for line in lines} == {"ok"}
    assert {"store", "journal", "claims", "new model", "old model", "disk"} <= {line["name"] for line in lines}
    code, out, _ = call("doctor", URL, "--models", f"{DOUBLES}.drifted")
    assert code == 1
    assert "are not reproduced" in out
    code, out, _ = call("doctor", URL, "--models", f"{DOUBLES}.others")
    assert code == 1
    assert "models.new: another" in out
    base = sqlite3.connect("gallery.db")
    base.execute("INSERT INTO claims VALUES (1, 'elsewhere:1:1', 5)")
    base.execute("UPDATE vectors_1 SET vector = x'00000000'")
    base.commit()
    base.close()
    code, out, _ = call("doctor", URL)
    assert code == 1
    assert "error   dimensions" in out
    assert "elsewhere:1:1, whose lease ran out" in out


def test_doctor_sees_an_old_model_that_is_another_before_anything_is_migrated(planned, call):
    assert call("doctor", URL, "--models", OURS)[0] == 0
    code, out, _ = call("doctor", URL, "--models", f"{DOUBLES}.old_drifted")
    assert code == 1
    assert "error   old model" in out


def test_spaces_that_do_not_compare_are_warned_of():
    """Old distances all below the new ones: what is not migrated crowds out what is, and halfway is worse."""
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(200, 8)).astype(np.float32)
    near = (10 * np.eye(8, dtype=np.float32)[0] + rows).astype(np.float32)
    journal = Journal(8, "cosine", new_dim=8)
    (before, half, after), worse = compare(models(), journal, torch.from_numpy(near), torch.from_numpy(rows))
    assert worse
    assert half < before < after == 1
    (before, half, after), worse = compare(models(), journal, torch.from_numpy(rows), torch.from_numpy(rows))
    assert not worse
    assert before == half == after == 1


def test_a_plan_warns_of_nothing_it_did_not_look_at(made, call):
    code, out, err = call("plan", URL, "--models", f"{DOUBLES}.ranked", "--order", "Density", "neighbours=3")
    assert code == 0
    assert err == ""
    assert "not measured" in out
    assert "Density 0" in out
    assert made.journal().phase == "planned"


def test_operating_verbs_import_no_torch(made):
    script = (
        "import sys\nfrom compat.live.__main__ import main\n"
        f"try:\n    main(['status', {URL!r}])\nexcept SystemExit as ended:\n    assert ended.code == 0\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )


def test_a_bar_counts_what_the_store_has(planned, monkeypatch, capsys):
    from rich.console import Console

    from compat.live.verbs import progress

    monkeypatch.setattr(progress, "Console", lambda file: Console(file=file, force_terminal=True, width=120))
    monkeypatch.setattr(progress, "GLANCE", 0.0)
    with progress.show_progress(planned) as moved:
        planned.delete("i0")
        moved(7, 7)
    assert "0/59" in capsys.readouterr().err
