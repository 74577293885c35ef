"""The learning-rate schedule of every training here."""

from __future__ import annotations

from collections.abc import Iterable

from pytorch_lightning.cli import OptimizerCallable
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from compat.errors import InputError


def with_rate(
    optimizer: OptimizerCallable, parameters: Iterable[nn.Parameter], part: nn.Module, rate: float
) -> Optimizer:
    """Build an optimizer with another learning rate for a part of the parameters, such as a pretrained backbone's.

    Args:
        optimizer: from parameters to an optimizer.
        parameters: all of them.
        part: the module whose parameters among them learn at `rate` times the rate of the others.
        rate: 1 is one rate for all.
    """
    if rate == 1:
        return optimizer(parameters)
    everything, inside = list(parameters), set(part.parameters())
    built = optimizer([{"params": [p for p in everything if (p in inside) is its]} for its in (False, True)])
    built.param_groups[1]["lr"] *= rate
    return built


def warmup_cosine(optimizer: Optimizer, steps: int, warmup: float) -> OptimizerLRScheduler:
    """Warm up over the first share of the steps, then follow a cosine to zero.

    Args:
        optimizer: its learning rates are the peaks.
        steps: optimizer steps of the whole training.
        warmup: share of the steps, in (0, 1).

    Returns:
        The value of `LightningModule.configure_optimizers`.

    Raises:
        InputError: a share outside (0, 1).
    """
    if not 0 < warmup < 1:
        raise InputError(f"warmup: {warmup}, expected a share in (0, 1)")
    if round(warmup * steps, 9) == 1:  # OneCycleLR divides by the length of the first phase less one step
        warmup += 0.5 / steps
    peaks = [group["lr"] for group in optimizer.param_groups]
    schedule = OneCycleLR(optimizer, peaks, total_steps=steps, pct_start=warmup, cycle_momentum=False)
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
