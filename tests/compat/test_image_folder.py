"""The datasets, on folders that the tests make."""

from collections import Counter

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from compat.data import Digits, ImageFolder, Share
from compat.errors import InputError
from tests.helpers.layouts import write_images


def test_digits_are_shown_at_32_pixels_and_split_by_class():
    data = Digits()
    image, label, group = data.gallery_images()[3]
    assert image.shape == (3, 32, 32)
    assert group == 3
    assert 0 <= label < 10
    train, gallery = data.train_images(False).labels, data.gallery_images().labels
    assert len(train) + len(gallery) == 1797
    assert all(abs(int((train == c).sum()) - int((gallery == c).sum())) <= 1 for c in range(10))


def test_first_classes_are_so_by_number(image_root):
    data, old = ImageFolder(str(image_root), image_size=8), Share(0.25)
    names = [data.train_images(False).images[i].split("/")[1] for i in data.rows(old).tolist()]
    assert set(names) == {"0", "1", "2"}
    assert data.num_classes(old) == 3
    assert data.num_classes(Share()) == 12
    assert len(data.rows(Share())) == 72


def test_a_share_of_the_images_is_drawn_from_every_class(image_root):
    data, half = ImageFolder(str(image_root), image_size=8), Share(images=0.5)
    labels = data.train_images(False).labels[data.rows(half)]
    assert Counter(labels.tolist()) == dict.fromkeys(range(12), 3)
    assert data.rows(half).tolist() == data.rows(half).tolist()


def test_queries_are_the_gallery_and_ignore_themselves(image_root):
    data = ImageFolder(str(image_root), image_size=8)
    assert data.query_images() is data.gallery_images()
    assert data.gallery_images().groups.tolist() == list(range(36))


def test_validation_classes_that_training_lacks_get_labels_of_their_own(tmp_path):
    write_images(tmp_path, "train", ["cat", "dog"], 2)
    write_images(tmp_path, "val", ["ant", "dog"], 2)
    assert ImageFolder(str(tmp_path), image_size=8).gallery_images().labels.tolist() == [1, 1, 2, 2]


def test_the_loader_yields_samples_in_an_order_of_seed_and_epoch_alone(image_root):
    def labels(seed):
        data = ImageFolder(str(image_root), image_size=8, batch_size=36)
        return torch.cat([batch.label for batch in data.training(Share(), seed).train_dataloader()]).tolist()

    assert labels(1) == labels(1) != labels(2)


def test_the_fingerprint_follows_the_content_not_the_place(image_root, tmp_path):
    before = ImageFolder(str(image_root)).fingerprint()
    moved = image_root.rename(tmp_path / "elsewhere")
    assert ImageFolder(str(moved)).fingerprint() == before
    Image.new("RGB", (20, 20)).save(moved / "val" / "3" / "3_0.png")
    after = ImageFolder(str(moved)).fingerprint()
    assert (after[0] == before[0], after[2] == before[2]) == (True, False)


@pytest.mark.parametrize("share", [0.0, -0.5, 1.5])
@pytest.mark.parametrize("name", ["classes", "images"])
def test_shares_are_fractions(name, share):
    with pytest.raises(InputError, match=rf"sees.{name}: {share}, expected a share in \(0, 1\]"):
        Share(**{name: share})


def test_a_missing_or_wrong_layout_says_the_expected_one(tmp_path, image_root):
    layout = r"expected .*train/<class>/\* and .*val/<class>/\*"
    with pytest.raises(InputError, match=rf"data.root: no folder .*nowhere/train; {layout}"):
        ImageFolder(str(tmp_path / "nowhere"))
    (tmp_path / "flat" / "train").mkdir(parents=True)
    with pytest.raises(InputError, match=rf"data.root: no class folder in .*flat/train; {layout}"):
        ImageFolder(str(tmp_path / "flat"))
    (image_root / "val" / "empty").mkdir()
    with pytest.raises(InputError, match=rf"data.root: no image in .*val/empty; {layout}"):
        ImageFolder(str(image_root))


def test_a_training_class_needs_two_images(tmp_path):
    write_images(tmp_path, "train", ["pair"], 2)
    write_images(tmp_path, "train", ["alone"], 1)
    write_images(tmp_path, "val", ["pair"], 2)
    with pytest.raises(InputError, match=r"data.root: class 'alone' has a single image .*expected at least 2"):
        ImageFolder(str(tmp_path))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_named(image_root, workers):
    (image_root / "val" / "3" / "3_1.png").write_bytes(b"no image")
    data = ImageFolder(str(image_root), image_size=8, num_workers=workers)
    loader = DataLoader(data.gallery_images(), batch_size=8, num_workers=workers)
    with pytest.raises(InputError, match=r"data: cannot read the image .*val/3/3_1.png"):
        list(loader)
