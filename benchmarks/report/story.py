"""Write the findings as a document: the verdict first, then the evidence."""

from __future__ import annotations

from math import isnan
from typing import NamedTuple

from benchmarks.report.charts import curve, distances
from benchmarks.report.document import Block, Bullets, Document, DocumentTable, Drawn, Pictures, Section, Text
from benchmarks.report.findings import Findings, Loss
from benchmarks.report.numbers import between, counted, duration, percent, points, rough, size
from benchmarks.report.ways import SWITCH
from compat.decision.calendar import Alternative
from compat.decision.gain import MOST
from compat.results.summaries import HEADLINE

MAP = "mAP (mean average precision) measures how high the relevant items rank: 100 % if all of them come first."


class Verdict(NamedTuple):
    """A headline, its tone, and sentences."""

    headline: str
    tone: str
    sentences: list[str]


def verdict(f: Findings) -> Verdict:
    """Decide for or against the upgrade, by which way, and give the reasons."""
    if not f.labelled:
        return _unlabelled(f)
    if f.decision is None:
        better = "better" if f.new > f.old else "no better"
        text = (
            f"mAP goes from {percent(f.old)} to {percent(f.new)}, but in one training, and without figures of each "
            "query, so its significance is unknown."
        )
        return Verdict(f"The new model looks {better}, but its significance is unknown", "warn", [text, *_way(f), MAP])
    judged = _decided(f)
    return judged._replace(sentences=[*judged.sentences, MAP])


def _decided(f: Findings) -> Verdict:
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
        text = f"The new model gains less than the required {least}: {change}."
        return Verdict("Do not upgrade: it brings next to nothing", "warn", [text])
    needed = "more than anybody has" if more >= MOST // 2 else f"about {rough(more)} more"
    if f.unit == "queries":
        text = f"With {counted(count)} queries the result is not significant: {change}, where {least} are required. "
        text += f"A decision needs {needed}, if the gain is as estimated."
        return Verdict(
            f"Not separable with this many queries: {needed} are needed", "warn", [text, *lower, *_should(f)]
        )
    text = f"With {count} trainings the result is not significant: {change}, where {least} are required."
    return Verdict("Not separable with this many trainings", "warn", [text, *_should(f)])


def _should(f: Findings) -> list[str]:
    """Recommend a way for an upgrade regardless of the verdict."""
    return [f"If you upgrade nevertheless: {sentence}" if n == 0 else sentence for n, sentence in enumerate(_way(f))]


def _way(f: Findings) -> list[str]:
    chosen = f.recommended
    if chosen.name == SWITCH:
        reason = "No way of serving a partly migrated gallery is significantly better than the old system alone."
        return [f"We recommend to wait and switch. {chosen.words} {reason}"]
    area = f"{percent(chosen.area.mean)} mAP on average over the backfill"
    interval = f"95 % interval {percent(chosen.area.low)} to {percent(chosen.area.high)}"
    half = next((share for at, share in f.reached if at == 0.5), None)
    halves = "" if isnan(chosen.chosen_by) else ", chosen on one half of the queries and measured on the other"
    waiting = f"against {percent(f.start)} while waiting with the old one"
    text = f"We recommend {chosen.name}{halves}: {area} ({interval}), {waiting}."
    if half is not None and f.new > f.old:
        text += f" Half way {percent(half, 0)} of the gain is reached."
    best = f.ways[0]
    reason = (
        "No measured way is better."
        if best.name == chosen.name
        else f"It is simpler than {best.name} ({percent(best.area.mean)}), which is hardly or not significantly better."
    )
    return [text, f"{chosen.words} {reason}"]


def _unlabelled(f: Findings) -> Verdict:
    chosen = f.recommended
    way = "wait and switch" if chosen.name == SWITCH else chosen.name
    return Verdict(
        "Not decided: without labels nobody can say which model is better",
        "warn",
        [
            "Labels of a few hundred queries, and of their relevant items, would decide. Without them the report "
            "measures how much changes, and how soon users see the new system's results (a proxy).",
            f"If you upgrade: with {way} users see on average {percent(chosen.area.mean)} of the new system's ten "
            f"items, against {percent(f.start)} while waiting with the old system. {chosen.words}",
        ],
    )


def document(f: Findings) -> Document:
    """Build the report."""
    said = verdict(f)
    sections = [
        *([Section("warnings", "Warnings", "Warnings", [Bullets(f.warnings, "warn")])] if f.warnings else []),
        Section("alternatives", "Alternatives", "Alternatives and their costs", alternatives(f)),
        *([Section("losers", "Who loses", "Who loses on the way", losers(f))] if f.lost is not None else []),
        Section("ways", "Ways", "All measured ways", ways(f)),
        *([Section("own", "Own pairs", "Learning from the gallery's own pairs", own(f))] if f.own else []),
        *(
            [Section("spaces", "Distances", "Do distances of the two models mean the same?", spaces(f))]
            if f.calibration
            else []
        ),
        *([Section("proxies", "Change", "How much will change", [Bullets(f.proxies)])] if f.proxies else []),
        Section("trust", "Trust", "How far to trust this report", trust(f)),
    ]
    first: list[Block] = [Drawn(curve(f)), *([Text(f.measured)] if f.measured else [])]
    if f.reached and f.new > f.old and f.labelled:
        shares = ", ".join(f"{percent(share, 0)} at {percent(at, 0)}" for at, share in f.reached)
        first.append(Text(f"Share of the new model's gain reached by {f.recommended.name}: {shares} of the backfill."))
    return Document(f"Upgrade report: {f.name}", said.headline, said.tone, said.sentences, f.facts, first, sections)


def alternatives(f: Findings) -> list[Block]:
    """Tabulate the alternatives."""
    figure = "mAP" if f.labelled else "overlap (proxy)"
    hours = f.gallery.hours
    columns = [
        "alternative", f"{figure} meanwhile", f"{figure} at the end", "encoder passes for the gallery",
        "for a query, meanwhile", "for a query, at the end", "bytes written", "bytes kept at the most", "done after",
    ]  # fmt: skip
    rows = []
    for one in f.alternatives:
        done = "never" if one.gallery_passes == 0 else "as long as encoding takes" if hours is None else duration(hours)
        rows.append(
            [
                one.name, percent(one.meanwhile), percent(one.end), counted(one.gallery_passes), str(one.query_passes),
                str(one.end_passes), _size(one.written, one), _size(one.kept, one), done,
            ]
        )  # fmt: skip
    text = f"For a gallery of {counted(f.gallery.items)} items"
    if hours is None:
        text += ". With --items-per-second N the curve and this table are in hours."
    else:
        text += f", with {f.gallery.rate:g} encoded per second by the new model: {duration(hours)} in all."
    about = [
        "backfill: each item's new embedding replaces the old one; users see the mixture meanwhile.",
        "wait and switch (blue/green): a second index is filled aside; users see the old system until it is complete.",
        "two encoders, ranks fused: both indexes are searched, and an item's score is the sum of 1 / (60 + its rank) "
        "over both (reciprocal rank fusion); the old encoder and index stay in use.",
    ]
    shown = about if len(f.alternatives) > 3 else about[:2]
    return [Text(text), DocumentTable("Alternatives and what they cost", columns, rows), Bullets(shown)]


def _size(count: int, one: Alternative) -> str:
    return size(count) if count or one.kept else "-"  # a folder of results does not say how wide embeddings are


def losers(f: Findings) -> list[Block]:
    """Describe the worst moments and who is worse off then."""
    assert f.lost is not None
    assert f.lowest is not None
    figure = "mAP" if f.labelled else "overlap"
    low, lost = f.lowest, f.lost
    below = f"{points(low.change)} against the old system" if low.change < 0 else "not below the old system"
    blocks: list[Block] = []
    if f.recommended.name != SWITCH:
        where = f"{percent(low.progress, 0)} of the backfill: {percent(low.value)}, {below}"
        blocks.append(Text(f"With {f.recommended.name}, {figure} is lowest at {where}."))
    when = "At the end" if lost.progress == 1 else f"At {percent(lost.progress, 0)} most is lost"
    text = f"{when}: {percent(lost.losing)} of the queries find less than with the old system"
    if f.labelled:
        text += f", and {percent(lost.flips)} lose their correct first item (negative flips)"
    blocks.append(Text(f"{text}, while {figure} as a whole has changed by {points(lost.change)}."))
    for label, found in (("classes", f.classes), ("queries", f.queries)):
        if found:
            blocks.append(_fallen(f, label, found))
            if any(loss.images for loss in found):
                blocks.append(Pictures(f"The {label} that fall most", [(loss.name, loss.images) for loss in found]))
    if not f.classes and not f.queries:
        blocks.append(Text("No query falls."))
    return blocks


def _fallen(f: Findings, label: str, found: list[Loss]) -> DocumentTable:
    assert f.lost is not None
    figure = "AP" if f.labelled else "overlap"
    columns = [
        f"the {label} that fall most",
        f"{figure} by the old system",
        f"at {percent(f.lost.progress, 0)}",
        "at the end",
        "recovers",
    ]
    columns += ["queries"] if label == "classes" else []
    rows = [
        [
            loss.name, percent(loss.fall.before), percent(loss.fall.worst), percent(loss.fall.end),
            "yes" if loss.fall.recovers else "no", *([counted(loss.fall.queries)] if label == "classes" else []),
        ]
        for loss in found
    ]  # fmt: skip
    return DocumentTable(f"The {label} that fall most", columns, rows)


def ways(f: Findings) -> list[Block]:
    """Tabulate all measured ways, the best first."""
    figure = "mAP" if f.labelled else "overlap (proxy)"
    columns = [
        "way",
        f"{figure} on average over the backfill",
        "95 % interval",
        "encoder passes per query",
        "writes per item",
    ]
    rows = []
    for place, way in enumerate(f.ways):
        mark = " (recommended)" if place == f.chosen else ""
        rows.append(
            [
                f"{way.name}{mark}", percent(way.area.mean), f"{percent(way.area.low)} to {percent(way.area.high)}",
                str(way.passes), f"{1 + way.rewritten:.1f} times",
            ]
        )  # fmt: skip
    return [Text(f.split), DocumentTable("All measured ways", columns, rows), *others(f), Bullets(f.glossary)]


def others(f: Findings) -> list[Block]:
    """Tabulate both systems and the ways by mAP, nDCG@10 and R@1, and beside judgements by judged@10."""
    known = {name for row in f.others for name in row.figures}
    shown = {name: label for name, label in (HEADLINE | {"judged_10": "judged@10"}).items() if name in known}
    if len(shown) < 2:
        return []
    rows = [
        [row.name, *(percent(row.figures[name]) if name in row.figures else "-" for name in shown)] for row in f.others
    ]
    about = "By other figures, over all queries; those of a way are means over the backfill."
    return [Text(about), DocumentTable("Both systems and all ways by other figures", ["", *shown.values()], rows)]


def own(f: Findings) -> list[Block]:
    """Describe the gain from own pairs."""
    text = (
        "Each migrated item has an old and a new embedding: a training pair, without labels and without a training "
        "set. Compared with the plain merge of both models, in random order:"
    )
    return [Text(text), Bullets(f.own)]


def spaces(f: Findings) -> list[Block]:
    """Describe the calibration."""
    assert f.calibration is not None
    c = f.calibration
    lines = [
        "For irrelevant pairs, the old distance is below the new one with a probability of "
        f"{percent(c.old_below_new, 0)}; 50 % if distances mean the same. Far from it, a merge by distance prefers "
        "one model's items, whatever they are.",
    ]
    if c.old_alone == c.old_alone:
        lines += [
            f"An irrelevant item ranks before a relevant one with a probability of {percent(c.old_alone)} within the "
            f"old system and {percent(c.new_alone)} within the new one.",
            f"In the mixture it is {percent(c.old_before_found)} for an unmigrated irrelevant and a migrated relevant "
            f"item, and {percent(c.new_before_found)} the other way round.",
        ]
    return [Bullets(lines), Drawn(distances(f))]


def trust(f: Findings) -> list[Block]:
    """List the limits."""
    lines = list(f.notes)
    if f.agreement is not None:
        a = f.agreement
        lines.append(
            f"In {a.splits} random splits this report from half of the queries was compared with the other half: the "
            f"verdict was the same in {percent(a.verdict, 0)}, the way in {percent(a.same_way, 0)}, and in "
            f"{percent(a.good_way, 0)} the chosen way was not significantly behind the other half's best one "
            f"({points(a.behind, sign=False)} behind on average)."
        )
    return [Bullets(lines)]
