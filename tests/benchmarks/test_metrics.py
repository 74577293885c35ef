"""Metrics that a config names: of the table, with a cut-off of one's own, or a class of one's own from outside."""

import json
import sys

import pytest
import yaml

from benchmarks import plot, rank, table
from benchmarks.page.gather import gather
from benchmarks.page.payload import payload
from compat.curve_metrics import ALWAYS, CURVE_METRICS
from compat.results import collect, load_results, metrics_of
from tests.helpers.running import main, run
from tests.helpers.toy import RESULT, curved, folder, labelled

OWN = '''
from compat.curve_metrics import CurveMetric


class Precision(CurveMetric):
    """Precision@k."""

    higher_is_better = True
    needs_ranks = True

    def __init__(self, k: int = 5, label: str = "P") -> None:
        self.k, self.label = k, f"{label}@{k}"

    def of(self, found):
        return (found.ranks <= self.k).sum(-1).double() / self.k
'''


@pytest.fixture
def outside(tmp_path, monkeypatch):
    """A module beside the config, in no package of this project."""
    (tmp_path / "my_metrics.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    sys.modules.pop("my_metrics", None)


def measuring(config, metrics):
    content = yaml.safe_load(config.read_text())
    content["replay"] = {**content.get("replay", {}), "metrics": metrics}
    config.write_text(yaml.safe_dump(content))
    return config


def test_a_metric_of_ones_own_is_in_results_table_plot_ranks_and_page(config, outside, capsys, monkeypatch, tmp_path):
    own = {"p_5": {"class_path": "my_metrics.Precision", "k": 5}, "mrr": None}
    own["recall_3"] = {"class_path": "compat.curve_metrics.Recall", "k": 3}
    run(measuring(config, own), "--only=independent,rqt")
    results = load_results(tmp_path / "results" / "tiny")
    assert set(results[0].curves) == {*ALWAYS, *own}
    assert {name: one.label for name, one in metrics_of(results).items() if name in own} == {
        "p_5": "P@5", "mrr": "MRR", "recall_3": "Recall@3"
    }  # fmt: skip
    for result in results:
        assert result.curves["p_5"][-1] == pytest.approx(result.new["p_5"], abs=1e-6)
        assert 0 < result.mean("p_5") < 1
    monkeypatch.setattr(sys, "argv", ["table", str(tmp_path / "results" / "tiny"), "--wide"])
    table.main()
    printed = capsys.readouterr().out
    assert all(f"| AUC {label} (%) |" in printed for label in ("P@5", "MRR", "Recall@3"))
    asked = ("--metrics", "p_5", "recall_3", "-o", tmp_path / "a.svg")
    monkeypatch.setattr(sys, "argv", ["plot", str(tmp_path / "results" / "tiny"), *map(str, asked)])
    plot.main()
    assert "The plot is in" in capsys.readouterr().out
    shown = payload(gather(tmp_path / "results", []))
    assert shown["metrics"]["p_5"] == {"label": "P@5", "higher": True}
    assert {"name": "AUC P@5", "higher": True} in shown["columns"]
    assert all("p_5" in row["curves"] for row in shown["rows"])
    assert shown["benchmarks"][0]["levels"]["old"]["p_5"] > 0


def test_results_without_a_metric_stand_beside_results_with_it(tmp_path, capsys, monkeypatch):
    collect(folder(tmp_path), [labelled(curved(mrr=[0.1, 0.2, 0.3]), method="new")])
    monkeypatch.setattr(sys, "argv", ["table", str(tmp_path / "toy"), "--wide"])
    table.main()
    lines = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in capsys.readouterr().out.splitlines()}
    place = lines["method"].index("AUC MRR (%)")
    assert (lines["new"][place], lines["rqt"][place]) == ("20.00", "-")
    code, error = main(capsys, monkeypatch, tmp_path / "toy", "--metrics", "mrrr", "-o", "x.png", command=plot)
    assert (code, error) == (
        2,
        "error: metrics: 'mrrr', expected some of mean_ap, cmc_1, cmc_5, negative_flip_rate, mrr",
    )
    row = next(row for row in payload(gather(tmp_path, []))["rows"] if row["name"] == "rqt")
    assert "mrr" not in row["curves"]
    assert row["cells"][-1] == "-"


def test_methods_are_ranked_by_any_metric_that_all_results_have(tmp_path, capsys, monkeypatch):
    for name in ("a", "b"):
        good = labelled(curved(mrr=[0.1, 0.2, 0.3]), method="good")
        collect(tmp_path / name, [good, labelled(curved(mrr=[0.1, 0.1, 0.1]), method="bad")])
    monkeypatch.setattr(sys, "argv", ["rank", str(tmp_path / "a"), str(tmp_path / "b"), "--metric", "mrr"])
    rank.main()
    printed = capsys.readouterr().out
    assert "2 methods by AUC MRR" in printed
    assert printed.index("good") < printed.index("bad")


def test_lines_that_lack_every_metric_but_map_are_read(tmp_path):
    file = folder(tmp_path) / "results.jsonl"
    lost = {f"{system}{name}" for name in CURVE_METRICS if name != "mean_ap" for system in ("", "old_", "new_")}
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("\n".join(json.dumps({k: v for k, v in line.items() if k not in lost}) for line in lines))
    results = load_results(tmp_path / "toy")
    assert {tuple(result.curves) for result in results} == {("mean_ap",)}
    assert results[0].auc == pytest.approx(RESULT.auc)
    assert results[0].mean_negative_flips != results[0].mean_negative_flips  # not a number


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        (["mrrr"], "replay.metrics: 'mrrr', did you mean mrr?"),
        (
            {"p": {"class_path": "my_metrics.Precisoin"}},
            "replay.metrics.p.class_path: my_metrics.Precisoin, my_metrics",
        ),
        (
            {"p": {"class_path": "nowhere.Precision"}},
            "replay.metrics.p.class_path: nowhere.Precision, no module nowhere",
        ),
        ({"p": {"class_path": "my_metrics.Precision", "l": 5}}, "replay.metrics.p.l: not an argument of my_metrics"),
        ({"p": {"class_path": "my_metrics.Precision", "k": "x"}}, "cannot be built"),
        ({"p": {"class_path": "compat.curve_metrics.Recall", "k": 0}}, "replay.metrics.p.init_args.k: 0, expected at"),
        ({"p": {"class_path": "compat.merge.ZScore"}}, "compat.merge.ZScore: cannot be built"),
        (
            {"seed": {"class_path": "my_metrics.Precision"}},
            "replay.metrics: 'seed', which is another column of results",
        ),
        ({"mrr": {"class_path": "my_metrics.Precision"}}, "replay.metrics: 'mrr', which is another column of results"),
        ({"a b": {"class_path": "my_metrics.Precision"}}, "replay.metrics: 'a b', expected letters"),
        ("mrr", 'replay.metrics: "mrr", expected'),
    ],
)
def test_metrics_that_cannot_be_are_one_line_before_anything_is_trained(
    config, outside, capsys, monkeypatch, metrics, expected
):
    code, error = main(capsys, monkeypatch, measuring(config, metrics))
    assert code == 2
    assert expected in error
    assert len(error.splitlines()) == 1
    assert not list((config.parent / "runs").glob("*/record.json"))
