"""`python -m benchmarks.report` on a folder of results."""

import gzip
import json
import re
import shutil

import pytest

from benchmarks.report.from_results import EVERYTHING
from tests import ROOT
from tests.helpers.reports import refused, write


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
    assert "chosen by the same figures as shown" in text
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
    assert text.count("| ceiling, not a way: oracle |") == 1
    assert re.search(r"Orders that need all matrices and labels \((oracle, reverse|reverse, oracle)\) are bounds", text)
    assert "+ oracle" not in text
    (to / "results.jsonl").write_text("\n".join(bounds) + "\n")
    refused([str(to)], capsys, "all matrices and labels", "expected a feasible one")


def test_a_folder_that_cannot_be_read_is_one_line(folder, tmp_path, capsys):
    to, lines = folder
    newer = {name: value for name, value in json.loads(lines[0]).items() if name != "mean_ap"}
    (to / "results.jsonl").write_text("\n".join([json.dumps(newer), *lines[1:]]) + "\n")
    refused([str(to)], capsys, "results.jsonl", "expected")
    wrong = {**json.loads(lines[0]), "old_mean_ap": "x"}
    (to / "results.jsonl").write_text("\n".join([json.dumps(wrong), *lines[1:]]) + "\n")
    refused([str(to)], capsys, "results.jsonl:1: column 'old' is", "expected")
    (to / "results.jsonl").unlink()
    refused([str(to)], capsys, "no results")
    refused([str(tmp_path / "nowhere")], capsys, "nowhere")


def test_a_real_gallery_is_no_smaller_than_that_of_the_folder(capsys):
    refused(
        [str(ROOT / "results" / "digits_tuned"), "--gallery-size", "10"], capsys, "gallery_size: 10, expected at least"
    )
