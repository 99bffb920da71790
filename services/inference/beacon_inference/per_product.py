"""Objects that are made of a product, while the product that answers may change with the model in service."""

from collections.abc import Callable
from typing import Generic, TypeVar

from beacon_core.domain.product import Product

T = TypeVar("T")


class PerProduct(Generic[T]):
    """The object that `make` makes of a product: made once, and again when it is asked for another product."""

    def __init__(self, make: Callable[[Product], T]) -> None:
        self._make = make
        self._made: tuple[Product, T] | None = None

    def __call__(self, product: Product) -> T:
        """The object of `product`."""
        made = self._made
        if made is None or made[0] is not product:
            made = self._made = product, self._make(product)
        return made[1]
