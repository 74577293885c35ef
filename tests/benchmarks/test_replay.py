"""`python -m benchmarks.replay` from files on disk, and `python -m benchmarks.perf.speed` in small."""

import errno
import os
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

import compat.results.folder
from benchmarks import replay
from benchmarks.embeddings import measure
from benchmarks.tables.terminal import narrow
from compat import Embeddings, backfill_curve, backfill_order
from compat.merge import QueryZScore
from compat.results import load_results
from compat.results.lines import rounded
from compat.topk import topk_curve
from tests import ROOT


@pytest.fixture
def files(tmp_path):
    """Arrays of 12 queries and 40 items, D_old = 6 and D_new = 8, in .npy and .safetensors."""
    random = np.random.default_rng(0)
    labels = np.arange(40) % 4
    arrays: dict[str, Any] = {}
    for time, dimension in (("old", 6), ("new", 8)):
        centres = random.normal(size=(4, dimension))
        gallery = (centres[labels] + 2 * random.normal(size=(40, dimension))).astype(np.float32)
        arrays |= {f"gallery_{time}": gallery, f"query_{time}": gallery[:12] + np.float32(0.5)}
    arrays |= {"query_labels": labels[:12], "gallery_labels": labels}
    arrays |= {"query_groups": np.arange(12), "gallery_groups": np.arange(40)}
    for name, values in arrays.items():
        np.save(tmp_path / f"{name}.npy", values)
    np.save(tmp_path / "matrix.npy", random.normal(size=(8, 6)).astype(np.float32))
    np.save(tmp_path / "pickled.npy", np.array([{}, {}], dtype=object), allow_pickle=True)
    (tmp_path / "raw_pickle.npy").write_bytes(pickle.dumps([1, 2]))
    np.save(tmp_path / "strings.npy", np.array(["a"] * 12))
    np.save(tmp_path / "negative.npy", np.where(np.arange(40) == 3, -5, labels))
    save_file({"gallery": arrays["gallery_old"], "query": arrays["query_old"]}, tmp_path / "old.safetensors")
    return tmp_path, arrays


def call(monkeypatch, folder, *options, without=(), **changes):
    names = {name: f"{name}.npy" for name in replay.ARRAYS if name not in without} | changes
    given = [part for name, file in names.items() for part in (f"--{name.replace('_', '-')}", str(folder / file))]
    monkeypatch.setattr(sys, "argv", ["replay", *given, "-o", str(folder / "results" / "mine"), *options])
    replay.main()
    return load_results(folder / "results" / "mine")


@pytest.mark.parametrize("options", [(), ("--top-k", "150"), ("--backend", "torch")])
def test_a_merge_rule_is_a_row_of_its_own(files, monkeypatch, options):
    folder, arrays = files
    random = np.random.default_rng(1)
    for name in ("gallery_old", "gallery_new", "gallery_labels", "gallery_groups"):
        arrays[name] = np.concatenate([arrays[name]] * 4)[:150]
        if name.endswith(("old", "new")):
            arrays[name] = arrays[name] + random.normal(size=arrays[name].shape).astype(np.float32)
        np.save(folder / f"{name}.npy", arrays[name])
    call(monkeypatch, folder, *options)
    results = call(monkeypatch, folder, "--merge", "query_z_score", *options)
    assert sorted(result.name for result in results) == ["mine", "mine + query_z_score"]
    curves = [backfill_curve(Embeddings(**arrays), backfill_order(150, 0), merge=m) for m in (None, QueryZScore())]
    for curve, result in zip(curves, sorted(results, key=lambda result: result.name), strict=True):
        np.testing.assert_allclose(result.curves["mean_ap"], curve.mean_ap, atol=1e-9)
    assert np.abs(curves[0].mean_ap - curves[1].mean_ap).max() > 0.01


def test_a_result_for_each_seed_equals_the_function(files, monkeypatch, capsys):
    folder, arrays = files
    results = call(monkeypatch, folder, "--seeds", "3", gallery_old="old.safetensors:gallery")
    assert [result.seed for result in results] == [0, 1, 2]
    for result in results:
        curve = backfill_curve(Embeddings(**arrays), backfill_order(40, result.seed))
        assert result.mean_ap == rounded(curve.mean_ap.tolist())
        assert result.curves["cmc_5"] == rounded(curve.cmc[5].tolist())
        assert result.curves["negative_flip_rate"] == rounded(curve.negative_flip_rate.tolist())
        assert (result.old["mean_ap"], result.new["mean_ap"]) == (result.mean_ap[0], result.mean_ap[-1])
        assert (result.benchmark, result.method, result.encoder_passes_per_query) == ("mine", "mine", 2)
    assert narrow(results) in capsys.readouterr().out


@pytest.mark.parametrize("given", ["matrix", "function"])
def test_a_transform_takes_the_place_of_query_old(files, monkeypatch, given):
    folder, arrays = files
    matrix = torch.from_numpy(np.load(folder / "matrix.npy"))
    monkeypatch.setattr(sys.modules[__name__], "psi", lambda queries: queries @ matrix, raising=False)
    transform = str(folder / "matrix.npy") if given == "matrix" else f"{__name__}.psi"
    (result,) = call(monkeypatch, folder, "--transform", transform, without=("query_old",))
    made = torch.from_numpy(arrays["query_new"]) @ matrix
    curve = backfill_curve(Embeddings(**{**arrays, "query_old": made}), backfill_order(40, 0))
    assert result.mean_ap == rounded(curve.mean_ap.tolist())
    assert result.encoder_passes_per_query == 1
    assert result.old["mean_ap"] == result.mean_ap[0]


def test_further_metrics_are_stored_and_not_of_a_ranking_cut_off(files, monkeypatch, capsys):
    folder, arrays = files
    (result,) = call(monkeypatch, folder, "--metrics", "ndcg_10", "mrr")
    curve = backfill_curve(Embeddings(**arrays), backfill_order(40, 0), metrics=["ndcg_10", "mrr"])
    assert result.curves.keys() == curve.figures.keys()
    assert result.curves["ndcg_10"] == rounded(curve.mean("ndcg_10").tolist())
    with pytest.raises(SystemExit):
        call(monkeypatch, folder, "--metrics", "mrr", "--top-k", "7")
    assert "error: metrics: mrr with --top-k, expected none, as ranks are cut off" in capsys.readouterr().err


def test_the_old_system_is_that_of_query_old_even_with_a_transform(files, monkeypatch):
    folder, arrays = files
    (plain,) = call(monkeypatch, folder)
    options = ("--transform", str(folder / "matrix.npy"), "--overwrite", "--progress", "0.25", "0.75")
    (result,) = call(monkeypatch, folder, *options)
    assert result.progress == [0, 0.25, 0.75, 1]
    assert (result.old, result.new) == (plain.old, plain.new)
    alone = backfill_curve(Embeddings(**arrays), range(40), [0.0], per_query=True)
    assert alone.first_rank is not None
    made = torch.from_numpy(arrays["query_new"]) @ torch.from_numpy(np.load(folder / "matrix.npy"))
    correct = alone.first_rank[:, 0, 0] == 1
    merged = Embeddings(**{**arrays, "query_old": made})
    curve = backfill_curve(merged, backfill_order(40, 0), [0, 0.25, 0.75, 1], correct_before=correct)
    assert result.curves["negative_flip_rate"] == rounded(curve.negative_flip_rate.tolist())


def test_an_order_from_a_file(files, monkeypatch):
    folder, arrays = files
    np.save(folder / "order.npy", np.arange(40)[::-1])
    (result,) = call(monkeypatch, folder, "--order", str(folder / "order.npy"))
    curve = backfill_curve(Embeddings(**arrays), np.arange(40)[::-1])
    assert result.mean_ap == rounded(curve.mean_ap.tolist())


@pytest.mark.parametrize(
    ("options", "changes", "without", "message"),
    [
        ((), {}, ("query_old",), "query_old: not given, expected --query-old FILE, or --transform"),
        ((), {}, ("gallery_new",), "gallery_new: not given, expected --gallery-new FILE"),
        ((), {"query_old": "none.npy"}, (), "expected an array in .npy or .safetensors"),
        ((), {"query_old": "query.txt"}, (), "expected a .npy or .safetensors file"),
        ((), {"query_old": "old.safetensors"}, (), "holds gallery, query, expected"),
        ((), {"query_old": "old.safetensors:images"}, (), "query_old: "),
        ((), {"query_old": "query_new.npy"}, (), "query_old: shape (12, 8), expected 6 columns as in gallery_old"),
        ((), {"gallery_labels": "query_labels.npy"}, (), "gallery_labels: shape (12,), expected 40 rows"),
        (("--seeds", "0"), {}, (), "seeds: 0, expected at least 1"),
        (("--seeds", "1000000000000"), {}, (), "seeds: 1000000000000, expected at most 1000"),
        (("--progress", "0", "2"), {}, (), "progress: 2, expected completion ratios in [0, 1]"),
        (("--progress", "1000000"), {}, (), "progress: 1000000 completion ratios, expected at most 41 for 40 gallery"),
        (("--name", "../../evil"), {}, (), "name: '../../evil', expected letters, digits, '.', '_', '-' and '+', not"),
        (("--name", "a/b c"), {}, (), "name: 'a/b c', expected letters"),
        (("--name", ""), {}, (), "name: '', expected letters"),
        (("--name", ".hidden"), {}, (), "name: '.hidden', expected letters"),
        (("--order", "none.npy"), {}, (), "order: none.npy (no such file)"),
        (
            (),
            {"query_old": "pickled.npy"},
            (),
            "(Python objects, which are not loaded, instead of numbers), expected an",
        ),
        ((), {"query_old": "raw_pickle.npy"}, (), "(a Python pickle, which is not loaded), expected an array in .npy"),
        ((), {"query_labels": "strings.npy"}, (), "query_labels: strings, expected integers"),
        ((), {"gallery_labels": "negative.npy"}, (), "gallery_labels: -5 in row 3, expected labels of 0 and more"),
        (("--top-k", "4"), {}, (), "top_k: 4, expected at least 5"),
        (("--top-k", "9", "--index", "xyz"), {}, (), "index: 'xyz' (could not parse"),
        (("--top-k", "9", "--transform", "json.dumps"), {}, (), "query_old: given beside --transform and --top-k"),
        (("--index", "Flat"), {}, (), "index: 'Flat' without --top-k, expected both"),
        (("--search", "nprobe=2"), {}, (), "search: 'nprobe=2' without --top-k, expected both"),
        (("--transform", "no.such.function"), {}, (), "transform: no.such.function"),
        (("--transform", "matrix:gallery_labels.npy"), {}, (), "transform: "),
    ],
)
def test_wrong_input_is_one_line_and_code_2(files, monkeypatch, capsys, options, changes, without, message):
    with pytest.raises(SystemExit) as stop:
        call(monkeypatch, files[0], *options, without=without, **changes)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert "unsafe" not in error
    assert "allow_pickle" not in error
    assert not (files[0] / "results").exists()
    assert not list(files[0].parent.glob("evil*"))


@pytest.mark.parametrize("output", ["query_old.npy", "query_old.npy/below", "x" * 300, "/proc/none/mine"])
def test_a_folder_that_cannot_be_written_is_one_line_before_anything_is_computed(files, monkeypatch, capsys, output):
    monkeypatch.setattr(measure, "replay", lambda arguments: pytest.fail("computed"))
    path = files[0] / output
    with pytest.raises(SystemExit) as stop:
        call(monkeypatch, files[0], "-o", str(path))
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: output: {path} (")
    assert error.endswith("), expected a writable folder\n")
    assert error.count("\n") == 1


def test_a_disk_that_is_full_afterwards_is_one_line(files, monkeypatch, capsys):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(compat.results.folder, "replace", full)
    with pytest.raises(SystemExit) as stop:
        call(monkeypatch, files[0])
    assert stop.value.code == 2
    assert ": No space left on device, expected a folder with room to write in\n" in capsys.readouterr().err


@pytest.mark.parametrize(("asked", "stored"), [("0", [0, 1]), ("0.5", [0, 0.5, 1]), ("1", [0, 1])])
def test_both_ends_are_always_measured(files, monkeypatch, asked, stored):
    folder, arrays = files
    (found,) = call(monkeypatch, folder, "--progress", asked)
    curve = backfill_curve(Embeddings(**arrays), backfill_order(40, 0), stored)
    assert (found.progress, found.mean_ap) == (stored, rounded(curve.mean_ap.tolist()))
    assert (found.old["mean_ap"], found.new["mean_ap"]) == (found.mean_ap[0], found.mean_ap[-1])


def test_as_many_ratios_as_the_gallery_tells_apart(files, monkeypatch):
    (found,) = call(monkeypatch, files[0], "--progress", "41")
    assert len(found.mean_ap) == 41


def test_zero_vectors_are_warned_of(files, monkeypatch, capsys):
    folder, arrays = files
    np.save(folder / "zeros.npy", np.where(np.arange(40)[:, None] < 7, 0, arrays["gallery_new"]))
    call(monkeypatch, folder, gallery_new="zeros.npy")
    assert capsys.readouterr().err.count("warning: gallery_new: 7 zero vectors, at cosine distance 1") == 1


@pytest.mark.parametrize("index", [(), ("--index", "IVF2,Flat", "--search", "nprobe=2")])
def test_a_ranking_cut_off_is_stored_as_such(files, monkeypatch, index):
    folder, arrays = files
    results = call(monkeypatch, folder, "--top-k", "7", "--seeds", "2", *index)
    for found in results:
        curve = topk_curve(Embeddings(**arrays), backfill_order(40, found.seed), k=7)
        assert found.mean_ap == rounded(curve.mean_ap.tolist())
        assert found.curves["cmc_1"] == rounded(curve.cmc[1].tolist())
        assert found.curves["negative_flip_rate"] == rounded(curve.negative_flip_rate.tolist())
        ranking = {"mean_ap": "mAP@7", "index": "Flat", "search": "", "recall": [1] * 11}
        if index:
            ranking |= {"index": "IVF2,Flat", "search": "nprobe=2"}
        assert found.spec["ranking"] == ranking
    assert results[0].mean_ap != results[1].mean_ap


def test_a_cut_off_takes_no_whole_ranking_s_place(files, monkeypatch, capsys):
    call(monkeypatch, files[0])
    with pytest.raises(SystemExit):
        call(monkeypatch, files[0], "--top-k", "7")
    assert "overwrite: " in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["--no-such"], ["-o", "x", "--query-new", "none.npy"]])
def test_help_and_errors_import_no_torch(arguments, tmp_path):
    code = "import sys\nfrom benchmarks.replay import main\n"
    code += "try: main()\nfinally: print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == (0 if "--help" in arguments else 2)
    assert done.stdout.endswith("False\n")


def test_other_seeds_join_a_folder_and_stale_ones_leave_it(files, monkeypatch):
    folder, _ = files
    assert len(call(monkeypatch, folder, "--seeds", "1", "--name", "one")) == 1
    assert len(call(monkeypatch, folder, "--seeds", "3", "--name", "three")) == 4
    assert len(call(monkeypatch, folder, "--seeds", "2", "--name", "one")) == 5
    np.save(folder / "order.npy", np.arange(40))
    order = ("--order", str(folder / "order.npy"), "--name", "three", "--overwrite")
    assert [r.method for r in call(monkeypatch, folder, *order)].count("three") == 1


def test_results_from_other_input_are_not_replaced(files, monkeypatch, capsys):
    folder, _ = files
    call(monkeypatch, folder)
    with pytest.raises(SystemExit):
        call(monkeypatch, folder, "--distance", "l2")
    assert "overwrite: " in capsys.readouterr().err
    call(monkeypatch, folder, "--distance", "l2", "--overwrite")
