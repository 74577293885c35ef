"""Wrong input is one line."""

import importlib
import subprocess
import sys

import numpy as np
import pytest
import torch

from compat import Embeddings
from compat.errors import InputError
from tests import ROOT
from tests.helpers.environments import changed, environment
from tests.helpers.own_pairs import gallery


def some(items):
    e = gallery(shared=True)
    return Embeddings(**{name: values[:items] for name, values in vars(e).items()})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cells": 0}, "cells: 0, expected at least 1"),
        ({"levels": -1}, "levels: -1, expected at least 1"),
        ({"first": 0.0}, "first: 0.0, expected a share"),
        ({"first": 1.0}, "cells: 4 of 2 levels for 0 items, expected as many items as groups"),
        ({"cells": 200}, "cells: 200 of 2 levels for 228 items, expected as many items as groups"),
        ({"first": 0.005}, "first: 0.005 of 240 items is 1, expected 3 or more"),
        ({"entropy": np.ones(3)}, r"entropy: shape \(3,\), expected 240 finite values of 0 and more"),
        ({"entropy": np.full(240, np.nan)}, "entropy: .* expected 240 finite values"),
    ],
)
def test_arguments_are_refused(options, message):
    with pytest.raises(InputError, match=f"^{message}"):
        environment(**options)


def test_nan_is_refused_before_there_is_an_environment():
    e = gallery(shared=True)
    broken = e.gallery_new.clone()
    broken[7, 1] = torch.nan
    with pytest.raises(InputError, match=r"gallery_new: NaN or infinite values \(first in row 7\)"):
        changed(e, gallery_new=broken)


def test_a_gallery_in_which_nothing_is_relevant_has_no_reward_but_goes_on_without():
    e = changed(gallery(shared=True), query_labels=torch.full((240,), 99))
    with pytest.raises(
        InputError, match="labels: no query has a relevant gallery item, expected some, or labels=False"
    ):
        environment(e)
    env = environment(e, labels=False)
    env.reset(seed=0)
    env.step(0)
    with pytest.raises(InputError, match="labels: False, expected an environment with labels"):
        env.gains()


def test_an_upgrade_that_is_none_is_refused():
    e = gallery(shared=True)
    worse = changed(e, query_new=e.query_old, gallery_new=e.gallery_old)
    with pytest.raises(InputError, match=r"labels: mAP 0.* expected a gain"):
        environment(worse)


def test_first_pairs_that_are_all_equal_are_refused():
    e = gallery(shared=True)
    env = environment(changed(e, gallery_new=torch.ones(240, 8)), labels=False)
    with pytest.raises(InputError, match="pairs: all 12 new embeddings are equal"):
        env.reset(seed=0)


def test_nothing_before_a_reset():
    with pytest.raises(InputError, match="state: none, expected a call of reset"):
        environment().step(0)


def test_an_action_that_is_done_or_none_is_refused_and_nothing_changes():
    env = environment()
    env.reset(seed=0)
    env.step(3)
    before = env.state()
    with pytest.raises(InputError, match=r"action: 3 is done, expected one of \[0, 1, 2, 4, 5, 6, 7\]"):
        env.step(3)
    for action in (8, -1):
        with pytest.raises(InputError, match=f"action: {action} is no group"):
            env.step(action)
    assert env.state() is before


def test_an_empty_group_is_masked_refused_and_without_features():
    env = environment(cells=60, levels=3)  # some cells have fewer items than levels
    observation, _ = env.reset(seed=0)
    sizes = np.array([len(rows) for rows in env.state().episode.members])
    empty = int(sizes.argmin())
    assert sizes[empty] == 0
    assert not env.action_masks()[empty]
    assert not observation["groups"][empty].any()
    with pytest.raises(InputError, match=f"action: {empty} is an empty group"):
        env.step(empty)
    while env.action_masks().any():
        _, _, done, _, info = env.step(int(env.action_masks().argmax()))
    assert done
    assert len(info["order"]) == 240


def test_one_item_for_each_group_is_enough():
    env = environment(some(20), cells=4, levels=4, first=0.2)
    env.reset(seed=0)
    while env.action_masks().any():
        observation, *_ = env.step(int(env.action_masks().argmax()))
    assert np.isfinite(observation["groups"]).all()


def test_without_gymnasium_one_line_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("compat.policies")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gymnasium", None)
    with pytest.raises(
        InputError, match=r"^gymnasium: not installed, expected it: pip install compat-bench\[policies\]$"
    ):
        importlib.import_module("compat.policies")


def test_the_library_does_not_import_what_policies_need():
    code = "import compat, compat.experience, sys; assert not {'gymnasium', 'sb3_contrib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("action", [1.5, "x", None, np.array([1])])
def test_an_action_that_is_no_number_is_refused(action):
    env = environment()
    env.reset(seed=0)
    with pytest.raises(InputError, match=r"action: .*, expected the number of a group"):
        env.step(action)
