"""What the tests share: small images on disk, a tiny backbone, and one thread."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from filelock import FileLock

from compat import backfill_curve
from compat.results import collect
from tests.helpers.layouts import write_images
from tests.helpers.running import TINY
from tests.helpers.spaces import random_embeddings
from tests.helpers.toy import RESULT, labelled

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = (
    "1"  # of the processes that tests start too, as it is part of what identifies a training
)


@pytest.fixture(scope="session", autouse=True)
def compiled(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Of several processes that test, the first compiles the engine's loops and the others load them."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        with FileLock(tmp_path_factory.getbasetemp().parent / "compiling.lock"):
            for distance in ("cosine", "l2"):
                backfill_curve(random_embeddings(0), range(30), 3, distance=distance, backend="numba")


@pytest.fixture
def image_root(tmp_path: Path) -> Path:
    """Twelve classes named by numbers, so that their numeric and their lexicographic order differ."""
    names = [str(number) for number in range(12)]
    write_images(tmp_path / "images", "train", names, 6)
    write_images(tmp_path / "images", "val", names, 3)
    return tmp_path / "images"


@pytest.fixture
def config(tmp_path: Path, image_root: Path) -> Path:
    """A benchmark of a second, written to a file."""
    content = {
        "name": "tiny",
        "data": {
            "class_path": "compat.data.ImageFolder",
            "init_args": {"root": str(image_root), "image_size": 12, "batch_size": 24},
        },
        "old": {**TINY, "sees": {"classes": 0.5}},
        "new": {**TINY, "model": {**TINY["model"], "embed_dim": 7}},
        "heads": {"trainer": {**TINY["trainer"], "max_epochs": 3}, "batch_size": 16},
        "methods": {
            "independent": {"class_path": "compat.methods.Upgrade"},
            "rqt": {"class_path": "compat.methods.ReverseQuery", "init_args": {"hidden": 8}},
            "rqt_mcl_rho": {
                "class_path": "compat.methods.ReverseQuery",
                "init_args": {"hidden": 8, "mcl": "joint", "rho": True},
            },
        },
        "replay": {"orders": 2},
        "runs": str(tmp_path / "runs"),
        "results": str(tmp_path / "results"),
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def sequence(tmp_path):
    """Two methods in a sequence: the first upgrade, the second after it and the second from its half on."""
    old, middle, newest = RESULT.old, RESULT.new, {"mean_ap": 0.8, "cmc_1": 0.9, "cmc_5": 1.0}
    for name, starts_at, systems in (
        ("first", 0.0, (old, middle)),
        ("second_from_0.5", 0.5, (old, newest)),
        ("second_from_1", 1.0, (middle, newest)),
    ):
        result = replace(RESULT, starts_at=starts_at, old=systems[0], new=systems[1])
        collect(tmp_path / "toy", [labelled(result, upgrade=name, method=method) for method in ("rqt", "independent")])
    return tmp_path / "toy"
