"""What `python -m benchmarks.report` refuses, each in one line."""

import os

import numpy as np
import pytest

from benchmarks.report.inputs import check_ids
from tests.helpers.planted_upgrades import save, upgrade
from tests.helpers.reports import refused


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
    refused(changed(files, order=np.arange(39)), capsys, "order: shape (1, 39)")
    refused(changed(files, order=np.arange(40) + 1), capsys, "order: 40, expected a permutation of 0 to 39")
    refused(changed(files, order=np.arange(40) - 1), capsys, "order: -1, expected a permutation of 0 to 39")
    refused(changed(files, order=np.arange(40) // 2), capsys, "order: 0 twice, expected a permutation of 0 to 39")
    refused(changed(files, order=np.arange(40.0)), capsys, "order: float64, expected integers")
    refused(changed(files, scores=np.arange(39)), capsys, "40 finite scores")
    refused(changed(files, scores=np.arange(40).astype("M8[D]")), capsys, "datetime64[D]", "40 finite scores")
    refused(changed(files, query_labels=np.arange(16) + 100), capsys, "query_labels", "relevant")
    (folder / "query_labels.npy").unlink()
    refused(options, capsys, "query_labels", "no such file")
    at = options.index("--query-labels")
    refused(options[:at] + options[at + 2 :], capsys, "query_labels: not given")


def test_training_rows_that_are_wrong_are_one_line(files, capsys):
    given = {"train_old": np.zeros((5, 16)), "train_new": np.zeros((5, 16))}
    refused(changed(files, **given), capsys, "train_old: affine", "singular", "expected different rows")
    given["train_new"] = np.where(np.arange(5)[:, None] == 3, np.nan, np.ones((5, 16)))
    refused(changed(files, **given), capsys, "train_new: NaN or infinite values (first in row 3)")
    given["train_new"] = np.ones((5, 16)).astype(str)
    refused(changed(files, **given), capsys, "train_new: strings, expected numbers")


@pytest.mark.parametrize("name", ["query_labels", "gallery_labels"])
def test_labels_beyond_what_is_counted_with_are_one_line(files, capsys, name):
    labels = (np.arange(16 if name == "query_labels" else 40) % 8).astype(np.uint64)
    labels[5] = 2**63 + 5
    refused(changed(files, **{name: labels}), capsys, f"{name}: {2**63 + 5} in row 5, expected less than 2^63")


def test_rows_of_other_items_are_found_by_their_ids(files, capsys):
    ids = np.array([f"item {n}" for n in range(40)])
    turned = np.roll(ids, 1)
    given = {"gallery_ids_old": ids, "gallery_ids_new": turned}
    refused(changed(files, **given), capsys, "gallery_ids_new: the same ids in another sequence", "40 rows", "item 39")
    given["gallery_ids_new"] = np.array(["x", *ids[1:]])
    refused(changed(files, **given), capsys, "other ids (1 rows differ")
    given["gallery_ids_new"] = np.zeros(40, "i4,i4")
    refused(
        changed(files, **given), capsys, "gallery_ids_new: [('f0', '<i4'), ('f1', '<i4')], expected text or numbers"
    )
    refused(changed(files, query_ids_old=np.arange(16)), capsys, "query_ids_new: not given beside query_ids_old")
    refused(changed(files, query_ids_old=np.arange(16), query_ids_new=np.arange(15)), capsys, "query_ids_new: shape")


def test_ids_are_compared_exactly_or_refused(files, capsys):
    whole, text = np.arange(40), np.arange(40).astype(str)
    far = whole + 2**53 + 1
    for old, new, *words in (
        (far, far.astype(float), "gallery_ids_new: 9007199254740992.0 as float64 in row 0, which is rounded"),
        (far.astype(float), far.astype(float), "gallery_ids_old", "which is rounded", "integers or text"),
        (whole + 2.0**24, (whole + 2.0**24).astype("f4"), "gallery_ids_new: 16777216.0 as float32 in row 0"),
        (far, (far + 1).astype("u8"), "gallery_ids_new: other ids (40 rows differ"),
        (whole, text, "gallery_ids_new: <U21, expected numbers as in gallery_ids_old (int64)"),
        (text, whole, "gallery_ids_new: int64, expected text as in gallery_ids_old (<U21)"),
        (text.astype("S"), text, "gallery_ids_new: <U21, expected bytes as in"),
        (np.where(whole == 7, np.nan, whole),) * 2 + ("gallery_ids_old: nan in row 7, expected an id in each row",),
        (whole.astype("M8[D]"), np.where(whole == 7, np.datetime64("NaT"), whole.astype("M8[D]")), "NaT in row 7"),
    ):
        refused(changed(files, gallery_ids_old=old, gallery_ids_new=new), capsys, *words)


def test_ids_of_several_types_of_numbers_may_be_alike():
    for old, new in (("i8", ("f8", "u8", "i2", "f2", ">i4")), ("U2", ("U5",)), ("S1", ("S3",)), ("M8[D]", ("M8[ns]",))):
        ids = np.arange(4).astype(old)
        for kind in new:
            check_ids("query", {"query_ids_old": ids, "query_ids_new": ids.astype(kind)}, {"query_new": ids})


def test_options_that_are_wrong_are_one_line(files, capsys, tmp_path):
    _, options = files
    refused([], capsys, "folder: none", "expected")
    refused([*options, "--items-per-second", "0"], capsys, "items_per_second: 0")
    refused([*options, "--least-gain", "2"], capsys, "least_gain: 2")
    refused([*options, "--queries", "1"], capsys, "queries: 1")
    refused([*options, "--seed", "-1"], capsys, "seed: -1")
    refused([*options, "--seeds", "0"], capsys, "seeds: 0, expected at least 1")
    refused([*options, "--seeds", "1000000000000"], capsys, "seeds: 1000000000000, expected at most 1000")
    refused([*options, "--gallery-size", "39"], capsys, "gallery_size: 39, expected at least 40")
    refused([*options, "--gallery-size", f"1{400 * '0'}"], capsys, "gallery_size", "expected at most")
    refused([*options, "--items-per-second", "1e-320"], capsys, "items_per_second: 9.99989e-321, expected more than 0")
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
