"""What is searched and what is learned from: parts without an image, or without a class, in common."""

import pytest
import torch

from compat.data import Digits, DisjointQueries, FewerTraining, Share
from compat.errors import InputError
from compat.share import bounds_of


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits()


def test_each_image_is_either_a_query_or_an_item(digits):
    data, same = DisjointQueries(digits), DisjointQueries(digits, queries="same")
    query, gallery, whole = data.query_images(), data.gallery_images(), digits.gallery_images()
    assert torch.equal(torch.cat([query.groups, gallery.groups]).sort().values, whole.groups)
    counts = whole.labels.bincount()
    assert torch.equal(query.labels.bincount(), counts // 2)
    assert torch.equal(gallery.labels.bincount(), (counts + 1) // 2)
    assert torch.equal(query[3].image, whole[int(query.groups[3])].image)
    assert data.train_images(augment=False).fingerprint == digits.train_images(augment=False).fingerprint
    assert same.query_images() is same.gallery_images()
    assert same.gallery_images().fingerprint == gallery.fingerprint
    with pytest.raises(InputError, match=r"data.data: DisjointQueries has queries of its own, expected a dataset"):
        DisjointQueries(data)


def test_the_classes_searched_may_be_others_than_those_learned():
    data = Digits(gallery_classes=(0.5, 1.0))
    assert data.gallery_images().labels.unique().tolist() == [5, 6, 7, 8, 9]
    assert data.query_images() is data.gallery_images()
    assert data.train_images(augment=False).labels.unique().tolist() == list(range(10))
    assert data.fingerprint()[0] == Digits().fingerprint()[0]
    assert Digits(gallery_classes=0.2).gallery_images().labels.unique().tolist() == [0, 1]


@pytest.mark.parametrize("share", [0.0, 1.5, (0.5, 0.2), (0.1,)])
def test_classes_out_of_range_are_refused(share):
    with pytest.raises(InputError, match=r"data.gallery_classes: .*, expected a share in \(0, 1\] or a pair of shares"):
        Digits(gallery_classes=share)


def test_two_ranges_of_images_have_none_in_common(digits):
    labels = digits.train_images(augment=False).labels
    first, second, whole = (digits.rows(Share(images=images)) for images in ((0, 0.5), (0.5, 1.0), 1.0))
    assert torch.equal(torch.cat([first, second]).sort().values, whole)
    assert torch.equal(first, digits.rows(Share(images=0.5)))
    for part in (first, second):
        assert (2 * labels[part].bincount() - labels.bincount()).abs().max() <= 1
    with pytest.raises(InputError, match=r"sees.images: \(0.5, 0.501\) of the \d+ images of class '\d' is none"):
        digits.rows(Share(images=(0.5, 0.501)))


def test_bounds_of_a_share():
    assert (bounds_of(0.3), bounds_of((0.3, 1))) == ((0.0, 0.3), (0.3, 1))


def test_fewer_training_images_leave_what_is_searched(digits):
    few = FewerTraining(digits, train_per_class=7)
    train, whole = few.train_images(augment=False), digits.train_images(augment=False)
    assert train.labels.bincount().tolist() == [7] * 10
    assert train.groups.tolist() == list(range(70))
    assert {image.tobytes() for image in train.images} <= {image.tobytes() for image in whole.images}
    assert few.gallery_images() is digits.gallery_images()
    assert few.query_images() is few.gallery_images()
    assert few.fingerprint()[1:] == digits.fingerprint()[1:]
    assert few.fingerprint() == FewerTraining(digits, train_per_class=7).fingerprint()
    assert few.class_names(Share(0.5)) == digits.class_names(Share(0.5))
    everything = FewerTraining(digits, train_per_class=10_000)
    assert everything.fingerprint() == digits.fingerprint()
    apart = FewerTraining(DisjointQueries(digits), train_per_class=7)
    assert torch.equal(apart.query_images().groups, DisjointQueries(digits).query_images().groups)
    with pytest.raises(InputError, match=r"^data.train_per_class: 1, expected at least 2$"):
        FewerTraining(digits, train_per_class=1)
