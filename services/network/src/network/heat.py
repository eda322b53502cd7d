"""The table of needs as a picture: the darker, the more; hatched is hidden. Made on the server."""

from __future__ import annotations

from collections.abc import Callable

from markupsafe import Markup

from network.domain.words import AREAS
from network.models import NeedCounts

CELL, GAP, LEFT, TOP, RIGHT = 44, 4, 150, 110, 60
HATCH = Markup(
    '<defs><pattern id="hidden" width="6" height="6" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><line x1="0" y1="0" x2="0" y2="6" stroke="currentColor" '
    'stroke-width="2" stroke-opacity="0.4"/></pattern></defs>'
)


def heat_table(counts: NeedCounts, say: Callable[[str], str], *, mirrored: bool = False) -> Markup:
    """An SVG without any number that the table does not show; empty when there is nothing.
    ``mirrored`` is for readers from right to left."""
    shown = [value for row in counts.cells for value in row if value]
    if not counts.zones:
        return Markup("")
    most = max(shown, default=1)
    width = LEFT + len(counts.areas) * (CELL + GAP) + RIGHT
    height = TOP + len(counts.zones) * (CELL + GAP)

    def across(x: int) -> int:
        return width - x if mirrored else x

    parts = [
        Markup(
            '<svg class="heat" width="{}" viewBox="0 0 {} {}" direction="ltr" aria-hidden="true">'
        ).format(width, width, height),
        HATCH,
    ]
    for column, area in enumerate(counts.areas):
        x = across(LEFT + column * (CELL + GAP) + CELL // 2)
        label = say(AREAS.get(area, area))
        parts.append(
            _text(x, TOP - 8, label, "end" if mirrored else "start", 45 if mirrored else -45)
        )
    for number, (zone, row) in enumerate(zip(counts.zones, counts.cells, strict=True)):
        y = TOP + number * (CELL + GAP)
        anchor = "start" if mirrored else "end"
        parts.append(_text(across(LEFT - 8), y + CELL // 2 + 4, _short(zone), anchor))
        for column, value in enumerate(row):
            left = LEFT + column * (CELL + GAP)
            parts.append(_cell(across(left + CELL) if mirrored else left, y, value, most))
    parts.append(Markup("</svg>"))
    return Markup("").join(parts)


def _text(x: int, y: int, said: str, anchor: str, turned: int = 0) -> Markup:
    """A label at a point, turned around it by so many degrees."""
    turn = Markup(' transform="rotate({} {} {})"').format(turned, x, y) if turned else ""
    return Markup(
        '<text x="{}" y="{}"{} font-size="14" text-anchor="{}" fill="currentColor">{}</text>'
    ).format(x, y, turn, anchor, said)


def _cell(x: int, y: int, value: int | None, most: int) -> Markup:
    fill = "url(#hidden)" if value is None else "currentColor"
    opacity = "1" if value is None else f"{0.06 + 0.74 * value / most:.2f}"
    return Markup(
        '<rect x="{}" y="{}" width="{}" height="{}" rx="4" fill="{}" fill-opacity="{}"/>'
    ).format(x, y, CELL, CELL, fill, opacity)


def _short(zone: str) -> str:
    return zone if len(zone) <= 20 else zone[:19] + "…"
