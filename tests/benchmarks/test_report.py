"""`python -m benchmarks.report`: verdicts on planted upgrades, what it says of them, and what it refuses."""

import gzip
import json
import os
import re
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from benchmarks.report import __main__ as report
from benchmarks.report.document import plain
from benchmarks.report.folder import EVERYTHING
from benchmarks.report.thumbnails import thumbnail
from tests import ROOT
from tests.planted_upgrades import CLASSES, save, upgrade

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def write(options, output):
    """Run the command; the HTML and the Markdown."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["report", *options, "-o", str(output), "--progress", "5"])
        report.main()
    return output.read_text(), output.with_suffix(".md").read_text()


def refused(options, capsys, *expected, output="report.html"):
    """Exit code 2 and one line that has all that is expected."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["report", *options, "-o", str(output)])
        with pytest.raises(SystemExit) as found:
            report.main()
    assert found.value.code == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(lines) == 1
    for part in expected:
        assert part in lines[0], lines[0]


@pytest.fixture(scope="module")
def better(tmp_path_factory):
    """A report on an upgrade that brings something, with names and images."""
    folder = tmp_path_factory.mktemp("better")
    options = save(folder, upgrade(0.8, 0.5))
    names = folder / "names.txt"
    names.write_text("\n".join([EVIL, *(f"kind {n}" for n in range(1, CLASSES))]))
    images = folder / "images.txt"
    images.write_text("\n".join(f"pictures/{n}{'<b>' if n % 2 else ''}.png" for n in range(80)))
    (folder / "pictures").mkdir()
    for n in range(0, 80, 2):
        Image.new("RGB", (20, 30), (3 * n, 0, 0)).save(folder / "pictures" / f"{n}.png")
    more = ["--class-names", str(names), "--query-images", str(images), "--name", f"mine {EVIL}"]
    more += ["--items-per-second", "0.001", "--gallery-size", "1000"]
    return write([*options, *more], folder / "report.html")


def test_an_upgrade_that_helps_is_recommended_with_its_interval(better):
    html, text = better
    assert "**Upgrade: backfill with" in text
    figures = re.search(r"\+(\S+) points \(95 % interval \+(\S+) to \+(\S+) points, 80", text)
    assert figures is not None
    gain, low, high = map(float, figures.groups())
    assert 0 < low < gain < high < 100
    assert "random half" in text
    assert "two encoders, ranks fused" in text
    assert "11.6 days" in text  # 1000 items, one in a thousand seconds
    assert "days since the start" in html
    assert "95 % interval" in html


def test_what_names_hold_is_shown_and_not_run(better):
    html, text = better
    for page in better:
        assert "<script>alert" not in page
        assert "<img src=x" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "mine &lt;script&gt;" in text


def test_images_are_in_the_file_and_missing_ones_are_named(better):
    html, _ = better
    assert html.count("data:image/jpeg;base64,") >= 1
    assert "&lt;b&gt;.png (no image)" in html
    assert "40 of 80 images are not there, the first 1&lt;b&gt;.png" in html
    assert not re.search(r"(src|href)=\"(?!data:|#)", html.split("<script>")[0])


def test_an_upgrade_that_harms_is_not_recommended(tmp_path):
    _, text = write(save(tmp_path, upgrade(0.1, 1.6)), tmp_path / "report.html")
    assert "**Do not upgrade: the new model is worse**" in text


def test_an_upgrade_that_brings_nothing_is_not_recommended(tmp_path):
    arrays = upgrade(0.05, 0.05, queries=400)
    _, text = write(save(tmp_path, arrays), tmp_path / "report.html")
    assert "**Do not upgrade: it brings next to nothing**" in text


def test_too_few_queries_do_not_tell(tmp_path):
    arrays = upgrade(1.0, 0.97, queries=24)
    _, text = write(save(tmp_path, arrays), tmp_path / "report.html")
    assert re.search(r"\*\*Not separable with this many queries: about [\d,]+ more are needed\*\*", text)
    assert "There are 24 queries" in text


def test_without_labels_there_are_proxies_marked_as_such(tmp_path):
    arrays = {name: values for name, values in upgrade(1.6, 0.1).items() if "labels" not in name}
    _, text = write(save(tmp_path, arrays), tmp_path / "report.html")
    assert "**Not decided: without labels nobody can say which model is better**" in text
    assert "proxies" in text
    assert "mAP" not in text
    assert "overlap (proxy)" in text


def test_every_way_that_can_be_had_is_tried(tmp_path):
    arrays = upgrade(1.6, 0.1)
    random = np.random.default_rng(5)
    rows = random.permutation(240)[:200]
    extra = {"train_old": arrays["gallery_old"][rows], "train_new": arrays["gallery_new"][rows]}
    extra |= {"scores": random.uniform(size=240), "order": random.permutation(240)}
    _, text = write(save(tmp_path, {**arrays, **extra}), tmp_path / "report.html")
    for way in (
        "procrustes", "affine + density", "kernel_gallery + clusters", "own_forward + scores", "independent + yours",
        "independent + reciprocal_rank", "independent + z_score", "independent + quantile", "own_forward", "own_back",
    ):  # fmt: skip
        assert f"| {way} |" in text or f"| {way} (recommended) |" in text, way
    assert "items of the gallery are in the training set too" in text


def test_duplicates_and_zero_vectors_are_warned_of(tmp_path):
    arrays = upgrade(1.6, 0.1)
    for time in ("old", "new"):
        arrays[f"gallery_{time}"][:5] = arrays[f"query_{time}"][:5]
        arrays[f"gallery_{time}"][7] = 0
    _, text = write(save(tmp_path, arrays), tmp_path / "report.html")
    assert "5 of 80 queries have an item in the gallery with the same embedding" in text
    assert "gallery\\_old has 1 zero vectors" in text or "gallery_old has 1 zero vectors" in text


def test_spaces_that_cannot_be_merged_are_warned_of(tmp_path):
    arrays = upgrade(0.3, 0.1)
    for part in ("query", "gallery"):  # all distances of the new space are small: migrated items crowd the first places
        arrays[f"{part}_new"] = arrays[f"{part}_new"] + np.float32(12)
    _, text = write(save(tmp_path, arrays), tmp_path / "report.html")
    assert "find less than the old one alone" in text


def test_a_large_gallery_is_sampled_and_the_gain_is_of_all_of_it(tmp_path):
    arrays = upgrade(1.6, 0.1, queries=120, items=600)
    options = save(tmp_path, arrays)
    _, whole = write(options, tmp_path / "whole.html")
    _, text = write([*options, "--items", "300", "--queries", "60"], tmp_path / "report.html")
    gain = re.search(r"The new model is better, from .*?\)", whole)
    assert gain is not None
    assert gain[0] in text
    assert "60 of 120" in text
    assert "300 of 600" in text
    assert "ways were compared on 300 items" in text


def test_a_transform_alone_stands_for_the_old_queries(tmp_path):
    arrays = {name: values for name, values in upgrade(0.6, 0.1).items() if name != "query_old"}
    options = save(tmp_path, arrays)
    np.save(tmp_path / "psi.npy", np.linalg.lstsq(arrays["gallery_new"], arrays["gallery_old"], rcond=None)[0])
    _, text = write([*options, "--transform", str(tmp_path / "psi.npy")], tmp_path / "report.html")
    assert "| transform" in text
    assert "own_forward" not in text


@pytest.fixture
def files(tmp_path):
    """Options that are right."""
    return tmp_path, save(tmp_path, upgrade(0.6, 0.1, queries=16, items=40))


def changed(files, **arrays):
    """Options with some arrays in place of others, and more of them."""
    folder, options = files
    return [*options, *save(folder, arrays)]


def test_arrays_that_are_wrong_are_one_line(files, capsys):
    folder, options = files
    random = np.random.default_rng(0)
    refused(changed(files, gallery_labels=np.zeros(40, int)), capsys, "gallery_labels", "one class", "expected")
    refused(changed(files, gallery_labels=np.arange(40.0)), capsys, "gallery_labels", "float64")
    refused(changed(files, gallery_labels=np.arange(39) % 8), capsys, "gallery_labels", "39 rows", "40")
    save(folder, {"gallery_labels": np.arange(40) % 8})
    refused(changed(files, query_new=np.zeros((0, 16))), capsys, "query_new", "no rows")
    save(folder, {"query_new": random.normal(size=(16, 16))})
    refused(changed(files, train_old=np.zeros((5, 16))), capsys, "train_new", "not given beside train_old")
    refused(changed(files, train_old=np.zeros((5, 3)), train_new=np.zeros((5, 16))), capsys, "train_old", "16 columns")
    refused(changed(files, order=np.arange(39)), capsys, "order")
    refused(changed(files, scores=np.arange(39)), capsys, "40 finite scores")
    refused(changed(files, query_labels=np.arange(16) + 100), capsys, "query_labels", "relevant")
    (folder / "query_labels.npy").unlink()
    refused(options, capsys, "query_labels", "no such file")
    at = options.index("--query-labels")
    refused(options[:at] + options[at + 2 :], capsys, "query_labels: not given")


def test_rows_of_other_items_are_found_by_their_ids(files, capsys):
    ids = np.array([f"item {n}" for n in range(40)])
    turned = np.roll(ids, 1)
    given = {"gallery_ids_old": ids, "gallery_ids_new": turned}
    refused(changed(files, **given), capsys, "gallery_ids_new: the same ids in another sequence", "40 rows", "item 39")
    given["gallery_ids_new"] = np.array(["x", *ids[1:]])
    refused(changed(files, **given), capsys, "other ids (1 rows differ")
    refused(changed(files, query_ids_old=np.arange(16)), capsys, "query_ids_new: not given beside query_ids_old")
    refused(changed(files, query_ids_old=np.arange(16), query_ids_new=np.arange(15)), capsys, "query_ids_new: shape")


def test_options_that_are_wrong_are_one_line(files, capsys, tmp_path):
    _, options = files
    refused([], capsys, "folder: none", "expected")
    refused([*options, "--items-per-second", "0"], capsys, "items_per_second: 0")
    refused([*options, "--least-gain", "2"], capsys, "least_gain: 2")
    refused([*options, "--queries", "1"], capsys, "queries: 1")
    refused([*options, "--seed", "-1"], capsys, "seed: -1")
    refused([*options, "--query-images", str(tmp_path / "nowhere")], capsys, "query_images")
    refused([*options, "--class-names", str(tmp_path / "nowhere")], capsys, "class_names")
    refused([*options, "results/digits_tuned"], capsys, "given beside a folder")
    refused([*options, "--nonsense"], capsys, "--nonsense")
    refused(["nowhere.yaml"], capsys, "nowhere.yaml")
    (tmp_path / "three.txt").write_text("a\nb\nc\n")
    refused([*options, "--query-images", str(tmp_path / "three.txt")], capsys, "3 images, expected 16")


def test_an_output_that_cannot_be_written_is_one_line(files, capsys, tmp_path):
    _, options = files
    refused(options, capsys, "output", output=tmp_path / "report.txt")
    (tmp_path / "folder.html").mkdir()
    refused(options, capsys, "output", output=tmp_path / "folder.html")
    (tmp_path / "file").write_text("")
    refused(options, capsys, "output", output=tmp_path / "file" / "report.html")
    if os.geteuid():
        (tmp_path / "closed").mkdir(mode=0o500)
        refused(options, capsys, "output", output=tmp_path / "closed" / "report.html")


@pytest.fixture
def folder(tmp_path):
    """A folder of results, to be spoilt."""
    to = tmp_path / "digits_tuned"
    shutil.copytree(ROOT / "results" / "digits_tuned", to)
    lines = gzip.decompress((to / "results.jsonl.gz").read_bytes()).decode().splitlines()
    (to / "results.jsonl.gz").unlink()
    return to, lines


def test_a_folder_of_results_is_reported_on_by_its_trainings(folder, tmp_path):
    to, lines = folder
    newer = {**json.loads(lines[0]), "a column of a newer version": 1}
    (to / "results.jsonl").write_text("\n".join([json.dumps(newer), *lines[1:]]) + "\n")
    html, text = write([str(to)], tmp_path / "report.html")
    assert re.search(r"The new model is better, .* 3 trainings\)", text)
    assert "Who loses" not in text
    assert "**Upgrade: backfill with" in text
    assert "chosen by the same figures that are shown" in text
    assert "bands are" not in html.split("<script>")[0]


def bound(line, order, change):
    """The same result by an order that nobody could follow, with other figures."""
    found = json.loads(line)
    found |= {"order": order, "key": f"{found['key']}{order}", "needs": {**found["needs"], "order": [EVERYTHING]}}
    return json.dumps({**found, "mean_ap": [value + change for value in found["mean_ap"]]})


def test_an_order_that_nobody_could_follow_is_a_ceiling_and_no_way(folder, tmp_path, capsys):
    to, lines = folder
    bounds = [bound(line, order, change) for line in lines for order, change in (("oracle", 0.1), ("reverse", -0.1))]
    (to / "results.jsonl").write_text("\n".join([*lines, *bounds]) + "\n")
    _, text = write([str(to)], tmp_path / "report.html")
    way = re.search(r"\*\*Upgrade: backfill with (.*)\*\*", text)
    assert way is not None
    assert "oracle" not in way[1]
    assert text.count(f"ceiling, not a way: {way[1]} + oracle |") == 1
    assert re.search(r"Orders that need all matrices and labels \((oracle, reverse|reverse, oracle)\) are bounds", text)
    assert "+ oracle | " not in text.replace("ceiling, not a way: ", "").split("## ", 1)[1]
    (to / "results.jsonl").write_text("\n".join(bounds) + "\n")
    refused([str(to)], capsys, "all matrices and labels", "expected one that can be followed")


def test_a_folder_that_cannot_be_read_is_one_line(folder, tmp_path, capsys):
    to, lines = folder
    newer = {name: value for name, value in json.loads(lines[0]).items() if name != "mean_ap"}
    (to / "results.jsonl").write_text("\n".join([json.dumps(newer), *lines[1:]]) + "\n")
    refused([str(to)], capsys, "results.jsonl", "expected")
    (to / "results.jsonl").unlink()
    refused([str(to)], capsys, "no results")
    refused([str(tmp_path / "nowhere")], capsys, "nowhere")


def test_an_image_that_is_none_has_its_name_alone(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    assert thumbnail(tmp_path / "a.png") == ("a.png", "")
    assert thumbnail(tmp_path / "nowhere.png").uri == ""
    assert thumbnail(tmp_path).uri == ""


def test_markdown_has_no_html_and_no_marks():
    assert plain("a\n<b> `c` | [d](e)") == "a &lt;b&gt; \\`c\\` \\| \\[d\\](e)"
