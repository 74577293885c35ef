"""What is recorded of where an artifact is made."""

import subprocess

import pytest

from benchmarks.artifacts import record


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A checkout with one commit, in place of this one."""
    for arguments in (["init"], ["config", "user.name", "x"], ["config", "user.email", "x"]):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "file").write_text("1")
    for arguments in (["add", "file"], ["commit", "-m", "one"]):
        subprocess.run(["git", *arguments], cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.setattr(record, "PROJECT", tmp_path)
    return tmp_path


@pytest.mark.filterwarnings("error")
def test_the_commit_is_marked_where_files_differ(project):
    commit = record.git_commit.__wrapped__()
    assert commit is not None
    assert len(commit) == 40
    (project / "file").write_text("2")
    assert record.git_commit.__wrapped__() == f"{commit}-dirty"


@pytest.mark.filterwarnings("error")
def test_what_is_no_checkout_has_no_commit(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "PROJECT", tmp_path)
    assert record.git_commit.__wrapped__() is None


def test_a_checkout_that_git_refuses_is_told(project, monkeypatch):
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.warns(UserWarning, match="git_commit: none is recorded, as git fails: .*dubious ownership"):
        assert record.git_commit.__wrapped__() is None


def test_a_checkout_without_git_is_told(project, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.warns(UserWarning, match="git_commit: none is recorded, as git fails: .*git"):
        assert record.git_commit.__wrapped__() is None
