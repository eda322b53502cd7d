"""Charts drawn on the server: an SVG, and the same figures as a table beside it.

``bars`` compares a few things by length, ``columns`` several series over a few periods, ``line`` a
course over many, ``donut`` the parts of a whole. Each gives a ``Chart`` for the macro ``chart`` of
``components.html``. Colours come from the tokens by tone, ``a`` to ``f``; nothing is said by colour
alone: the figures stand at the marks or in the table. From right to left the drawing is mirrored.

    drawn = charts.bars(call.to, call.say("Visits by zone"), (call.say("Zone"), call.say("Visits")),
                        [("Satta", 41), ("Vialba", 17)])
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup

from web import formats
from web.translations import Translator

TONES = "abcdef"
WIDTH = 380
"""Units of every drawing's width; it is shown as wide as its place."""

Shown = Callable[[int], str]


@dataclass(frozen=True)
class Chart:
    """A drawing, the table that says the same, and a legend of (name, tone) where one is needed."""

    title: str
    svg: Markup
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    legend: list[tuple[str, str]] = field(default_factory=list)


def bars(
    to: Translator,
    title: str,
    head: tuple[str, str],
    rows: Sequence[tuple[str, int]],
    *,
    shown: Shown | None = None,
) -> Chart:
    """One bar for each row, its name above and its figure at its end; not below zero."""
    say = shown or _number(to)
    draw = _Drawing(to, 52 * len(rows) or 1)
    most = max((value for _, value in rows), default=0) or 1
    for at, (name, value) in enumerate(rows):
        top = 52 * at
        length = max(2.0, 310 * max(value, 0) / most)
        draw.text(0, top + 14, name, "start")
        draw.rect(0, top + 22, length, 16, "tone-a", radius=5)
        draw.text(length + 8, top + 36, say(value), "start", "value")
    return Chart(title, draw.svg(), head, [(name, say(value)) for name, value in rows])


def columns(
    to: Translator,
    title: str,
    head: Sequence[str],
    labels: Sequence[str],
    series: Mapping[str, Sequence[int]],
    *,
    shown: Shown | None = None,
) -> Chart:
    """Upright bars side by side for each label; ``head`` names the labels' column."""
    say = shown or _number(to)
    draw = _Drawing(to, 260)
    most = _round_up(max((v for values in series.values() for v in values), default=0))
    left = _grid(draw, most, say)
    step = (WIDTH - left) / max(len(labels), 1)
    wide = min(34.0, step * 0.76 / max(len(series), 1))
    for at, label in enumerate(labels):
        middle = left + step * (at + 0.5)
        first = middle - wide * len(series) / 2
        for nth, values in enumerate(series.values()):
            high = 200 * max(values[at], 0) / most
            draw.rect(
                first + wide * nth, 220 - high, wide - 2, high, f"tone-{_tone(nth)}", radius=4
            )
        draw.text(middle, 242, label, "middle")
    return Chart(title, draw.svg(), *_table(head, labels, series, say))


def line(
    to: Translator,
    title: str,
    head: Sequence[str],
    labels: Sequence[str],
    series: Mapping[str, Sequence[int]],
    *,
    shown: Shown | None = None,
) -> Chart:
    """A course over time, from the first label to the last; at most six labels are written. The
    table begins with the last: one looks for it, and the table may be higher than the chart."""
    say = shown or _number(to)
    draw = _Drawing(to, 260)
    most = _round_up(max((v for values in series.values() for v in values), default=0))
    left = _grid(draw, most, say) + 14
    step = (WIDTH - left - 18) / max(len(labels) - 1, 1)
    for nth, values in enumerate(series.values()):
        points = [(left + step * at, 220 - 200 * max(v, 0) / most) for at, v in enumerate(values)]
        draw.path(points, f"tone-{_tone(nth)}")
    every = math.ceil(len(labels) / 6) or 1
    for at in range(0, len(labels), every):
        draw.text(left + step * at, 242, labels[at], "middle")
    titles, rows, legend = _table(head, labels, series, say)
    return Chart(title, draw.svg(), titles, rows[::-1], legend)


def donut(
    to: Translator,
    title: str,
    head: tuple[str, str],
    rows: Sequence[tuple[str, int]],
    *,
    shown: Shown | None = None,
) -> Chart:
    """Parts of a whole, at most six; the sum stands in the middle."""
    say = shown or _number(to)
    whole = sum(max(value, 0) for _, value in rows)
    draw = _Drawing(to, 220, width=220)
    around = 2 * math.pi * 80
    draw.ring(around, 0, "tone-none")
    begun = 0.0
    for nth, (_, value) in enumerate(rows):
        part = around * max(value, 0) / whole if whole else 0.0
        draw.ring(max(part - 2, 0), begun, f"tone-{_tone(nth)}")
        begun += part
    draw.text(110, 119, say(whole), "middle", "value sum")
    legend = [(name, _tone(nth)) for nth, (name, _) in enumerate(rows)]
    return Chart(title, draw.svg(), head, [(name, say(value)) for name, value in rows], legend)


class _Drawing:
    """Marks in units of ``WIDTH``; from right to left each is put where its mirror is."""

    def __init__(self, to: Translator, height: int, width: int = WIDTH) -> None:
        self._mirrored = to.direction == "rtl"
        self._width = width
        self._height = height
        self._marks: list[Markup] = []

    def rect(
        self, x: float, y: float, width: float, height: float, kind: str, *, radius: int
    ) -> None:
        left = self._width - x - width if self._mirrored else x
        self._marks.append(
            Markup(
                '<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="{}"/>'
            ).format(kind, left, y, width, height, radius)
        )

    def rule(self, left: float, y: float, kind: str) -> None:
        first, last = (0.0, self._width - left) if self._mirrored else (left, float(self._width))
        self._marks.append(
            Markup('<path class="{}" d="M{:.1f} {:.1f}H{:.1f}"/>').format(kind, first, y, last)
        )

    def path(self, points: Sequence[tuple[float, float]], tone: str) -> None:
        placed = [(self._width - x if self._mirrored else x, y) for x, y in points]
        if not placed:
            return
        way = "L".join(f"{x:.1f} {y:.1f}" for x, y in placed)
        area = f"M{placed[0][0]:.1f} 220L{way}L{placed[-1][0]:.1f} 220Z"
        self._marks.append(Markup('<path class="{} area" d="{}"/>').format(tone, area))
        self._marks.append(Markup('<path class="{} line" d="M{}"/>').format(tone, way))
        for x, y in placed if len(placed) <= 31 else ():
            self._marks.append(
                Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="3.5"/>').format(tone, x, y)
            )

    def ring(self, length: float, begun: float, tone: str) -> None:
        turn = "translate(220 0) scale(-1 1) " if self._mirrored else ""
        self._marks.append(
            Markup(
                '<circle class="{} ring" cx="110" cy="110" r="80" '
                'transform="{}rotate(-90 110 110)" '
                'stroke-dasharray="{:.2f} 999" stroke-dashoffset="{:.2f}"/>'
            ).format(tone, turn, length, -begun)
        )

    def text(self, x: float, y: float, said: str, anchor: str, kind: str = "") -> None:
        if self._mirrored:
            x = self._width - x
            anchor = {"start": "end", "end": "start"}.get(anchor, anchor)
        self._marks.append(
            Markup('<text{} x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
                Markup(' class="{}"').format(kind) if kind else "",
                x,
                y,
                anchor,
                said,
            )
        )

    def svg(self) -> Markup:
        return Markup(
            '<svg aria-hidden="true" direction="ltr" viewBox="0 0 {} {}"{}>{}</svg>'
        ).format(
            self._width,
            self._height,
            Markup(' class="round"') if self._width != WIDTH else "",
            Markup("").join(self._marks),
        )


def _grid(draw: _Drawing, most: int, say: Shown) -> float:
    """The scale, and how far from the edge the drawing begins: behind the longest figure."""
    figures = [say(most * part // 4) for part in range(5)]
    left = 16.0 + 9 * max(map(len, figures))
    for part, figure in enumerate(figures):
        y = 220 - 50 * part
        draw.rule(left, y, "axis" if part == 0 else "grid")
        draw.text(left - 8, y + 5, figure, "end")
    return left


def _table(
    head: Sequence[str], labels: Sequence[str], series: Mapping[str, Sequence[int]], say: Shown
) -> tuple[tuple[str, ...], list[tuple[str, ...]], list[tuple[str, str]]]:
    rows = [
        (label, *(say(values[at]) for values in series.values())) for at, label in enumerate(labels)
    ]
    legend = [(name, _tone(nth)) for nth, name in enumerate(series)] if len(series) > 1 else []
    return (*head, *series), rows, legend


def _round_up(most: int) -> int:
    """The top of a scale whose quarters are whole: 4, 8, 12, 20, 40, 80, 120, 200…"""
    if most <= 4:
        return 4
    unit = int(f"1{'0' * (len(str(most)) - 1)}")
    for times in (1, 2, 3, 4, 5, 6, 8, 10, 12, 20):
        top = unit * times
        if top >= most and top % 4 == 0:
            return top
    return unit * 20


def _tone(nth: int) -> str:
    return TONES[nth % len(TONES)]


def _number(to: Translator) -> Shown:
    return lambda value: formats.number(to, value)
