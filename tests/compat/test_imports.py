"""Imports load what they need and no more, each seen in a fresh interpreter."""

import json
import subprocess
import sys

import pytest
import torch

import compat
from compat.lazy import on_first_use
from compat.live import store

TRAINING = {"pytorch_lightning", "torchvision", "torchmetrics", "timm", "sklearn", "matplotlib", "pandas"}
SEEN = """
import json, resource, sys
print(json.dumps([sorted(sys.modules), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024]))
"""
CLOSED_FORM = """
import torch, compat
from compat.methods import Affine, Pair, Procrustes, QueryDrift, Slerp
from compat.models import Precomputed
old, new, labels = torch.randn(40, 4), torch.randn(40, 6), torch.arange(40) % 4
plain = compat.Embeddings(old, new, old, new, labels, labels, range(40), range(40))
for kind in (Affine, Procrustes, QueryDrift, Slerp):
    method = kind(Precomputed(4), Precomputed(6)).eval()
    method.solve(Pair(old, new, labels))
    restored = kind(Precomputed(4), Precomputed(6)).eval()
    restored.restore(method.heads())
    found, expected = compat.serve(restored, plain), compat.serve(method, plain)
    torch.testing.assert_close(found.query_old, expected.query_old)
    compat.backfill_curve(found, range(40))
"""


def loaded(code):
    """The modules that an interpreter has loaded after some code, and its peak memory in MiB (of Linux's unit)."""
    run = subprocess.run([sys.executable, "-c", code + SEEN], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    modules, memory = json.loads(run.stdout)
    return set(modules), memory


def test_a_live_worker_and_searcher_load_little():
    modules, memory = loaded("import compat.live.worker, compat.live.searcher")
    assert not modules & TRAINING
    assert len(modules) < 2000
    if sys.platform == "linux" and torch.version.cuda is None:  # CUDA's libraries alone take more
        assert memory < 600


def test_a_curve_and_the_names_of_all_methods_load_no_lightning():
    modules, _ = loaded("import compat.methods, compat.backfill, compat.orders, compat.merge, compat.models")
    assert "compat.methods.upgrade" not in modules
    assert not modules & TRAINING


def test_heads_of_closed_form_are_solved_stored_and_served_without_lightning():
    assert not loaded(CLOSED_FORM)[0] & TRAINING


def test_the_package_itself_loads_no_torch():
    modules, _ = loaded("import compat, compat.methods, compat.data, compat.live, compat.experience\ndir(compat)")
    assert "torch" not in modules


@pytest.mark.parametrize("package", ["compat", "compat.methods", "compat.data", "compat.experience", "compat.live"])
def test_every_name_on_offer_is_there(package):
    module = sys.modules.get(package) or __import__(package, fromlist=["_"])
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name) is not None
    assert set(module.PLACES) == set(module.__all__) - {"__version__"}


def test_another_name_is_refused_as_python_does():
    with pytest.raises(AttributeError, match="module 'compat' has no attribute 'nothing'"):
        _ = compat.nothing
    find, _ = on_first_use("compat", {"missing": "nowhere"})
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        find("missing")


def test_open_store_is_found_under_its_earlier_path():
    from compat.live.open import open_store
    from compat.live.store import open_store as earlier

    assert earlier is open_store
    with pytest.raises(AttributeError, match=r"module 'compat\.live\.store' has no attribute 'nothing'"):
        _ = store.nothing
