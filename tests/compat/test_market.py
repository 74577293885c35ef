"""Market-1501: its rules by hand, on small copies of its layout."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from compat import Embeddings, backfill_curve
from compat.data import (
    Market1501,
    Share,
)
from compat.errors import InputError
from tests.helpers.layouts import (
    save,
    write_market1501,
)


@pytest.fixture
def market(tmp_path):
    write_market1501(tmp_path)
    return Market1501(str(tmp_path), height=32, width=16, verify=False, batch_size=8, images_per_class=2)


def test_market_drops_junk_and_keeps_distractors(market):
    gallery, query = market.gallery_images(), market.query_images()
    assert sorted(gallery.labels.tolist()) == [0] * 5 + [1] * 4 + [3] * 4 + [4] * 4
    assert sorted(query.labels.tolist()) == [1, 1, 3, 3, 4, 4]
    assert not any("/-1_" in str(path) for path in gallery.images)
    assert market.train_images(augment=False).labels.bincount().tolist() == [6] * 4
    assert market.class_names(Share()) == ["2", "7", "10", "11"]
    assert market.class_names(Share(0.5)) == ["2", "7"]
    assert gallery[0].image.shape == market.train_images(augment=True)[0].image.shape == (3, 32, 16)


@pytest.mark.parametrize(("height", "pixels"), [(256, 10), (128, 5), (32, 1)])
def test_training_images_are_padded_in_proportion_to_their_height(height, pixels, tmp_path):
    write_market1501(tmp_path)
    data = Market1501(str(tmp_path), height=height, width=height // 2, erase=0, verify=False)
    augment, white = data.train_images(augment=True).transform, Image.new("RGB", (height // 2, height), "white")
    torch.manual_seed(0)
    bands = [int((augment(white)[0] < 0).all(1).sum()) for _ in range(60)]  # black rows above or below
    assert (min(bands), max(bands)) == (0, pixels)


def test_market_ignores_a_query_s_own_camera_for_its_own_identity_only(market):
    gallery, query = market.gallery_images(), market.query_images()
    for identity, group in zip(query.labels, query.groups, strict=True):
        ignored = (gallery.groups == group).nonzero().flatten()
        camera = int(group) - 10 * int(identity)
        names = sorted(str(gallery.images[index]) for index in ignored)
        assert all(f"/{identity:04d}_c{camera}" in name for name in names)
        assert len(names) == {1: 2, 2: 1}[camera]


def test_market_by_hand(tmp_path):
    """One query of identity 1 taken by camera 1. By distance: the same person by the same camera (ignored), a
    distractor, the person by camera 2, junk (not in the gallery), another person, the person by camera 3.
    So the ranking is distractor, hit, other, hit: AP = (1/2 + 2/4) / 2 = 0.5, first hit at rank 2."""
    folder = tmp_path / "Market-1501-v15.09.15"
    pixels = np.zeros((8, 4, 3), np.uint8)
    far = {"0001_c1s1_000001_00": 0, "0000_c2s1_000001_00": 1, "0001_c2s1_000001_00": 2, "-1_c2s1_000001_00": 3}
    far |= {"0005_c1s1_000001_00": 4, "0001_c3s1_000001_00": 5}
    for name in far:
        save(folder / "bounding_box_test" / f"{name}.jpg", pixels)
    save(folder / "query/0001_c1s1_000009_00.jpg", pixels)
    for camera in (1, 2):
        save(folder / f"bounding_box_train/0002_c{camera}s1_000001_00.jpg", pixels)
    data = Market1501(str(tmp_path), verify=False)
    query, gallery = data.query_images(), data.gallery_images()
    assert len(gallery) == 5
    angles = torch.tensor([far[str(path).split("/")[1].removesuffix(".jpg")] for path in gallery.images]) / 10
    items = torch.stack([angles.cos(), angles.sin()], 1)
    one = torch.tensor([[1.0, 0.0]])
    curve = backfill_curve(
        Embeddings(one, one, items, items, query.labels, gallery.labels, query.groups, gallery.groups),
        range(5),
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0],
        top_k=(1, 2),
    )
    assert curve.mean_ap.tolist() == [0.5] * 6
    assert (curve.cmc[1].tolist(), curve.cmc[2].tolist()) == ([0.0] * 6, [1.0] * 6)


def test_a_market_query_found_by_its_own_camera_only_is_skipped_and_counted(tmp_path):
    folder = tmp_path / "Market-1501-v15.09.15"
    pixels = np.zeros((8, 4, 3), np.uint8)
    for name in ("bounding_box_test/0001_c1s1_000001_00", "bounding_box_test/0003_c2s1_000001_00"):
        save(folder / f"{name}.jpg", pixels)
    for name in ("0001_c1s2_000009_00", "0003_c1s2_000009_00"):
        save(folder / f"query/{name}.jpg", pixels)
    for camera in (1, 2):
        save(folder / f"bounding_box_train/0002_c{camera}s1_000001_00.jpg", pixels)
    data = Market1501(str(tmp_path), verify=False)
    query, gallery = data.query_images(), data.gallery_images()
    rows = torch.eye(2)
    labels = (query.labels, gallery.labels, query.groups, gallery.groups)
    curve = backfill_curve(Embeddings(rows, rows, rows, rows, *labels), range(2))
    assert (curve.queries, curve.queries_without_positive) == (1, 1)


def test_names_that_end_in_jpg_twice_are_read(market):
    twice = [str(name) for data in (market.gallery_images(), market.query_images()) for name in data.images]
    twice = [name for name in twice if name.endswith(".jpg.jpg")]
    assert sorted(name.split("_c")[0] for name in twice) == [f"bounding_box_test/{i}" for i in ("0000", "0003")] + [
        "query/0003"
    ]
    assert market.query_images().unreadable() == []


@pytest.mark.parametrize("junk", [True, False])
def test_the_protocol_s_counts_are_those_without_junk(tmp_path, monkeypatch, junk):
    write_market1501(tmp_path)
    if not junk:
        for image in (tmp_path / "Market-1501-v15.09.15/bounding_box_test").glob("-1_*"):
            image.unlink()
    counted = {}
    monkeypatch.setattr("compat.data.market.check_counts", lambda root, counts: counted.update(counts))
    Market1501(str(tmp_path))
    assert sorted(expected for _, expected in counted.values()) == [751, 3_368, 12_936, 15_913]
    assert counted["images in bounding_box_test without identity -1"][0] == 17


@pytest.mark.parametrize(
    "name", ["0002_c1s1_1_3.jpg.jpg.jpg", "0002_c9s1_000451_03.jpg", "person.jpg", "0002c1s1_000451_03.jpg"]
)
def test_a_market_name_that_does_not_parse_is_named(name, tmp_path):
    write_market1501(tmp_path)
    save(tmp_path / "Market-1501-v15.09.15/query" / name, np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(InputError, match=f"query/{name} is not named as Market-1501's images"):
        Market1501(str(tmp_path), verify=False)


def test_market_s_batches_hold_a_few_images_of_each_identity(market):
    for batch in market.training(Share(), seed=0).train_dataloader():
        assert sorted(batch.label.bincount().tolist()) == [2] * 4


def test_an_empty_market_folder_is_refused(tmp_path):
    write_market1501(tmp_path)
    shutil.rmtree(tmp_path / "Market-1501-v15.09.15/query")
    (tmp_path / "Market-1501-v15.09.15/query").mkdir()
    with pytest.raises(InputError, match=r"no image in .*query"):
        Market1501(str(tmp_path), verify=False)
