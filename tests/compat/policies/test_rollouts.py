"""Episodes on disk."""

import numpy as np
import pytest

from compat.errors import InputError
from compat.policies import FEATURES, OVERALL, read, record, rollout
from tests.helpers.environments import any_open, environment


def test_what_is_recorded_is_read_back(tmp_path):
    env = environment(cells=60, levels=3)  # episodes of another length each
    recorded = record(env, any_open(), (3, 5, 4), tmp_path / "episodes.npz")
    found = read(tmp_path / "episodes.npz")
    assert [one.seed for one in found] == [3, 5, 4]
    assert len({len(one.actions) for one in found}) > 1
    for one, other in zip(recorded, found, strict=True):
        assert all(np.array_equal(getattr(one, name), getattr(other, name)) for name in one._fields)


def test_a_rollout_is_what_the_environment_said():
    env = environment()
    one = rollout(env, any_open(), 7)
    observation, info = env.reset(seed=7)
    total = 0.0
    for step, action in enumerate(one.actions):
        assert np.array_equal(one.groups[step], observation["groups"])
        assert np.array_equal(one.masks[step], env.action_masks())
        assert one.masks[step, action]
        observation, reward, done, _, info = env.step(action)
        assert one.rewards[step] == reward
        total += reward
    assert done
    assert np.array_equal(one.overall[-1], observation["all"])
    assert tuple(one.order) == info["order"]
    assert not one.masks[-1].any()
    assert one.gain == pytest.approx(total)


def test_the_file_is_read_without_this_library(tmp_path):
    (one,) = record(environment(), any_open(), [0], tmp_path / "episodes.npz")
    with np.load(tmp_path / "episodes.npz") as file:
        assert file["features"].tolist() == list(FEATURES)
        assert file["steps"].tolist() == [len(one.actions)]
        assert file["groups"].shape == (len(one.actions) + 1, 8, len(FEATURES))
        assert file["order"].shape == (1, 240)


def test_wrong_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="seeds: none"):
        record(environment(), any_open(), [], tmp_path / "episodes.npz")
    with pytest.raises(InputError, match=r"nowhere\.npz \(.*\), expected an \.npz file of recorded episodes"):
        read(tmp_path / "nowhere.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(InputError, match=r"expected an \.npz file"):
        read(tmp_path / "text.npz")
    np.savez(tmp_path / "other.npz", features=np.array(["age"]))
    with pytest.raises(InputError, match="features age, expected open, size"):
        read(tmp_path / "other.npz")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 no archive either")
    with pytest.raises(InputError, match=r"expected an \.npz file"):
        read(tmp_path / "cut.npz")
    np.savez(tmp_path / "part.npz", features=np.array(list(FEATURES)), overall_features=np.array(list(OVERALL)))
    with pytest.raises(InputError, match="no actions, expected recorded episodes"):
        read(tmp_path / "part.npz")
