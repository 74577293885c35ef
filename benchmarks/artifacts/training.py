"""Lightning trainings with the same weights whenever they are killed and resumed."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger

from benchmarks.artifacts.artifact import checksum
from benchmarks.artifacts.store import SPENT, spent
from benchmarks.config.spec import Spec
from compat.data.training import epoch_seed
from compat.errors import InputError
from compat.files import replace

logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
SAVE_INTERVAL = 30.0  # seconds between two saves; shorter trainings start again instead


class EpochState(Checkpoint):
    """Make an epoch depend only on the seed, its number and the state before it, and save this state.

    The checksum is part of the file's name, which reveals a damaged state.

    Args:
        folder: of the saved states.
        seed: of the training.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.saved_at = time.monotonic()
        self.started = self.saved_at - spent(folder)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        pl.seed_everything(epoch_seed(self.seed, trainer.current_epoch, trainer.global_rank), verbose=False)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.strategy.broadcast(time.monotonic() - self.saved_at >= SAVE_INTERVAL):
            return
        unfinished = self.folder / "unfinished.ckpt"
        trainer.save_checkpoint(unfinished)
        self.saved_at = time.monotonic()
        if not trainer.is_global_zero:
            return
        replace(self.folder / SPENT, lambda path: path.write_text(str(self.saved_at - self.started)))
        state = self.folder / f"epoch-{trainer.current_epoch:05d}-{checksum(unfinished)}.ckpt"
        os.replace(unfinished, state)
        for older in set(self.folder.glob("epoch-*.ckpt")) - {state}:
            older.unlink()

    def newest(self) -> Path | None:
        """Return the last undamaged state."""
        for state in sorted(self.folder.glob("epoch-*.ckpt"), reverse=True):
            if checksum(state) == state.stem.rsplit("-", 1)[1]:
                return state
            warnings.warn(f"{state} is damaged (its checksum differs); it is not used", stacklevel=2)
            state.unlink(missing_ok=True)
        return None


def fit(
    module: pl.LightningModule, trainer: Spec, seed: int, folder: Path, data: pl.LightningDataModule
) -> pl.LightningModule:
    """Train `module`, from its last saved state if there is one, and delete that state at the end.

    Args:
        module: trained in place.
        trainer: the configured `Trainer`; its own callbacks and loggers are kept.
        seed: of the epochs' random numbers.
        folder: for logs (CSV and TensorBoard) and the saved state.
        data: yields the training batches.

    Raises:
        InputError: no LightningModule; no batch to train on.
    """
    if not isinstance(module, pl.LightningModule):
        raise InputError(f"methods: fit of a {type(module).__name__}, expected a LightningModule such as Learned")
    state = EpochState(folder, seed)
    runner: Any = build_trainer(
        trainer,
        default_root_dir=str(folder),
        enable_checkpointing=True,
        enable_model_summary=False,
        reload_dataloaders_every_n_epochs=1,
    )
    asked = trainer.init_args
    kept = [c for c in runner.callbacks if asked.get("callbacks") or not isinstance(c, Checkpoint)]
    runner.callbacks = [*kept, state]
    own = runner.loggers if asked.get("logger") else []
    runner.loggers = [*own, CSVLogger(folder, name="csv"), TensorBoardLogger(folder, name="tensorboard")]
    runner.fit(module, ckpt_path=state.newest(), weights_only=True, datamodule=data)
    if runner.global_step == 0:
        raise InputError(f"heads, data: no batch to train {type(module).__name__} on, expected one or more")
    if runner.is_global_zero:
        for leftover in folder.glob("*.ckpt"):
            leftover.unlink()
    return module.eval()


def build_trainer(spec: Spec, **arguments: Any) -> pl.Trainer:
    """Build the configured `Trainer` with these arguments, and one device by default.

    Without a terminal there are no progress bars, unless the config asks for them. The data modules divide the images
    among processes themselves, so Lightning does not.
    """
    devices = spec.init_args.get("devices", "auto")
    if "enable_progress_bar" not in spec.init_args and not sys.stderr.isatty():
        arguments.setdefault("enable_progress_bar", False)
    trainer: pl.Trainer = spec.having(
        **arguments, use_distributed_sampler=False, devices=1 if devices == "auto" else devices
    ).build(pl.Trainer)
    return trainer
