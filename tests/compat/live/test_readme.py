"""The examples of live migrations in README and docs/live.md, run as they stand."""

import re
import zlib

import numpy as np
import pytest
import torch

from compat.batch import Pair
from compat.live import Searcher
from compat.live.__main__ import parser
from compat.methods import Affine
from compat.models import Embedder
from tests import ROOT

ITEMS = 40
EXAMPLES = {"README.md": "## Migrate our store", "docs/live.md": "## In Python"}
VERB = re.compile(r"^(?:compat-bench live|python -m compat\.live) (.*)$", re.MULTILINE)


def embedder(dim, seed):
    torch.manual_seed(seed)
    model = Embedder(torch.nn.Flatten(), dim)
    model(torch.zeros(1, 3, 4, 4))
    return model.eval()


def read(path):
    """An image by its name: noise, one for each."""
    return torch.randn(3, 4, 4, generator=torch.Generator().manual_seed(zlib.crc32(path.encode())))


@pytest.fixture
def scope(tmp_path, monkeypatch):
    """What the reader has: two models, a method that was solved, and a table of items."""
    monkeypatch.chdir(tmp_path)
    old_model, new_model = embedder(5, 0), embedder(7, 1)
    paths = [f"{n}.png" for n in range(ITEMS)]
    with torch.inference_mode():
        old, new = (model(torch.stack([read(path) for path in paths])) for model in (old_model, new_model))
    method = Affine(old_model, new_model)
    method.solve(Pair(old, new, torch.zeros(ITEMS)))
    table = [(f"i{n}", path, ["de", "en"][n % 2], old[n].numpy()) for n, path in enumerate(paths)]
    given = {"old_model": old_model, "new_model": new_model, "method": method, "table": table}
    return {**given, "read": read, "old_dim": 5, "rows": new.numpy()}


@pytest.mark.parametrize("page", EXAMPLES)
def test_the_ten_lines_migrate_a_table_of_items(scope, page):
    section = (ROOT / page).read_text().split(EXAMPLES[page])[1].split("\n## ")[0]
    block, meanwhile = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert sum(map(bool, block.splitlines())) == 10
    before, after = block.split("migration.run()")
    exec(f"{before}migration.run(until=0.5)", scope)
    exec(meanwhile, scope)
    exec(f"migration.run(){after}", scope)
    assert len(scope["hits"]) == 10
    assert {hit.meta["lang"] for hit in scope["hits"]} == {"en"}
    assert {hit.part for hit in scope["hits"]} == {"old", "new"}
    store, query = scope["store"], read("query.png")
    assert store.journal().phase == "finalized"
    with torch.inference_mode():
        rows = np.concatenate([scope["rows"], scope["new_model"](read("new-1.png")[None]).numpy()])
        asked = scope["new_model"](query[None])[0].numpy()
    similar = rows @ asked / np.linalg.norm(rows, axis=1)
    hits = Searcher(store, scope["models"]).search("query.png", k=ITEMS + 1)
    names = [*(f"i{n}" for n in range(ITEMS)), "new-1"]
    assert [hit.id for hit in hits] == [names[n] for n in np.argsort(-similar)]
    store.close()


def test_the_commands_are_those_that_there_are():
    text = (ROOT / "docs/live.md").read_text()
    commands = [line.split("#")[0].split() for line in VERB.findall(text)]
    verbs = {parser().parse_args(command).verb for command in commands}
    known = {"init", "plan", "run", "status", "query", "verify", "finalize", "export", "doctor", "demo"}
    assert verbs == known | {"check", "history", "backup"}
    named = set(re.findall(r"\b(pause|resume|throttle|rollback)\b", "\n".join(re.findall(r"live .*#(.*)", text))))
    assert named == {"pause", "resume", "throttle", "rollback"}
