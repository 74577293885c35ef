"""One result: a small, self-describing JSON file for each benchmark (or upgrade), method and seed. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from math import isclose
from pathlib import Path
from typing import Any

import numpy as np

from compat.curve import area, relative_gain, sum_of_drops
from compat.errors import InputError
from compat.files import replace


@dataclass(frozen=True)
class Result:
    """The replay of one method. Lists run over `progress`; figures are fractions, means over the orders.

    Attributes:
        benchmark: name of the benchmark; of an upgrade in a sequence, name/upgrade.
        method: name of the method.
        seed: of the method's head and of the orders.
        progress: completion ratios.
        mean_ap: mAP at each.
        cmc_1: CMC@1 at each.
        cmc_5: CMC@5 at each.
        negative_flip_rate: share of queries correct at rank 1 under the old system and wrong at each ratio.
        mean_ap_orders: the mAP list of each order.
        old: figures of the old system, old queries on old items: mean_ap, cmc_1, cmc_5. It is the old model on its own:
            for a second upgrade the middle model's, whatever the first one made of it; for one that starts before the
            first has ended the oldest model's, which part of the gallery is still embedded with.
        new: figures of the new system, new queries on new items, likewise the new model on its own.
        queries: queries evaluated.
        queries_without_positive: queries skipped because no relevant item is in the gallery.
        gallery_items: size of the gallery.
        encoder_passes_per_query: forward passes of an embedder while the backfilling goes on.
        config: the full merged config.
        fingerprint: of everything in the config and the images that the figures depend on.
        versions: of Python and the packages.
        git_commit: of the project, with "-dirty" if it had changes; None outside a repository.
        hardware: of the machine.
        seconds: that each stage took when it was computed.
        trained_on: for each generation of the model the number of its training images and the names of their classes.
        images_skipped: paths of the images that could not be decoded and were left out.
        starts_at: progress of the upgrade before this one when this one starts; 0 if there is none.
        order: name of the order in which the gallery is backfilled.
        order_needs: what has to be known to say that order.
        merge: name of the rule by which the two lists are merged.
        merge_needs: what fitting it takes.
        bytes_per_item: written for each gallery item until all are new, as float32; twice where old items are
            transformed first; 0 in results from before it was counted.
        training_seconds: of training the model of this upgrade and what the method learned for it; of neither the old
            model, which is there, nor another upgrade's.
    """

    benchmark: str
    method: str
    seed: int
    progress: list[float]
    mean_ap: list[float]
    cmc_1: list[float]
    cmc_5: list[float]
    negative_flip_rate: list[float]
    mean_ap_orders: list[list[float]]
    old: dict[str, float]
    new: dict[str, float]
    queries: int
    queries_without_positive: int
    gallery_items: int
    encoder_passes_per_query: int
    config: dict[str, Any]
    fingerprint: str
    versions: dict[str, str]
    git_commit: str | None
    hardware: dict[str, Any]
    seconds: dict[str, float]
    trained_on: dict[str, dict[str, Any]] = field(default_factory=dict)
    images_skipped: list[str] = field(default_factory=list)
    starts_at: float = 0.0
    order: str = "random"
    order_needs: str = "nothing"
    merge: str = "raw"
    merge_needs: str = "nothing"
    bytes_per_item: int = 0
    training_seconds: float = 0.0

    @property
    def name(self) -> str:
        """The method, with the order and the merge rule where they are not random and raw."""
        parts = [self.method, self.order if self.order != "random" else "", self.merge if self.merge != "raw" else ""]
        return " + ".join(part for part in parts if part)

    @property
    def backward_compatible(self) -> bool | None:
        """Whether new queries find more in the old gallery than old ones: M(new, old) > M(old, old) in mAP.

        The gallery is as the method serves it, transformed or not. None where queries are encoded by both models.
        """
        return None if self.encoder_passes_per_query > 1 else self.mean_ap[0] > self.old["mean_ap"]

    def gain_at(self, progress: float) -> float:
        """Share of the old-to-new gain in mAP that is reached at a progress, linear between completion ratios."""
        value = float(np.interp(progress, self.progress, self.mean_ap))
        return relative_gain(value, self.old["mean_ap"], self.new["mean_ap"])

    @property
    def gain_on_final(self) -> float:
        """The relative gain against the system that the method ends in, such as rho(new), in place of the plain new."""
        return relative_gain(self.auc, self.old["mean_ap"], self.mean_ap[-1])

    @property
    def auc(self) -> float:
        """Area under the mAP curve."""
        return area(self.progress, self.mean_ap)

    @property
    def relative_gain(self) -> float:
        """Share of the old-to-new gain in mAP that the backfilling has on average."""
        return relative_gain(self.auc, self.old["mean_ap"], self.new["mean_ap"])

    @property
    def drops(self) -> float:
        """Sum of the drops along the mAP curve."""
        return sum_of_drops(self.mean_ap)

    @property
    def flips(self) -> float:
        """Negative flip rate, averaged over progress."""
        return area(self.progress, self.negative_flip_rate)


@dataclass(frozen=True)
class Metric:
    """How a figure of a `Result` is shown: its label, and whether more of it is better."""

    label: str
    higher_is_better: bool


METRICS = {
    "mean_ap": Metric("mAP", True),
    "cmc_1": Metric("CMC@1", True),
    "cmc_5": Metric("CMC@5", True),
    "negative_flip_rate": Metric("negative flip rate", False),
}


@dataclass(frozen=True)
class Failure:
    """A method that failed, and why; in place of its `Result`."""

    benchmark: str
    method: str
    seed: int
    order: str
    merge: str
    reason: str


FAILED = ".failed.json"
RESULTS = "*-s[0-9]*.json"


def result_path(
    folder: str | Path, benchmark: str, method: str, seed: int, order: str = "random", merge: str = "raw"
) -> Path:
    """Where a result lies below the folder of all results."""
    axes = "".join(f"-{name}" for name, plain in ((order, "random"), (merge, "raw")) if name != plain)
    return Path(folder, benchmark, f"{method}{axes}-s{seed}.json")


def save_result(result: Result, path: Path, query_auc: np.ndarray | None = None) -> None:
    """Write a result through a temporary file, so that a reader never finds half of one.

    Each query's area under its curve of average precision, (Q,), goes into a .npy file of the same name: what paired
    comparisons of methods are made from.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if query_auc is not None:
        replace(path.with_suffix(".npy"), lambda file: _save_array(file, query_auc))
    replace(path, lambda file: file.write_text(json.dumps(asdict(result), indent=1) + "\n"))
    path.with_suffix(FAILED).unlink(missing_ok=True)


def _save_array(file: Path, values: np.ndarray) -> None:
    with file.open("wb") as opened:
        np.save(opened, values.astype(np.float16))


def load_query_auc(folder: str | Path, result: Result) -> np.ndarray | None:
    """Each query's area (Q,) float64, NaN for one without a positive; None where none was saved."""
    path = result_path(folder, "", result.method, result.seed, result.order, result.merge).with_suffix(".npy")
    return np.load(path).astype(np.float64) if path.exists() else None


def save_failure(failure: Failure, path: Path) -> None:
    """Write beside where the result would be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(FAILED).write_text(json.dumps(asdict(failure), indent=1) + "\n")


def load_failures(folder: str | Path) -> list[Failure]:
    """What failed in a benchmark, by method and seed."""
    return [Failure(**json.loads(path.read_text())) for path in sorted(Path(folder).rglob(f"*{FAILED}"))]


def load_result(path: str | Path) -> Result:
    """Read one result; fields that this version does not know are left out.

    Raises:
        InputError: no such file, no JSON, or a field is missing.
    """
    try:
        content = json.loads(Path(path).read_text())
        required = {f.name: content[f.name] for f in fields(Result) if f.name in content or _needed(f)}
        if "training_seconds" not in required:
            required["training_seconds"] = _training_seconds(required["seconds"], content.get("starts_at", 0.0) > 0)
        return Result(**required)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {error}, expected a result of benchmarks.run") from error
    except (KeyError, TypeError) as error:
        raise InputError(f"{path}: no field {error}, expected a result of benchmarks.run") from error


def _training_seconds(seconds: dict[str, float], second: bool) -> float:
    """Of one upgrade, in a file that has the seconds of all stages, those of other upgrades' models among them."""
    return sum(seconds.get(stage, 0.0) for stage in ("train_newest" if second else "train_new", "joint", "head"))


def _needed(field: Field[Any]) -> bool:
    """Whether results have had the field from the first version on."""
    return field.default is MISSING and field.default_factory is MISSING


def _same(system: dict[str, float], other: dict[str, float]) -> bool:
    """Whether figures are the same but for the last bits, which depend on how sums were divided."""
    return system.keys() == other.keys() and all(isclose(system[k], other[k], rel_tol=1e-9) for k in system)


def load_results(folder: str | Path) -> list[Result]:
    """All results of a benchmark's folder: methods, each with its order and rule, by their AUC, seeds ascending.

    Raises:
        InputError: no such folder, no result in it, or results that cannot be compared.
    """
    results = [load_result(path) for path in sorted(Path(folder).glob(RESULTS)) if not path.name.endswith(FAILED)]
    if not results:
        raise InputError(f"{folder}: no results, expected a folder of <method>-s<seed>.json files")
    for result in results:
        for name in ("progress", "old", "new"):
            ours, theirs = getattr(result, name), getattr(results[0], name)
            if (name == "progress" and ours != theirs) or (name != "progress" and not _same(ours, theirs)):
                one, other = (f"{r.method}-s{r.seed}.json" for r in (results[0], result))
                raise InputError(f"{folder}: {name} differs between {one} and {other}, expected one benchmark")
    aucs: dict[str, list[float]] = {}
    for result in results:
        aucs.setdefault(result.name, []).append(result.auc)
    return sorted(results, key=lambda r: (sum(aucs[r.name]) / len(aucs[r.name]), r.name, r.seed))


def load_upgrades(folder: str | Path) -> dict[str, list[Result]]:
    """The results of a benchmark by upgrade, as `load_results` gives them: one, or those of a sequence in its order.

    Raises:
        InputError: no such folder, no result in it, results of a sequence beside others, a method that one of the
            upgrades lacks, or results that cannot be compared.
    """
    upgrades = [path for path in Path(folder).glob("*") if path.name == "first" or path.name.startswith("second_from_")]
    if not upgrades:
        return {Path(folder).name: load_results(folder)}
    if any(Path(folder).glob(RESULTS)):
        raise InputError(
            f"{folder}: results beside those of a sequence, expected one or the other; delete the old ones"
        )
    loaded = {path.name: load_results(path) for path in upgrades}
    methods = {name: {result.method for result in results} for name, results in loaded.items()}
    for name, found in methods.items():
        if missing := set.union(*methods.values()) - found:
            raise InputError(
                f"{folder}/{name}: no result of {min(missing)}, expected the methods of the other upgrades"
            )
    return dict(sorted(loaded.items(), key=lambda item: (item[0] != "first", -item[1][0].starts_at)))


def select(results: Sequence[Result], only: Iterable[str]) -> list[Result]:
    """Those that fulfil all conditions field=value[,value ...], such as order=random or method=rqt,fct.

    Raises:
        InputError: no such field, or nothing fulfils them.
    """
    chosen = list(results)
    for condition in only:
        name, _, values = condition.partition("=")
        if chosen and not hasattr(chosen[0], name):
            raise InputError(f"only: {name!r}, expected a field of a result, such as method, order or merge")
        chosen = [result for result in chosen if str(getattr(result, name)) in values.split(",")]
    if results and not chosen:
        raise InputError(f"only: {' '.join(only)} leaves nothing, expected some results")
    return chosen
