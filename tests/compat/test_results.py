"""Results on disk, and what is derived from them."""

import gzip
import json
import math
import multiprocessing
from dataclasses import replace

import numpy as np
import pytest

from compat.curve import area, relative_flips, relative_gain, sum_of_drops
from compat.errors import InputError, check_name
from compat.results import (
    collect,
    forget,
    load_experiment,
    load_keys,
    load_query_auc,
    load_results,
    load_upgrades,
    queries,
    record_name,
)
from compat.statistics import over_seeds, paired_bootstrap
from tests.helpers.toy import RESULT, curved, folder, labelled


def test_derived_figures_by_hand():
    assert RESULT.auc == pytest.approx(0.35)
    assert RESULT.relative_gain == pytest.approx(0.15 / 0.4)
    assert RESULT.mean_negative_flips == pytest.approx(0.0625)
    assert RESULT.auc_mean == pytest.approx(1.1 / 3)
    assert RESULT.final_over_new == pytest.approx(1.0)
    assert curved(mean_ap=[0.2, 0.3, 0.45]).final_over_new == pytest.approx(0.75)
    assert math.isnan(replace(RESULT, new={**RESULT.new, "mean_ap": 0.0}).final_over_new)
    between, end = 0.1 / (0.3 * 0.6), 0.05 / (0.3 * 0.3)
    assert RESULT.relative_flips == pytest.approx((between / 2 + (between + end) / 2) / 2)
    assert curved(mean_ap=[0.5, 0.3, 0.4, 0.2]).total_drop == pytest.approx(0.4)


def test_relative_flips_of_independent_errors_are_one_and_none_where_nothing_flips():
    random = np.random.default_rng(0)
    before, after = random.random((2, 200_000)) < [[0.7], [0.4]]
    flips = (before & ~after).mean()
    assert relative_flips([flips], before.mean(), [after.mean()])[0] == pytest.approx(1, abs=0.01)
    assert relative_flips([0.0, 0.0], 0.0, [1.0, 0.5]).tolist() == [0.0, 0.0]


def test_uneven_progress_and_single_points():
    assert area([0.0, 0.1, 1.0], [1.0, 0.0, 0.0]) == pytest.approx(0.05)
    assert area([0.2, 0.6], [1.0, 0.0]) == pytest.approx(0.5)
    assert area([0.3], [0.7]) == 0.7
    assert sum_of_drops([0.3]) == 0


def test_the_relative_gain_of_a_worse_new_system_is_undefined():
    with pytest.warns(UserWarning, match="undefined"):
        assert math.isnan(relative_gain(0.3, old=0.5, new=0.5))


def test_results_come_back_as_they_were_saved(tmp_path):
    result = replace(curved(mean_ap=[1 / 3, 0.5, 0.6]), needs={"order": ["labels"]}, images_skipped=["a.png"])
    collect(tmp_path / "toy", [result])
    (found,) = load_results(tmp_path / "toy")
    assert found == curved(result, mean_ap=[0.333333333, 0.5, 0.6])
    assert {path.name for path in (tmp_path / "toy").iterdir()} == {".lock", "results.jsonl", "experiment.yaml"}


def test_pandas_users_get_plain_columns(tmp_path):
    lines = [json.loads(line) for line in (folder(tmp_path) / "results.jsonl").read_text().splitlines()]
    assert [(line["method"], line["seed"]) for line in lines] == [("best", 0), ("rqt", 0), ("rqt", 1)]
    assert lines[1]["old_mean_ap"] == 0.2
    assert not {"labels", "old", "new"} & set(lines[0])


def test_a_result_takes_the_place_of_the_one_with_its_labels(tmp_path):
    collect(folder(tmp_path), [replace(labelled(seed=1), key="other")])
    keys = load_keys(tmp_path / "toy")
    assert sorted(keys.values()) == ["0123", "0123", "other"]
    assert len(load_results(tmp_path / "toy")) == 3


def test_the_experiment_is_joined_and_records_are_kept_once(tmp_path):
    made = {record_name(record): record for record in ({"git_commit": "a"}, {"git_commit": "b"}, {"git_commit": "c"})}
    a, b, c = made
    config = {"name": "toy", "methods": {"rqt": {"class_path": "A", "init_args": {"a": 1}}}}
    before = {"config": config, "commands": ["run x"], "provenance": {a: made[a], b: made[b]}}
    collect(tmp_path, [replace(RESULT, provenance=[a])], experiment=before)
    more = {"name": "toy", "methods": {"rqt": {"class_path": "A", "init_args": {"b": 2}}, "fct": {"class_path": "B"}}}
    one = replace(labelled(method="fct"), provenance=[c, a])
    after = {"config": more, "commands": ["run y", "run x"], "provenance": {c: made[c], a: made[a]}}
    collect(tmp_path, [one], experiment=after)
    found = load_experiment(tmp_path)
    assert found["config"] == more
    assert found["commands"] == ["run x", "run y"]
    assert found["provenance"] == {a: made[a], c: made[c]}
    assert [r.provenance for r in load_results(tmp_path)] == [[c, a], [a]]


def test_results_of_different_systems_are_not_mixed(tmp_path):
    collect(folder(tmp_path), [labelled(replace(RESULT, new={**RESULT.new, "mean_ap": 0.9}), seed=3)])
    with pytest.raises(InputError, match=r"new differs between best \(seed 0\) and rqt \(seed 3\), expected one"):
        load_results(tmp_path / "toy")


@pytest.mark.parametrize("name", ["", "../up", "a/b", "a b", ".hidden", "a\\b", "a=b", "a,b", "a\n"])
def test_names_that_are_no_part_of_a_path_are_refused(name):
    with pytest.raises(InputError, match=r"name: .*, expected letters"):
        check_name("name", name)
    assert check_name("name", "rqt_mcl-0.5+x") == "rqt_mcl-0.5+x"


def _collect_some(folder, method):
    for seed in range(8):
        collect(folder, [labelled(method=method, seed=seed)], [np.full(5, 0.5)])


def test_two_processes_lose_nothing(tmp_path):
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_collect_some, args=(tmp_path / "toy", name)) for name in ("a", "b")]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    results = load_results(tmp_path / "toy")
    assert len(results) == 16
    assert all(load_query_auc(tmp_path / "toy", result) is not None for result in results)


def test_the_bootstrap_is_that_of_numpy_by_hand():
    random = np.random.default_rng(1)
    a, b = random.random(80), random.random(80)
    a[3] = np.nan
    difference = np.delete(a - b, 3)
    means = difference[random.integers(0, 79, (20_000, 79))].mean(1)
    found = paired_bootstrap(a, b)
    assert found.mean == pytest.approx(difference.mean())
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.004)
    assert paired_bootstrap(a, a) == (0.0, 0.0, 0.0)


def test_the_interval_over_seeds_is_student_s():
    mean, low, high = over_seeds([1.0, 2.0, 3.0])
    assert mean == 2
    assert (high - mean, mean - low) == pytest.approx((4.302653 / 3**0.5,) * 2, abs=1e-6)


def test_areas_of_a_row_are_the_mean_over_its_seeds_until_one_is_made_again(tmp_path):
    random = np.random.default_rng(0)
    areas = random.random((3, 400))
    areas[:, 7] = np.nan
    seeds = [labelled(seed=seed) for seed in range(3)]
    collect(tmp_path, seeds, list(areas))
    mean = queries.encode(np.mean([queries.decode(area) for area in queries.read(tmp_path).values()], 0))
    queries.write(tmp_path, {queries.entry_name(RESULT.labels, ["0", "1", "2"]): mean})
    for result in seeds:
        found = load_query_auc(tmp_path, result)
        assert found is not None
        assert np.isnan(found).nonzero()[0].tolist() == [7]
        assert np.nanmean(found) == pytest.approx(np.nanmean(areas), abs=2 * 0.5 / 250 / 399)
    collect(tmp_path, [seeds[1]], [areas[1]])
    assert load_query_auc(tmp_path, seeds[0]) is None
    assert load_query_auc(tmp_path, seeds[1]) is not None


def test_upgrades_that_do_not_belong_together_are_refused(sequence):
    forget(sequence, [{**RESULT.labels, "upgrade": "second_from_1"}])
    with pytest.raises(InputError, match=r"no result of rqt in second_from_1"):
        load_upgrades(sequence)
    collect(sequence, [RESULT])
    with pytest.raises(InputError, match="results beside those of a sequence"):
        load_upgrades(sequence)


def test_a_folder_of_benchmarks_is_not_one(tmp_path):
    collect(tmp_path / "toy", [RESULT])
    with pytest.raises(InputError, match="no results"):
        load_upgrades(tmp_path)


def test_what_an_older_version_wrote_is_named_with_the_way_out(tmp_path):
    (tmp_path / "rqt-s0.json").write_text("{}")
    found = "rqt-s0.json of an older version and no results, expected a folder with results.jsonl; run the benchmark"
    with pytest.raises(InputError, match=found):
        load_results(tmp_path)
    collect(tmp_path, [RESULT])
    assert load_results(tmp_path) == [RESULT]
    (tmp_path / "experiment.yaml").write_text("provenance: [{git_commit: a}]")
    found = "provenance: a list of 1 records, expected records by name; delete the folder and run the benchmark again"
    with pytest.raises(InputError, match=found):
        load_experiment(tmp_path)
    line = json.loads((tmp_path / "results.jsonl").read_text())
    (tmp_path / "results.jsonl").write_text(json.dumps({**line, "provenance": [0]}))
    with pytest.raises(InputError, match=r"results.jsonl:1: column 'provenance' counts records \(before 0.1; delete"):
        load_results(tmp_path)


def test_lines_that_gzip_packed_are_read_and_unpacked_by_the_next_result(tmp_path):
    path = folder(tmp_path) / "results.jsonl"
    results, lines = load_results(path.parent), path.read_bytes()
    packed = path.with_name("results.jsonl.gz")
    packed.write_bytes(gzip.compress(lines))
    path.unlink()
    assert load_results(path.parent) == results
    collect(path.parent, results[:1])
    assert path.read_bytes() == lines
    assert not packed.exists()
    packed.write_bytes(gzip.compress(lines)[:-9])
    path.unlink()
    with pytest.raises(InputError, match=r"results.jsonl: .*, expected lines of JSON"):
        load_results(path.parent)
