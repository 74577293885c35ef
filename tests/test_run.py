"""The benchmark end to end on small images: results, caching, resuming after kill -9, and wrong input."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from benchmarks import run as runner
from benchmarks import stages
from benchmarks.cache import Artifact, fingerprint
from benchmarks.config import Method, as_dict, build, parse
from benchmarks.matrices import Fitted, System, served
from compat.methods import SingleModel, Upgrade
from compat.models import Embedder
from compat.results import load_experiment, load_results
from tests.backbones import TinyConv

ROOT = Path(__file__).parents[1]
TINY = {
    "trainer": {"max_epochs": 2, "enable_progress_bar": False, "accelerator": "cpu"},
    "model": {"backbone": {"class_path": "tests.backbones.TinyConv"}, "embed_dim": 6},
}
METHODS = {
    "independent": {"class_path": "compat.methods.Upgrade"},
    "rqt": {"class_path": "compat.methods.ReverseQuery", "init_args": {"hidden": 8}},
    "rqt_mcl_rho": {
        "class_path": "compat.methods.ReverseQuery",
        "init_args": {"hidden": 8, "mcl": "joint", "rho": True},
    },
}


@pytest.fixture
def config(tmp_path, image_root):
    """A benchmark of a second, written to a file."""
    content = {
        "name": "tiny",
        "data": {
            "class_path": "compat.data.ImageFolder",
            "init_args": {"root": str(image_root), "image_size": 12, "batch_size": 24},
        },
        "old": TINY,
        "new": {**TINY, "model": {**TINY["model"], "embed_dim": 7}},
        "heads": {"trainer": {**TINY["trainer"], "max_epochs": 3}, "batch_size": 16},
        "methods": METHODS,
        "replay": {"orders": 2},
        "runs": str(tmp_path / "runs"),
        "results": str(tmp_path / "results"),
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def run(config, *arguments):
    runner.run(as_dict(parse([str(config), *arguments])))
    return stored(config.parent / "results" / "tiny")


def trained_on(config):
    return load_experiment(config.parent / "results" / "tiny")["trained_on"]


def stored(folder):
    return {f"{r.upgrade}/{r.name}-s{r.seed}".lstrip("/"): r for r in load_results(folder)}


def figures(result):
    names = ("progress", "mean_ap", "cmc_1", "cmc_5", "negative_flip_rate", "mean_ap_orders", "old", "new")
    return [getattr(result, name) for name in names]


def main(capsys, monkeypatch, *arguments):
    """Run the command and return its exit code and its last line on stderr."""
    monkeypatch.setattr(sys, "argv", ["run", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        runner.main()
    lines = capsys.readouterr().err.strip().splitlines()
    return stop.value.code, lines[-1]


def test_end_to_end(config, monkeypatch):
    results = run(config, "--seed=[0, 1]")
    assert set(results) == {f"{method}-s{seed}" for method in METHODS for seed in (0, 1)}
    independent = results["independent-s0"]
    for name in ("mean_ap", "cmc_1", "cmc_5"):
        assert getattr(independent, name)[0] == pytest.approx(independent.old[name], abs=1e-6)
        assert getattr(independent, name)[-1] == pytest.approx(independent.new[name], abs=1e-6)
    assert independent.negative_flip_rate[0] == 0
    assert independent.encoder_passes_per_query == 2
    rqt = results["rqt-s0"]
    assert (rqt.encoder_passes_per_query, rqt.queries, rqt.gallery_items) == (1, 36, 36)
    assert rqt.mean_ap[-1] == pytest.approx(rqt.new["mean_ap"], abs=1e-6)
    assert len(rqt.mean_ap_orders) == 2
    assert rqt.spec["init_args"]["hidden"] == 8
    assert set(rqt.seconds) == {"train_old", "train_new", "extract_old", "extract_new", "head", "replay"}
    assert list((config.parent / "runs").glob("replay-rqt-s0-*/csv/version_0/metrics.csv"))

    # a second method trains that method only
    calls = []
    original = stages.fit

    def spy(module, *rest):
        calls.append(type(module))
        return original(module, *rest)

    monkeypatch.setattr(stages, "fit", spy)
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
    (weights,) = (config.parent / "runs").glob("train-old-*/tensors.safetensors")
    after = run(config, "--only=independent", f"--old.checkpoint={weights}", "--overwrite")
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
    assert re.search(
        r"overwrite: .* has a result \(.*method rqt.*\) with the key \w+ of another config, expected \w+", line
    )
    after = run(config, "--only=rqt", "--methods.rqt.init_args.hidden=9", "--overwrite")["rqt-s0"]
    assert after.key != before.key
    assert after.spec["init_args"]["hidden"] == 9


def test_queries_without_a_positive_are_counted(config, image_root):
    for index in (1, 2):
        (image_root / "val" / "3" / f"3_{index}.png").unlink()
    result = run(config, "--only=independent")["independent-s0"]
    assert (result.queries, result.queries_without_positive) == (33, 1)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["an epoch", "train-new", "extract", "head-rqt", "replay-rqt"])
def test_killed_at_any_stage_it_resumes_to_the_same_result(config, stage):
    """kill -9 while a stage is at work, then run again."""
    whole = run(config, "--seed=3")
    code = f"""
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from benchmarks import cache, run, training
training.SAVE_INTERVAL = 0.0
end = training.EpochState.on_train_epoch_end
def on_train_epoch_end(self, *arguments):
    end(self, *arguments)
    if {stage!r} == "an epoch":
        os.kill(os.getpid(), signal.SIGKILL)
training.EpochState.on_train_epoch_end = on_train_epoch_end
original = cache.save_file
def save_file(tensors, path):
    original(tensors, path)
    if path.parent.name.startswith({stage!r}):
        path.write_bytes(path.read_bytes()[:100])
        os.kill(os.getpid(), signal.SIGKILL)
cache.save_file = save_file
run.main()
"""
    other = [f"--runs={config.parent / 'other'}", f"--results={config.parent / 'elsewhere'}", "--seed=3"]
    command = [sys.executable, "-c", code, str(config), *other]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    if stage == "an epoch":
        assert list((config.parent / "other").glob("train-old-*/epoch-00000-*.ckpt"))
    runner.run(as_dict(parse([str(config), *other])))
    resumed = stored(config.parent / "elsewhere" / "tiny")
    assert {key: figures(value) for key, value in resumed.items()} == {k: figures(v) for k, v in whole.items()}


WRONG = [
    ("--new.trainer.max_epoch=3", "max_epoch"),
    ("--naem=x", "naem"),
    ("--old.model.embed_dims=3", "embed_dims"),
    ("--old.model.embed_dim=many", r"embed_dim.*many"),
    ("--old.model.backbone.class_path=tests.backbones.Tiny", r"backbone.*tests.backbones.Tiny"),
    ("--data.class_path=compat.data.Imagefolder", r"data.*Imagefolder"),
    ("--data.root=nowhere", r"data.root: no folder nowhere/train; expected nowhere/train/<class>/\*"),
    ("--data.old_classes=2", r"data.old_classes: 2.0, expected a share in \(0, 1\]"),
    ("--replay.progress=[0, 1.5]", r"progress: 1.5, expected completion ratios in \[0, 1\]"),
    ("--replay.orders=0", "replay.orders: 0, expected at least 1"),
    ("--replay.distance=cosinus", r"distance.*cosinus"),
    ("--heads.batch_size=15", "heads.batch_size: 15, expected an even number"),
    ("--heads.batch_size=0", "heads.batch_size: 0, expected an even number"),
    ("--data.batch_size=0", "data.batch_size: 0, expected at least 1"),
    ("--data.image_size=0", "data.image_size: 0, expected at least 1 pixel"),
    ("--seed=-1", "seed: -1, expected 0 to"),
    ("--old.seed=-1", "old.seed: -1, expected 0 to"),
    ("--heads.trainer.max_epochs=-1", "heads.trainer.max_epochs: -1, expected at least 1"),
    ("--old.model.embed_dim=-1", "embed_dim: -1, expected at least 1"),
    ("--old.model.warmup=1.5", r"warmup: 1.5, expected a share in \(0, 1\)"),
    (
        "--old.model.backbone={class_path: torch.nn.Linear, init_args: {in_features: 2, out_features: 2}}",
        "Linear fails on",
    ),
    ("--old.model.backbone={class_path: timm.create_model, init_args: {model_name: resnet19}}", r"model.*resnet19"),
    ("--only=rqtt", "only: 'rqtt', expected some of independent, rqt, rqt_mcl_rho"),
    ("--methods.rqt.init_args.blocks=9", "blocks: 9, expected 1 to 5"),
    ("--methods.rqt.init_args.mcl=new_only", "mcl: new_only without rho, expected rho: true"),
    ("--old.checkpoint=nowhere.ckpt", r"checkpoint: cannot read nowhere.ckpt"),
    ("--old.model.backbone.class_path=tests.backbones.FeatureMap", r"FeatureMap returns shape .* expected \(batch"),
    ("--new.model.backbone.class_path=tests.backbones.Broken", r"NaN or infinite values"),
    ("--new.trainer.accelerator=gpu", "accelerator|gpu"),
]


@pytest.mark.parametrize(("argument", "message"), WRONG, ids=[argument for argument, _ in WRONG])
def test_wrong_input_is_one_line_and_exit_code_2(config, capsys, monkeypatch, argument, message):
    code, line = main(capsys, monkeypatch, config, argument)
    assert code == 2
    assert line.startswith("error: ")
    assert re.search(message, line), line


def test_without_a_config_it_says_what_it_needs(capsys, monkeypatch):
    code, line = main(capsys, monkeypatch)
    assert (code, line) == (
        2,
        "error: config: none, expected a YAML file: python -m benchmarks.run configs/digits.yaml",
    )


def test_a_checkpoint_of_another_dimension_is_refused(config, capsys, monkeypatch):
    run(config, "--only=independent")
    (weights,) = (config.parent / "runs").glob("train-old-*/tensors.safetensors")
    code, line = main(capsys, monkeypatch, config, f"--old.checkpoint={weights}", "--old.model.embed_dim=9", "--name=x")
    assert code == 2
    assert "embed_dim: 9, but" in line
    assert "expected embed_dim: 6" in line


def test_an_unreadable_image_stops_the_run_and_keeps_what_was_computed(config, image_root, capsys, monkeypatch):
    bad = image_root / "val" / "11" / "11_2.png"
    good = bad.read_bytes()
    bad.write_bytes(b"x" * len(good))
    code, line = main(capsys, monkeypatch, config, "--data.num_workers=1")
    assert code == 2
    assert re.search(rf"^error: data: cannot read the image {bad} .*expected a readable image file$", line)
    trained = {path.parent.name for path in (config.parent / "runs").glob("train-*/stage.json")}
    assert len(trained) == 2
    bad.write_bytes(good)
    run(config, "--data.num_workers=1")
    assert {path.parent.name for path in (config.parent / "runs").glob("train-*/stage.json")} == trained


def test_images_that_cannot_be_decoded_are_skipped_and_reported(config, image_root):
    victims = [next((image_root / split / "3").iterdir()) for split in ("train", "val")]
    for victim in victims:
        victim.write_bytes(victim.read_bytes()[:40])
    (result,) = run(config, "--data.on_error=skip", "--only=independent").values()
    assert sorted(result.images_skipped) == sorted(str(victim.relative_to(image_root)) for victim in victims)
    assert (result.gallery_items, result.queries) == (35, 35)
    assert trained_on(config)["new"]["images"] == 71


def test_the_result_names_what_each_model_was_trained_on(config):
    run(config, "--data.old_classes=[0.25,0.5]", "--data.old_images=0.5", "--only=independent")
    assert trained_on(config)["old"] == {"images": 9, "classes": ["3", "4", "5"]}
    assert trained_on(config)["new"] == {"images": 72, "classes": [str(number) for number in range(12)]}


class TwistedQuery(Upgrade):
    """Transforms the new query and nothing else."""

    def query(self, old, new):
        return old, new.flip(1)


@pytest.mark.parametrize(("method", "same"), [(Upgrade, True), (TwistedQuery, False)])
def test_the_system_that_an_upgrade_ends_in_is_another_one_if_its_queries_are(method, same):
    embedder = Embedder(TinyConv(), 3).eval()
    embedder(torch.zeros(1, 3, 12, 12))
    old, new = (
        System(embedder, Artifact({"train": torch.rand(4, 3), "gallery": torch.rand(4, 3)}, key, 0.0, cached=True))
        for key in ("a", "b")
    )
    head = Artifact({}, "head", 0.0, cached=True)
    assert (served(Fitted(method(embedder, embedder), head, old, new, {})).embedded.key == "b") is same


def test_what_would_stop_a_training_is_found_before_the_first(config, tmp_path, capsys, monkeypatch):
    for arguments, message in (
        (["--data.new_images=0.2"], "class '0' has a single training image for new"),
        (["--data.images_per_class=2"], "so a batch has 12 classes, but there are 6"),
        (["--old.model.label_smoothing=3"], "label_smoothing: 3.0, expected 0 to 1"),
        (["--old.model.triplet_margin=-1"], "triplet_margin: -1.0, expected 0 or more"),
        (["--newest", json.dumps(TINY), "--second_starts=[0.5,0.5]"], "expected one or more, each another progress"),
        (["--newest", json.dumps(TINY), "--second_starts=[]"], "expected one or more, each another progress"),
    ):
        monkeypatch.setattr(sys, "argv", ["run", str(config), *arguments])
        with pytest.raises(SystemExit) as end:
            runner.main()
        assert end.value.code == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def _trained(result, *stages):
    return sum(result.seconds.get(stage, 0.0) for stage in (*stages, "head"))


def test_a_third_generation_is_a_second_upgrade(config):
    """The first upgrade is what it is without it; the next one starts where the one before it has come to."""
    pair = ["--data.new_classes=0.75", f"--results={config.parent / 'pair'}"]
    runner.run(as_dict(parse([str(config), *pair])))
    newest = ["--newest", json.dumps(TINY), "--second_starts=[1.0,0.5]", "--data.new_classes=0.75"]
    folder = runner.run(as_dict(parse([str(config), *newest])))
    files, alone = stored(folder), stored(config.parent / "pair/tiny")
    assert len(files) == 3 * len(alone)
    for name, result in alone.items():
        first, after, overlap = (files[f"{part}/{name}"] for part in ("first", "second_from_1", "second_from_0.5"))
        assert first.mean_ap == result.mean_ap
        assert after.mean_ap[-1] == overlap.mean_ap[-1]
        assert (after.old, overlap.old, after.new) == (first.new, first.old, overlap.new)
        assert (first.starts_at, after.starts_at, overlap.starts_at) == (0.0, 1.0, 0.5)
        assert first.training_seconds == pytest.approx(_trained(first, "train_new"), abs=0.02)
        for second in (after, overlap):
            assert second.training_seconds == pytest.approx(_trained(second, "train_newest"), abs=0.02)
    independent = [files[f"{part}/independent-s0"] for part in ("first", "second_from_1", "second_from_0.5")]
    assert [result.encoder_passes_per_query for result in independent] == [2, 2, 3]
    assert independent[1].mean_ap[0] == pytest.approx(independent[0].mean_ap[-1], rel=1e-8)
    at_half = independent[0].progress.index(0.5)
    assert independent[2].mean_ap[0] == pytest.approx(independent[0].mean_ap[at_half], rel=1e-8)


def test_values_keep_their_meaning_from_the_command_line_to_the_class(config):
    """A null is a value, an enumeration is written by its name, and both come back."""
    weights = "--new.model.backbone={class_path: torchvision.models.resnet18, init_args: {weights: IMAGENET1K_V1}}"
    content = as_dict(parse([str(config), "--methods.rqt.init_args.hidden=null", weights]))
    assert json.loads(json.dumps(content)) == content
    assert content["new"]["model"]["init_args"]["backbone"]["init_args"]["weights"] == "IMAGENET1K_V1"
    embedder = build(SingleModel, content["old"]["model"]).embedder
    embedder.eval()(torch.zeros(1, 3, 12, 12))
    assert build(Method, content["methods"]["rqt"])(embedder, embedder).psi[0].out_features == 2048
    default = as_dict(parse([str(config)]))
    assert fingerprint(default["methods"]["rqt"]) != fingerprint(content["methods"]["rqt"])


def test_what_a_class_of_the_user_does_is_part_of_the_key(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "my_code.py").write_text("class Mine:\n    pass\n")
    spec = {"deep": [{"class_path": "my_code.Mine"}], "class_path": "timm.create_model"}
    before = stages.own_code(spec)
    (tmp_path / "my_code.py").write_text("class Mine:\n    value = 1\n")
    assert before is not None
    assert before.keys() == {"my_code.Mine"}
    assert stages.own_code(spec) != before
    assert stages.own_code({"class_path": "compat.methods.Upgrade"}) is None


def test_help_is_short_and_names_the_parts(capsys):
    with pytest.raises(SystemExit) as stop:
        parse(["--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    assert len(text.splitlines()) < 170
    assert all(word in text for word in ("--new.trainer", "--methods", "--only", "--seed", "completion ratios"))


def test_the_readmes_backbones_run_as_shown(config, tmp_path, monkeypatch):
    """Each block of the section is a file of its own, used as the section's command uses it."""
    section = (ROOT / "README.md").read_text().split("## Plug in a backbone")[1].split("\n## ")[0]
    code, *rest = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    blocks = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    assert (len(blocks), rest) == (3, [])
    (tmp_path / "my_backbones.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    for number, block in enumerate(blocks):
        (tmp_path / "backbone.yaml").write_text(block)
        results = run(config, "--config", str(tmp_path / "backbone.yaml"), "--only=rqt", "--overwrite")
        class_path = yaml.safe_load(block)["new"]["model"]["init_args"]["backbone"]["class_path"]
        (result,) = results.values()
        assert result.method == "rqt"
        config_of_result = load_experiment(config.parent / "results" / "tiny")["config"]["new"]["model"]["init_args"]
        assert config_of_result["backbone"]["class_path"] == class_path, number
