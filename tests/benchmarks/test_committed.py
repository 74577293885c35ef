"""The results that are committed: small, whole, and what `benchmarks.run` would write today."""

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from benchmarks import run as runner
from benchmarks.config.parse import parse
from benchmarks.config.schema import REFIT, Experiment
from benchmarks.jobs.collect import ResultCollector
from benchmarks.jobs.plan import plan
from compat.errors import InputError
from compat.needs import Need
from compat.progress import completion_ratios
from compat.results import load_experiment, load_results
from tests import ROOT

IGNORED = ("digits", "digits_methods")  # by git: `make bench` writes them
FOLDERS = sorted(p.parent for p in (ROOT / "results").glob("*/results.jsonl*") if p.parent.name not in IGNORED)


CONTRASTIVE = ("rqt_mcl", "rqt_mcl_old", "rqt_mcl_rho", "rqt_mcl_rho_new", "rqt_mcl_rho_old", "rqt_mcl_rho_independent")
RETUNED = {  # since these results were made; results/tiny_imagenet_methods.md says so
    f"replay.refit: None -> {REFIT}",  # of methods that were not there
    f"replay.refit: [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9] -> {REFIT}",  # or are not in these folders
    *(f"methods.{name}.init_args.temperature: 0.4 -> 0.2" for name in CONTRASTIVE),
    "methods.kernel_gallery.init_args.centres: 512 -> None",  # which is 512, or all images where there are fewer
    "replay.merge.query_z_score.class_path: None -> compat.merge.QueryZScore",  # a rule that was not there
    "methods.dsimplex.init_args.weight: 0.9 -> 0.1",
    "methods.ract.init_args.temperature: 0.01 -> 0.1",
}


def experiments() -> Iterator[Experiment]:
    """Of the commands that the documents of the results name."""
    text = "\n".join(path.read_text() for path in sorted((ROOT / "results").glob("*.md"))).replace("\\\n", " ")
    for arguments in re.findall(r"^(?:python -m benchmarks\.run|compat-bench run) (.*)$", text, re.MULTILINE):
        own, overrides = runner.command_line(shlex.split(arguments))
        yield parse(own.config, overrides)


def test_they_are_under_four_megabytes_in_under_200_files():
    paths = [path.relative_to(ROOT / "results") for path in (ROOT / "results").rglob("*") if path.is_file()]
    kept = [path for path in paths if path.parts[0] not in IGNORED and not path.name.startswith(".")]
    assert len(kept) < 200
    assert sum((ROOT / "results" / path).stat().st_size for path in kept) < 4_000_000


def class_paths(content: Any) -> set[str]:
    """All that a config names."""
    if isinstance(content, list):
        return set().union(*map(class_paths, content))
    if not isinstance(content, dict):
        return set()
    own = {content["class_path"]} if isinstance(content.get("class_path"), str) else set()
    return own.union(*map(class_paths, content.values()))


def test_every_class_path_of_a_config_or_a_result_is_there():
    places: dict[str, Path] = {}
    for path in [*(ROOT / "configs").rglob("*.yaml"), *(ROOT / "results").glob("*/experiment.yaml")]:
        places |= dict.fromkeys(class_paths(yaml.load(path.read_text(), yaml.CSafeLoader)), path)
    assert len(places) > 50
    missing = {}
    for name, path in places.items():
        module, _, attribute = name.rpartition(".")
        if not hasattr(importlib.import_module(module), attribute):
            missing[name] = path
    assert missing == {}


def test_no_document_has_a_gap_to_be_filled():
    for path in [*ROOT.glob("*.md"), *(ROOT / "results").glob("*.md")]:
        assert "@@" not in path.read_text(), path


def test_the_folders_are_those_of_the_commands_in_the_documents(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert {experiment.name for experiment in experiments()} == {folder.name for folder in FOLDERS}


def test_a_command_in_the_documents_finds_its_own_config(monkeypatch):
    """In a fresh clone the code may be another one, but nothing of the config is."""
    monkeypatch.chdir(ROOT)
    for experiment in experiments():
        points = tuple(completion_ratios(experiment.replay.progress).tolist())
        jobs = plan(experiment, ("other", "images", "here"), points)
        collector = ResultCollector(experiment, {}, overwrite=False)
        with pytest.raises(InputError, match="of another experiment"):
            collector.check_free(jobs)
        known = load_experiment(collector.folder)["config"]["methods"]
        differences = {collector.difference(job) for job in jobs if dict(job.labels)["method"] in known}
        parts = {part for difference in differences for part in difference.split("; ")}
        assert parts - RETUNED <= {"the same config, with other images, code or packages"}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_each_line_fits_what_lies_beside_it(folder):
    shared = load_experiment(folder)
    results = load_results(folder)
    assert {result.method for result in results} == shared["config"]["methods"].keys()
    for result in results:
        assert result.spec == shared["config"]["methods"][result.method]
        assert result.provenance
        assert all("git_commit" in shared["provenance"][name] for name in result.provenance)
        assert result.needs.keys() == {"method", "order", "merge"}
        assert {need for needs in result.needs.values() for need in needs} <= {*get_args(Need), "own pairs"}
    assert {name for result in results for name in result.provenance} == shared["provenance"].keys()
