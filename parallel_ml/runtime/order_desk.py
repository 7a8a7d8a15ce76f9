"""Orders as they come in: dropped as files by other processes, or submitted from within this one."""

from __future__ import annotations

from collections import deque
from typing import Any

from parallel_ml.errors import StoreError
from parallel_ml.store.layout import RunLayout
from parallel_ml.store.orders import Order, file_order, pending_orders


class OrderDesk:
    """Takes orders in, and files them once their answer is on disk."""

    def __init__(self, layout: RunLayout, log: Any) -> None:
        """Start with none."""
        self._layout, self._log = layout, log
        self._submitted: deque[Order] = deque()
        self._answered: list[str] = []

    @property
    def waiting(self) -> bool:
        """Whether something was submitted that has not been taken."""
        return bool(self._submitted)

    def submit(self, order: Order) -> None:
        """Take an order from within this process; may be called from any thread and from a signal handler."""
        self._submitted.append(order)

    def take(self) -> list[Order]:
        """Return the orders that wait, oldest first of each kind; all of them are taken for answered."""
        orders = []
        while self._submitted:
            orders.append(self._submitted.popleft())
        try:
            orders += pending_orders(self._layout)
        except StoreError as error:
            self._log.warning("orders cannot be read", error=str(error))
        self._answered += [order.id for order in orders]
        return orders

    def file(self) -> None:
        """Move the answered ones away; their answers must be on disk."""
        for order_id in self._answered:
            try:
                file_order(self._layout, order_id)
            except StoreError as error:
                self._log.warning("order stays", order=order_id, error=str(error))
        self._answered.clear()
