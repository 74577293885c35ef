"""Train a policy by its recipe, once."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from safetensors.torch import load_file, save_file

from benchmarks.policies.lessons import School
from benchmarks.policies.recipes import PolicyRecipe
from compat.files import replace
from compat.policies import FEATURES, OVERALL
from compat.policies.collect import own_steps
from compat.policies.imitation import Imitation, WorldFirst, fit
from compat.policies.networks import SetNetwork, build
from compat.policies.reinforcement import reinforce
from compat.policies.samples import some_episodes
from compat.policies.self_reflection import SelfReflection


def network_of(recipe: PolicyRecipe, school: School) -> SetNetwork:
    """Return the trained network: from its file, or trained now, after its start."""
    folder = school.folder / recipe.name
    path, network = folder / "network.safetensors", build_untrained(recipe, school)
    if path.exists():
        network.load_state_dict(load_file(path))
        return network.eval()
    folder.mkdir(parents=True, exist_ok=True)
    learned = (train_by_reinforcement if recipe.method.startswith("rl_") else train_by_imitation)(
        recipe, school, network, folder
    )
    replace(path, lambda file: save_file(learned.state_dict(), file))
    (folder / "last.ckpt").unlink(missing_ok=True)  # it was there to be resumed
    return learned


def build_untrained(recipe: PolicyRecipe, school: School) -> SetNetwork:
    """Build the network of the recipe's seed.

    All of the expert's training episodes standardise observations, even if only a share or none is imitated.
    """
    network = build(recipe.family, len(FEATURES), len(OVERALL), recipe.seed)
    seen = school.demonstrations(recipe.fold)
    network.standardise(seen.groups, seen.overall)
    return network


def train_by_imitation(recipe: PolicyRecipe, school: School, network: SetNetwork, folder: Path) -> SetNetwork:
    """Train by supervision, with the same number of updates for each method."""
    training = school.settings.training
    shown = some_episodes(school.demonstrations(recipe.fold), recipe.share, recipe.seed)
    train = partial(fit, folder=folder, batch=training.batch, seed=recipe.seed)
    if recipe.method == "il":
        return train(Imitation(network), [shown], [training.updates])
    if recipe.method == "iwm":
        own, first = own_steps(shown, recipe.alternatives), round(training.world * training.updates)
        return train(WorldFirst(network, own), [own, shown], [first, training.updates - first])
    return train(SelfReflection(network, shown, recipe.alternatives), [shown], [training.updates])


def train_by_reinforcement(recipe: PolicyRecipe, school: School, network: SetNetwork, folder: Path) -> SetNetwork:
    """Train by the rewards of the training environments."""
    start = recipe.start(school.settings)
    begun = network if start is None else network_of(start, school)
    makers = [partial(school.environment, place) for place in school.places(recipe.fold)]
    return reinforce(begun, makers, school.settings.reinforcement.steps, recipe.seed)
