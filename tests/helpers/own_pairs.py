"""A gallery whose two spaces are related, or are not, and replays that learn from it on the way."""

import torch
import torch.nn.functional as F

from compat import Embeddings
from compat.experience import OwnForward, learning_curve
from compat.methods import Upgrade
from compat.models import Precomputed
from compat.progress import backfill_order
from tests.helpers.pairs import normal, rotation

DIM, ITEMS, CLASSES = 8, 240, 6
PROGRESS = (0.0, 0.1, 0.25, 0.4, 0.7, 1.0)
REFIT = (0.4, 0.6)


def gallery(shared: bool, seed: int = 0) -> Embeddings:
    """Queries and items in classes: the old space sees them through noise, the new one clearly and rotated; or the two
    spaces have nothing to do with each other."""
    labels = torch.arange(ITEMS) % CLASSES
    centres = F.normalize(normal(CLASSES, DIM, seed=seed + 3), dim=1)
    hidden = F.normalize(centres[labels] + 0.25 * normal(ITEMS, DIM, seed=seed + 4), dim=1)
    old = F.normalize(hidden + 0.2 * normal(ITEMS, DIM, seed=seed + 5), dim=1)
    new = hidden @ rotation(DIM)
    if not shared:
        old, new = (F.normalize(normal(ITEMS, DIM, seed=seed + n), dim=1) for n in (6, 7))
    rows = torch.arange(ITEMS)
    return Embeddings(old, new, old, new, labels, labels, rows, rows)


def learner(kind=OwnForward, **options):
    return kind(Precomputed(DIM), Precomputed(DIM), **options)


def upgrade(kind=Upgrade):
    return kind(Precomputed(DIM), Precomputed(DIM))


def curve(e, kind=OwnForward, orders=1, base=None, progress=PROGRESS, refit=REFIT, **options):
    order = [backfill_order(len(e.gallery_old), seed) for seed in range(orders)]
    return learning_curve(e, base or upgrade(), learner(kind, **options), order, refit, progress)
