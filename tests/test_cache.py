"""Stages are computed once, and never read from a file that has changed."""

import pytest
import torch

from benchmarks.cache import Cache


class Stage:
    """Counts how often it is computed."""

    def __init__(self):
        self.count = 0

    def __call__(self, folder):
        self.count += 1
        return {"value": torch.arange(100.0), "count": torch.tensor(self.count)}


def test_a_stage_is_computed_once_for_its_inputs(tmp_path):
    make = Stage()
    first = Cache(tmp_path).get("stage", {"a": 1, "b": 2}, make)
    again = Cache(tmp_path).get("stage", {"b": 2, "a": 1}, make)
    other = Cache(tmp_path).get("stage", {"a": 1, "b": 3}, make)
    assert (first.tensors["count"], again.tensors["count"], other.tensors["count"]) == (1, 1, 2)
    assert first.key == again.key != other.key
    assert first.seconds == again.seconds


def truncate(path):
    path.write_bytes(path.read_bytes()[:-7])


def alter(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [truncate, alter, lambda path: path.unlink()])
@pytest.mark.parametrize("name", ["tensors.safetensors", "stage.json"])
def test_a_damaged_stage_is_computed_again(tmp_path, harm, name):
    make, cache = Stage(), Cache(tmp_path)
    cache.get("stage", {}, make)
    (file,) = tmp_path.glob(f"*/{name}")
    harm(file)
    if name == "stage.json" and not file.exists():
        assert cache.get("stage", {}, make).tensors["count"] == 2
        return
    with pytest.warns(UserWarning, match="damaged"):
        again = cache.get("stage", {}, make)
    assert again.tensors["count"] == 2
    assert torch.equal(again.tensors["value"], torch.arange(100.0))
    assert cache.get("stage", {}, make).tensors["count"] == 2


def test_a_stage_that_was_killed_leaves_nothing_to_be_used(tmp_path):
    def killed(folder):
        (folder / "unfinished").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Cache(tmp_path).get("stage", {}, killed)
    make = Stage()
    assert Cache(tmp_path).get("stage", {}, make).tensors["count"] == 1
