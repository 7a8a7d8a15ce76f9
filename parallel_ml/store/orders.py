"""Orders: how another process asks the supervisor for something, by dropping a whole file into `orders/`."""

from __future__ import annotations

import contextlib
import json
import os
import time

from parallel_ml.core.codec import decode, encode
from parallel_ml.core.outcome import StrEnum
from parallel_ml.errors import StoreError
from parallel_ml.records import dataclass
from parallel_ml.store.files import make_dir, read_whole, store_errors, write_json
from parallel_ml.store.layout import RunLayout


class OrderKind(StrEnum):
    """What can be asked for."""

    STOP = "stop"
    PAUSE = "pause"
    RESUME = "resume"
    RETRY = "retry"


@dataclass(frozen=True)
class Order:
    """One request.

    Attributes:
        id: Unique, and in the order in which orders of one machine were given.
        job: The job's name; None is every job of the run.
        freeze: With PAUSE: hold it in memory.
        at_once: With STOP: kill without a grace.
    """

    id: str
    kind: OrderKind
    job: str | None = None
    freeze: bool = False
    at_once: bool = False


def new_order(kind: OrderKind, job: str | None = None, *, freeze: bool = False, at_once: bool = False) -> Order:
    """Return an order with an id of its own."""
    return Order(f"{time.time_ns():020d}-{os.urandom(3).hex()}", kind, job, freeze, at_once)


def drop_order(layout: RunLayout, order: Order) -> None:
    """Put an order where the supervisor looks; when this returns it survives a power loss.

    Raises:
        StoreError: It could not be written.
    """
    make_dir(layout.orders)
    write_json(layout.orders / f"{order.id}.json", encode(order))


def pending_orders(layout: RunLayout) -> list[Order]:
    """Return the orders that wait, oldest first. A file that is no order is left alone and passed over."""
    try:
        names = sorted(name for name in os.listdir(layout.orders) if name.endswith(".json") and name[0] != ".")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(layout.orders, "reading", error.strerror or str(error)) from error
    found = []
    for name in names:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
            order = decode(Order, json.loads(read_whole(layout.orders / name)))
            if f"{order.id}.json" == name and _is_whole(order):
                found.append(order)
    return found


def _is_whole(order: Order) -> bool:
    """Say whether every part is of its type: any program may have written the file."""
    flags = isinstance(order.freeze, bool) and isinstance(order.at_once, bool)
    return flags and (order.job is None or isinstance(order.job, str))


def file_order(layout: RunLayout, order_id: str) -> None:
    """Move an order that was carried out or refused to `orders/done`; one that is gone already is fine."""
    make_dir(layout.orders_done)
    name = f"{order_id}.json"
    with store_errors(layout.orders / name, "filing"), contextlib.suppress(FileNotFoundError):
        os.replace(layout.orders / name, layout.orders_done / name)
