"""How tests run a benchmark, and what they compare of its results or expect of a refusal."""

import sys

import pytest
import yaml

from benchmarks import run as runner
from benchmarks.artifacts import source
from benchmarks.artifacts.artifact import graph, identity, key
from benchmarks.config.parse import parse
from benchmarks.jobs.plan import Job, plan
from compat.results import Result, load_results

POINTS = (0.0, 0.5, 1.0)
DIGESTS = ("train", "query", "gallery")
FIGURES = ("progress", "curves", "mean_ap_orders", "old", "new")


def run(config, *arguments, part=None, overwrite=False) -> dict[str, Result]:
    """Run a benchmark; its results by method and seed, with order, rule and upgrade where these are not plain."""
    folder, _, _ = runner.run(parse([str(config)], list(arguments)), part, overwrite)
    return by_name(folder)


def by_name(folder) -> dict[str, Result]:
    """Results of a folder by name, seed, and upgrade in front."""
    return {"/".join(filter(None, [r.upgrade, f"{r.name}-s{r.seed}"])): r for r in load_results(folder)}


def planned(config, *arguments) -> list[Job]:
    """The jobs of a benchmark, of images that were never read."""
    return plan(parse([str(config)], list(arguments)), DIGESTS, POINTS)


def keys(jobs, kind=object) -> set[str]:
    """Of all their artifacts of a kind."""
    return {key(artifact) for job in jobs for artifact in graph(job.curve) if isinstance(artifact, kind)}


def labelled(jobs) -> dict[str, str]:
    """The key of each of their artifacts by its label."""
    return {artifact.label: key(artifact) for job in jobs for artifact in graph(job.curve)}


def figures(result):
    """All that was measured."""
    return [getattr(result, name) for name in FIGURES]


def weights_of(config, label):
    """The tensors of the artifact of that label."""
    for record in (config.parent / "runs").glob("*/record.json"):
        if yaml.safe_load(record.read_text())["label"] == label:
            return record.with_name("tensors.safetensors")
    raise AssertionError(label)


def main(capsys, monkeypatch, *arguments, command=runner):
    """Run a command and return its exit code and its last line on stderr."""
    monkeypatch.setattr(sys, "argv", ["run", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        command.main()
    lines = capsys.readouterr().err.strip().splitlines()
    return stop.value.code, lines[-1]


def refused(result, *words):
    """One line on stderr, exit code 2, and the words in it."""
    code, _, err = result
    err = err.split("\r")[-1]  # after a progress bar
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("error: ")
    assert all(word in err for word in words), err


TINY = {
    "trainer": {"max_epochs": 2, "enable_progress_bar": False, "accelerator": "cpu"},
    "model": {"backbone": {"class_path": "tests.helpers.backbones.TinyConv"}, "embed_dim": 6},
}


THIRD = ["--generations=[old, new, newest]", f"--newest={TINY}"]


def forget():
    """As if no file had been read yet."""
    read = (source.file_of, source.tree_of, source.find, source.imports, source.digest, source.code_of)
    for function in (*read, identity, key):
        function.cache_clear()


def edited(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    forget()
