"""Imitation of an expert, alone or after learning the effects of own actions (arXiv 2510.08558)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from compat.errors import InputError
from compat.policies.networks import SetNetwork, deviation
from compat.policies.samples import Demonstrations, Transitions

EPOCHS = 10  # moments of logs and checkpoints, into which the updates are divided


def open_scores(scores: Tensor, mask: Tensor) -> Tensor:
    """Return logits (B, M), minus infinity for closed groups."""
    return scores.masked_fill(~mask, -torch.inf)


class Imitation(LightningModule):
    """IL: cross-entropy to the expert's action over the open groups.

    Args:
        network: trained in place.
        rate: learning rate of AdamW.
        decay: its weight decay.
    """

    def __init__(self, network: SetNetwork, rate: float = 1e-3, decay: float = 1e-2) -> None:
        super().__init__()
        self.network, self.rate, self.decay = network, rate, decay
        self.heard: list[dict[str, Tensor]] = []  # losses of the epoch

    def beside(self, encodings: Tensor, batch: Demonstrations) -> dict[str, Tensor]:
        """Compute the losses added to that of imitation from the encodings of groups (B, M, width), by name."""
        return {}

    def training_step(self, batch: Demonstrations | Transitions, index: int) -> Tensor:
        assert isinstance(batch, Demonstrations)
        encodings = self.network(batch.groups, batch.overall)
        scores = open_scores(self.network.scores(encodings), batch.mask)
        losses = {"imitation": F.cross_entropy(scores, batch.action), **self.beside(encodings, batch)}
        right = (scores.argmax(1) == batch.action).float().mean()
        self.heard.append({name: loss.detach() for name, loss in losses.items()} | {"agreement": right})
        return torch.stack(list(losses.values())).sum()

    def on_train_epoch_end(self) -> None:
        """Log the means of the epoch; to log each update costs as much as the update."""
        for name in dict.fromkeys(name for one in self.heard for name in one):
            self.log(name, torch.stack([one[name] for one in self.heard if name in one]).mean())
        self.heard.clear()

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Do nothing: policies are trained on the CPU."""
        return batch

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.rate, weight_decay=self.decay)


class Units(nn.Module):
    """Changes of observations in standard deviations, so that all features count alike.

    Args:
        groups: (N, M, F), changes which give the deviations.
        overall: (N, A), likewise.
    """

    of_groups: Tensor
    of_all: Tensor

    def __init__(self, groups: Tensor, overall: Tensor) -> None:
        super().__init__()
        self.register_buffer("of_groups", deviation(groups.flatten(0, 1)))
        self.register_buffer("of_all", deviation(overall))

    def error(self, predicted: tuple[Tensor, Tensor], groups: Tensor, overall: Tensor) -> Tensor:
        """Compute the mean squared error of predictions in these units, a scalar."""
        return F.mse_loss(predicted[0], groups / self.of_groups) + F.mse_loss(predicted[1], overall / self.of_all)


class WorldFirst(Imitation):
    """IWM: predict the next observation from own steps, then imitate the expert.

    As in the paper (section 4.2), own steps are those of other actions at the expert's states (`own_steps`). The next
    state's likelihood is replaced by the squared error of the features' changes in `Units`.

    Args:
        network: see `Imitation`.
        steps: own steps, which give the units.
        rate: see `Imitation`.
        decay: see `Imitation`.
    """

    def __init__(self, network: SetNetwork, steps: Transitions, rate: float = 1e-3, decay: float = 1e-2) -> None:
        super().__init__(network, rate, decay)
        self.units = Units(steps.next_groups - steps.groups, steps.next_overall - steps.overall)

    def prediction(self, batch: Transitions) -> Tensor:
        """Compute the error of the predicted change of the observation."""
        predicted = self.network.change(self.network(batch.groups, batch.overall), batch.action)
        return self.units.error(predicted, batch.next_groups - batch.groups, batch.next_overall - batch.overall)

    def training_step(self, batch: Demonstrations | Transitions, index: int) -> Tensor:
        if isinstance(batch, Demonstrations):
            return super().training_step(batch, index)
        loss = self.prediction(batch)
        self.heard.append({"prediction": loss.detach()})
        return loss


class Lessons(Dataset[Any]):
    """Samples of one stage or several; an index is the stage and the rows of a batch."""

    def __init__(self, stages: Sequence[Demonstrations | Transitions]) -> None:
        self.stages = stages

    def __getitem__(self, index: tuple[int, Tensor]) -> Any:
        stage, rows = index
        return type(self.stages[stage])(*(column[rows] for column in self.stages[stage]))


class Schedule(Sampler[tuple[int, Tensor]]):
    """The rows of each update: stage after stage, drawn with replacement, the same in a resumed fit.

    Args:
        sizes: rows of each stage.
        updates: of each stage.
        batch: rows of an update.
        seed: of the drawing.
    """

    def __init__(self, sizes: Sequence[int], updates: Sequence[int], batch: int, seed: int) -> None:
        self.sizes, self.batch, self.seed = sizes, batch, seed
        self.stages = np.repeat(np.arange(len(updates)), updates)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(np.array_split(self.stages, EPOCHS)[self.epoch])

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        for update in np.array_split(np.arange(len(self.stages)), EPOCHS)[self.epoch]:
            stage = int(self.stages[update])
            drawn = np.random.default_rng([self.seed, int(update)]).integers(self.sizes[stage], size=self.batch)
            yield stage, torch.from_numpy(drawn)


def fit(
    module: Imitation,
    stages: Sequence[Demonstrations | Transitions],
    updates: Sequence[int],
    folder: Path,
    *,
    batch: int = 32,
    seed: int = 0,
) -> SetNetwork:
    """Train a module by a number of updates per stage; logs and checkpoints go to the folder, from which a fit resumes.

    Args:
        module: the module to train.
        stages: its training samples, one stage after the other.
        updates: of each stage; a multiple of `EPOCHS` together.
        folder: of metrics.csv and last.ckpt.
        batch: rows of an update.
        seed: of the drawing of batches.

    Returns:
        The network of the module.

    Raises:
        InputError: no updates, or a number not divisible by the epochs.
    """
    if sum(updates) < EPOCHS or sum(updates) % EPOCHS:
        raise InputError(f"updates: {sum(updates)}, expected a multiple of {EPOCHS}")
    schedule = Schedule([len(stage.action) for stage in stages], updates, batch, seed)
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=EPOCHS,
        log_every_n_steps=sum(updates) // EPOCHS,
        logger=CSVLogger(folder, name="", version=""),
        callbacks=[ModelCheckpoint(folder, filename="last", save_top_k=1, enable_version_counter=False)],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    last = folder / "last.ckpt"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning")
        loader = DataLoader(Lessons(stages), sampler=schedule, batch_size=None)
        trainer.fit(module, loader, ckpt_path=str(last) if last.exists() else None)
    module.network.eval()
    return module.network
