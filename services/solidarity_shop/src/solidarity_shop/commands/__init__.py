"""What can be asked of the shop: plain functions over one transaction that never commit.

``centre`` is the caller's centre, "" for the whole foundation: what is of another centre does not
exist for the caller.
"""

from solidarity_shop.commands.baskets import (
    change_line,
    clear_basket,
    forget_card,
    scan,
    sell_basket,
)
from solidarity_shop.commands.catalogue import (
    NewProduct,
    ProductChange,
    change_product,
    create_product,
    product_changed_meanwhile,
    register_producer,
)
from solidarity_shop.commands.refunds import NewRefund, refund_sale
from solidarity_shop.commands.sales import NewSale, WantedLine, cancel_sale, sell
from solidarity_shop.commands.stock import move_stock
from solidarity_shop.commands.tills import close_day, open_till, set_point_value

__all__ = [
    "NewProduct",
    "NewRefund",
    "NewSale",
    "ProductChange",
    "WantedLine",
    "cancel_sale",
    "change_line",
    "change_product",
    "clear_basket",
    "close_day",
    "create_product",
    "forget_card",
    "move_stock",
    "open_till",
    "product_changed_meanwhile",
    "refund_sale",
    "register_producer",
    "scan",
    "sell",
    "sell_basket",
    "set_point_value",
]
