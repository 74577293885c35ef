"""Two small embedders, pairs of embeddings, and a short training on them."""

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor

from compat.methods import Pair
from compat.models import Embedder
from compat.needs import Given
from compat.pairs import CachedEmbeddings, PairData
from tests.helpers.backbones import TinyConv

IMAGES = torch.randn(24, 3, 9, 9, generator=torch.Generator().manual_seed(0))


LABELS = torch.arange(24) % 4


def embedders(old_dim=3, new_dim=5, final_norm=False) -> tuple[Embedder, Embedder]:
    torch.manual_seed(0)
    sizes = ((4, old_dim), (6, new_dim))
    old, new = (Embedder(TinyConv(width), dim, final_norm=final_norm) for width, dim in sizes)
    pair = old, new
    for embedder in pair:
        embedder.eval()(IMAGES)
    return pair


def embedded() -> Pair:
    old, new = embedders()
    with torch.no_grad():
        return Pair(old(IMAGES), new(IMAGES), LABELS)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def rotation(dim: int, seed: int = 1) -> Tensor:
    """Of determinant 1."""
    q = torch.linalg.qr(normal(dim, dim, seed=seed)).Q
    return torch.cat([q[:, :1] * torch.linalg.det(q).sign(), q[:, 1:]], 1)


def paired(old: Tensor, new: Tensor) -> Pair:
    return Pair(old, new, torch.arange(len(old)) % 4)


def quiet_trainer(epochs: int) -> pl.Trainer:
    return pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def trained(method, pairs, epochs=20, lr=1e-2):
    """Trained on the pairs, ready to serve."""
    method.optimizer = lambda parameters: torch.optim.AdamW(parameters, lr=lr)
    quiet_trainer(epochs).fit(method.train(), PairData(CachedEmbeddings(*pairs), batch_size=32, seed=0))
    return method.eval()


def made(kind, pairs, **options):
    """The method for the dimensions of the pairs."""
    return kind(*embedders(pairs.old.shape[1], pairs.new.shape[1]), **options)


def solved(kind, pairs, **options):
    method = made(kind, pairs, **options)
    values = {"training embeddings": pairs, "training labels": pairs.label}
    method.learn(Given(method.needs, values, kind.__name__), lambda module: None)
    return method.eval()


@torch.no_grad()
def error(method, pairs) -> float:
    return F.mse_loss(method.query_for_old(pairs.old, pairs.new), pairs.old).item()


def padded(rows: Tensor, dim: int) -> np.ndarray:
    return np.pad(rows.double().numpy(), ((0, 0), (0, dim - rows.shape[1])))
