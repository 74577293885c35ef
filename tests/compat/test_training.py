"""A training that was stopped goes on as if it had not been, to the last bit."""

import pytest
import pytorch_lightning as pl
import torch

from benchmarks.artifacts import training
from benchmarks.artifacts.training import EpochState, fit
from benchmarks.config.spec import Spec
from compat.data import ImageFolder, Share
from compat.errors import InputError
from compat.methods import ReverseQuery, SingleModel
from compat.models import simplex
from compat.pairs import CachedEmbeddings, PairData
from tests.helpers.pairs import embedded, embedders

MODEL = {"backbone": {"class_path": "tests.helpers.backbones.TinyConv"}, "embed_dim": 4}


class Stop(Exception):
    """In place of kill -9."""


class StopAfter(pl.Callback):
    """Raises after so many batches in all."""

    def __init__(self, batches):
        self.batches = batches

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.batches:
            raise Stop


def train(folder, image_root, workers, callbacks=(), monkeypatch=None, **options):
    """Train an embedder on images."""
    pl.seed_everything(0, verbose=False)
    data = ImageFolder(str(image_root), image_size=8, batch_size=24, num_workers=workers)
    module = Spec({"class_path": "compat.methods.SingleModel", "init_args": {**MODEL, **options}}).build(SingleModel)
    return finish(module, data.training(Share(), 0), folder, callbacks, monkeypatch)


def train_head(folder, callbacks=(), monkeypatch=None):
    """Train psi and rho on cached embeddings."""
    method = ReverseQuery(*embedders(), hidden=8, mcl="joint", rho=True)
    return finish(method, PairData(CachedEmbeddings(*embedded()), 8, seed=0), folder, callbacks, monkeypatch)


def finish(module, data, folder, callbacks, monkeypatch):
    if callbacks:
        original = EpochState.on_train_epoch_start

        def with_stop(self, trainer, pl_module):
            original(self, trainer, pl_module)
            trainer.callbacks += [c for c in callbacks if c not in trainer.callbacks]

        monkeypatch.setattr(EpochState, "on_train_epoch_start", with_stop)
    arguments = {"max_epochs": 4, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    fit(module, Spec({"class_path": "pytorch_lightning.Trainer", "init_args": arguments}), 0, folder, data)
    return module.state_dict()


@pytest.fixture(autouse=True)
def save_every_epoch(monkeypatch):
    monkeypatch.setattr(training, "SAVE_INTERVAL", 0.0)


@pytest.mark.parametrize(("batches", "workers"), [(2, 0), (9, 0), (5, 1)])
def test_resuming_gives_the_same_weights(tmp_path, image_root, batches, workers, monkeypatch):
    whole = train(tmp_path / "whole", image_root, workers)
    with monkeypatch.context() as patch, pytest.raises(Stop):
        train(tmp_path / "stopped", image_root, workers, [StopAfter(batches)], patch)
    assert len(list((tmp_path / "stopped").glob("epoch-*.ckpt"))) == (batches >= 3)
    resumed = train(tmp_path / "stopped", image_root, workers)
    for key, value in whole.items():
        assert torch.equal(value, resumed[key]), key
    assert not list(tmp_path.glob("*/*.ckpt"))


def test_resuming_a_head_gives_the_same_head(tmp_path, monkeypatch):
    whole = train_head(tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(Stop):
        train_head(tmp_path / "stopped", [StopAfter(9)], patch)
    (state,) = (tmp_path / "stopped").glob("epoch-*.ckpt")
    saved = torch.load(state, weights_only=True)["state_dict"]
    assert {key.split(".")[0] for key in saved} == {"psi", "rho"}
    resumed = train_head(tmp_path / "stopped")
    assert all(torch.equal(value, resumed[key]) for key, value in whole.items())


def test_a_damaged_state_is_not_used(tmp_path, image_root, monkeypatch):
    whole = train(tmp_path / "whole", image_root, 0)
    with monkeypatch.context() as patch, pytest.raises(Stop):
        train(tmp_path / "stopped", image_root, 0, [StopAfter(9)], patch)
    (state,) = (tmp_path / "stopped").glob("epoch-*.ckpt")
    content = bytearray(state.read_bytes())
    content[len(content) // 2] ^= 1
    state.write_bytes(content)
    with pytest.warns(UserWarning, match="damaged"):
        again = train(tmp_path / "stopped", image_root, 0)
    assert all(torch.equal(value, again[key]) for key, value in whole.items())


def test_the_logs_have_the_training_curve(tmp_path, image_root):
    train(tmp_path, image_root, 0)
    lines = (tmp_path / "csv" / "version_0" / "metrics.csv").read_text().splitlines()
    assert "train/loss" in lines[0]
    assert len(lines) == 5
    assert list(tmp_path.glob("tensorboard/version_0/events*"))


@pytest.mark.parametrize("normalize", [True, False])
def test_a_simplex_stays_as_it_is_in_training_and_needs_a_dimension_for_each_class_but_one(
    normalize, image_root, tmp_path
):
    state = train(tmp_path, image_root, 0, simplex=True, final_norm=True, normalize=normalize, embed_dim=12)
    weight = state["embedder.classifier.linear.weight"]
    assert torch.equal(weight, simplex(12)[: len(weight)])
    if not normalize:
        assert torch.equal(state["embedder.classifier.linear.bias"], torch.zeros(len(weight)))
    assert state["embedder.norm.bias"].abs().max() > 0
    with pytest.raises(
        InputError, match=f"embed_dim: 1 for {len(weight)} classes, expected at least {len(weight) - 1}"
    ):
        train(tmp_path, image_root, 0, simplex=True, embed_dim=1)
