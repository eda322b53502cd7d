"""Pages that show a sale which waits for points are told when it moves."""

from __future__ import annotations

from messaging import Transaction
from solidarity_shop import store
from web import live
from web.call import Call
from web.roles import Role

KIND = "sale"


def tell_page(tx: Transaction, sale_id: str) -> None:
    """Once this is committed, whoever looks at the sale fetches it again."""
    tx.after_commit(lambda: live.publish(KIND, sale_id))


@live.channel("shop", KIND)
async def may_listen(call: Call, sale_id: str) -> bool:
    """Tills and coordinators of the sale's centre."""
    if not call.caller.has(Role.TILL, Role.COORDINATOR, Role.ADMINISTRATOR):
        return False
    row = await call.query(lambda connection: store.row_of(connection, store.sale, sale_id))
    return row is not None and call.centre in ("", row["centre_id"])
