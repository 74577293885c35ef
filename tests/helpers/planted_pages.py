"""Small folders of results for the page, with names that try to be HTML and scripts."""

from dataclasses import replace
from pathlib import Path

from compat.cost import Cost
from compat.results import Failure, collect, collect_failures, record_name
from tests.helpers.toy import curved, labelled

SCRIPT = "</script><script>alert(1)</script>"
IMAGE = "<img src=x onerror=alert(2)>"
COMMENT = "<!-- \u2028 ${alert(3)} 'a' \"b\" &lt;i&gt;"
RECORD = {"git_commit": f"c0ffee{IMAGE}", "date": "2026-01-02", "threads": 1, "hardware": {"cpu": SCRIPT, "gpu": None}}
NEEDS = {
    "independent": [],
    "rqt": ["training embeddings", "training labels"],
    "kernel": ["training embeddings"],
    "bct": ["training labels", "old classifier"],
    SCRIPT: ["own pairs"],
}
LEVELS = {"independent": 0.30, "rqt": 0.40, "kernel": 0.36, "bct": 0.34, SCRIPT: 0.38}
COSTS = {
    "plain": {"seconds": Cost(0.5, 0.5, [0.0], [0.0], [0.0]), "bytes": Cost(64.0, 64.0, [0.0], [0.0], [0.0])},
    "rqt": {
        "seconds": Cost(0.5, 0.5, [0.0, 0.5], [4.0, 0.0], [0.0, 0.1]),
        "bytes": Cost(64.0, 64.0, [0.0], [0.0], [64.0]),
    },
}
CLASSES = {
    "independent": "compat.methods.Upgrade",
    "rqt": "compat.methods.ReverseQuery",
    "kernel": "compat.methods.KernelGallery",
    "bct": "compat.methods.BCT",
    SCRIPT: f"{IMAGE}.{COMMENT}",
}


def config(data_set: str, name: str) -> dict:
    """As `benchmarks.run` keeps it, a little of it."""
    generation = {
        "model": {"init_args": {"backbone": {"class_path": "timm.create_model", "init_args": {"model_name": "tiny"}}}}
    }
    return {
        "name": name,
        "data": {"class_path": f"compat.data.{data_set}"},
        "generations": ["old", "new"],
        "old": {**generation, "sees": {"classes": 0.5, "images": 1.0}},
        "new": {**generation, "sees": {"classes": 1.0, "images": 1.0}},
        "heads": {"note": IMAGE},
    }


def folders(root: Path) -> Path:
    """Two data sets, five methods, two orders, two merge rules, two seeds: 40 rows."""
    commands = [f"python -m benchmarks.run a.yaml --only=rqt,kernel {COMMENT}", "python -m benchmarks.run b.yaml"]
    for number, (data_set, name) in enumerate({"Digits": "digits_toy", f"Omni{IMAGE}": f"omni {COMMENT}_toy"}.items()):
        results = [
            labelled(
                replace(
                    curved(mean_ap=[0.22, level + 0.01 * number + 0.001 * seed - 0.02 * (order != "random"), 0.6]),
                    benchmark=name,
                    key=f"{seed}{SCRIPT}",
                    encoder_passes_per_query=2 if method == "independent" else 1,
                    bytes_per_item=0 if method == "bct" else 128 * (1 + number),
                    needs={"method": NEEDS[method], "order": [], "merge": ["training distances"] * (merge != "raw")},
                    spec={"class_path": CLASSES[method], "init_args": {"note": SCRIPT}},
                    cost={} if method == "bct" else COSTS["rqt" if method == "rqt" else "plain"],
                    training_seconds=10.0 * (1 + len(method)),
                    provenance=[record_name(RECORD)],
                ),
                method=method,
                seed=seed,
                order=order,
                merge=merge,
            )
            for method, level in LEVELS.items()
            for order in ("random", "entropy")
            for merge in ("raw", "z_score")
            for seed in (0, 1)
        ]
        experiment = {
            "config": config(data_set, name),
            "commands": commands,
            "provenance": {record_name(RECORD): RECORD},
        }
        collect(root / name, results, experiment=experiment)
    collect_failures(root / "digits_toy", [Failure("digits_toy", labelled(method=IMAGE).labels, f"it broke {IMAGE}")])
    return root
