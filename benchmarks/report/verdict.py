"""The verdict: a few words, and the sentences below them."""

from __future__ import annotations

from math import isnan
from typing import NamedTuple

from benchmarks.report.findings import Findings
from benchmarks.report.numbers import between, counted, percent, points, rough
from benchmarks.report.ways import SWITCH
from compat.decision.gain import MOST

MAP = (
    "mAP (mean average precision) says how high the relevant items stand in a result: 100 % if all of them come first."
)


class Verdict(NamedTuple):
    """In a few words, in what tone, and in sentences."""

    headline: str
    tone: str
    sentences: list[str]


def verdict(f: Findings) -> Verdict:
    """Upgrade or not, by which way, and why."""
    if not f.labelled:
        return _unlabelled(f)
    if f.decision is None:
        better = "better" if f.new > f.old else "no better"
        text = (
            f"mAP goes from {percent(f.old)} to {percent(f.new)}, but of one training, and without what each query "
            "finds, "
            "so that nothing says how sure that is."
        )
        return Verdict(f"The new model looks {better}; how surely is not known", "warn", [text, *_way(f), MAP])
    judged = _judged(f)
    return judged._replace(sentences=[*judged.sentences, MAP])


def _judged(f: Findings) -> Verdict:
    assert f.decision is not None
    outcome, gain, count, more = f.decision
    interval = f"95 % interval {between(gain.low, gain.high)}, {counted(count)} {f.unit}"
    change = f"from {percent(f.old)} to {percent(f.new)} mAP: {points(gain.mean)} ({interval})"
    least = points(f.least, sign=False)
    lower = [f.lower] if f.lower else []
    if outcome == "better":
        way = "wait and switch" if f.recommended.name == SWITCH else f"backfill with {f.recommended.name}"
        return Verdict(f"Upgrade: {way}", "good", [f"The new model is better, {change}.", *lower, *_way(f)])
    if outcome == "worse":
        text = f"The new model is worse, {change}. Staying with the old model is better."
        return Verdict("Do not upgrade: the new model is worse", "warn", [text])
    if outcome == "no better":
        text = f"The new model brings less than the {least} that would make it worth while: {change}."
        return Verdict("Do not upgrade: it brings next to nothing", "warn", [text])
    needed = "more than anybody has" if more >= MOST // 2 else f"about {rough(more)} more"
    if f.unit == "queries":
        text = f"With {counted(count)} queries one cannot tell: {change}, where {least} would be worth while. "
        text += f"To tell, {needed} are needed, if the gain is what it looks like."
        return Verdict(
            f"Not separable with this many queries: {needed} are needed", "warn", [text, *lower, *_should(f)]
        )
    text = f"With {count} trainings one cannot tell: {change}, where {least} would be worth while."
    return Verdict("Not separable with this many trainings", "warn", [text, *_should(f)])


def _should(f: Findings) -> list[str]:
    """What to do if one upgrades regardless."""
    return [
        f"Should you upgrade all the same: {sentence}" if n == 0 else sentence for n, sentence in enumerate(_way(f))
    ]


def _way(f: Findings) -> list[str]:
    chosen = f.recommended
    if chosen.name == SWITCH:
        reason = "No way of serving a half-migrated gallery is surely better meanwhile than the old system alone."
        return [f"Recommended is to wait and switch. {chosen.words} {reason}"]
    area = f"{percent(chosen.area.mean)} mAP on average over the backfill"
    interval = f"95 % interval {percent(chosen.area.low)} to {percent(chosen.area.high)}"
    half = next((share for at, share in f.reached if at == 0.5), None)
    halves = "" if isnan(chosen.chosen_by) else ", chosen on one half of the queries and measured on the other"
    waiting = f"against {percent(f.start)} while waiting with the old one"
    text = f"Recommended is {chosen.name}{halves}: {area} ({interval}), {waiting}."
    if half is not None and f.new > f.old:
        text += f" Half way {percent(half, 0)} of the gain is there."
    best = f.ways[0]
    reason = (
        "Of the ways that were tried none is better."
        if best.name == chosen.name
        else f"It asks for less than {best.name} ({percent(best.area.mean)}), which is not surely, or hardly, better."
    )
    return [text, f"{chosen.words} {reason}"]


def _unlabelled(f: Findings) -> Verdict:
    chosen = f.recommended
    way = "wait and switch" if chosen.name == SWITCH else chosen.name
    return Verdict(
        "Not decided: without labels nobody can say which model is better",
        "warn",
        [
            "Labels of some hundred queries, and of what is relevant to them, would tell. What can be told is how much "
            "changes, and how soon users see what the new system will show (a proxy).",
            f"Should you upgrade: with {way} users see on average {percent(chosen.area.mean)} of the ten items that "
            "the "
            f"new system will show, against {percent(f.start)} while waiting with the old system. {chosen.words}",
        ],
    )
