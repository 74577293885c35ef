"""Findings put into a document: the verdict first, then what it rests on."""

from __future__ import annotations

from benchmarks.report.charts import curve, distances
from benchmarks.report.document import Block, Bullets, Document, DocumentTable, Drawn, Pictures, Section, Text
from benchmarks.report.findings import Findings, Loss
from benchmarks.report.numbers import counted, duration, percent, points, size
from benchmarks.report.verdict import verdict
from benchmarks.report.ways import SWITCH
from compat.decision.calendar import Alternative


def document(f: Findings) -> Document:
    """The report."""
    said = verdict(f)
    sections = [
        *([Section("warnings", "Warnings", "Warnings", [Bullets(f.warnings, "warn")])] if f.warnings else []),
        Section("alternatives", "Alternatives", "What else one could do, and what it costs", alternatives(f)),
        *([Section("losers", "Who loses", "Who loses on the way", losers(f))] if f.lost is not None else []),
        Section("ways", "Ways", "Every way that was tried", ways(f)),
        *([Section("own", "Own pairs", "What the gallery's own pairs teach", own(f))] if f.own else []),
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
        first.append(
            Text(f"Share of the new model's gain that is reached by {f.recommended.name}: {shares} of the backfill.")
        )
    return Document(f"Upgrade report: {f.name}", said.headline, said.tone, said.sentences, f.facts, first, sections)


def alternatives(f: Findings) -> list[Block]:
    """A table of what one can do."""
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
        text += f", of which the new model encodes {f.gallery.rate:g} in a second: {duration(hours)} in all."
    about = [
        "backfill: each item takes its new embedding in the place of the old one; users see the mixture meanwhile.",
        "wait and switch (blue/green): a second index is filled aside; users see the old system until it is complete.",
        "two encoders, ranks fused: both indexes are searched, and an item's score is the sum of 1 / (60 + its rank) "
        "in "
        "each (reciprocal rank fusion); the old encoder and index are needed for good.",
    ]
    shown = about if len(f.alternatives) > 3 else about[:2]
    return [Text(text), DocumentTable("Alternatives and what they cost", columns, rows), Bullets(shown)]


def _size(count: int, one: Alternative) -> str:
    return size(count) if count or one.kept else "-"  # a folder of results does not say how wide embeddings are


def losers(f: Findings) -> list[Block]:
    """The worst moments and who is worse off then."""
    assert f.lost is not None
    assert f.lowest is not None
    figure = "mAP" if f.labelled else "overlap"
    low, lost = f.lowest, f.lost
    below = f"{points(low.change)} against the old system" if low.change < 0 else "not below the old system"
    blocks: list[Block] = []
    if f.recommended.name != SWITCH:
        where = f"{percent(low.progress, 0)} of the backfill: {percent(low.value)}, {below}"
        blocks.append(Text(f"With {f.recommended.name}, {figure} is lowest at {where}."))
    when = "Once all is done" if lost.progress == 1 else f"At {percent(lost.progress, 0)} most is lost"
    text = f"{when}: {percent(lost.losing)} of the queries find less than with the old system"
    if f.labelled:
        text += f", and {percent(lost.flips)} had a correct first item and have none any more (negative flips)"
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
    """All that was tried, the best first."""
    figure = "mAP" if f.labelled else "overlap (proxy)"
    columns = [
        "way",
        f"{figure} on average over the backfill",
        "95 % interval",
        "encoder passes per query",
        "each item is written",
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
    return [Text(f.split), DocumentTable("Every way that was tried", columns, rows), Bullets(f.glossary)]


def own(f: Findings) -> list[Block]:
    """What own pairs teach."""
    text = (
        "Each item that is migrated has an old and a new embedding: a pair to learn from, without labels and without a "
        "training set. Against the plain merge of both models, in random order:"
    )
    return [Text(text), Bullets(f.own)]


def spaces(f: Findings) -> list[Block]:
    """Calibration."""
    assert f.calibration is not None
    c = f.calibration
    lines = [
        f"Of a pair that is not relevant, the old distance is below the new one with a probability of "
        f"{percent(c.old_below_new, 0)}; 50 % if distances mean the same. Far from that, a merge by distance prefers "
        "items "
        "of one model, whatever they are.",
    ]
    if c.old_alone == c.old_alone:
        lines += [
            "A wrong item stands before a right one with a probability of "
            f"{percent(c.old_alone)} within the old system and {percent(c.new_alone)} within the new one.",
            f"In the mixture it is {percent(c.old_before_found)} where the wrong one is not migrated and the right one "
            f"is, and {percent(c.new_before_found)} where it is the other way round.",
        ]
    return [Bullets(lines), Drawn(distances(f))]


def trust(f: Findings) -> list[Block]:
    """Limits."""
    lines = list(f.notes)
    if f.agreement is not None:
        a = f.agreement
        lines.append(
            f"This report from a half of the queries was compared with the other half, {a.splits} times: the verdict "
            "was "
            f"the same in {percent(a.verdict, 0)}, the same way was chosen in {percent(a.same_way, 0)}, and in "
            f"{percent(a.good_way, 0)} the chosen way was not surely behind the best one of the other half "
            f"({points(a.behind, sign=False)} behind on average)."
        )
    return [Bullets(lines)]
