"""Galleries, folds and results of the experiment on policies, and the figures that are made of them."""

import json

import numpy as np
import pytest
import torch

from benchmarks.policies.lessons import School
from benchmarks.policies.recipes import Fold, GallerySetting, folds, imitator, recipes
from benchmarks.policies.scaled import scaled
from benchmarks.policies.settings import Settings, parse
from benchmarks.policies.sites import Site, half, limited, read_all
from benchmarks.policies.store import RolloutStore, read
from benchmarks.policies.summary import StudyResults, interval
from benchmarks.policies.tables import format_value, report
from benchmarks.tables.document import write_tables
from compat import backfill_curve
from compat.errors import InputError
from compat.experience.learners import z_score
from compat.merge import Raw
from compat.progress import backfill_order
from compat.statistics import Interval
from tests import ROOT
from tests.helpers.planted_galleries import planted, write


def site(data="alpha", seed=0, entropy=False) -> Site:
    e = planted(seed)
    return Site(
        GallerySetting(data, "same", seed),
        e,
        torch.arange(len(e.gallery_old)) / 7 if entropy else None,
        "",
        torch.arange(16),
    )


def test_files_are_galleries_by_their_names(tmp_path):
    write(tmp_path, ("alpha", "tiny_imagenet"), ("same", "bigger"), seeds=1, entropy=True)
    found = read_all([str(tmp_path)])
    assert [place.name for place in found] == [
        "alpha/bigger/0/all", "alpha/same/0/all", "tiny_imagenet/bigger/0/all", "tiny_imagenet/same/0/all"
    ]  # fmt: skip
    one = found[GallerySetting("alpha", "same", 0)]
    torch.testing.assert_close(one.embeddings.gallery_old, planted(0).gallery_old)
    assert one.entropy is not None
    assert len({each.digest for each in found.values()}) == 4
    with pytest.raises(InputError, match=r"alpha/same/0/all twice"):
        read_all([str(tmp_path), str(tmp_path / "alpha-same-0.safetensors")])
    (tmp_path / "alpha.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match=r"alpha.safetensors: expected a name such as digits-same-0.safetensors"):
        read_all([str(tmp_path)])
    (tmp_path / "alpha.safetensors").rename(tmp_path / "alpha-same-7.safetensors")
    with pytest.raises(InputError, match=r"alpha-same-7.safetensors: .*, expected a .safetensors file"):
        read_all([str(tmp_path)])
    with pytest.raises(InputError, match="files: none"):
        read_all([])


def test_halves_are_the_same_classes_whatever_is_left_of_them():
    one = site()
    fewer = limited(one, 320, 30)
    assert len(fewer.embeddings.gallery_labels.unique()) < 16
    for part in ("first", "second"):
        whole, left = (set(half(s, part).embeddings.gallery_labels.tolist()) for s in (one, fewer))
        assert left < whole


def test_halves_have_classes_of_their_own_and_limits_keep_rows_together():
    one = site(entropy=True)
    parts = [half(one, part) for part in ("first", "second")]
    classes = [set(part.embeddings.gallery_labels.tolist()) for part in parts]
    assert (classes[0] & classes[1], classes[0] | classes[1]) == (set(), set(range(16)))
    assert all(len(part.embeddings.query_old) == 160 for part in parts)
    assert [part.place.part for part in parts] == ["first", "second"]
    assert half(one, "all") is one
    few = limited(parts[1], queries=30, items=50)
    assert (len(few.embeddings.query_new), len(few.embeddings.gallery_new)) == (30, 50)
    rows = few.embeddings.gallery_groups  # which are the rows of the whole
    torch.testing.assert_close(few.embeddings.gallery_new, one.embeddings.gallery_new[rows])
    assert torch.equal(few.embeddings.gallery_labels, one.embeddings.gallery_labels[rows])
    assert few.entropy is not None
    assert one.entropy is not None
    assert torch.equal(few.entropy, one.entropy[rows])


def test_no_fold_trains_where_it_is_tried(tmp_path):
    sites = {one.place: one for one in (site("alpha"), site("alpha", 1), site("beta"), site("gamma"))}
    school = School(sites, Settings(), tmp_path)
    found = folds([place.data for place in sites])
    assert [fold.name for fold in found] == [
        "without/alpha", "without/beta", "without/gamma", "within/alpha", "within/beta", "within/gamma"
    ]  # fmt: skip
    for fold in found:
        trained = {(place.data, place.part) for place in school.places(fold)}
        assert trained
        assert (fold.data, fold.parts[1]) not in trained
        assert (fold.data, "all") not in trained
    assert {place.data for place in school.places(found[0])} == {"beta", "gamma"}
    assert school.places(found[3]) == [
        GallerySetting("alpha", "same", 0, "first"),
        GallerySetting("alpha", "same", 1, "first"),
    ]
    assert [fold.name for fold in folds(["alpha"])] == ["within/alpha"]


def test_recipes_are_each_once_and_starts_are_among_them():
    made = recipes(Fold("without", "alpha"), Settings())
    assert len({recipe.name for recipe in made}) == len(made)
    assert len(made) == 5 * 3 + 2 * 3 + 2 * 3 * 2 + 2 * 3 * 3 + 2 * 4
    for recipe in made:
        if recipe.method.startswith("rl_"):
            assert recipe.start(Settings()) in {None, *made}
    assert {recipe.alternatives for recipe in made if recipe.method == "il"} == {0}


@pytest.mark.parametrize("seed", range(4))
def test_scaled_distances_rank_as_z_scores_do(seed):
    e = planted(seed)
    e.query_old, e.gallery_old = 3 * e.query_old, 0.2 * e.gallery_old
    rows = torch.from_numpy(backfill_order(len(e.gallery_old), seed)[:12].copy())
    merge = z_score(e.gallery_old[rows], e.gallery_old[rows], e.gallery_new[rows])
    orders = np.stack([backfill_order(len(e.gallery_old), s) for s in range(2)])
    slow, fast = backfill_curve(e, orders, 7, merge=merge), backfill_curve(scaled(e, merge), orders, 7, distance="l2")
    np.testing.assert_allclose(slow.figures["mean_ap"], fast.figures["mean_ap"], atol=1e-5)
    assert np.ptp(slow.figures["mean_ap"][:, 3]) > 1e-4
    raw = backfill_curve(e, orders, 7)
    assert np.abs(raw.figures["mean_ap"] - slow.figures["mean_ap"]).max() > 1e-3
    with pytest.raises(InputError, match="merge: Raw, expected fitted z-scores"):
        scaled(e, Raw())
    e.query_new[3] = 0
    with pytest.raises(InputError, match="query_new: a zero vector in row 3"):
        scaled(e, merge)


def test_results_are_added_by_several_and_of_one_experiment(tmp_path):
    path, known = tmp_path / "new" / "all.json", {"alpha/same/0/all": {"digest": "a"}}
    one, other = (RolloutStore(path, {"cells": 4, "levels": 2}, known) for _ in range(2))
    one.add({"areas": {"alpha/same/0/all": {"1000": {"random": 0.123456789123}}}})
    other.add({"areas": {"alpha/same/0/all": {"1000": {"density": 0.5}, "1001": {"random": 0.25}}}})
    assert other.area("alpha/same/0/all", 1000, "random") == 0.123456789
    assert one.area("alpha/same/0/all", 1001, "random") is None
    assert RolloutStore(path, {"cells": 4, "levels": 2}, known).area("alpha/same/0/all", 1001, "random") == 0.25
    with pytest.raises(InputError, match="has results of another levels, expected another file"):
        RolloutStore(path, {"cells": 4, "levels": 3}, known)
    with pytest.raises(InputError, match="has results of other embeddings of alpha/same/0/all"):
        RolloutStore(path, {"cells": 4, "levels": 2}, {"alpha/same/0/all": {"digest": "b"}})
    with pytest.raises(InputError, match="has results with or without beta/same/0/all, expected another file"):
        RolloutStore(path, {"cells": 4, "levels": 2}, {**known, "beta/same/0/all": {"digest": "b"}})
    path.write_text('{"asked": {}, "areas": {"a": {}}}')
    with pytest.raises(InputError, match=r"output: KeyError.*, expected a file of benchmarks.policies"):
        StudyResults(read(path))
    path.write_text("{")
    with pytest.raises(InputError, match=r"expected a file of benchmarks.policies"):
        read(path)


def made_up(areas) -> StudyResults:
    """Two data sets, one setting, two backbones; areas by place, seed and policy."""
    settings = parse(str(ROOT / "configs" / "policies.yaml"), ["--families={deep_sets: 2}"])
    names = [f"{data}/same/{seed}/all" for data in ("alpha", "beta") for seed in (0, 1)]
    parts = [name.replace("all", part) for name in names for part in ("all", "first", "second")]
    ends = {name: {"old": 0.2, "new": 0.6} for name in parts}
    return StudyResults(
        {"asked": settings.content, "environments": {key: {} for key in names}, "ends": ends, "areas": areas}
    )


def test_figures_by_hand():
    fold, settings = Fold("without", "alpha"), Settings()
    il, iwm = (imitator(fold, "deep_sets", method, settings, 0).name for method in ("il", "iwm"))
    again = imitator(fold, "deep_sets", "il", settings, 1).name
    trained = {"0": {"random": 0.3, "density": 0.5}, "1": {"random": 0.4, "density": 0.2}}
    tried = {
        "1000": {"random": 0.40, "density": 0.42, "expert": 0.46, il: 0.43, iwm: 0.45},
        "1001": {"random": 0.41, "density": 0.40, again: 0.44},
    }
    other = {
        "1000": {"random": 0.41, "density": 0.40, "expert": 0.45, il: 0.42, iwm: 0.41},
        "1001": {"random": 0.41, "density": 0.43, again: 0.40},
    }
    areas = {
        "alpha/same/0/all": tried,
        "alpha/same/1/all": other,
        "beta/same/0/all": trained,
        "beta/same/1/all": trained,
    }
    found = made_up(areas)
    assert found.to_beat(fold) == "random"  # both 0.35, and it comes first
    areas["beta/same/1/all"] = {**trained, "0": {"random": 0.3, "density": 0.6}}
    found = made_up(areas)
    assert found.to_beat(fold) == "density"
    assert found.to_beat(Fold("within", "alpha")) is None
    pairs = found.above_heuristic(fold, found.recipe(fold, "deep_sets", "il"))
    assert pairs == pytest.approx({(0, 0): 1, (0, 1): 4, (1, 0): 2, (1, 1): -3})
    half = 12.7062 * 3 / 2  # the trainings' means are 2.5 and -0.5
    assert interval([pairs]) == pytest.approx((1, 1 - half, 1 + half), abs=1e-3)
    own = found.recipe(fold, "deep_sets", "iwm"), found.recipe(fold, "deep_sets", "il")
    assert found.pairs(fold, *own) == pytest.approx({(0, 0): 2, (1, 0): -1})
    room = found.headroom("alpha", "same")
    assert room is not None
    assert (room.best, room.area, room.expert, room.random) == ("density", 41, 45.5, 40.5)
    assert room.above.mean == pytest.approx(4.5)
    assert found.headroom("beta", "same") is None
    text = report(found)
    assert "| alpha, same | 20.00 -> 60.00 | 40.50 | 41.00 (density) | 45.50 | +4.50 [-1.85, +10.85] |" in text
    assert "under 1.5 points in 0 of 1 environments" in text
    assert "| IWM - IL, deep_sets | +0.50 [-18.56, +19.56] |" in text
    assert "reaches its aim" in text
    with pytest.raises(InputError, match="output: no results"):
        StudyResults({})


def test_a_document_has_the_tables_of_a_file_of_results(tmp_path):
    found = made_up({"alpha/same/0/all": {"1000": {"random": 0.4, "density": 0.42, "expert": 0.46}}})
    (tmp_path / "all.json").write_text(json.dumps(found.content))
    (tmp_path / "page.md").write_text("A\n<!-- policies: all.json -->\nold\n<!-- end -->\nB\n")
    text = write_tables(tmp_path / "page.md")
    assert text == f"A\n<!-- policies: all.json -->\n\n{report(found)}\n\n<!-- end -->\nB\n"


def test_an_interval_is_shown_with_its_sign_and_no_negative_zero():
    assert format_value(Interval(0.314, -0.001, 0.629)) == "+0.31 [+0.00, +0.63]"
    assert format_value(Interval(-0.314, -1.0, -0.1)) == "-0.31 [-1.00, -0.10]"
