"""Private keys at rest: a copy of the store gives nobody the keys."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from identity import sealing, store
from identity.commands import first, keys
from identity.sealing import Seal
from messaging.testing import Bench
from runtime import migrations
from runtime.settings import SettingsError
from runtime.store import Store

from .identity_house import SEAL, settings_of

OTHER = Seal(["another secret, of another house"])


def sealed(bench: Bench) -> dict[str, bytes]:
    rows = bench.read(lambda c: c.execute(sa.select(store.signing_key)).all())
    return {row.id: row.sealed for row in rows}


def put(bench: Bench, key_id: str, content: bytes) -> None:
    row = sa.update(store.signing_key).where(store.signing_key.c.id == key_id)
    bench.store.write_now(lambda c: c.execute(row.values(sealed=content)))


def restart(bench: Bench, folder: Path) -> None:
    bench.run(lambda tx: first.start(tx, settings_of(bench, folder)))


def raw_of(private: Ed25519PrivateKey) -> bytes:
    return private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())


def test_what_lies_in_the_store_opens_with_the_secret_alone(bench: Bench) -> None:
    ((key_id, closed),) = sealed(bench).items()
    private = bench.read(lambda c: keys.private_key(c, key_id))
    assert private is not None
    raw = raw_of(private)
    assert raw not in closed
    assert (SEAL.open(closed), OTHER.open(closed)) == (raw, None)
    if bench.store.dialect == "sqlite":
        name = Path(str(sa.make_url(bench.store.url).database))
        for file in name.parent.glob(f"{name.name}*"):
            assert raw not in file.read_bytes()


def test_keys_of_a_version_that_did_not_seal_are_sealed_at_the_start(
    bench: Bench, tmp_path: Path
) -> None:
    ((key_id, closed),) = sealed(bench).items()
    raw = SEAL.open(closed)
    assert raw is not None
    put(bench, key_id, raw)
    restart(bench, tmp_path)
    assert raw not in sealed(bench)[key_id]
    private = bench.read(lambda c: keys.private_key(c, key_id))
    assert private is not None
    assert raw_of(private) == raw


def test_a_key_that_the_secret_does_not_open_signs_no_more(bench: Bench, tmp_path: Path) -> None:
    ((key_id, closed),) = sealed(bench).items()
    raw = SEAL.open(closed)
    assert raw is not None
    put(bench, key_id, OTHER.close(raw))
    assert bench.read(lambda c: keys.private_key(c, key_id)) is None
    restart(bench, tmp_path)
    assert key_id not in sealed(bench)
    assert bench.run(lambda tx: keys.signer(tx)).key_id != key_id


def test_a_new_secret_above_the_old_one_seals_anew(bench: Bench, tmp_path: Path) -> None:
    settings = settings_of(bench, tmp_path)
    restart(bench, tmp_path)
    (before,) = sealed(bench).values()
    file = settings.identity_key_file
    assert file is not None
    old = file.read_text()
    file.write_text(f"a-new-secret-of-twenty-four\n{old}\n")
    bench.run(lambda tx: first.start(tx, settings))
    (after,) = sealed(bench).values()
    assert Seal([old]).open(after) is None
    assert Seal(["a-new-secret-of-twenty-four"]).open(after) == Seal([old]).open(before)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "cannot be read"), ("", "24 characters"), ("short", "24 characters")],
)
def test_a_secret_that_cannot_be_is_refused_by_the_settings_name(
    tmp_path: Path, content: str | None, sentence: str
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    with pytest.raises(SettingsError, match=f"{sealing.SETTING}: .*{sentence}"):
        sealing.read(file)


def test_a_start_without_a_secret_is_refused() -> None:
    with pytest.raises(SettingsError, match=f"{sealing.SETTING} is missing"):
        sealing.read(None)


def test_a_migration_keeps_raw_keys_and_takes_no_sealed_one_back(empty_url: str) -> None:
    """An older version could not read it: it makes a new one."""
    migrations.upgrade(empty_url, "identity", store.metadata, "0001")
    old = Store(empty_url)
    insert = sa.text(
        "INSERT INTO signing_key (id, private, not_before, signs_until) "
        "VALUES (:id, :private, '2026-11-16 09:00:00.000000', '2026-12-16 09:00:00.000000')"
    )
    raw = raw_of(Ed25519PrivateKey.generate())
    for key_id, content in (("raw", raw), ("sealed", SEAL.close(raw))):
        old.write_now(lambda c, i=key_id, p=content: c.execute(insert, {"id": i, "private": p}))
    migrations.upgrade(empty_url, "identity", store.metadata)
    assert old.read_now(lambda c: store.load_sealed(c, "raw")) == raw
    migrations.downgrade(empty_url, "identity", store.metadata, "0001")
    left = old.read_now(lambda c: c.execute(sa.text("SELECT id, private FROM signing_key")).all())
    assert [(row.id, bytes(row.private)) for row in left] == [("raw", raw)]
    old.close_now()
