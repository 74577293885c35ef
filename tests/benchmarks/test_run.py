"""The benchmark end to end on small images: results, caching, resuming after kill -9, and what a config may say."""

import re
import signal
import sys

import pytest
import torch
import yaml

from benchmarks import run as runner
from benchmarks.artifacts import method_state as learned
from benchmarks.artifacts import weights
from benchmarks.artifacts.systems import Built, Method, System, serve_system
from benchmarks.config.parse import parse
from compat.curve_metrics import ALWAYS, USUAL
from compat.methods import SingleModel, Upgrade
from compat.models import Embedder
from compat.results import load_experiment
from tests import ROOT
from tests.helpers.backbones import TinyConv
from tests.helpers.killed import killed_at
from tests.helpers.running import THIRD, by_name, figures, main, run, weights_of

METHODS = ("independent", "rqt", "rqt_mcl_rho")


def test_end_to_end(config, monkeypatch):
    results = run(config, "--seed=[0, 1]")
    assert set(results) == {f"{method}-s{seed}" for method in METHODS for seed in (0, 1)}
    independent = results["independent-s0"]
    assert list(independent.curves) == [*ALWAYS, *USUAL]
    for name in independent.curves.keys() - {"negative_flip_rate"}:
        assert independent.curves[name][0] == pytest.approx(independent.old[name], abs=1e-6)
        assert independent.curves[name][-1] == pytest.approx(independent.new[name], abs=1e-6)
    assert independent.curves["negative_flip_rate"][0] == 0
    assert independent.encoder_passes_per_query == 2
    rqt = results["rqt-s0"]
    assert (rqt.encoder_passes_per_query, rqt.queries, rqt.gallery_items) == (1, 36, 36)
    assert rqt.mean_ap[-1] == pytest.approx(rqt.new["mean_ap"], abs=1e-6)
    assert len(rqt.mean_ap_orders) == 2
    assert rqt.spec["init_args"]["hidden"] == 8
    made = {"train old", "train new", "extract old", "extract new", "learn rqt", "replay rqt seed 0"}
    assert made | {"order random", "ends old and new"} == set(rqt.seconds)
    assert rqt.training_seconds == pytest.approx(rqt.seconds["train new"] + rqt.seconds["learn rqt"], abs=0.02)
    assert len(list((config.parent / "runs").glob("replay-*/csv/version_0/metrics.csv"))) == 6
    experiment = load_experiment(config.parent / "results" / "tiny")
    assert experiment["config"]["methods"]["rqt"]["init_args"]["hidden"] == 8
    (record,) = experiment["provenance"].values()
    assert {"git_commit", "versions", "hardware", "threads", "date"} == record.keys()

    # a second method trains that method only
    calls = []
    original = learned.fit

    def spy(module, *rest):
        calls.append(type(module))
        return original(module, *rest)

    monkeypatch.setattr(learned, "fit", spy)
    monkeypatch.setattr(weights, "fit", spy)
    again = run(config, "--seed=[0, 1]")
    assert calls == []
    assert all(figures(again[key]) == figures(value) for key, value in results.items())
    content = yaml.safe_load(config.read_text())
    content["methods"]["rqt_mcl"] = {"class_path": "compat.methods.ReverseQuery", "init_args": {"mcl": "joint"}}
    config.write_text(yaml.safe_dump(content))
    assert len(run(config, "--only=rqt_mcl")) == 7
    assert [kind.__name__ for kind in calls] == ["ReverseQuery"]


def test_the_same_seed_gives_the_same_figures_twice(config):
    first = run(config)
    second = run(config, f"--runs={config.parent / 'other'}", f"--results={config.parent / 'results'}")
    assert all(figures(first[key]) == figures(second[key]) for key in first)


def test_heads_can_train_through_augmented_images(config):
    results = run(config, "--heads.images=true", "--only=rqt")
    assert results["rqt-s0"].mean_ap[-1] == pytest.approx(results["rqt-s0"].new["mean_ap"], abs=1e-6)


def test_old_models_come_from_checkpoints_too(config):
    before = run(config, "--only=independent")
    saved = weights_of(config, "train old")
    after = run(config, "--only=independent", f"--old.checkpoint={saved}", overwrite=True)
    assert figures(before["independent-s0"]) == figures(after["independent-s0"])


def test_a_damaged_stage_is_made_again_and_the_result_is_the_same(config):
    before = run(config)
    for file in (config.parent / "runs").glob("*/tensors.safetensors"):
        file.write_bytes(file.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="damaged"):
        after = run(config)
    assert all(figures(before[key]) == figures(after[key]) for key in before)


def test_another_config_does_not_overwrite_a_result(config, capsys, monkeypatch):
    before = run(config, "--only=rqt")["rqt-s0"]
    code, line = main(capsys, monkeypatch, config, "--only=rqt", "--methods.rqt.init_args.hidden=9")
    assert code == 2
    assert re.search(r"overwrite: .*tiny has method=rqt seed=0 .* \(methods.rqt.init_args.hidden: 8 -> 9\)", line)
    after = run(config, "--only=rqt", "--methods.rqt.init_args.hidden=9", overwrite=True)["rqt-s0"]
    assert after.key != before.key
    assert after.spec["init_args"]["hidden"] == 9


def test_queries_without_a_positive_are_counted(config, image_root):
    for index in (1, 2):
        (image_root / "val" / "3" / f"3_{index}.png").unlink()
    result = run(config, "--only=independent")["independent-s0"]
    assert (result.queries, result.queries_without_positive) == (33, 1)


SLOW_STAGES = ("an epoch", "extract old", "learn rqt", "order", "ends", "replay rqt")


@pytest.mark.parametrize(
    "stage", ["train new", "collect", *(pytest.param(stage, marks=pytest.mark.slow) for stage in SLOW_STAGES)]
)
def test_killed_at_any_stage_it_resumes_to_the_same_result(config, stage):
    """kill -9 while a stage is at work, then run again."""
    whole = run(config, "--seed=3")
    other = [f"--runs={config.parent / 'other'}", f"--results={config.parent / 'elsewhere'}", "--seed=3"]
    assert killed_at(stage, str(config), *other) == -signal.SIGKILL
    if stage == "an epoch":
        assert list((config.parent / "other").glob("train-*/epoch-00000-*.ckpt"))
    folder, _, _ = runner.run(parse([str(config)], other))
    assert all(figures(by_name(folder)[key]) == figures(value) for key, value in whole.items())


def test_images_that_cannot_be_decoded_are_skipped_and_reported(config, image_root):
    victims = [next((image_root / split / "3").iterdir()) for split in ("train", "val")]
    for victim in victims:
        victim.write_bytes(victim.read_bytes()[:40])
    (result,) = run(config, "--data.on_error=skip", "--only=independent").values()
    assert sorted(result.images_skipped) == sorted(str(victim.relative_to(image_root)) for victim in victims)
    assert (result.gallery_items, result.queries) == (35, 35)
    assert load_experiment(config.parent / "results/tiny")["trained_on"]["new"]["images"] == 71


def test_the_result_names_what_each_model_was_trained_on(config):
    run(config, "--old.sees.classes=[0.25,0.5]", "--old.sees.images=0.5", "--only=independent")
    trained_on = load_experiment(config.parent / "results/tiny")["trained_on"]
    assert trained_on["old"] == {"images": 9, "classes": ["3", "4", "5"]}
    assert trained_on["new"] == {"images": 72, "classes": [str(number) for number in range(12)]}


class TwistedQuery(Upgrade):
    """Transforms the new query and nothing else."""

    def query(self, old, new):
        return old, new.flip(1)


@pytest.mark.parametrize(("method", "same"), [(Upgrade, True), (TwistedQuery, False)])
def test_the_system_that_an_upgrade_ends_in_is_another_one_if_its_queries_are(method, same):
    embedder = Embedder(TinyConv(), 3).eval()
    embedder(torch.zeros(1, 3, 12, 12))
    embedder.classify(2)
    old, new = (System(embedder, {"train": torch.rand(4, 3), "gallery": torch.rand(4, 3)}) for _ in range(2))
    after = serve_system(Built(method(embedder, embedder), old, new, ()))
    assert (after.embedder.classifier is not None) is same
    assert torch.equal(after.rows("gallery"), new.rows("gallery"))
    assert torch.equal(after.rows("query"), new.rows("query")) is same


def test_a_third_generation_is_a_second_upgrade(config):
    """The first upgrade is what it is without it; the next one starts where the one before it has come to."""
    alone = run(config, "--new.sees.classes=0.75", f"--results={config.parent / 'pair'}")
    files = run(config, *THIRD, "--starts=[1.0,0.5]", "--new.sees.classes=0.75")
    assert len(files) == 3 * len(alone)
    for name, result in alone.items():
        first, after, overlap = (files[f"{part}/{name}"] for part in ("first", "second_from_1", "second_from_0.5"))
        assert first.mean_ap == result.mean_ap
        assert after.mean_ap[-1] == overlap.mean_ap[-1]
        assert (after.old, overlap.old, after.new) == (first.new, first.old, overlap.new)
        assert (first.starts_at, after.starts_at, overlap.starts_at) == (0.0, 1.0, 0.5)
        own = result.seconds[f"learn {result.method}"]
        assert first.training_seconds == pytest.approx(first.seconds["train new"] + own, abs=0.02)
        assert after.training_seconds == overlap.training_seconds
        of_its_own = after.seconds["train newest"] + after.seconds[f"learn {result.method} (2)"]
        assert after.training_seconds == pytest.approx(of_its_own, abs=0.02)
    independent = [files[f"{part}/independent-s0"] for part in ("first", "second_from_1", "second_from_0.5")]
    assert [result.encoder_passes_per_query for result in independent] == [2, 2, 3]
    assert independent[1].mean_ap[0] == pytest.approx(independent[0].mean_ap[-1], abs=1e-12)
    at_half = independent[0].progress.index(0.5)
    assert independent[2].mean_ap[0] == pytest.approx(independent[0].mean_ap[at_half], abs=1e-12)


def test_values_keep_their_meaning_from_the_command_line_to_the_class(config):
    """A null is a value, an enumeration is written by its name, and both come back."""
    resnet = "{class_path: torchvision.models.resnet18, init_args: {weights: IMAGENET1K_V1}}"
    found = parse([str(config)], ["--methods.rqt.init_args.hidden=null", f"--new.model.backbone={resnet}"])
    backbone = found.generations["new"].model.init_args["backbone"]
    assert backbone == {"class_path": "torchvision.models.resnet18", "init_args": {"weights": "IMAGENET1K_V1"}}
    embedder = found.generations["old"].model.build(SingleModel).embedder
    embedder.eval()(torch.zeros(1, 3, 12, 12))
    assert found.methods["rqt"].build(Method)(embedder, embedder).psi[0].out_features == 2048
    assert parse([str(config)], []).methods["rqt"] != found.methods["rqt"]


def test_help_names_the_parts(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["run", "--help"])
    with pytest.raises(SystemExit) as stop:
        runner.main()
    text = capsys.readouterr().out
    assert stop.value.code == 0
    assert len(text.splitlines()) < 170
    assert all(word in text for word in ("--new.trainer", "methods", "only", "seed", "completion ratios", "--dry-run"))


def test_the_documented_backbones_run_as_shown(config, tmp_path, monkeypatch):
    """Each block of the page is a file of its own, used as the page's command uses it."""
    section = (ROOT / "docs/backbone.md").read_text()
    code, *rest = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    blocks = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    blocks = [block for block in blocks if "timm_from_file" not in block]  # its file of weights is not here
    assert (len(blocks), rest) == (4, [])
    (tmp_path / "my_backbones.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    for number, block in enumerate(blocks):
        (tmp_path / "backbone.yaml").write_text(block)
        layered = parse([str(config), str(tmp_path / "backbone.yaml")], ["--only=rqt"])
        results = by_name(runner.run(layered, overwrite=True)[0])
        class_path = yaml.safe_load(block)["new"]["model"]["init_args"]["backbone"]["class_path"]
        assert layered.generations["new"].model.init_args["backbone"]["class_path"] == class_path, number
        assert results["rqt-s0"].mean_ap[-1] == pytest.approx(results["rqt-s0"].new["mean_ap"], abs=1e-6)
