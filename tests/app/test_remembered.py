"""A check that costs something is not made again at once."""

import pytest

from app.edge.remembered import REMEMBERED_S, RememberedCheck
from storage.errors import StorageUnavailable


class Store:
    """Counts how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self.problem: StorageUnavailable | None = None
        self.now_s = 100.0

    def check(self) -> None:
        self.asked += 1
        if self.problem is not None:
            raise self.problem


def test_an_outcome_holds_for_a_while() -> None:
    store = Store()
    check = RememberedCheck(store.check, lambda: store.now_s)

    for _ in range(5):
        check()
    store.problem = StorageUnavailable("full")
    check()

    assert store.asked == 1
    store.now_s += REMEMBERED_S
    for _ in range(3):
        with pytest.raises(StorageUnavailable, match="full"):
            check()
    assert store.asked == 2
    store.problem = None
    store.now_s += REMEMBERED_S
    check()
    assert store.asked == 3
