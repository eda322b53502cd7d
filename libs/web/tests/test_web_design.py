"""The design system: its colours can be read, its pages are light, each part is shown and told."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

import web
from contracts.identity import Role
from web import charts
from web.pages import STATIC, static
from web.testing import Client, token
from web.translations import LANGUAGES, Translations

TEMPLATES = STATIC.parent / "templates"
SHEETS = re.findall(r'"([a-z]+\.css)"', (TEMPLATES / "styles.html").read_text())
FONTS = STATIC / "fonts"

PAPERS = ("paper", "surface", "sunken")
INKS = ("ink", "quiet", "main", "link", "done", "told", "warned", "refused")
WASHES = ("main", "done", "told", "warned", "refused")


def tokens(block: str) -> dict[str, str]:
    """The colours of a block of tokens.css."""
    found = re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block)
    assert len(found) == len(dict(found)), "a colour stands twice"
    return dict(found)


def blocks() -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """The bright colours, the dark ones of the device, the dark ones of the switch."""
    text = (STATIC / "tokens.css").read_text()
    bright, device, switch = (
        re.search(head + r" \{(.*?)\}", text, re.S)
        for head in (
            r"\n:root",
            r":root:not\(\[data-theme=\"light\"\]\)",
            r":root\[data-theme=\"dark\"\]",
        )
    )
    assert bright
    assert device
    assert switch
    return tokens(bright[1]), tokens(device[1]), tokens(switch[1])


def contrast(one: str, other: str) -> float:
    """WCAG's contrast ratio of two colours."""

    def light(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((light(one), light(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_dark_colours_of_device_and_switch_are_the_same() -> None:
    bright, device, switch = blocks()
    assert device == switch
    assert set(bright) == set(device)


@pytest.mark.parametrize("scheme", [0, 1], ids=["bright", "dark"])
def test_every_text_is_read_on_every_paper(scheme: int) -> None:
    colours = blocks()[scheme]
    papers = [*PAPERS, *(f"{name}-paper" for name in WASHES)]
    faint = {
        (ink, paper): round(contrast(colours[ink], colours[paper]), 2)
        for ink in INKS
        for paper in papers
        if contrast(colours[ink], colours[paper]) < 4.5
    }
    faint |= {
        (f"on-{name}", name): round(contrast(colours[name], colours[f"on-{name}"]), 2)
        for name in WASHES
        if contrast(colours[name], colours[f"on-{name}"]) < 4.5
    }
    faint |= {
        (line, paper): round(contrast(colours[line], colours[paper]), 2)
        for line in ("edge", "focus")
        for paper in PAPERS
        if contrast(colours[line], colours[paper]) < 3
    }
    assert not faint


def test_sheets_name_colours_by_token_and_sides_by_direction() -> None:
    wrong = []
    for sheet in SHEETS:
        text = re.sub(r"/\*.*?\*/|url\([^)]*\)", "", (STATIC / sheet).read_text(), flags=re.S)
        if re.search(r"(margin|padding|border|inset)-(left|right)|[ ;{](left|right):", text):
            wrong.append(f"{sheet}: a side instead of a direction")
        used = set(re.findall(r"var\(--([a-z0-9-]+)\)", text))
        known = set()
        for other in SHEETS:
            known |= set(re.findall(r"--([a-z0-9-]+):", (STATIC / other).read_text()))
        wrong += [f"{sheet}: no token {name}" for name in used - known]
    assert not wrong


def test_letters_are_few_bytes_with_their_licence_beside() -> None:
    files = list(FONTS.glob("*.woff2"))
    assert sum(file.stat().st_size for file in files) <= 150_000
    named = re.findall(r'url\("fonts/([a-z-]+\.woff2)"\)', (STATIC / "type.css").read_text())
    assert sorted(named) == sorted(file.name for file in files)
    read_me = (FONTS / "README.md").read_text()
    for licence in FONTS.glob("OFL-*.txt"):
        assert "SIL Open Font License, Version 1.1" in licence.read_text()
        assert licence.stem.removeprefix("OFL-") in read_me


def test_what_is_asked_for_ahead_is_what_the_letters_are_named() -> None:
    """A preload of another address would be fetched twice."""
    ahead = re.findall(r'href="/static/(fonts/[^"]+)"', (TEMPLATES / "styles.html").read_text())
    text = (STATIC / "type.css").read_text()
    assert ahead
    assert all(f'url("{address}")' in text for address in ahead)


async def test_a_first_visit_is_light(client: Client) -> None:
    """100 kB compressed without letters; the design page is the longest there is."""
    page = await client.page("/sample/design")
    assets = re.findall(r"/static/([a-z.]+)\?v=", page.html)
    files = {name: (STATIC / name).read_bytes() for name in set(assets) if name != "fonts"}
    weight = sum(len(gzip.compress(content)) for content in files.values())
    assert {*SHEETS, "icons.svg", "live.js", "house.js"} <= set(files)
    assert weight + len(gzip.compress(page.html.encode())) <= 100_000
    assert weight <= 40_000


@pytest.mark.parametrize("language", LANGUAGES)
async def test_every_component_is_shown_in_every_language(client: Client, language: str) -> None:
    page = await client.page(f"/sample/design?lang={language}")
    assert page.language == language
    assert page.direction == ("rtl" if language == "ar" else "ltr")
    own = re.sub(r"<[^>]+>", "", page.html)
    assert "Every part of our pages" in own or language != "en"
    assert "Every part of our pages" not in own or language == "en"


def test_each_component_is_on_the_page_and_in_the_book() -> None:
    macros = set(re.findall(r"\{% set (\w+) =", (TEMPLATES / "components.html").read_text()))
    defined = {
        name
        for file in (TEMPLATES / "components").glob("*.html")
        for name in re.findall(r"\{% macro ([a-z]\w*)\(", file.read_text())
    }
    assert macros == defined
    design = (TEMPLATES / "design.html").read_text() + (TEMPLATES / "base.html").read_text()
    book = (Path(web.__file__).parents[2] / "README.md").read_text()
    called = {name: re.compile(rf"\b{name}\(") for name in macros}
    elsewhere = {"csrf_and_nonce", "seen", "pager", "mark"}
    assert {name for name, call in called.items() if not call.search(design)} <= elsewhere
    assert {name for name, call in called.items() if not call.search(book)} == {"mark"}


def test_every_icon_that_a_template_names_is_drawn() -> None:
    drawn = set(re.findall(r'<symbol id="([^"]+)"', (STATIC / "icons.svg").read_text()))
    root = Path(__file__).parents[3]
    wrong = []
    for file in root.glob("*/*/src/**/templates/**/*.html"):
        text = file.read_text()
        named = re.findall(r'\bicon\("([^"]+)"', text) + re.findall(r'\bsign="([^"]+)"', text)
        wrong += [f"{file.name}: {name}" for name in named if name not in drawn]
    assert not wrong


async def test_light_and_sounds_are_chosen_without_a_script(client: Client) -> None:
    client.sign_in(token(Role.TILL, centre="c1"))
    page = await client.page("/sample/design")
    assert "data-theme" not in page.html
    form = next(one for one in page.forms if "theme" in one.fields)
    answer = await form.send(theme="dark", next="/sample/design?toast=1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sample/design?toast=1")
    page = await client.page("/sample/design")
    assert '<html lang="en" dir="ltr" data-theme="dark">' in page.html
    assert '<meta name="color-scheme" content="dark">' in page.html
    form = next(one for one in page.forms if "sound" in one.fields)
    await form.send(sound="on")
    page = await client.page("/sample/design")
    assert 'data-theme="dark" data-sounds>' in page.html
    for choice in ({"theme": "device"}, {"sound": "off"}, {"theme": "purple"}):
        name = next(iter(choice))
        await next(one for one in page.forms if name in one.fields).send(**choice)
    page = await client.page("/sample/design")
    assert '<html lang="en" dir="ltr">' in page.html
    away = await form.send(sound="on", next="https://elsewhere.example/")
    assert away.headers["location"] == "/"


def test_another_content_has_another_address() -> None:
    address = static("tokens.css")
    assert re.fullmatch(r"/static/tokens\.css\?v=[0-9a-f]{12}", address)
    assert static("type.css").split("?")[1] != address.split("?")[1]


# -- charts --------------------------------------------------------------------------------------


ENGLISH = Translations("web").of("en")
ARABIC = Translations("web").of("ar")


def test_a_chart_says_in_its_table_what_it_draws() -> None:
    rows = [("Satta <b>", 41), ("Vialba", 1700)]
    drawn = charts.bars(ENGLISH, "Visits", ("Zone", "Visits"), rows)
    assert drawn.rows == [("Satta <b>", "41"), ("Vialba", "1,700")]
    assert "Satta &lt;b&gt;" in drawn.svg
    assert 'aria-hidden="true"' in drawn.svg


def test_several_series_have_a_legend_and_one_has_none() -> None:
    labels, present = ["1", "2"], [3, 4]
    one = charts.columns(ENGLISH, "", ["Week"], labels, {"Present": present})
    two = charts.line(ENGLISH, "", ["Week"], labels, {"Present": present, "Absent": [0, 1]})
    assert one.legend == []
    assert two.legend == [("Present", "a"), ("Absent", "b")]
    assert two.head == ("Week", "Present", "Absent")
    assert two.rows == [("2", "4", "1"), ("1", "3", "0")], "the newest first"


def test_a_drawing_is_mirrored_from_right_to_left() -> None:
    rows = [("a", 10)]
    straight = charts.bars(ENGLISH, "", ("", ""), rows).svg
    mirrored = charts.bars(ARABIC, "", ("", ""), rows).svg
    assert 'x="0.0" y="14.0" text-anchor="start"' in straight
    assert f'x="{charts.WIDTH}.0" y="14.0" text-anchor="end"' in mirrored


@pytest.mark.parametrize(
    ("most", "top"), [(0, 4), (4, 4), (5, 8), (9, 12), (21, 40), (41, 60), (99, 100), (1001, 2000)]
)
def test_a_scale_ends_above_the_greatest_in_whole_quarters(most: int, top: int) -> None:
    drawn = charts.columns(ENGLISH, "", [""], ["1"], {"": [most]})
    shown = [int(x.replace(",", "")) for x in re.findall(r'text-anchor="end">([\d,]+)<', drawn.svg)]
    assert (shown[-1], shown) == (top, [top * part // 4 for part in range(5)])


def test_nothing_at_all_can_be_drawn() -> None:
    for draw in (charts.bars, charts.donut):
        assert draw(ENGLISH, "", ("", ""), []).rows == []
    for course in (charts.columns, charts.line):
        assert course(ENGLISH, "", [""], [], {"x": []}).rows == []
    assert charts.donut(ENGLISH, "", ("", ""), [("a", 0)]).rows == [("a", "0")]
