"""Which images are in a batch, and in which process."""

from collections import Counter
from itertools import chain
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from compat.data import Digits, LabelledImages, RetrievalData, Share
from compat.data.samplers import IdentityBatches
from compat.errors import InputError


def labels_of(*sizes):
    """So many images of class 0, of class 1, ..., in random order."""
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]


def classes_of(batch, labels):
    return set(labels[batch].tolist())


@settings(max_examples=80, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=6, max_size=10),
    classes=st.integers(1, 3),
    each=st.integers(1, 4),
    world=st.integers(1, 2),
    seed=st.integers(0, 10**6),
)
def test_each_batch_has_p_different_classes_with_k_images_each(sizes, classes, each, world, seed):
    labels = labels_of(*sizes)
    for rank in range(world):
        batches = list(IdentityBatches(labels, classes * each, each, seed, rank, world))
        assert batches
        for batch in batches:
            counts = Counter(labels[batch].tolist())
            assert counts == dict.fromkeys(counts, each)
            assert len(counts) == classes


def test_a_class_of_few_images_is_filled_with_its_own():
    labels = torch.tensor([0, 0, 0, 1, 2, 2])
    (batch,) = IdentityBatches(labels, 12, 4, seed=0)
    assert Counter(labels[batch].tolist()) == {0: 4, 1: 4, 2: 4}
    assert set(batch) == set(range(6))


def test_no_image_comes_twice_where_k_divides_every_class():
    labels = labels_of(8, 4, 12, 8, 4)
    seen = Counter(chain(*IdentityBatches(labels, 8, 4, seed=0)))
    assert set(seen.values()) == {1}


def test_batches_follow_the_seed_alone():
    labels = labels_of(*[6] * 8)
    batches = IdentityBatches(labels, 8, 2, seed=3)
    assert list(batches) == list(batches) == list(IdentityBatches(labels, 8, 2, seed=3))
    assert list(batches) != list(IdentityBatches(labels, 8, 2, seed=4))
    assert len(batches) == len(list(batches))


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("sizes", [[6] * 12, [5, 1, 9, 4, 4, 30, 2, 7, 3, 8]])
def test_processes_share_the_batches_of_one_that_is_as_large_as_all(world, sizes):
    """No class is in two processes at a step, and each group of images is in one of them."""
    labels = labels_of(*sizes)
    ranks = [IdentityBatches(labels, 6, 2, seed=5, rank=rank, world=world) for rank in range(world)]
    whole = list(IdentityBatches(labels, 6 * world, 2, seed=5))
    assert {len(batches) for batches in ranks} == {len(whole)}
    for step, together in enumerate(zip(*ranks, strict=True)):
        assert list(chain(*together)) == whole[step]
        assert len(set.union(*(classes_of(batch, labels) for batch in together))) == 3 * world


@pytest.mark.parametrize("world", [1, 2, 3])
def test_nearly_all_images_are_seen_in_an_epoch(world):
    """All but those of the groups that do not make up a last batch, where the classes are equally large."""
    labels = labels_of(*[18] * 30)
    seen = [
        set(chain(*(chain(*IdentityBatches(labels, 16, 4, seed, rank, world)) for rank in range(world))))
        for seed in range(5)
    ]
    assert min(map(len, seen)) > len(labels) - 4 * 4 * world
    assert set.union(*seen) == set(range(len(labels)))


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=6, max_size=12),
    classes=st.integers(1, 3),
    each=st.integers(1, 4),
    world=st.integers(1, 2),
    seed=st.integers(0, 10**6),
)
def test_an_epoch_has_as_many_batches_as_the_classes_allow(sizes, classes, each, world, seed):
    """The same number for every seed: each class gives a batch one group at most."""
    groups, together = [-(-size // each) for size in sizes], classes * world
    possible = [n for n in range(sum(groups) + 1) if sum(min(count, n) for count in groups) >= n * together]
    assert len(IdentityBatches(labels_of(*sizes), classes * each, each, seed, world - 1, world)) == max(possible)


@pytest.mark.parametrize(
    ("batch_size", "each", "world", "classes", "enough"),
    [(8, 2, 1, 2, 4), (12, 2, 1, 5, 3), (8, 2, 2, 4, 4), (24, 1, 3, 18, 4), (64, 4, 1, 3, 32)],
)
def test_too_few_classes_need_more_images_of_each(batch_size, each, world, classes, enough):
    labels = labels_of(*[6] * classes)
    counts = f"so a batch has {batch_size // each * world} classes, but there are {classes}"
    message = f"data.images_per_class: {each}, {counts}; expected at least {enough}"
    with pytest.raises(InputError, match=message):
        IdentityBatches(labels, batch_size, each, 0, 0, world)
    assert len(IdentityBatches(labels, batch_size, enough, 0, 0, world)) > 0


@pytest.mark.parametrize("each", [0, -2, 3, 16])
def test_images_per_class_divides_the_batch_size(each):
    with pytest.raises(InputError, match=f"data.images_per_class: {each}, expected a divisor of batch_size 8"):
        Digits(batch_size=8, images_per_class=each)


def numbered(train: int, gallery: int, query: int | None = None, **options: Any) -> RetrievalData:
    """Images of a single pixel whose group is their number, of three classes in turn."""

    def images(count: int) -> LabelledImages:
        rows = np.zeros((count, 1, 1), np.uint8)
        return LabelledImages(rows, np.arange(count) % 3, lambda image: torch.zeros(3, 1, 1))

    data = RetrievalData(**options)
    queries = None if query is None else images(query)
    data.hold(images(train), images(gallery), lambda image: torch.ones(3, 1, 1), queries)
    return data


def in_process(data: Any, rank: int, world: int, epoch: int = 0) -> Any:
    trainer: Any = SimpleNamespace(current_epoch=epoch, global_rank=rank, world_size=world)
    data.trainer = trainer
    return data


def groups(loader):
    return [batch.group.tolist() for batch in loader]


@pytest.mark.parametrize("sees", [Share(0.5), Share()])
@pytest.mark.parametrize("count", [24, 31, 43])
@pytest.mark.parametrize("world", [2, 3])
def test_processes_together_see_every_training_image_of_the_part(world, count, sees):
    data = numbered(count, 5, batch_size=4)
    training = data.training(sees, 7)
    loaded = [groups(in_process(training, rank, world).train_dataloader()) for rank in range(world)]
    assert len({len(batches) for batches in loaded}) == 1
    seen = Counter(chain(*chain(*loaded)))
    assert sorted(seen) == list(range(len(data.rows(sees))))
    assert seen.total() < len(seen) + world  # some are seen twice where the count does not divide


def test_the_order_among_processes_follows_seed_and_epoch():
    data = numbered(30, 5, batch_size=4)

    def order(seed, epoch):
        loader = in_process(data.training(Share(), seed), 1, 2, epoch).train_dataloader()
        once = groups(loader)
        assert groups(loader) == once
        return once

    assert order(0, 0) == order(0, 0)
    assert len({str(order(*which)) for which in ((0, 0), (1, 0), (0, 1))}) == 3


@pytest.mark.parametrize(("count", "world", "batches"), [(9, 1, [4, 4]), (8, 1, [4, 4]), (10, 2, [4]), (7, 2, [4])])
def test_no_batch_has_a_single_image(count, world, batches):
    """Batch normalisation cannot train on one."""
    data = numbered(count, 5, batch_size=4).training(Share(), 0)
    for rank in range(world):
        assert [len(batch) for batch in groups(in_process(data, rank, world).train_dataloader())] == batches


@pytest.mark.parametrize("world", [1, 2])
def test_the_loader_balances_identities(world):
    data = Digits(batch_size=8, images_per_class=2).training(Share((0.2, 1.0)), 0)
    steps = list(zip(*(in_process(data, rank, world).train_dataloader() for rank in range(world)), strict=True))
    assert len(steps) > 40
    for together in steps[:5]:
        counts = Counter(torch.cat([batch.label for batch in together]).tolist())
        assert counts == dict.fromkeys(counts, 2)
        assert len(counts) == 4 * world
        assert set(counts) <= set(range(8))


def test_balanced_batches_change_with_the_epoch():
    data = Digits(batch_size=8, images_per_class=2).training(Share(), 0)
    first, again, second = (groups(in_process(data, 0, 1, epoch).train_dataloader()) for epoch in (0, 0, 1))
    assert first == again != second


@pytest.mark.parametrize("world", [1, 2, 3, 4])
@pytest.mark.parametrize("counts", [(12, 12, 12), (13, 7, 5), (3, 2, 1)])
def test_each_process_extracts_a_run_of_the_rows(world, counts):
    """Nothing is lost or doubled, also where there are fewer images than processes."""
    data = numbered(*counts, batch_size=2)
    loaders = [in_process(data, rank, world).predict_dataloader() for rank in range(world)]
    for split, count in zip(zip(*loaders, strict=True), counts, strict=True):
        runs = [list(chain(*groups(loader))) for loader in split]
        assert list(chain(*runs)) == list(range(count))
        assert max(map(len, runs)) - min(map(len, runs)) <= 1


def test_queries_that_are_the_gallery_are_extracted_once():
    assert [len(loader.dataset) for loader in numbered(6, 4).predict_dataloader()] == [6, 4]  # type: ignore[arg-type]
