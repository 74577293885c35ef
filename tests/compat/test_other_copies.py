"""Copies of the data sets as they are found: PNGs, rows in another order, files beside, nested folders."""

import pickle
import warnings

import numpy as np
import pytest
import torch

from compat import Embeddings, backfill_curve
from compat.data import CIFAR100, ImageFolder, Market1501, Share
from compat.errors import InputError
from tests.helpers.layouts import save, write_cifar100, write_images, write_market1501


def shuffle(root):
    """Write the rows of both parts in another order, as a copy made from single images has them."""
    random = np.random.default_rng(1)
    for part in ("train", "test"):
        file = root / "cifar-100-python" / part
        content = pickle.loads(file.read_bytes())
        rows = random.permutation(len(content["fine_labels"]))
        content["data"], content["fine_labels"] = content["data"][rows], [content["fine_labels"][row] for row in rows]
        file.write_bytes(pickle.dumps(content))


def figures(data):
    """mAP and CMC@1 of the pixels as embeddings, which depend on the images alone."""
    images = data.gallery_images()
    rows = torch.stack([images[row].image.flatten() for row in range(len(images))])
    labels, groups = images.labels, images.groups
    curve = backfill_curve(Embeddings(rows, rows, rows, rows, labels, labels, groups, groups), range(len(rows)))
    return curve.mean_ap[0], curve.cmc[1][0]


def test_rows_in_another_order_are_refused_with_the_way_out_and_change_no_figure(tmp_path):
    root = write_cifar100(tmp_path)
    before = CIFAR100(str(root), verify=False)
    shuffle(root)
    with pytest.raises(InputError, match=r"^data.root: [^\n]*another checksum[^\n]*verify: false[^\n]*any order\)$"):
        CIFAR100(str(root))
    after = CIFAR100(str(root), verify=False)
    assert after.gallery_images().labels.tolist() != before.gallery_images().labels.tolist()
    assert figures(after) == pytest.approx(figures(before), abs=1e-12)
    assert after.class_names(Share(0.5)) == before.class_names(Share(0.5))


def test_a_folder_of_pngs_has_the_figures_of_the_pickles(tmp_path):
    pickles = CIFAR100(str(write_cifar100(tmp_path / "pickles")), verify=False)
    for split, images in (("train", pickles.train_images(augment=False)), ("test", pickles.gallery_images())):
        for row, (image, label) in enumerate(zip(images.images, images.labels, strict=True)):
            save(tmp_path / f"pngs/{split}/class_{int(label)}/{row}.png", image)
    pngs = CIFAR100(str(tmp_path / "pngs"), verify=False)
    assert figures(pngs) == pytest.approx(figures(pickles), abs=1e-12)
    assert pngs.class_names(Share()) == pickles.class_names(Share())
    with pytest.raises(InputError, match=r"^data.root: 24 training images in [^\n]*expected the protocol's 50,000"):
        CIFAR100(str(tmp_path / "pngs"))


@pytest.mark.parametrize("junk", [True, False])
def test_market_with_attributes_and_annotations_beside_is_the_same(tmp_path, junk):
    write_market1501(tmp_path)
    folder = tmp_path / "Market-1501-v15.09.15"
    before = Market1501(str(tmp_path), verify=False)
    (folder / "attribute").mkdir()
    for name in ("attribute/market_attribute.mat", "market_attribute.mat", "readme.txt"):
        (folder / name).write_bytes(b"not read")
    save(folder / "gt_bbox/0001_c1s1_000001_00.jpg", np.zeros((8, 4, 3), np.uint8))
    (folder / "gt_query").mkdir()
    (folder / "gt_query/0001_c1s1_000001_00_good.mat").write_bytes(b"not read")
    if not junk:
        for path in (folder / "bounding_box_test").glob("-1_*"):
            path.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        after = Market1501(str(tmp_path), verify=False)
    assert after.fingerprint() == before.fingerprint()


def test_attributes_among_market_s_images_are_left_out_with_a_warning(tmp_path):
    write_market1501(tmp_path)
    before = Market1501(str(tmp_path), verify=False)
    (tmp_path / "Market-1501-v15.09.15/query/market_attribute.mat").write_bytes(b"not read")
    with pytest.warns(UserWarning, match=r"1 files in .*query are left out \(1 .mat\), expected .jpg files"):
        after = Market1501(str(tmp_path), verify=False)
    assert after.fingerprint() == before.fingerprint()


def test_nested_class_folders_of_places_are_classes_or_one_line(tmp_path):
    names = ["abbey", "apartment_building/outdoor", "apartment_building/indoor"]
    for split, count in (("train", 2), ("val", 1)):
        write_images(tmp_path, split, names, count)
    nested = ImageFolder(str(tmp_path), image_size=8, nested=True)
    assert nested.class_names(Share()) == sorted(names)
    with pytest.warns(UserWarning, match=r"class 'apartment_building' .* made of 2 folders.*data.nested: true"):
        merged = ImageFolder(str(tmp_path), image_size=8)
    assert merged.class_names(Share()) == ["abbey", "apartment_building"]
    letters = tmp_path / "by_letter"
    for split, count in (("train", 2), ("val", 1)):
        write_images(letters, split, ["a/abbey", "a/alley", "b/bar"], count)
    assert ImageFolder(str(letters), image_size=8, nested=True).class_names(Share()) == ["a/abbey", "a/alley", "b/bar"]
