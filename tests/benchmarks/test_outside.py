"""What CONTRIBUTING says of a dataset, a backbone, an order and a merge rule: one file outside the package is enough.

A method is in test_axes, a metric in test_metrics, a store in `tests/helpers/memory_store.py`, on which the whole
contract of stores runs.
"""

import json
import sys

import numpy as np
import pytest
import yaml

from benchmarks import table
from benchmarks.page.gather import gather
from benchmarks.page.payload import payload
from compat.results import load_results
from tests.helpers.running import run

PARTS = '''
import numpy as np
import torch
from torch import nn
from torchvision.transforms.v2 import functional as F

from compat.data import LabelledImages, RetrievalData
from compat.merge import Merge, Scale
from compat.orders import Order


def plain(image):
    return F.to_dtype(F.to_image(image), torch.float32, scale=True)


class Stripes(RetrievalData):
    """Images of as many stripes as the number of their class, on noise."""

    def __init__(self, classes: int = 4, **options) -> None:
        super().__init__(**options)
        chance = np.random.default_rng(0)
        labels = np.arange(classes).repeat(6)
        images = chance.integers(0, 60, (len(labels), 12, 12, 3), dtype=np.uint8)
        for image, label in zip(images, labels):
            image[:: label + 2] += chance.integers(0, 40, dtype=np.uint8)
        half = np.arange(len(labels)) % 2 == 0
        train, gallery = (LabelledImages(images[rows], labels[rows], plain) for rows in (half, ~half))
        self.hold(train, gallery, augment=plain)


class Rows(nn.Module):
    """Means of rows: (B, 3, H, W) -> (B, width)."""

    def __init__(self, width: int = 5) -> None:
        super().__init__()
        self.layer = nn.Linear(12, width)

    def forward(self, images):
        return self.layer(images.mean((1, 3)))


class Backwards(Order):
    """The last item first."""

    def scores(self, given):
        return torch.arange(given.items, dtype=torch.float32)


class Halved(Merge):
    """Old distances count half."""

    needs = ("training distances",)

    def fit(self, given) -> None:
        self.scales = Scale([0, 2], [0, 1]), Scale([0, 2], [0, 2])
'''


@pytest.fixture
def outside(tmp_path, monkeypatch):
    (tmp_path / "my_parts.py").write_text(PARTS)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("my_parts", None)


def test_dataset_backbone_order_and_merge_rule_come_from_one_file(config, outside, tmp_path, capsys, monkeypatch):
    content = yaml.safe_load(config.read_text())
    content["data"] = {"class_path": "my_parts.Stripes", "init_args": {"classes": 4, "batch_size": 6}}
    for name in ("old", "new"):
        content[name]["model"]["backbone"] = {"class_path": "my_parts.Rows"}
    content["old"].pop("sees")
    content["replay"] = {
        "orders": 2,
        "progress": 4,
        "by": {"random": {"class_path": "compat.orders.Random"}, "backwards": {"class_path": "my_parts.Backwards"}},
        "merge": {"raw": {"class_path": "compat.merge.Raw"}, "halved": {"class_path": "my_parts.Halved"}},
    }
    config.write_text(yaml.safe_dump(content))
    run(config, "--only=independent")
    results = {(r.order, r.merge): r for r in load_results(tmp_path / "results" / "tiny")}
    assert results.keys() == {(o, m) for o in ("random", "backwards") for m in ("raw", "halved")}
    assert all(r.gallery_items == 12 for r in results.values())
    assert len({tuple(np.round(r.mean_ap, 6)) for r in results.values()}) == 4
    assert np.ptp(results["backwards", "raw"].mean_ap_orders, 0).max() == 0
    monkeypatch.setattr(sys, "argv", ["table", str(tmp_path / "results" / "tiny"), "--wide"])
    table.main()
    printed = capsys.readouterr().out
    assert "backwards" in printed
    assert "halved" in printed
    shown = json.dumps(payload(gather(tmp_path / "results", []))["rows"])
    assert "backwards" in shown
    assert "halved" in shown
