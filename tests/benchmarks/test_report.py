"""`python -m benchmarks.report`: verdicts on planted upgrades, and what it says of them."""

import base64
import io
import os
import re

import numpy as np
import pytest
from PIL import Image

from benchmarks.report.document import plain
from benchmarks.report.inputs import images_of, names_of
from benchmarks.report.write import thumbnail
from compat.errors import InputError
from tests.helpers.planted_upgrades import CLASSES, save, upgrade
from tests.helpers.reports import write

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>"


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
    assert "significantly lower" not in text
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
    found = re.search(r"\*\*Not separable with this many queries: about ([\d,]+) more are needed\*\*", text)
    assert found is not None
    assert re.fullmatch("[1-9][0-9]?0*", found[1].replace(",", ""))
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
        "independent + query_z_score", "kernel_gallery + query_z_score",
    ):  # fmt: skip
        assert f"| {way} |" in text or f"| {way} (recommended) |" in text, way
    assert "items of the gallery are in the training set too" in text
    assert "of another domain" not in text


def test_pairs_of_another_domain_are_warned_of(tmp_path):
    arrays, domains = upgrade(1.6, 0.1), 9 * np.eye(16, dtype=np.float32)
    extra = {f"train_{time}": arrays[f"gallery_{time}"] + domains[1] for time in ("old", "new")}
    for name in ("query_old", "query_new", "gallery_old", "gallery_new"):
        arrays[name] = arrays[name] + domains[0]
    _, text = write(save(tmp_path, {**arrays, **extra}), tmp_path / "report.html")
    assert re.search(r"\d+ % of the gallery have no training pair near: the pairs are of another domain", text)


def test_duplicates_and_zero_vectors_are_warned_of(tmp_path):
    arrays = upgrade(1.6, 0.1)
    for time in ("old", "new"):
        arrays[f"gallery_{time}"][:5] = arrays[f"query_{time}"][:5]
        arrays[f"gallery_{time}"][7] = 0
    _, text = write(save(tmp_path, arrays), tmp_path / "report.html")
    assert "5 of 80 queries have an item in the gallery with the same embedding" in text
    assert "gallery_old has 1 zero vectors, at the same distance from everything" in text


def warned(text):
    """What the report says of spaces that cannot be merged."""
    found = re.findall(r"^- (Merged by raw distances, .*|Distances of the two spaces do not .*)$", text, re.MULTILINE)
    assert len(found) <= 1
    return found[0] if found else ""


def test_spaces_that_cannot_be_merged_are_warned_of(tmp_path):
    arrays = upgrade(0.3, 0.1)
    for part in ("query", "gallery"):  # all distances of the new space are small: migrated items crowd the first places
        arrays[f"{part}_new"] += np.float32(12)
    _, text = write(save(tmp_path, arrays), tmp_path / "report.html")
    assert "find less than either of them alone" in warned(text)
    assert "Distances of the two spaces do not mean the same" in warned(text)
    assert "with a probability of 0 %" in warned(text)
    assert re.search(r"the old distance is below the new one with a probability of 0 %", text)


def test_a_fall_to_what_the_worse_model_finds_in_the_end_is_no_fault_of_the_merge(tmp_path):
    _, text = write(save(tmp_path, upgrade(0.3, 1.6)), tmp_path / "report.html")
    assert "**Do not upgrade: the new model is worse**" in text
    assert warned(text) == ""


def test_errors_that_do_not_go_together_are_not_told_as_distances_that_mean_something_else(tmp_path):
    arrays = upgrade(0.5, 0.5)
    for time, place in (("old", 0), ("new", 1)):  # every other query is far from all items, in turns
        far = np.where(np.arange(80) % 2 == place, 20, 0).astype(np.float32)
        arrays[f"query_{time}"] = np.column_stack([arrays[f"query_{time}"], far])
        arrays[f"gallery_{time}"] = np.column_stack([arrays[f"gallery_{time}"], np.zeros(240, np.float32)])
    _, text = write(save(tmp_path, arrays), tmp_path / "report.html")
    assert "find less than either of them alone" in warned(text)
    assert "On average distances of the two spaces mean about the same" in warned(text)
    assert "do not mean the same" not in text


def test_spaces_are_told_apart_without_labels_too(tmp_path):
    arrays = {name: values for name, values in upgrade(0.3, 0.1).items() if "labels" not in name}
    for part in ("query", "gallery"):
        arrays[f"{part}_new"] += np.float32(12)
    _, text = write(save(tmp_path, arrays), tmp_path / "report.html")
    assert warned(text).startswith("Distances of the two spaces do not mean the same")


def test_classes_that_lose_for_good_are_counted_beside_an_upgrade(tmp_path):
    arrays = upgrade(1.6, 0.2, queries=160)
    random = np.random.default_rng(1)
    for part in ("query", "gallery"):  # two of the eight classes are nothing but noise in the new space
        lost = arrays[f"{part}_labels"] < 2
        arrays[f"{part}_new"][lost] = random.normal(size=(lost.sum(), 16))
    _, text = write(save(tmp_path, arrays), tmp_path / "report.html")
    assert "**Upgrade" in text
    assert "2 of 8 classes, with 25 % of the queries, end significantly lower than they began." in text


def test_times_in_a_table_differ_and_have_one_unit(tmp_path):
    options = save(tmp_path, upgrade(0.8, 0.5, queries=40))
    for rate, wanted in (("2", ["0.0", "0.5", "1.0", "1.5", "2.0"]), ("0.001", ["0.0", "0.7", "1.4", "2.1", "2.8"])):
        _, text = write([*options, "--items-per-second", rate], tmp_path / "report.html")
        unit = "minutes" if rate == "2" else "days"
        assert re.findall(rf"^\| ([\d.]+) {unit} \|", text, re.MULTILINE) == wanted


def test_under_l2_it_is_said_that_no_learner_was_tried_and_zero_vectors_are_as_any_other(tmp_path):
    arrays = upgrade(0.8, 0.5, queries=40)
    arrays["gallery_old"][7] = 0
    _, text = write([*save(tmp_path, arrays), "--distance", "l2"], tmp_path / "report.html")
    assert "none was tried with the distance l2" in text
    assert "1 zero vectors: often images that failed" in text
    assert "own_" not in text.replace("own\\_", "")


def test_the_share_of_the_gain_is_that_of_the_curve_beside_it(tmp_path):
    _, text = write(save(tmp_path, upgrade(0.8, 0.5, queries=60)), tmp_path / "report.html")
    table = {at: float(value) for at, value in re.findall(r"^\| (\d+) % \| ([\d.]+) %", text, re.MULTILINE)}
    half = (table["50"] - table["0"]) / (table["100"] - table["0"])
    share = re.search(r"(\d+) % at 50 % of the backfill", text)
    assert share is not None
    assert f"Half way {share[1]} % of the gain" in text
    assert abs(int(share[1]) / 100 - half) < 0.15 / 100 / (table["100"] - table["0"]) * 100 + 0.005
    assert "measured on the 30 queries of the other half" in text


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


def test_an_image_that_is_none_has_its_name_alone(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    assert thumbnail(tmp_path / "a.png") == ("a.png", "")
    assert thumbnail(tmp_path / "nowhere.png").uri == ""
    assert thumbnail(tmp_path).uri == ""


def test_a_thumbnail_of_16_bits_is_gray_and_its_name_is_text(tmp_path):
    values = np.tile(np.linspace(0, 65535, 64).astype(np.uint16), (64, 1))
    path = tmp_path / os.fsdecode(b"caf\xe9.png")
    Image.fromarray(values).save(path)
    name, uri = thumbnail(path)
    assert name == r"caf\xe9.png"
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))).convert("L"))
    assert abs(shown.mean() - 127.5) < 3
    assert (shown == 255).mean() < 0.1


def test_images_of_a_folder_are_those_that_are_not_hidden(tmp_path):
    for name in ("b.png", "a/c.png", ".ipynb_checkpoints/b.png", "a/@eaDir/c.png", "a/._c.png", "Thumbs.db"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert images_of("query_images", str(tmp_path), 2) == [tmp_path / "a/c.png", tmp_path / "b.png"]
    (tmp_path / "a/up").symlink_to("..")
    with pytest.raises(InputError, match=r"query_images: .*/a/up is a link to a folder above it"):
        images_of("query_images", str(tmp_path), 2)


def test_lists_are_read_as_editors_write_them(tmp_path, monkeypatch):
    monkeypatch.setattr("locale.getpreferredencoding", lambda *_: "ascii")
    listed = tmp_path / "list.txt"
    for text in ("\ufeffé.png\r\nb.png\r\n", "é.png\nb.png\n\n \n", "é.png\nb.png"):
        listed.write_bytes(text.encode())
        assert images_of("query_images", str(listed), 2) == [tmp_path / "é.png", tmp_path / "b.png"]
        assert names_of(str(listed)) == ["é.png", "b.png"]


@pytest.mark.parametrize("line", ["x" * 5000, "x/" * 5000, "\ud800"])
def test_a_line_that_is_no_path_is_one_line(tmp_path, line):
    listed = tmp_path / "list.txt"
    listed.write_bytes(b"a.png\n" + line.encode(errors="surrogatepass"))
    with pytest.raises(InputError, match=r"^query_images: .*list.txt") as found:
        images_of("query_images", str(listed), 2)
    assert len(str(found.value)) < 400
    assert "\n" not in str(found.value)


def test_markdown_has_no_html_and_no_marks():
    assert plain("a\n<b> `c` | [d](e)") == "a &lt;b&gt; \\`c\\` \\| \\[d\\](e)"
