"""The folder of a day, as other programs save its files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from vicinato import cli
from vicinato.day.rows import Input, InputError, ProducerLine, ProductLine
from vicinato.paths import deploy_folder
from vicinato.refusals import CommandError, Exit


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a centre and nothing in it."""
    made = tmp_path / "a day"
    made.mkdir()
    shutil.copy(deploy_folder().parent / "examples" / "quarto-oggiaro" / "centre.toml", made)
    return made


def test_a_file_that_is_no_utf_8_is_refused_before_anything_is_started(folder: Path) -> None:
    (folder / "producers.csv").write_text("producer,name\nf,Caffè\n", encoding="cp1252")
    with pytest.raises(CommandError, match=r"producers\.csv cannot be read as UTF-8") as refusal:
        cli.run(["day", str(folder)])
    assert refusal.value.code is Exit.SETTING


def test_a_file_that_is_no_csv_is_refused_with_its_line(folder: Path) -> None:
    (folder / "producers.csv").write_text('producer,name\nf,"Forno\n')
    with pytest.raises(InputError, match=r"producers\.csv:2: unexpected end of data"):
        Input.open(folder)


def test_a_line_break_in_a_cell_belongs_to_it(folder: Path) -> None:
    text = 'producer,name,fee_percent\r\nf,"Forno\r\nSatta",10\r\ng,Gelsi,10\r\n'
    (folder / "producers.csv").write_bytes(text.encode("utf-8-sig"))
    given = Input.open(folder)
    rows = given.read("producers.csv", ProducerLine)
    assert [(row.line, row.value.name) for row in rows] == [(3, "Forno\nSatta"), (4, "Gelsi")]
    assert given.wrong == []


@pytest.mark.parametrize("price", ["inf", "-inf", "nan", "1e999999", "1e5000", "a lot", "1.234"])
def test_a_row_with_a_price_that_cannot_be_is_noted_and_the_next_one_read(
    folder: Path, price: str
) -> None:
    (folder / "products.csv").write_text(f"product,name,price\na,A,{price}\nb,B,1.50\n")
    given = Input.open(folder)
    rows = given.read("products.csv", ProductLine)
    assert [row.value.price for row in rows] == [150]
    (wrong,) = given.wrong
    assert (wrong.file, wrong.line) == ("products.csv", 2)
    assert price in wrong.reason
