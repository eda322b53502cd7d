"""The clients' record, put together: of each operation what was asked and what the client knows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

FINAL = frozenset({"completed", "cancelled"})
STEPS = ("recorded", "requested", "accepted", "completed")
"""Of a referral, in order."""


@dataclass
class Op:
    """One operation of a client. `told` None: it does not know."""

    kind: str
    asked: dict[str, Any]
    told: bool | None = None
    answer: dict[str, Any] = field(default_factory=dict)

    @property
    def at(self) -> float:
        """When the client was answered (seconds); 0 when it was not."""
        return float(self.answer.get("at", 0.0))


@dataclass
class Told:
    """All operations, by kind and id."""

    ops: dict[str, dict[str, Op]] = field(default_factory=dict)
    ended: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Sales of which a client was told later how they ended, and when it was told."""
    registers: dict[str, list[Op]] = field(default_factory=dict)
    """Of each session, in the order in which they were asked."""

    def of(self, kind: str) -> dict[str, Op]:
        return self.ops.get(kind, {})


def read(lines: Iterable[dict[str, Any]]) -> Told:
    """What the lines of a record say."""
    told = Told()
    for line in lines:
        kind, op_id, step = line["kind"], line["op"], line["step"]
        if kind == "sale-ended":
            told.ended[op_id] = line["state"], float(line["at"])
            continue
        op = told.ops.setdefault(kind, {}).get(op_id)
        if step == "asked":
            op = told.ops[kind][op_id] = Op(kind, line)
            if kind == "register":
                told.registers.setdefault(line["session"], []).append(op)
        elif op is not None and step != "unknown":
            op.told = step == "told"
            op.answer = line
    return told


def end_told(told: Told, sale: str, op: Op) -> tuple[str, float]:
    """How a client knows a sale to have ended, and since when; "" when it waited at last."""
    state, at = told.ended.get(sale) or (str(op.answer.get("state", "")), op.at)
    return (state, at) if state in FINAL else ("", at)
