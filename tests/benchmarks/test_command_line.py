"""`compat-bench`: its commands, imported when they are called; configs by name; completions; the wheel."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import import_module
from pathlib import Path

import pytest

import compat
from benchmarks.__main__ import COMMANDS, main
from benchmarks.config.named import FOLDER, is_config, locate, names
from benchmarks.config.parse import parse
from benchmarks.page.commands import read_commands
from compat.command import called
from tests import ROOT

HEAVY = ("torch", "pytorch_lightning", "torchvision", "timm", "sklearn", "faiss", "numba")


@pytest.fixture
def call(capsys):
    """Runs the command; returns its exit code, stdout and stderr."""

    def of(*arguments):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        return end.value.code or 0, *capsys.readouterr()

    return of


def test_help_lists_the_commands_in_a_line_each(call):
    code, out, _ = call("--help")
    listed = [line.split() for line in out.splitlines()]
    assert code == 0
    for name, command in COMMANDS.items():
        assert [name, *command.help.split()] in listed, name


def test_version(call):
    assert call("--version")[:2] == (0, f"compat-bench {compat.__version__}\n")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["rnu"], "command: 'rnu', did you mean run?"),
        (["x"], f"command: 'x', expected some of {', '.join(sorted(COMMANDS))}"),
        ([], f"command: none, expected one of {', '.join(COMMANDS)}"),
        (["--verison"], "unrecognized arguments: --verison; expected what --help names"),
        (["--vers"], "unrecognized arguments: --vers; expected what --help names"),
        (["table", "--wid"], "unrecognized arguments: --wid; expected what --help names"),
        (["run"], "config: none, expected a YAML file, or a name: compat-bench run digits"),
        (["run", "digit", "--list"], "config: 'digit', expected a file or one of digits,"),
        (
            ["run", "digits", "--config=setings/cores"],
            "config: 'setings/cores', expected a file or one of settings/cores",
        ),
        (["run", "digits", "--methods=methods/al"], "config: 'methods/al', expected a file or one of methods/all"),
        (["run", "nowhere.yaml"], "config: nowhere.yaml ([Errno 2] No such file"),
        (["run", "\0"], r"config: '\x00', expected a file or one of "),
        (["run", "a" * 9999], "config: 'aaa"),
        (["tune", "digits", "--space=tunin", "-o", "t.json"], "config: 'tunin', expected a file or one of tuning"),
        (["data", "check", "imagnet"], "config: 'imagnet', expected a file or one of imagenet"),
        (["policies", "policy", "-o", "p.json"], "config: 'policy', expected a file or one of policies"),
        (["report", "digit"], "digit: no results, expected a folder with results.jsonl"),
        (["live", "initt"], "argument verb: invalid choice: 'initt'"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(call, tmp_path, monkeypatch, given, message):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(*given)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: {message}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_the_same_help_by_its_module(name):
    parser = import_module(COMMANDS[name].module).parser()
    assert parser.prog == f"python -m {COMMANDS[name].module.removesuffix('.__main__')}"
    assert parser.description
    assert "\n" not in parser.description
    assert f"compat-bench {name} " in (parser.epilog or "")


LOADED = """
import sys
from benchmarks.__main__ import COMMANDS, main
sys.argv = ["/usr/bin/compat-bench"]
unwanted = set(sys.stdin.read().split())
for name in ["", *COMMANDS]:
    try:
        main([name, "--help"] if name else ["--help"])
    except SystemExit as end:
        assert not end.code, name
    if not name:
        assert not {"benchmarks.run", "compat.live", "yaml"} & sys.modules.keys()
    heavy = sys.modules.keys() & unwanted
    assert not heavy, (name, heavy)
"""


def test_help_of_all_commands_imports_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", LOADED], input=" ".join(HEAVY), capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    for name in COMMANDS:
        assert f"usage: compat-bench {name} " in done.stdout


def test_the_help_of_a_run_lists_the_keys_of_a_config_and_nothing_else(call):
    _, out, _ = call("run", "--help")
    keys = re.findall(r"^  ([a-z_.]+): ", out.partition("keys of a config")[2], re.MULTILINE)
    assert {"name", "old.model", "old.sees.classes", "heads.batch_size", "replay.progress"} <= set(keys)
    assert "Error" not in out


def test_a_command_is_called_as_it_was_started(monkeypatch):
    assert called("benchmarks.run") == "python -m benchmarks.run"
    monkeypatch.setattr(sys, "argv", ["/anywhere/bin/compat-bench", "run"])
    assert called("benchmarks.run") == "compat-bench run"


def test_the_configs_have_names(tmp_path, monkeypatch):
    shipped = {path.relative_to(ROOT / "configs").as_posix() for path in (ROOT / "configs").rglob("*.yaml")}
    assert {f"{name}.yaml" for name in names()} == shipped
    assert names()[0] == "audit"
    monkeypatch.chdir(tmp_path)
    for name in ("digits", "methods/rqt"):
        assert locate(name).samefile(ROOT / "configs" / f"{name}.yaml")
    by_name = parse(["digits", "digits_methods"], ["--methods=methods/own"])
    paths = [f"{ROOT}/configs/digits.yaml", f"{ROOT}/configs/digits_methods.yaml"]
    assert by_name == parse(paths, [f"--methods={ROOT}/configs/methods/own.yaml"])


def test_a_file_comes_before_a_name_and_a_folder_after(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("digits").mkdir()
    assert locate("digits") == FOLDER / "digits.yaml"
    assert not is_config("digits")  # a report is then on the folder
    assert is_config("omniglot")
    Path("omniglot").write_text("name: mine")
    assert locate("omniglot") == Path("omniglot")


def test_commands_in_documents_may_be_of_either_form(tmp_path):
    commands = [
        "compat-bench run digits --config settings/cores --only rqt",
        "python -m benchmarks.run configs/digits.yaml --only=rqt",
        "compat-bench run --config=nowhere digits",
        "compat-bench run digits --config",
        "compat-bench run digits --config digits_sequence",
        "compat-bench run digits --name=mine",
    ]
    (tmp_path / "results").mkdir()
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (tmp_path / "results" / "README.md").write_text("\n".join(commands))
    found = read_commands(tmp_path / "results")
    assert found["digits"] == commands[:3]
    assert (found[""], found["digits_sequence"], found["mine"]) == ([commands[3]], [commands[4]], [commands[5]])


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_completions_know_commands_options_and_configs(call, shell, capsys):
    pytest.importorskip("shtab")
    main(["--print-completion", shell])
    text = capsys.readouterr().out
    for word in (*COMMANDS, "--dry-run", "--least-gain", "fashion_mnist", "finalize", "methods/rqt"):
        assert word in text, word


def test_without_shtab_it_says_what_is_missing(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "shtab", None)
    code, _, err = call("--print-completion", "bash")
    assert (code, err) == (2, "error: shtab: not installed, expected it: pip install compat-bench[completion]\n")


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel, and a folder that it is installed into."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for room in ("benchmarks", "compat", "configs"):
        shutil.copytree(ROOT / room, source / room, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    options = ["--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run([*pip, "wheel", *options, "-w", folder, source], check=True)
    (wheel,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--no-index", "--target", folder / "target", wheel], check=True)
    return wheel, folder / "target"


@pytest.mark.slow
def test_the_wheel_has_all_that_is_read(installed):
    wheel, _ = installed
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
        (scripts,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        assert "compat-bench = benchmarks.__main__:main" in archive.read(scripts).decode()
    kinds = (".py", ".typed", ".j2", ".css", ".js")
    needed = [path for room in ("benchmarks", "compat") for path in (ROOT / room).rglob("*") if path.suffix in kinds]
    expected = {path.relative_to(ROOT).as_posix() for path in needed}
    assert packed == expected | {f"benchmarks/configs/{name}.yaml" for name in names()}


@pytest.mark.slow
def test_an_installed_wheel_works_in_an_empty_folder(installed, tmp_path):
    _, target = installed
    environment = {**os.environ, "PYTHONPATH": str(target)}

    def run(*arguments):
        command = [sys.executable, target / "bin" / "compat-bench", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done

    assert run("--version").stdout == f"compat-bench {compat.__version__}\n"
    assert "method=rqt seed=0" in run("run", "digits", "--list").stdout
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine.py").write_text("from compat.methods import Upgrade\nclass Mine(Upgrade):\n    pass\n")
    epochs = [f"--{name}.trainer.max_epochs=1" for name in ("old", "new")]
    methods = "--methods={mine: {class_path: mine.Mine}}"
    subprocess.run(["git", "init", "-q", target.parent], check=True)  # a repository, but not this project's
    ran = run("run", "digits", methods, *epochs, "--replay.progress=3", "--name=small")
    assert "warning" not in ran.stderr
    assert "compat-bench plot results/small" in ran.stdout
    records = [json.loads(path.read_text()) for path in (tmp_path / "runs").glob("*/record.json")]
    assert {record["made"]["git_commit"] for record in records} == {None}
    run("plot", "results/small", "-o", "small.png")
    assert "compat-bench run digits" in (tmp_path / "results" / "small" / "experiment.yaml").read_text()
    assert run("table", "results/small").stdout.count("mine") == 1
    run("page", "results", "-o", "site")
    assert "compat-bench run digits" in (tmp_path / "site" / "index.html").read_text()
    assert (tmp_path / "small.png").stat().st_size > 1000
