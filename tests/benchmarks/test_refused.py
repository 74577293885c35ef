"""Wrong input of the benchmark: one line that names it, exit code 2, and nothing computed in vain."""

import re
import sys

import pytest

from benchmarks import run as runner
from tests.helpers.running import THIRD, main, run, weights_of

WRONG = [
    ("--new.trainer.max_epoch=3", r"new.trainer.max_epoch: .*did you mean max_epochs\?"),
    ("--naem=x", r"naem: unknown, did you mean name\?"),
    ("--old.model.embed_dims=3", r"embed_dims: .*did you mean embed_dim\?"),
    ("--old.model.embed_dim=many", r"embed_dim.*many"),
    ("--old.model.backbone.class_path=tests.helpers.backbones.Tiny", r"backbone.*tests.helpers.backbones.Tiny"),
    ("--data.class_path=compat.data.Imagefolder", r"data.*Imagefolder"),
    ("--data.root=nowhere", r"data.root: no folder nowhere/train; expected nowhere/train/<class>/\*"),
    ("--data.old_classes=2", "data.old_classes: unknown, expected old.sees.classes"),
    ("--replay.progress=[0, 1.5]", r"progress: 1.5, expected completion ratios in \[0, 1\]"),
    ("--seed=x", r"seed: x, expected int, list\[int\]"),
    ("--old.sees.classes=a", r"old.sees.classes: a, expected float, tuple\[float, float\]"),
    ("--runs=", "runs: empty, expected a folder"),
    ("--results=", "results: empty, expected a folder"),
    ("--replay.orders=0", "replay.orders: 0, expected at least 1"),
    ("--replay.distance=cosinus", r"distance.*cosinus"),
    ("--heads.batch_size=15", "heads.batch_size: 15, expected an even number"),
    ("--heads.batch_size=0", "heads.batch_size: 0, expected an even number"),
    ("--data.batch_size=0", "data.batch_size: 0, expected at least 1"),
    ("--data.image_size=0", "data.image_size: 0, expected at least 1 pixel"),
    ("--seed=-1", "seed: -1, expected 0 to"),
    ("--old.seed=-1", "old.seed: -1, expected 0 to"),
    ("--heads.sees.images=-1", r"heads.sees.images: -1.0, expected a share in \(0, 1\]"),
    ("--old.sees.classes=2", r"sees.classes: 2.0, expected a share in \(0, 1\]"),
    ("--heads.trainer.max_epochs=-1", "heads.trainer.max_epochs: -1, expected at least 1"),
    ("--old.model.embed_dim=-1", "embed_dim: -1, expected at least 1"),
    ("--old.model.warmup=1.5", r"warmup: 1.5, expected a share in \(0, 1\)"),
    (
        "--old.model.backbone={class_path: torch.nn.Linear, init_args: {in_features: 2, out_features: 2}}",
        "Linear fails on",
    ),
    ("--old.model.backbone={class_path: timm.create_model, init_args: {model_name: resnet19}}", r"model.*resnet19"),
    ("--only=rqtt", "only: 'rqtt', expected some of independent, rqt, rqt_mcl_rho"),
    ("--nwe={}", r"nwe: unknown, did you mean new\?"),
    ("--newest={model: {embed_dim: 3}}", r"newest: unknown, expected generations: \[old, new, newest\]"),
    ("--second_starts=[0.5]", r"second_starts: unknown, did you mean starts\?"),
    ("--nwe={model: 3}", r"nwe: unknown, did you mean new\?"),
    ("--date.root=x", r"date: unknown, did you mean data\?"),
    ("--seed=010", "--seed: 010 is read in several ways, expected it in quotes, or a plain number$"),
    ("--seed=[0, 1:30]", "--seed: 1:30 is read in several ways"),
    ("--heads.batch_size=1_6", "--heads.batch_size: 1_6 is read in several ways"),
    ("--only=no", "--only: no is read in several ways, expected it in quotes, or true or false$"),
    ("--generations=[off, on]", "--generations: off is read in several ways"),
    ("--generations=[1, 2]", r"generations: \[1, 2\], expected two names or more"),
    ("--methods={no: {class_path: compat.methods.Upgrade}}", "--methods: no is read in several ways"),
    ("--methods={1: {class_path: compat.methods.Upgrade}}", "--methods: the key 1 is no text, expected it in quotes$"),
    ("--replay.by={true: {class_path: compat.orders.Random}}", "--replay.by: the key true is no text"),
    ("--seed=!!int ''", "--seed: .*index out of range.*, expected YAML$"),
    (f"--seed={'9' * 5000}", "--seed: .*4300 digits.*, expected YAML$"),
    ("--seed=[]", "seed: none, expected one or more"),
    ("--name=../../up", r"name: '../../up', expected letters, digits"),
    ("--name=", r"name: .*expected"),
    ("--name=a/b c", r"name: 'a/b c', expected letters"),
    ("--methods={../x: {class_path: compat.methods.Upgrade}}", r"methods: '../x', expected letters"),
    ("--methods.rqt.init_args.blocks=9", "blocks: 9, expected 1 to 5"),
    ("--methods.rqt.init_args.temperature=0", r"methods.rqt.init_args.temperature: 0.0, expected more than 0$"),
    ("--methods.rqt.init_args.k_neg=0", r"methods.rqt.init_args.k_neg: 0, expected at least 1$"),
    ("--methods.rqt.init_args.reduction=sum", r"reduction.*'outside', 'inside'"),
    (
        "--methods={x: {class_path: compat.methods.BiCT, based_on: {class_path: compat.methods.BCT, weight: -1}}}",
        r"methods.x.based_on.init_args.weight: -1.0, expected 0 or more$",
    ),
    ("--methods={x: {class_path: compat.methods.MixBCT, share: 1.2}}", r"methods.x.init_args.share: 1.2, expected"),
    ("--methods.rqt.init_args.mcl=new_only", "mcl: new_only without rho, expected rho: true"),
    ("--old.checkpoint=nowhere.ckpt", r"checkpoint: cannot read nowhere.ckpt"),
    (
        "--old.model.backbone.class_path=tests.helpers.backbones.FeatureMap",
        r"FeatureMap returns shape .* expected \(batch",
    ),
    ("--new.model.backbone.class_path=tests.helpers.backbones.Broken", r"NaN or infinite values"),
    ("--new.trainer.accelerator=gpu", "accelerator|gpu"),
]


@pytest.mark.parametrize(("argument", "message"), WRONG, ids=[argument[:80] for argument, _ in WRONG])
def test_wrong_input_is_one_line_and_exit_code_2(config, capsys, monkeypatch, argument, message):
    code, line = main(capsys, monkeypatch, config, argument)
    assert code == 2
    assert line.startswith("error: ")
    assert re.search(message, line), line


def test_without_a_config_it_says_what_it_needs(capsys, monkeypatch):
    code, line = main(capsys, monkeypatch)
    assert (code, line) == (
        2,
        "error: config: none, expected a YAML file, or a name: compat-bench run digits",
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: 1\nseed: 010\n", "line 2: 010 is read in several ways"),
        ("methods:\n  no: {class_path: compat.methods.Upgrade}\n", "line 2: no is read in several ways"),
        ("1: 2\n", "line 1: the key 1 is no text"),
        ("methods: methods.yaml\n", "methods.yaml, line 1: off is read in several ways"),
        ("seed: !!int ''\n", "string index out of range"),
        ("a: " + "[" * 5000, "nesting depth"),
    ],
)
def test_a_file_that_is_read_in_several_ways(config, tmp_path, capsys, monkeypatch, content, message):
    (tmp_path / "methods.yaml").write_text("off: {class_path: compat.methods.Upgrade}\n")
    (tmp_path / "over.yaml").write_text(content)
    code, line = main(capsys, monkeypatch, config, "--config", str(tmp_path / "over.yaml"))
    assert code == 2
    assert line.startswith("error: config: ")
    assert message in line


def test_names_in_quotes_are_names(config, capsys, monkeypatch):
    methods = "--methods={'no': {class_path: compat.methods.Upgrade}}"
    monkeypatch.setattr(sys, "argv", ["run", str(config), "--dry-run", methods, "--seed='010'"])
    runner.main()
    out = capsys.readouterr().out
    assert "replay no seed 10: new" in out


def test_a_checkpoint_of_another_dimension_is_refused(config, capsys, monkeypatch):
    run(config, "--only=independent")
    saved = weights_of(config, "train old")
    code, line = main(capsys, monkeypatch, config, f"--old.checkpoint={saved}", "--old.model.embed_dim=9", "--name=x")
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
    trained = {path.parent.name for path in (config.parent / "runs").glob("train-*/record.json")}
    assert len(trained) == 2
    bad.write_bytes(good)
    run(config, "--data.num_workers=1")
    assert {path.parent.name for path in (config.parent / "runs").glob("train-*/record.json")} == trained


def test_what_would_stop_a_training_is_found_before_the_first(config, tmp_path, capsys, monkeypatch):
    for arguments, message in (
        (["--new.sees.images=0.2"], "class '0' has a single training image for new"),
        (["--data.images_per_class=2"], "so a batch has 12 classes, but there are 6"),
        (["--old.model.label_smoothing=3"], "label_smoothing: 3.0, expected 0 to 1"),
        (["--old.model.triplet_margin=-1"], "triplet_margin: -1.0, expected 0 or more"),
        ([*THIRD, "--starts=[0.5,0.5]"], "expected one or more, each another progress"),
        ([*THIRD, "--starts=[]"], "expected one or more, each another progress"),
    ):
        monkeypatch.setattr(sys, "argv", ["run", str(config), *arguments])
        with pytest.raises(SystemExit) as end:
            runner.main()
        assert end.value.code == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
