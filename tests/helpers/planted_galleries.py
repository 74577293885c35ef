"""Galleries in which an order is worth something: some classes are blurred in the old space, and look sparse in it."""

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from compat import Embeddings
from tests.helpers.pairs import normal, rotation

DIM = 16


def planted(seed: int = 0, classes: int = 16, items: int = 20, blur: float = 1.0) -> Embeddings:
    """Half of the classes are as clear in the old space as in the new one, the others only in the new one."""
    labels = torch.arange(classes * items) % classes
    centres = F.normalize(normal(classes, DIM, seed=100 * seed + 1), dim=1)
    noise = torch.where(labels % 2 == 0, 0.1, blur * 0.35)[:, None]
    old = F.normalize(centres[labels] + noise * normal(len(labels), DIM, seed=100 * seed + 2), dim=1)
    clear = F.normalize(centres[labels] + 0.1 * normal(len(labels), DIM, seed=100 * seed + 3), dim=1)
    new, rows = clear @ rotation(DIM), torch.arange(len(labels))
    return Embeddings(old, new, old, new, labels, labels, rows, rows)


def write(folder, data_sets=("alpha", "beta"), settings=("same",), seeds=2, entropy=False) -> None:
    """Files as `benchmarks.export` writes them."""
    for number, data in enumerate(data_sets):
        for place, setting in enumerate(settings):
            for seed in range(seeds):
                e = planted(10 * number + seed, blur=1 + 0.2 * place)
                tensors = {name: value.clone() for name, value in vars(e).items()}
                if entropy:
                    tensors["gallery_entropy"] = (e.gallery_labels % 2).double()
                save_file(tensors, folder / f"{data}-{setting}-{seed}.safetensors")
