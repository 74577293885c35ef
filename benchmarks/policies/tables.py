"""Format results of an experiment on policies as Markdown. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.policies.recipes import IMITATES, NAMES, Fold
from benchmarks.policies.summary import EXPERT, RANDOM, Name, Pairs, StudyResults, interval
from compat.curve import relative_gain
from compat.statistics import Interval

KINDS = {"without": "Data set held out", "within": "Same data set, other classes"}
ENOUGH, AIM, AIM_OF_REWARDS = 1.5, 0.3, 0.2  # points of area under the mAP curve, the stated aims
Table = Sequence[Sequence[str]]


def report(found: StudyResults) -> str:
    """Format all tables; tables without measurements are left out."""
    parts = [gate(found)]
    for kind in KINDS:
        some = [fold for fold in found.folds if fold.kind == kind and found.to_beat(fold)]
        if any(found.above_heuristic(fold, _named(found, fold, "il")) for fold in some):
            parts += [policies(found, some), comparisons(found, some), varied(found, some)]
    if found.content.get("together"):
        parts.append(together(found))
    if found.content.get("decisions"):
        parts.append(decisions(found))
    return "\n\n".join(filter(None, parts))


def gate(found: StudyResults) -> str:
    """Format the possible gain of an order, before any policy is trained."""
    rows, low = [], 0
    for data, setting in found.environments:
        if (room := found.headroom(data, setting)) is None:
            continue
        low += room.above.mean < ENOUGH
        areas = f"{room.random:.2f}", f"{room.area:.2f} ({room.best})", f"{room.expert:.2f}"
        rows.append([f"{data}, {setting}", f"{room.old:.2f} -> {room.new:.2f}", *areas, format_value(room.above)])
    heading = ["environment", "mAP (%)", "random", "best heuristic", "expert", "headroom"]
    text = (
        "Area under the mAP curve (%) by z-scored merge. The expert looks at labels; the heuristic is the best as it "
        f"turned out. The headroom is under {ENOUGH} points in {low} of {len(rows)} environments."
    )
    return f"{text}\n\n{markdown([heading, *rows])}" if rows else ""


def policies(found: StudyResults, some: Sequence[Fold]) -> str:
    """Format points above the heuristic chosen in the training environments."""
    rows = [[RANDOM, *_cells([found.above_heuristic(fold, lambda _: RANDOM) for fold in some]), ""]]
    rows.append([EXPERT, *_cells([found.above_heuristic(fold, lambda _: EXPERT) for fold in some]), ""])
    for family in found.settings.families:
        for method in NAMES:
            of_folds = [found.above_heuristic(fold, _named(found, fold, method, family)) for fold in some]
            if any(of_folds):
                rows.append([f"{NAMES[method]}, {family}", *_cells(of_folds), _reached(of_folds, AIM)])
    usual = [f"{fold.data}: {found.to_beat(fold)}" for fold in some]
    text = (
        f"{KINDS[some[0].kind]}: points of area under the mAP curve (%) above the heuristic that was best in the "
        f"training environments ({', '.join(usual)}). The aim is {AIM} with an interval above 0; intervals are over "
        f"trainings of the backbones. Policies: {_seeds(found)}."
    )
    return f"{text}\n\n{markdown([['policy', *_heads(some), 'reaches its aim'], *rows])}"


def comparisons(found: StudyResults, some: Sequence[Fold]) -> str:
    """Format the gain of early experience over imitation, and of rewards over their start."""
    rows = []
    for family in found.settings.families:
        for method in IMITATES[1:]:
            rows.append(_row(found, some, (method, "il", family), AIM))
        for method in NAMES:
            if method.startswith("rl_"):
                start = RANDOM if method == "rl_none" else method.removeprefix("rl_")
                rows.append(_row(found, some, (method, start, family), AIM_OF_REWARDS))
    kept = [row for row in rows if row]
    heading = ["difference", *_heads(some), "reaches its aim"]
    text = (
        f"{KINDS[some[0].kind]}: the difference of two policies in the same episodes, in the same points. The aim is "
        f"{AIM}, of rewards {AIM_OF_REWARDS}, with an interval above 0."
    )
    return f"{text}\n\n{markdown([heading, *kept])}"


def _row(found: StudyResults, some: Sequence[Fold], what: tuple[str, str, str], aim: float) -> list[str]:
    """Format a policy's method less another's, of one family; random has no family."""
    one, other, family = what
    of_folds = []
    for fold in some:
        start: Name = (lambda _: RANDOM) if other == RANDOM else _named(found, fold, other, family)
        of_folds.append(found.pairs(fold, _named(found, fold, one, family), start))
    if not any(of_folds):
        return []
    name = f"{NAMES[one]} - {NAMES.get(other, other)}, {family}"
    return [name, *_cells(of_folds), _reached(of_folds, aim)]


def _reached(of_folds: Sequence[Pairs], aim: float) -> str:
    """Count the folds with several trainings of the backbones, a mean at the aim and an interval above 0."""
    several = [pairs for pairs in of_folds if len({backbones for backbones, _ in pairs}) > 1]
    intervals = [over for over in (interval([pairs]) for pairs in several) if over]
    return f"{sum(over.mean >= aim and over.low > 0 for over in intervals)} of {len(intervals)}"


def varied(found: StudyResults, some: Sequence[Fold]) -> str:
    """Format results over the number of alternatives, and over the share of the demonstrations."""
    family, settings = found.settings.first_family, found.settings
    shown = [m for m in IMITATES if any(found.above_heuristic(fold, _named(found, fold, m, family)) for fold in some)]
    heads = [NAMES[method] for method in shown]
    rows = []
    for count in [0, *settings.curves.alternatives]:
        row = []
        for method in shown:
            pairs = []
            for fold in some:
                own = found.recipe(fold, family, method, count) if count else found.recipe(fold, family, "il")
                pairs.append(_first(found, found.above_heuristic(fold, own)))
            row.append(_cell(pairs) if (method == "il") == (count == 0) else "")
        rows.append([str(count), *row])
    first = markdown([["own alternatives", *heads], *rows])
    rows = []
    for share in settings.curves.shares:
        row = []
        for method in shown:
            names = [found.recipe(fold, family, method, None, share) for fold in some]
            each = zip(some, names, strict=True)
            row.append(_cell([_first(found, found.above_heuristic(fold, name)) for fold, name in each]))
        rows.append([f"{share:g}", *row])
    second = markdown([["share of demonstrations", *heads], *rows])
    text = f"{KINDS[some[0].kind]}: points above that heuristic, all data sets together ({family})."
    return f"{text}\n\n{first}\n\n{second}"


def _first(found: StudyResults, pairs: Pairs) -> Pairs:
    """Keep the varied seeds, so a row's policies are of the same seeds."""
    return {pair: value for pair, value in pairs.items() if pair[1] < found.settings.curves.seeds}


def together(found: StudyResults) -> str:
    """Format the gain of an order on top of a world model."""
    rows = []
    for data, setting in found.environments:
        places = [p for p in found.places if (p.data, p.setting) == (data, setting)]
        gains: dict[str, list[float]] = {}
        for place in places:
            for name, area in found.content["together"].get(place.name, {}).items():
                ends = found.content["ends"][place.name]
                gains.setdefault(name, []).append(100 * relative_gain(area, ends["old"], ends["new"]))
        if gains:
            means = [f"{np.mean(gains[name]):.1f}" for name in ("random", "heuristic", "il", EXPERT)]
            rows.append([f"{data}, {setting}", *means, str(len(gains[EXPERT]))])
    text = (
        "Relative gain (%) of `own_forward`, a world model of the pairs so far, in four orders: the heuristic that was "
        "best in the other data sets, imitation learned there, and the expert, whose gains are those of z-scored lists."
    )
    return f"{text}\n\n{markdown([['environment', 'random', 'heuristic', 'IL', 'expert', 'trainings'], *rows])}"


def _seeds(found: StudyResults) -> str:
    """Count the seeds of each kind."""
    settings = found.settings
    imitators = [f"{count} seeds of each imitator of {family}" for family, count in settings.families.items()]
    return ", ".join([*imitators, f"{settings.reinforcement.seeds} of each reinforced one"])


def decisions(found: StudyResults) -> str:
    """Format the time of a decision."""
    rows = []
    for place, by_family in found.content["decisions"].items():
        for family, took in by_family.items():
            both = took["choosing"] + took["seeing"]
            least = 100 * both / took["items"]
            times = [f"{1e3 * took[key]:.1f}" for key in ("choosing", "seeing")]
            rows.append([place, family, *times, f"{took['items']:.0f}", f"{1e3 * least:.1f}"])
    text = (
        "A decision: milliseconds to choose a group, and to see what the last one led to. It is under 1 % of embedding "
        "the group where an item takes longer than the last column says."
    )
    heading = ["gallery", "family", "choose (ms)", "see (ms)", "items in a group", "1 % from (ms an item)"]
    return f"{text}\n\n{markdown([heading, *rows])}"


def _named(found: StudyResults, fold: Fold, method: str, family: str | None = None) -> Name:
    return found.recipe(fold, family or found.settings.first_family, method)


def _heads(some: Sequence[Fold]) -> list[str]:
    return [*(fold.data for fold in some), *(["all"] if len(some) > 1 else [])]


def _cells(of_folds: Sequence[Pairs]) -> list[str]:
    """Return a cell for each fold, and for all if there are several."""
    return [*(_cell([pairs]) for pairs in of_folds), *([_cell(of_folds)] if len(of_folds) > 1 else [])]


def _cell(pairs: Sequence[Pairs]) -> str:
    over = interval(pairs)
    return format_value(over) if over else ""


def format_value(over: Interval) -> str:
    """Format a signed mean with the ends of its interval, if it has a width."""
    values = [0.0 if np.isclose(value, 0, atol=5e-3) else value for value in over]
    if over.low == over.high:
        return f"{values[0]:+.2f}"
    return f"{values[0]:+.2f} [{values[1]:+.2f}, {values[2]:+.2f}]"


def markdown(rows: Table) -> str:
    """Format a heading and rows."""
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
