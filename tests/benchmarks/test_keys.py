"""What a change of code, of a file or of an argument makes again, and what it leaves as it is."""

import sys
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import pytest
import yaml

from benchmarks.artifacts import source
from benchmarks.artifacts.artifact import graph, identity, load_code
from benchmarks.artifacts.kinds import ImageSet, MethodState, ReplayedCurve
from benchmarks.config.parse import parse
from benchmarks.config.schema import Replay
from benchmarks.config.spec import Spec
from benchmarks.jobs import plan as planning
from compat.errors import InputError
from compat.system import serve
from tests import ROOT
from tests.helpers.running import DIGESTS, POINTS, edited, forget, keys, labelled, planned, run


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A function that gives a copy of a module's file, which counts in place of the file."""
    original, copies = source.file_of.__wrapped__, {}

    def copy(module):
        path = tmp_path / f"{module}.py"
        path.write_text((ROOT / module.replace(".", "/")).with_suffix(".py").read_text())
        copies[module] = path
        forget()
        return path

    monkeypatch.setattr(source, "file_of", cache(lambda module: copies.get(module) or original(module)))
    yield copy
    monkeypatch.undo()
    forget()


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A user's file of a method and of a class that it does not use."""
    path = tmp_path / "mine.py"
    path.write_text(
        "from compat.methods import Upgrade\n\n\nclass Mine(Upgrade):\n    factor = 1.0\n\n\nclass Other:\n    pass\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    forget()
    yield path
    forget()
    sys.modules.pop("mine", None)


def with_method(config, **spec):
    content = yaml.safe_load(config.read_text())
    content["methods"]["mine"] = spec
    config.write_text(yaml.safe_dump(content))
    return config


@pytest.mark.parametrize(
    ("module", "old", "new", "kept"),
    [
        ("compat.models", "last.bias)", "last.bias.clone())", {"order random"}),
        ("compat.models", "class Classifier(nn.Module):", "# a comment\nclass Classifier(nn.Module):", None),
        ("compat.models", '"""The linear classifier an', '"""A linear classifier an', None),
        (
            "compat.system",
            "if before is not None:",
            "if before:",
            {"order random", "train old", "train new", "extract old", "extract new", "ends old and new",
             "learn independent", "learn rqt", "learn rqt_mcl_rho"},
        ),
        (
            "compat.engine.cpu",
            "TILE = 1024",
            "TILE = 512",
            {"order random", "train old", "train new", "extract old", "extract new", "learn independent", "learn rqt",
             "learn rqt_mcl_rho"},
        ),
        (
            "compat.methods.rqt",
            "class ReverseQuery(Learned):",
            "THREE = 3\n\n\nclass ReverseQuery(Learned):",
            {"order random", "train old", "train new", "extract old", "extract new", "ends old and new",
             "learn independent", "replay independent seed 0"},
        ),
    ],
)  # fmt: skip
def test_a_changed_line_makes_exactly_what_depends_on_it_again(config, copied, module, old, new, kept):
    path = copied(module)
    before = labelled(planned(config))
    assert len(before) == 12
    edited(path, old, new)
    after = labelled(planned(config))
    assert {name for name in before if before[name] == after[name]} == (set(before) if kept is None else kept)


def test_a_changed_method_makes_that_method_again_alone(config, mine):
    with_method(config, class_path="mine.Mine")
    before = labelled(planned(config))
    edited(mine, "factor = 1.0", "factor = 2.0")
    after = labelled(planned(config))
    assert {name for name in before if before[name] != after[name]} == {"learn mine", "replay mine seed 0"}


def test_a_class_that_is_named_plainly_is_in_the_key(config, mine):
    mine.write_text("from tests.helpers.backbones import TinyConv as Parent\n\n\nclass Net(Parent):\n    pass\n")
    forget()
    jobs = planned(config, "--old.model.backbone=mine.Net")
    assert {"mine", "tests.helpers.backbones"} <= identity(jobs[0].curve.before.old.vectors.of)["code"].keys()
    before = labelled(jobs)
    edited(mine, "pass", "width = 3")
    after = labelled(planned(config, "--old.model.backbone=mine.Net"))
    assert (before["train old"] == after["train old"], before["train new"] == after["train new"]) == (False, True)


def test_a_file_that_an_argument_names_counts_by_its_content(config, tmp_path):
    np.save(tmp_path / "scores.npy", np.arange(36))
    by = f"--replay.by={{ours: {{class_path: compat.orders.Scores, path: {tmp_path / 'scores.npy'}}}}}"
    before = labelled(planned(config, by))
    np.save(tmp_path / "scores.npy", -np.arange(36))
    forget()
    after = labelled(planned(config, by))
    assert {name for name in before if before[name] != after[name]} == {
        "order ours", *(name for name in before if name.startswith("replay"))
    }  # fmt: skip


def test_code_edited_during_a_run_is_not_that_of_the_run(config, mine):
    with_method(config, class_path="mine.Mine")
    artifacts = [artifact for job in planned(config) for artifact in graph(job.curve)]
    assert all(identity(artifact) for artifact in artifacts)
    text = mine.read_text()
    mine.write_text(text.replace("1.0", "2.0"))
    with pytest.raises(InputError, match=r"class_path: mine was edited just now.*run the command again"):
        load_code(artifacts)
    mine.write_text(text)
    load_code(artifacts)
    mine.write_text(text.replace("1.0", "3.0"))
    assert sys.modules["mine"].Mine.factor != 3.0
    mine.write_text("import nothing_of_that_name\n")
    sys.modules.pop("mine")
    with pytest.raises(InputError, match=r"class_path: mine \(ModuleNotFoundError: No module named 'nothing_of_that"):
        load_code(artifacts)


def test_where_images_lie_is_no_identity_also_of_a_dataset_within_another():
    inner = [{"class_path": "compat.data.ImageFolder", "root": root} for root in ("here", "there")]
    held = [Spec({"class_path": "benchmarks.config.heldout.HeldOut", "data": data}) for data in inner]
    assert ImageSet.of(held[0], ("a",)) == ImageSet.of(held[1], ("a",))


def test_what_is_imported_from_the_package_itself_is_used(tmp_path, monkeypatch):
    (tmp_path / "user.py").write_text("from compat import backfill_curve\n")
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "inner.py").write_text("try:\n    pass\nfinally:\n    import user\n\n\nclass A:\n    pass\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    forget()
    assert "compat.backfill" in source.code_of("user")
    assert source.find("plain.inner.A") is not None  # a folder without __init__.py
    assert set(source.code_of("plain.inner")) > {"plain.inner", "user"}


def test_needs_that_an_argument_brings_come_with_its_default_too(mine):
    mine.write_text(
        "class A:\n    needs_with = {'side': 'side-information'}\n\n    def __init__(self, a, side: int = 5):\n"
        "        pass\n\n\nclass B(A):\n    needs = (*A.needs, 'x')\n"
    )
    assert Spec({"class_path": "mine.A"}).needs() == ("side-information",)
    assert Spec({"class_path": "mine.A", "side": 0}).needs() == ()
    with pytest.raises(InputError, match=r"needs: \(\*A.needs, 'x'\) in mine.B, expected a literal"):
        Spec({"class_path": "mine.B"}).needs()


HEAD = """
import torch

from compat.methods.learned import Learned


class Mine(Learned):
    needs = {needs}

    def __init__(self, old, new) -> None:
        super().__init__(old, new, 0.1, lambda parameters: torch.optim.SGD(parameters, 0.1))
        self.layer = torch.nn.Linear(7, 6)
        self.register_buffer("steps", torch.tensor(0))
        self.register_buffer("labels", torch.tensor(0))

    def query_for_old(self, old, query_new):
        return self.layer(query_new)

    def terms(self, batch):
        self.steps += len(batch.old)
        self.labels = batch.label.max()
        return {{"distance": (self.layer(batch.new) - batch.old).square().sum()}}
"""


def test_a_head_that_asks_for_no_labels_is_trained_without_them(config, mine):
    from safetensors.torch import load_file

    mine.write_text(HEAD.format(needs=("training embeddings", "head training")))
    forget()
    run(with_method(config, class_path="mine.Mine"), "--only=mine")
    (folder,) = (config.parent / "runs").glob("learn-*/tensors.safetensors")
    state = load_file(folder)
    assert (int(state["steps"]), int(state["labels"])) == (3 * 72, -1)


@pytest.mark.parametrize(
    ("needs", "message"),
    [
        (("training labels", "head training"), r"methods.mine: needs 'head training' alone, expected 'training embedd"),
        (("training label",), r"methods.mine: needs 'training label', did you mean training labels\?"),
    ],
)
def test_what_a_method_cannot_be_given_is_refused_before_anything_is_trained(config, mine, needs, message):
    mine.write_text(HEAD.format(needs=needs))
    forget()
    with pytest.raises(InputError, match=message):
        planned(with_method(config, class_path="mine.Mine"))


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("mine", r"methods.mine.based_on: 'mine', expected some of"),
        ("rqt", r"methods.mine.based_on: compat.methods.ReverseQuery, expected a method training a new model"),
    ],
)
def test_a_method_is_based_on_one_that_trains_a_model(config, base, message):
    with pytest.raises(InputError, match=message):
        planned(with_method(config, class_path="compat.methods.BiCT", based_on=base))


@pytest.mark.parametrize("name", ["data", "heads", "side", "replay", "name"])
def test_a_generation_is_not_called_like_another_key(config, name):
    with pytest.raises(InputError, match=rf"generations: {name}, expected another name, as {name} is a key"):
        planned(config, f"--generations=[old, new, {name}]")


def test_matrices_are_filled_and_rules_fitted_once_for_all_orders(config, monkeypatch):
    from benchmarks.artifacts import curve as replayed
    from benchmarks.artifacts import matrices

    calls = []

    def counted(*arguments):
        calls.append(arguments)
        return serve(*arguments)

    monkeypatch.setattr(matrices, "serve", counted)
    monkeypatch.setattr(replayed, "serve", counted)
    axes = [
        "--replay.by={random: {class_path: compat.orders.Random}, density: {class_path: compat.orders.Density}}",
        "--replay.merge={raw: {class_path: compat.merge.Raw}, z_score: {class_path: compat.merge.ZScore}}",
    ]
    assert len(run(config, "--only=rqt", *axes)) == 4
    assert len(calls) == 2  # of queries and gallery, and of the training images that the rule is fitted on
    assert len(keys(planned(config, *axes), MethodState)) == 3


@dataclass(frozen=True)
class ReplayWithAnAxis(Replay):
    """A field of the config with a label."""

    noise: dict[str, Spec] = field(
        default_factory=lambda: {name: Spec({"class_path": f"mine.{name.title()}"}) for name in ("none", "some")},
        metadata={"label": "noise"},
    )


@dataclass(frozen=True)
class ReplayedWithAnAxis(ReplayedCurve):
    """The field of the artifact, called like the label."""

    noise: Spec = field(kw_only=True)


def test_an_axis_is_a_field_of_the_config_and_one_of_the_artifact(config, mine, monkeypatch):
    monkeypatch.setattr(planning, "ReplayedCurve", ReplayedWithAnAxis)
    experiment = parse([str(config)], ["--only=rqt"])
    jobs = planning.plan(replace(experiment, replay=ReplayWithAnAxis()), DIGESTS, POINTS)
    assert [job.name for job in jobs] == [
        f"method=rqt seed=0 order=random merge=raw noise={name}" for name in ("none", "some")
    ]
    assert [job.curve.noise.class_path for job in jobs] == ["mine.None", "mine.Some"]  # type: ignore[attr-defined]
    assert len(keys(jobs, ReplayedCurve)) == 2
    assert len(keys(jobs, MethodState)) == 1
