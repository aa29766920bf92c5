"""The contract of searching over random resources and selections, against evaluation.

SCIM_TEST_CASES is the number of cases (300), or the numbers of the first and the last as `17-17`;
SCIM_TEST_SEED, which resources and cases there are (1). A failure prints both.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from scim_filter import matches
from storage.adapter import Selection, StorageAdapter, StoredResource
from storage.search import position_of, search, sort_key
from storage.testing.generating import Generator
from storage.testing.model import Model
from storage.testing.resources import GROUP, USER
from storage.testing.selecting import Case, Selector


class DifferentialContract:
    """Every backend selects as evaluation does, in one order, page by page in both directions.

    A subclass names characters in `omitted` that the server of its tests, not its adapter, gets wrong.
    """

    omitted = ""

    def test_random_selections_are_those_of_evaluation(self, adapter: StorageAdapter) -> None:
        seed, numbers = os.environ.get("SCIM_TEST_SEED", "1"), _numbers()
        model = Model(adapter, seed, self.omitted)

        for number in numbers:
            case = self._case(model, seed, number)
            try:
                _check(adapter, model, case)
            except Exception as exc:
                exc.add_note(f"SCIM_TEST_SEED={seed} SCIM_TEST_CASES={number}-{number}: {case}")
                raise

    def _case(self, model: Model, seed: str, number: int) -> Case:
        """Return a case, which depends on the seed and its number only."""
        random = Random(f"{seed}/{number}")
        resource_type = USER if random.random() < 0.7 else GROUP
        generator = Generator(random, self.omitted)
        return Selector(generator, resource_type, model.written(resource_type)).case(number)


def _numbers() -> range:
    first, _, last = os.environ.get("SCIM_TEST_CASES", "300").rpartition("-")
    return range(int(first), int(last) + 1) if first else range(int(last))


def _check(adapter: StorageAdapter, model: Model, case: Case) -> None:
    expected = dict(_expected(model, case))
    ids, selection = list(expected), Selection(case.filter, case.sort)

    def selected(**edges: Any) -> Sequence[StoredResource]:
        page = search(adapter, case.resource_type, replace(selection, **edges), model.represent)
        assert page.total == len(ids), edges
        return page.resources

    whole = selected()
    assert _ids(whole) == ids
    part = selected(offset=case.offset, limit=case.limit)
    assert _ids(part) == ids[case.offset : case.offset + case.limit]
    # A walk is several questions to a backend that may be far away.
    for index in range(0, len(ids), case.step) if case.number % 3 == 0 else ():
        position = position_of(whole[index], case.sort, expected[ids[index]])
        after = selected(after=position, limit=case.step)
        assert _ids(after) == ids[index + 1 : index + 1 + case.step], f"after {ids[index]}"
        before = selected(before=position, limit=case.step)
        assert _ids(before) == ids[max(0, index - case.step) : index], f"before {ids[index]}"


def _ids(resources: Sequence[StoredResource]) -> list[str]:
    return [stored.id for stored in resources]


def _expected(model: Model, case: Case) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the ids and the representations of the whole answer, in its order."""
    node = case.filter
    every = model.resources[case.resource_type.name]
    found = [(one, shown) for one, shown in every if node is None or matches(node, shown)]
    sort = case.sort
    if sort is None:
        return found

    def order(entry: tuple[int, tuple[str, Mapping[str, Any]]]) -> tuple[bool, str, int]:
        key = sort_key(sort.path, entry[1][1])
        return key is None, key or "", entry[0]

    return [entry for _, entry in sorted(enumerate(found), key=order, reverse=sort.descending)]
