"""`python -m benchmarks.data check`: what is seen and searched, and which images are unreadable."""

import pytest
import yaml

from tests.helpers.running import refused


@pytest.fixture
def config(tmp_path, image_root):
    """A config whose data is the image folder."""
    backbone = {"class_path": "tests.helpers.backbones.TinyConv"}
    model = {"model": {"backbone": backbone, "embed_dim": 6}, "trainer": {"max_epochs": 1}}
    content = {
        "name": "tiny",
        "data": {"class_path": "compat.data.ImageFolder", "init_args": {"root": str(image_root)}},
        "old": {**model, "sees": {"classes": 0.25}},
        "new": model,
        "heads": {"trainer": {"max_epochs": 1}},
        "methods": {"independent": {"class_path": "compat.methods.Upgrade"}},
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "tiny.yaml"


def test_check_says_what_is_seen_and_searched(run, config, image_root):
    code, out, _ = run("check", config)
    assert code == 0
    assert {line[:12].strip(): line[13:] for line in out[:-1]} == {
        "dataset": "compat.data.ImageFolder",
        "root": str(image_root),
        "training": "72 images of 12 classes",
        "old sees": "18 images of 3 classes: 0 to 2",
        "new sees": "72 images of 12 classes: 0 to 11",
        "gallery": "36 images of 12 classes",
        "queries": "the gallery itself",
    }
    assert out[-1] == "OK"


def test_check_takes_overrides(run, config, tmp_path):
    _, out, _ = run("check", config, "--old.sees.classes=0.5", "--no-decode", "--old.sees.images", "0.5")
    assert "old sees     18 images of 6 classes: 0 to 5" in out
    refused(run("check", config, f"--data.root={tmp_path / 'nowhere'}"), f"{tmp_path}/nowhere", "expected")
    refused(run("check", config, "--data.rot=x"), "rot")
    refused(run("check", tmp_path / "nowhere.yaml"), "nowhere.yaml")


def test_check_names_unreadable_images(run, config, image_root):
    broken = ["train/3/3_0.png", "train/4/4_5.png", "val/0/0_0.png", "val/11/11_2.png"]
    for name in broken:
        (image_root / name).write_bytes(b"no image")
    result = run("check", config)
    refused(result, f"cannot decode 4 images ({', '.join(broken[:3])}, ...)", "on_error: skip")
    assert "OK" not in result[1]
    assert run("check", config, "--no-decode")[1][-1] == "OK"
    code, out, _ = run("check", config, "--data.on_error=skip")
    assert (code, out[-1]) == (0, "OK")
    assert "skipped      4 unreadable images, such as train/3/3_0.png" in out


def test_check_tells_files_left_out_and_hides_hidden_ones(run, config, image_root):
    for name in ("train/3/a.gif", "train/3/b.gif", "train/4/.c.png", "val/stray.png"):
        (image_root / name).write_bytes(b"")
    code, out, err = run("check", config)
    assert (code, out[-1]) == (0, "OK")
    assert "training     72 images of 12 classes" in out
    lines = [line for line in err.split("\r")[0].splitlines() if line]
    assert [line.split(" (")[1].split(")")[0] for line in lines] == ["2 .gif", "1 .png"]
    assert all(line.startswith("warning: data.root: ") for line in lines)
