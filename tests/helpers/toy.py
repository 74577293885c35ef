"""A result made up for tests, and a folder of such."""

from dataclasses import replace

from compat.results import (
    Result,
    collect,
)

RESULT = Result(
    benchmark="toy",
    labels={"upgrade": "", "method": "rqt", "seed": 0, "order": "random", "merge": "raw"},
    key="0123",
    progress=[0.0, 0.5, 1.0],
    curves={
        "mean_ap": [0.2, 0.3, 0.6],
        "cmc_1": [0.3, 0.4, 0.7],
        "cmc_5": [0.5, 0.6, 0.9],
        "negative_flip_rate": [0.0, 0.1, 0.05],
    },
    mean_ap_orders=[[0.2, 0.2, 0.6], [0.2, 0.4, 0.6]],
    old={"mean_ap": 0.2, "cmc_1": 0.3, "cmc_5": 0.5},
    new={"mean_ap": 0.6, "cmc_1": 0.7, "cmc_5": 0.9},
    queries=10,
    queries_without_positive=0,
    gallery_items=20,
    encoder_passes_per_query=1,
    spec={"class_path": "compat.methods.ReverseQuery"},
    seconds={"head": 1.0},
    training_seconds=1.0,
)


def labelled(result=RESULT, **labels):
    return replace(result, labels={**result.labels, **labels})


def curved(result=RESULT, **curves):
    """The result with other curves."""
    return replace(result, curves={**result.curves, **curves})


def folder(tmp_path):
    moved = [labelled(curved(mean_ap=[v + s for v in RESULT.mean_ap]), seed=n) for n, s in enumerate((0, 0.02))]
    better = labelled(replace(curved(mean_ap=[0.5, 0.7, 0.6]), encoder_passes_per_query=2), method="best")
    collect(tmp_path / "toy", [*moved, better])
    (tmp_path / "toy" / "tuning.json").write_text("{}")  # another file of a benchmark
    return tmp_path / "toy"
