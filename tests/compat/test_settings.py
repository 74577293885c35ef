"""Which classes and images each model sees, and what happens with images that cannot be decoded."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from compat import Embeddings, backfill_curve, backfill_order
from compat.data import Digits, ImageFolder, RetrievalData, Share
from compat.errors import InputError


@pytest.fixture(params=["digits", "folder"])
def dataset(request, image_root):
    """A dataset of 10 or 12 classes, to be made with options."""

    def make(**options: Any) -> RetrievalData:
        return Digits(**options) if request.param == "digits" else ImageFolder(str(image_root), 8, **options)

    return make


def seen(data: RetrievalData, sees: Share) -> Counter[int]:
    """How many images of each class a model is trained on."""
    return Counter(data.train_images(False).labels[data.rows(sees)].tolist())


def whole(data: RetrievalData) -> Counter[int]:
    return Counter(data.train_images(False).labels.tolist())


def test_the_first_half_of_the_classes_is_so_by_number(image_root):
    data, half = ImageFolder(str(image_root), image_size=8), Share(0.5)
    files = [str(data.train_images(False).images[row]) for row in data.rows(half).tolist()]
    assert Counter(file.split("/")[1] for file in files) == dict.fromkeys("012345", 6)
    assert data.class_names(half) == list("012345")


def test_a_pair_of_shares_is_the_classes_between(dataset):
    data, first, rest = dataset(), Share(0.3), Share((0.3, 1.0))
    old, new = data.rows(first).tolist(), data.rows(rest).tolist()
    assert not set(old) & set(new)
    assert sorted(old + new) == list(range(len(data.train_images(False))))
    total = len(whole(data))
    assert list(data.classes(first)) == list(range(round(0.3 * total)))
    assert list(data.classes(rest)) == list(range(round(0.3 * total), total))


@pytest.mark.parametrize("cut", [0.15, 0.25, 0.35, 0.45, 0.75, 0.85])
def test_shares_that_meet_leave_no_class_out_and_take_none_twice(dataset, cut):
    """Also where rounding has to choose."""
    data, first, rest = dataset(), Share(cut), Share((cut, 1.0))
    assert seen(data, first) + seen(data, rest) == whole(data)
    assert data.num_classes(first) + data.num_classes(rest) == len(whole(data))


def test_a_pair_may_lie_in_the_middle(dataset):
    data, between = dataset(), Share((0.25, 0.5))
    middle = {10: [2, 3, 4], 12: [3, 4, 5]}[len(whole(data))]
    assert sorted(seen(data, between)) == list(data.classes(between)) == middle


def test_by_default_all_is_seen(dataset):
    data = dataset()
    assert data.rows(Share()).tolist() == list(range(len(data.train_images(False))))
    assert data.num_classes(Share()) == len(whole(data)) == len(data.class_names(Share()))


@pytest.mark.parametrize("share", [0.3, 0.5, 1.0])
def test_a_share_of_the_images_is_so_in_each_class(dataset, share):
    data, some = dataset(), Share(images=share)
    assert seen(data, some) == {label: round(share * count) for label, count in whole(data).items()}
    indices = data.rows(some).tolist()
    assert indices == sorted(set(indices))


def test_a_share_of_the_images_is_the_same_every_time_and_not_the_first_ones(dataset):
    first, second = (dataset() for _ in range(2))
    half = Share(images=0.5)
    assert first.rows(half).tolist() == second.rows(half).tolist()
    first.training(half, seed=5)
    assert first.rows(half).tolist() == second.rows(half).tolist()
    labels = first.train_images(False).labels
    heads = [(labels == label).nonzero().flatten()[:count] for label, count in seen(first, half).items()]
    assert first.rows(half).tolist() != torch.cat(heads).sort().values.tolist()


def test_a_share_that_leaves_a_class_without_images_names_it(image_root):
    (image_root / "train" / "0").rename(image_root / "train" / "first")
    for name in range(1, 12):
        (image_root / "train" / f"{name}").rename(image_root / "train" / f"name {name:02}")
    data = ImageFolder(str(image_root), image_size=8)
    with pytest.raises(InputError, match=r"sees.images: 0.05 of the 6 images of class '?first'? is none"):
        data.rows(Share(images=0.05))


def test_a_class_without_a_name_is_named_by_its_index():
    with pytest.raises(InputError, match=r"sees.images: 0.004 of the \d\d images of class '?0'? is none, expected"):
        Digits().rows(Share(images=0.004))


@pytest.mark.parametrize("share", [0.04, (0.51, 0.54)])
def test_a_share_that_leaves_no_class_says_so(dataset, share):
    with pytest.raises(InputError, match=r"sees.classes: .* of 1[02] classes is none, expected a greater share"):
        dataset().rows(Share(share))


WRONG_CLASSES = [(0.5, 0.2), (0.5, 0.5), (0, 1.2), (-0.1, 0.5), (0, float("nan")), 1.2, -0.5, 0]


@pytest.mark.parametrize(
    ("name", "share"),
    [*(("classes", share) for share in WRONG_CLASSES), *(("images", share) for share in (-0.5, 1.2, 0))],
)
def test_wrong_shares_name_the_field(name, share):
    with pytest.raises(InputError) as caught:
        Share(**{name: share})
    assert str(caught.value).startswith(f"sees.{name}: {share}, expected a share in (0, 1]")


@pytest.mark.parametrize("images_per_class", [None, 2])
def test_labels_in_training_start_at_zero(dataset, images_per_class):
    data, rest = dataset(batch_size=8, images_per_class=images_per_class), Share((0.5, 1.0))
    training = data.training(rest, 0)
    batches = list(training.train_dataloader())
    labels, groups = (torch.cat([getattr(batch, name) for batch in batches]) for name in ("label", "group"))
    assert sorted(set(labels.tolist())) == list(range(data.num_classes(rest)))
    assert training.num_classes == data.num_classes(rest) == len(whole(data)) // 2
    images = data.train_images(False)
    assert torch.equal(labels + data.classes(rest).start, images.labels[data.rows(rest)[groups]])
    assert len(whole(data)) == data.num_classes(Share())  # what is extracted keeps its labels


def test_names_of_the_classes_follow_their_numbers(image_root):
    data = ImageFolder(str(image_root), image_size=8)
    assert data.class_names(Share((0.2, 0.5))) == ["2", "3", "4", "5"]
    assert data.class_names(Share((0.5, 1.0))) == ["6", "7", "8", "9", "10", "11"]
    assert data.class_names(Share()) == [str(number) for number in range(12)]
    assert Digits().class_names(Share(0.3)) == ["0", "1", "2"]


def test_words_order_the_classes_where_one_name_is_no_number(image_root):
    for split in ("train", "val"):
        (image_root / split / "3").rename(image_root / split / "cat")
    data = ImageFolder(str(image_root), image_size=8)
    assert data.class_names(Share(0.25)) == ["0", "1", "10"]
    assert data.class_names(Share())[-1] == "cat"


def truncated(root: Path, name: str) -> str:
    """Cut an image's file in half, as PNG or JPEG; its name."""
    path = root / name
    if path.suffix == ".jpg":
        Image.open(path.with_suffix(".png")).resize((64, 64)).save(path)
        path.with_suffix(".png").unlink()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return name


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("split", ["train", "val"])
def test_a_truncated_image_stops_where_it_is_met(image_root, split, suffix):
    name = truncated(image_root, f"{split}/3/3_1.{suffix}")
    data = ImageFolder(str(image_root), image_size=8, on_error="raise")
    images = data.train_images(False) if split == "train" else data.gallery_images()
    with pytest.raises(InputError, match=rf"^data: cannot read the image \S*{name} \(.*; expected") as caught:
        [images[row] for row in range(len(images))]
    assert "\n" not in str(caught.value)
    assert data.skipped == []


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_truncated_images_may_be_left_out(image_root, suffix):
    plain = ImageFolder(str(image_root), image_size=8)
    names = [truncated(image_root, f"{place}.{suffix}") for place in ("train/5/5_0", "val/3/3_1", "val/11/11_2")]
    data = ImageFolder(str(image_root), image_size=8, on_error="skip")
    assert sorted(data.skipped) == sorted(names)
    assert Counter(whole(data)) == Counter(whole(plain)) - Counter([5])
    before, after = plain.gallery_images(), data.gallery_images()
    kept = [row for row in range(36) if row not in (10, 35)]
    assert after.groups.tolist() == kept
    assert after.labels.tolist() == before.labels[kept].tolist()
    assert [str(name) for name in after.images] == [str(before.images[row]) for row in kept]
    for row in range(34):
        torch.testing.assert_close(after[row].image, before[kept[row]].image)


def test_without_unreadable_images_nothing_is_left_out(image_root):
    data = ImageFolder(str(image_root), image_size=8, on_error="skip")
    assert data.skipped == []
    assert (len(data.train_images(False)), len(data.gallery_images())) == (72, 36)
    assert data.fingerprint() == ImageFolder(str(image_root), image_size=8).fingerprint()


def test_a_gallery_with_an_image_left_out_still_evaluates(image_root):
    """Each query ignores itself alone: its own row, though the rows are not the groups any more."""
    truncated(image_root, "val/0/0_0.png")
    data = ImageFolder(str(image_root), image_size=8, on_error="skip")
    assert sum(len(batch.label) for batch in data.training(Share(), 0).train_dataloader()) == 72
    train, gallery = (torch.cat([batch.image.flatten(1) for batch in split]) for split in data.predict_dataloader())
    assert (len(train), len(gallery)) == (72, 35)
    images, queries = data.gallery_images(), data.query_images()
    e = Embeddings(gallery, gallery, gallery, gallery, queries.labels, images.labels, queries.groups, images.groups)
    curve = backfill_curve(e, backfill_order(35, 0), 3)
    others = ~np.eye(35, dtype=bool)
    space = gallery.double().numpy()
    space /= np.linalg.norm(space, axis=1, keepdims=True)
    labels = images.labels.numpy()
    nearest = np.where(others, space @ space.T, -2).argmax(1)
    assert curve.queries == 35
    assert curve.cmc[1][0] == pytest.approx((labels[nearest] == labels).mean())


def test_queries_of_their_own_are_checked_too(image_root):
    truncated(image_root, "val/4/4_2.png")
    folder = ImageFolder(str(image_root), image_size=8)
    data = RetrievalData(on_error="skip")
    train, val = folder.train_images(False), folder.gallery_images()
    data.hold(train, train, train.transform, query=val)
    assert data.skipped == ["val/4/4_2.png"]
    assert (len(data.query_images()), len(data.gallery_images())) == (35, 72)
