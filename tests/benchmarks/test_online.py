"""Methods that learn on the way, as rows of a benchmark."""

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from benchmarks import run as runner
from benchmarks.artifacts.artifact import key
from benchmarks.artifacts.kinds import OnlineCurve
from benchmarks.config.parse import parse
from benchmarks.jobs.outcome import passes_of, refits_of
from compat.cost import Cost
from compat.results import load_failures, load_results
from tests.helpers.running import THIRD, keys, main, planned

OWN = {
    "own_calibration": {"class_path": "compat.experience.OwnCalibration"},
    "own_procrustes": {"class_path": "compat.experience.OwnBack", "init_args": {"world": "rotation"}},
    "own_forward": {"class_path": "compat.experience.OwnForward"},
    "own_forward_rqt": {"class_path": "compat.experience.OwnForward", "based_on": "rqt"},
}


@pytest.fixture
def own(config):
    content = yaml.safe_load(config.read_text())
    content["methods"] = {name: content["methods"][name] for name in ("independent", "rqt")} | OWN
    content["replay"] = {"orders": 2, "progress": [0, 0.2, 0.35, 0.5, 1], "refit": [0.3, 0.5]}
    config.write_text(yaml.safe_dump(content))
    return config


def test_they_are_rows_like_any_method_s_with_their_cost(own):
    folder, jobs, failures = runner.run(parse([str(own)], []))
    assert (failures, load_failures(folder)) == (0, [])
    found = {r.method: r for r in load_results(folder)}
    assert set(found) == {"independent", "rqt", *OWN}
    for name in OWN:
        result, base = found[name], found["rqt" if name.endswith("rqt") else "independent"]
        assert np.isfinite(result.mean_ap).all()
        assert [result.mean_ap[n] for n in (0, 1, 4)] == pytest.approx([base.mean_ap[n] for n in (0, 1, 4)])
        assert result.needs["method"] == ["own pairs", *base.needs["method"]]
        assert 1 <= result.encoder_passes_per_query <= base.encoder_passes_per_query
        assert result.backward_compatible is None
        assert result.bytes_per_item >= base.bytes_per_item
        assert result.training_seconds == base.training_seconds
        assert result.seconds[f"refit {name} seed 0"] >= 0
    assert found["own_forward_rqt"].encoder_passes_per_query == 1
    replays = [job.curve for job in jobs if isinstance(job.curve, OnlineCurve)]
    tensors = [load_file(own.parent / "runs" / f"replay-{key(one)}" / "tensors.safetensors") for one in replays]
    assert [tuple(one["refit_seconds"].shape) for one in tensors] == [(2, 3)] * len(OWN)


def test_passes_are_a_mean_over_the_backfilling(own):
    (job,) = planned(own, "--only=own_forward", "--seed=0")
    assert isinstance(job.curve, OnlineCurve)
    for passes, expected in (([2, 2, 1], 2), ([2, 1, 1], 1), ([1, 1, 1], 1), ([2, 2, 2], 2)):  # from 0, 0.3 and 0.5 on
        assert passes_of({"refit_passes": torch.tensor([passes, passes])}, job.curve) == expected


def test_refits_of_a_result_are_those_at_which_expectations_served_in_every_order(own):
    (job,) = planned(own, "--only=own_forward", "--seed=0")
    expected = torch.tensor([[torch.nan, torch.nan, 0.2], [torch.nan, 0.5, 0.4]])
    curve = {"refit_expected": expected, "refit_observed": 2 * expected}
    assert isinstance(job.curve, OnlineCurve)
    assert refits_of(curve, job.curve) == {"progress": [0.5], "expected": [0.3], "observed": [0.6]}


def test_other_rules_leave_them_their_own(own):
    both = "--replay.merge={raw: {class_path: compat.merge.Raw}, z_score: {class_path: compat.merge.ZScore}}"
    rules = {(dict(job.labels)["method"], dict(job.labels)["merge"]) for job in planned(own, both)}
    assert ("rqt", "z_score") in rules
    assert {rule for method, rule in rules if method in OWN} == {"raw"}


def test_what_they_are_based_on_is_checked_like_any_method(own, capsys, monkeypatch):
    side = "{class_path: compat.methods.FCT, init_args: {hidden: 8, side: 4}}"
    code, error = main(capsys, monkeypatch, own, f"--methods.own_forward.based_on={side}")
    assert code == 2
    assert "side: none, expected a side model of 4 dimensions, as own_forward needs it" in error


def test_they_share_what_served_before_and_change_no_other_artifact(own):
    others = planned(own, "--only=independent,rqt")
    assert keys(planned(own)) > keys(others)
    assert keys(planned(own, "--replay.refit=[0.1]", "--only=independent,rqt")) == keys(others)
    forward = planned(own, "--only=own_forward_rqt")
    assert len(keys(forward) - keys(others)) == 1
    assert len(keys(planned(own, "--only=own_forward")) - keys(others)) == 1
    assert keys(forward) != keys(planned(own, "--only=own_forward_rqt", "--replay.refit=[0.1]"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--replay.refit=[0.1, 1.5]"], "replay.refit: 1.5, expected shares of the gallery in [0, 1]"),
        (["--replay.refit=[0.2, 0.1]"], "replay.refit: [0.2, 0.1], expected ascending shares"),
        (["--replay.distance=l2"], "replay.distance: l2 with own_calibration, expected cosine"),
        (
            ["--replay.merge={z_score: {class_path: compat.merge.ZScore}}"],
            "replay.merge: z_score with own_calibration, which has its own rule, expected raw among them",
        ),
        (THIRD, "generations: 3 with own_calibration, expected two"),
        (["--methods.own_forward.based_on=own_calibration"], "methods.own_forward.based_on: compat.experience.OwnCal"),
        (["--methods.own_forward.init_args.world=cubic"], "compat.experience.OwnForward: cannot be built"),
    ],
)
def test_what_they_cannot_do_is_refused(own, capsys, monkeypatch, options, message):
    code, error = main(capsys, monkeypatch, own, *options)
    assert code == 2
    assert message in error


def test_what_a_backfill_spends_is_what_was_measured(own):
    folder, *_ = runner.run(parse([str(own)], []))
    found = {r.method: r for r in load_results(folder)}
    plain = found["independent"].cost
    size = found["independent"].gallery_items
    assert plain["seconds"].plain > 0
    for quantity in ("seconds", "bytes"):
        assert plain[quantity] == Cost(plain[quantity].plain, plain[quantity].plain, [0.0], [0.0], [0.0])
        assert found["independent"].gain_at_equal(quantity) == pytest.approx(found["independent"].relative_gain)
    for name, result in found.items():
        one = result.cost
        assert one["bytes"].item + sum(one["bytes"].each) == pytest.approx(result.bytes_per_item, abs=0.5)
        assert one["seconds"].plain == plain["seconds"].plain
        refits = result.seconds.get(f"refit {name} seed 0", 0.0)
        each, fixed = one["seconds"].each, one["seconds"].fixed
        assert size * sum(each) + sum(fixed[1:]) == pytest.approx(refits, abs=0.02)
        assert one["seconds"].at == ([0.0, 0.3, 0.5] if name in OWN else [0.0])
    head = found["rqt"].training_seconds - found["independent"].training_seconds
    for name in ("rqt", "own_forward_rqt"):
        once = found[name].cost["seconds"].fixed[0]
        assert once > max(head, 0)  # and the embeddings of its training images
        assert once == pytest.approx(found["rqt"].cost["seconds"].fixed[0], abs=0.02)
    assert found["own_forward"].cost["seconds"].fixed[0] < 0.02
