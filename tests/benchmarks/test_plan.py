"""The plan: jobs from the config alone, what changes which artifacts, parts, generations, and what a config may be."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks.artifacts.artifact import graph, identity, key
from benchmarks.artifacts.kinds import MethodState, OldEnd, ServedSystem, Weights
from benchmarks.config.listing import reason
from benchmarks.config.parse import parse, read_methods
from benchmarks.config.spec import Spec
from benchmarks.jobs.plan import part_of, plan, steps, training_seed
from compat.errors import InputError
from tests import ROOT
from tests.helpers.running import DIGESTS, POINTS, THIRD, TINY, by_name, figures, keys, labelled, main, planned, run


def test_each_method_seed_order_and_rule_is_a_job(config):
    axes = "--replay.by={random: {class_path: compat.orders.Random}, density: {class_path: compat.orders.Density}}"
    jobs = planned(config, "--seed=[0, 1]", axes)
    assert len(jobs) == len({job.labels for job in jobs}) == 3 * 2 * 2
    assert [job.name for job in jobs[:2]] == [
        "method=independent seed=0 order=random merge=raw",
        "method=independent seed=0 order=density merge=raw",
    ]
    assert len(keys(jobs)) == len({artifact for job in jobs for artifact in graph(job.curve)})


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ("--data.root=/elsewhere", True),
        ("--data.on_error=skip", True),
        ("--new.trainer.enable_progress_bar=true", True),
        ("--name=other", True),
        ("--runs=elsewhere", True),
        ("--only=rqt", True),
        ("--data.image_size=13", False),
        ("--old.seed=1", False),
        ("--old.sees.classes=0.25", False),
        ("--heads.batch_size=8", False),
        ("--replay.distance=l2", False),
    ],
)
def test_what_is_no_identity_makes_nothing_again(config, change, same):
    before, after = keys(planned(config)), keys(planned(config, change))
    assert (after <= before) is same


def test_a_change_makes_exactly_what_depends_on_it_again(config):
    before = labelled(planned(config))
    head = labelled(planned(config, "--heads.batch_size=8"))
    assert {name for name in before if before[name] != head[name]} == {
        "learn rqt", "learn rqt_mcl_rho", "replay rqt seed 0", "replay rqt_mcl_rho seed 0"
    }  # fmt: skip
    new = labelled(planned(config, "--new.seed=5"))
    kept = {"train old", "extract old", "order random"}
    assert {name for name in before if before[name] == new[name]} == kept


def test_heads_learn_from_a_part_of_the_classes_and_models_do_not(config, capsys, monkeypatch):
    before, after = (labelled(planned(config, *given)) for given in ((), ("--heads.sees.classes=0.5",)))
    assert {name for name in before if before[name] != after[name]} == {
        "learn rqt", "learn rqt_mcl_rho", "replay rqt seed 0", "replay rqt_mcl_rho seed 0"
    }  # fmt: skip
    code, error = main(capsys, monkeypatch, config, "--heads.sees.classes=[0.5,1.0]")
    assert code == 2
    assert "error: heads.sees: classes " in error
    assert "expected two or more of new's from its first, 0, on" in error


def test_two_checkpoints_do_not_hide_how_the_images_are_shown(config, tmp_path):
    """With both models from checkpoints another image size, crop or share is another result."""
    (tmp_path / "weights.ckpt").write_bytes(b"weights")
    given = [f"--{name}.checkpoint={tmp_path / 'weights.ckpt'}" for name in ("old", "new")]
    before = {key(job.curve) for job in planned(config, *given)}
    for change in ("--data.image_size=13", "--data.min_crop=0.5"):
        assert not before & {key(job.curve) for job in planned(config, *given, change)}
    rqt = {key(job.curve) for job in planned(config, *given, "--only=rqt")}
    assert not rqt & {key(job.curve) for job in planned(config, *given, "--only=rqt", "--new.sees.classes=0.5")}


@pytest.mark.parametrize("name", ["systems", "fastfill", "joint", "ends"])
def test_the_name_of_a_method_decides_nothing(config, name):
    content = yaml.safe_load(config.read_text())
    before = keys(planned(config))
    content["methods"][name] = content["methods"]["rqt"]
    config.write_text(yaml.safe_dump(content))
    assert keys(planned(config)) == before


def test_the_estimator_of_an_order_is_a_fastfill_by_its_class(config):
    by = "--replay.by={uncertainty: {class_path: compat.orders.Uncertainty}}"
    content = yaml.safe_load(config.read_text())
    fastfill = {"class_path": "compat.methods.FastFill", "init_args": {"hidden": 8}}
    config.write_text(yaml.safe_dump({**content, "methods": {**content["methods"], "ours": fastfill}}))
    jobs = planned(config, by)
    learned = {p for job in jobs for p in graph(job.curve) if isinstance(p, MethodState)}
    assert {p.method.class_path for p in learned if "FastFill" in p.method.class_path} == {"compat.methods.FastFill"}
    assert {p.method.init_args.get("hidden") for p in learned if "FastFill" in p.method.class_path} == {8}
    alone = planned(config, by, "--only=rqt")
    assert keys(alone) < keys(jobs)


def test_parts_together_are_all_jobs():
    jobs = [object()] * 7
    for count in (1, 2, 3, 10):
        assert [job for i in range(count) for job in part_of(jobs, f"{i}/{count}")] == jobs  # type: ignore[arg-type]


@pytest.mark.parametrize("part", ["3/3", "x/y", "0/0", "-1/2", "1", "", "\u0660/\u0663"])
def test_a_wrong_part_is_refused(part):
    with pytest.raises(InputError, match=f"part: {part}, expected i/n with i from 0 to n - 1"):
        part_of([], part)


def test_five_generations_are_four_upgrades(config):
    names = ["old", "b", "c", "d", "new"]
    more = [f"--generations=[{', '.join(names)}]", *(f"--{name}={TINY}" for name in names[1:4])]
    experiment = parse([str(config)], [*more, "--starts=[1.0]"])
    assert list(experiment.generations) == names
    assert [step.name for step in steps(experiment)] == ["first", "second_from_1", "third_from_1", "4th_from_1"]
    jobs = plan(experiment, DIGESTS, POINTS)
    assert len(jobs) == 3 * 4
    weights = {p for job in jobs for p in graph(job.curve) if isinstance(p, Weights)}
    assert {p.name for p in weights} == set(names)
    assert [training_seed(n, 3) for n in range(5)] == [6, 7, 2**31 + 6, 2**31 + 7, 2**30 + 6]


def test_what_would_be_made_says_why(config):
    before = {p.label: identity(p) for job in planned(config) for p in graph(job.curve)}
    after = {p.label: p for job in planned(config, "--heads.batch_size=8") for p in graph(job.curve)}
    assert reason(after["learn rqt"], [before["learn rqt"]]) == "training.batch_size: 16 -> 8"
    assert reason(after["replay rqt seed 0"], [before["replay rqt seed 0"]]) == "upgrade.learned is made again"
    assert reason(after["learn rqt"], []) == "new"
    code = {**before["learn rqt"], "code": {**before["learn rqt"]["code"], "compat.losses": "other"}}
    assert "code of compat.losses changed" in reason(after["learn rqt"], [code])


def test_listing_imports_neither_torch_nor_lightning(config):
    code = (
        "import sys; sys.argv = ['run', *sys.argv[1:]]\nfrom benchmarks.run import main\nmain()\n"
        "assert not {'torch', 'pytorch_lightning', 'torchvision', 'timm'} & set(sys.modules)"
    )
    for option in ("--list", "--dry-run"):
        done = subprocess.run(
            [sys.executable, "-c", code, str(config), option], cwd=ROOT, capture_output=True, text=True, check=True
        )
        assert "to be made" in done.stdout or "would be made" in done.stdout


def test_a_listing_tells_what_is_done(config, capsys, monkeypatch):
    from benchmarks import run as runner

    run(config, "--only=independent")
    monkeypatch.setattr(sys, "argv", ["run", str(config), "--list"])
    runner.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["done", "2", "2"]
    monkeypatch.setattr(sys, "argv", ["run", str(config), "--dry-run"])
    runner.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "learn rqt: new",
        "replay rqt seed 0: new",
        "learn rqt_mcl_rho: new",
        "replay rqt_mcl_rho seed 0: new",
        "4 of 12 artifacts would be made",
    ]


def test_parts_together_equal_one_run(config):
    whole = run(config, f"--runs={config.parent / 'whole'}", f"--results={config.parent / 'elsewhere'}")
    for number in range(3):
        run(config, part=f"{number}/3")
    parts = by_name(config.parent / "results" / "tiny")
    assert whole.keys() == parts.keys()
    assert all(figures(whole[name]) == figures(parts[name]) for name in whole)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty, expected a mapping"),
        ("- a\n- b\n", "is a list, expected a mapping"),
        ("a: [1\n", r"expected a YAML file"),
    ],
)
def test_a_file_that_is_no_config_is_named(tmp_path, text, message):
    path = tmp_path / "some.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=rf"config: {path}.*{message}"):
        parse([str(path)], [])


def test_a_binary_file_is_named(tmp_path):
    path = tmp_path / "some.yaml"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(InputError, match=rf"config: {path}.*expected a YAML file"):
        parse([str(path)], [])


def test_methods_given_anew_replace_those_of_the_config_and_an_argument_changes_one(config):
    (config.parent / "fct.yaml").write_text("class_path: compat.methods.FCT\ninit_args: {hidden: 8}\n")
    anew = parse([str(config)], ["--methods", f"{{fct: {config.parent / 'fct.yaml'}}}"])
    assert list(anew.methods) == ["fct"]
    changed = parse([str(config)], ["--methods.rqt.init_args.hidden=9"])
    assert list(changed.methods) == ["independent", "rqt", "rqt_mcl_rho"]
    assert changed.methods["rqt"].init_args == {"hidden": 9}
    other = parse([str(config)], ["--methods.rqt.class_path=compat.methods.FCT"])
    assert other.methods["rqt"].init_args == {}


def test_a_method_may_be_based_on_another_by_name(config):
    content = yaml.safe_load(config.read_text())
    content["methods"] |= {
        "bct": {"class_path": "compat.methods.BCT"},
        "bict": {"class_path": "compat.methods.BiCT", "init_args": {"hidden": 8}, "based_on": "bct"},
    }
    config.write_text(yaml.safe_dump(content))
    jobs = planned(config)
    assert keys([job for job in jobs if "bict" in job.name], MethodState) > keys(
        [j for j in jobs if "=bct" in j.name], MethodState
    )
    with pytest.raises(InputError, match=r"methods.bict.based_on: 'bc', did you mean bct\?"):
        parse([str(config)], ["--methods.bict.based_on=bc"])


def test_a_method_maps_onto_what_another_one_serves(config):
    content = yaml.safe_load(config.read_text())
    content["methods"] |= {
        "rho": {"class_path": "compat.methods.Rho", "init_args": {"hidden": 8}},
        "kernel": {"class_path": "compat.methods.KernelGallery", "onto": "rho"},
        "own": {"class_path": "compat.experience.OwnForward", "based_on": "kernel"},
    }
    config.write_text(yaml.safe_dump(content))
    jobs = {dict(job.labels)["method"]: job.curve.upgrade for job in planned(config)}
    kernel, under = jobs["kernel"], jobs["rho"]
    assert kernel.new == kernel.learned.new == ServedSystem(under)
    assert kernel.learned.old == OldEnd(under)
    assert jobs["own"] == kernel
    assert kernel.learned.method == Spec({"class_path": "compat.methods.KernelGallery"})


KERNEL, RHO = ({"class_path": f"compat.methods.{name}"} for name in ("KernelGallery", "Rho"))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({**KERNEL, "onto": "rhu"}, "methods.rqt.onto: 'rhu', did you mean rho?"),
        ({**KERNEL, "onto": "rqt"}, "methods.rqt.onto: 'rqt', expected some of"),
        ({**KERNEL, "onto": 5}, "methods.rqt.onto: 5, expected a method, or class_path and init_args"),
        ({**KERNEL, "onto": None}, "methods.rqt.onto: null, expected a method, or class_path and init_args"),
        ({**KERNEL, "onto": {**RHO, "init_args": {"hiden": 1}}}, "methods.rqt.onto.hiden: not an argument of"),
        ({"class_path": "compat.methods.BCT", "onto": "rho"}, "methods.rqt.onto: with compat.methods.BCT, expected it"),
        (
            {"class_path": "compat.methods.FastFill", "onto": "rho"},
            "which needs 'new classifier', expected one without",
        ),
        ({"class_path": "compat.experience.OwnForward", "onto": "rho"}, "methods.rqt.onto: with compat.experience.Own"),
        ({**KERNEL, "onto": {"class_path": "compat.experience.OwnForward"}}, "expected a method trained beforehand"),
        ({**KERNEL, "onto": "rho", "based_on": {"class_path": "compat.methods.BCT"}}, "beside based_on, expected one"),
    ],
)
def test_a_method_that_cannot_map_onto_another_is_refused(config, method, message):
    content = yaml.safe_load(config.read_text())
    content["methods"] = {"rho": RHO, "rqt": method}
    config.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=re.escape(message)):
        planned(config)


@pytest.mark.parametrize("given", ["--heads.images=true", "third"])
def test_onto_is_refused_through_images_and_in_a_sequence(config, given):
    content = yaml.safe_load(config.read_text())
    content["methods"] = {"rqt": {**KERNEL, "onto": RHO}}
    config.write_text(yaml.safe_dump(content))
    message = (
        "generations: 3 with rqt, which has onto" if given == "third" else "heads.images: true with rqt, which has"
    )
    with pytest.raises(InputError, match=message):
        planned(config, *(THIRD if given == "third" else [given]))


def test_every_shipped_config_is_planned(monkeypatch):
    monkeypatch.chdir(ROOT)
    every, own = (yaml.safe_load(Path(f"configs/methods/{name}.yaml").read_text()) for name in ("all", "own"))
    lists = {"all", "own", "compared", "label_free"}
    shipped = {path.stem for path in Path("configs/methods").glob("*.yaml")} - lists
    compared, free = (
        yaml.safe_load(Path(f"configs/methods/{name}.yaml").read_text()) for name in ("compared", "label_free")
    )
    assert compared.items() < every.items()
    assert free.keys() < every.keys() | own.keys()
    for name, spec in read_methods("configs/methods/label_free.yaml", Path()).items():
        assert "training labels" not in Spec(spec).needs() or spec["init_args"] == {"alpha": 0.5}, name
    assert every | own == {name: f"{name}.yaml" for name in [*every, *own]}
    assert every.keys() | own.keys() == shipped
    learning = parse(["configs/digits.yaml"], ["--methods=configs/methods/own.yaml"])
    assert len(plan(learning, DIGESTS, POINTS)) == len(own) * len(learning.seeds)
    jobs = plan(parse(["configs/digits.yaml", "configs/digits_methods.yaml"], []), DIGESTS, POINTS)
    assert len(jobs) == len(every) * 9
