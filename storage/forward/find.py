"""Searches at the upstream: what it does right is forwarded, the rest is done here."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from schema.resource_type import AttributePath, ResourceType
from scim_filter.evaluate import compile_predicate
from scim_filter.nodes import BoundComparison, Node, filter_paths
from scim_filter.plan import Plan, listed, parts_of
from storage.adapter import Found, Selection, StoredResource
from storage.errors import ValueRefused
from storage.forward.abilities import Abilities, Known
from storage.forward.asking import NotHonoured, Question, is_about_links
from storage.forward.filter import ForwardFilterCompiler
from storage.forward.listing import Listing, Part
from storage.forward.places import PageCutter, is_current, placed, placed_by_age
from storage.search import mentions_links, sort_key


class Search:
    """Searches one resource type. Answers of the upstream are checked as far as they can be."""

    def __init__(self, resource_type: ResourceType, listing: Listing, known: Known) -> None:
        self._type = resource_type
        self._listing = listing
        self._known = known

    def scan(self) -> Iterator[StoredResource]:
        """Yield every resource in the order of the upstream."""
        for index, one in enumerate(self._listing.walk(Question())):
            yield placed(one.stored, index)

    def candidates(self, selection: Selection) -> Found:
        """Return what may be selected (`StorageAdapter.candidates`), the page where the upstream can."""
        return replace(self._candidates(selection), explain=partial(self._explain, selection.filter))

    def _explain(self, node: Node | None) -> Plan:
        abilities = self._known()
        if not abilities.filter or not abilities.can("filter"):
            return Plan(listed(node, "the upstream takes no filter"))
        return Plan(parts_of(ForwardFilterCompiler(self._type, abilities), node))

    def _candidates(self, selection: Selection) -> Found:
        while True:
            abilities = self._known()
            native, residual = self._split(selection.filter, abilities)
            question = Question(native, selection.sort)
            try:
                if residual is None and self._sorts(question, abilities):
                    return self._forwarded(question, selection)
                return self._unordered(Question(native), residual, selection)
            except NotHonoured as refusal:
                if not refusal.is_lasting:
                    return self._unordered(Question(), selection.filter, selection)
                for what in refusal.what:
                    abilities.refuse(what)

    def matching(self, node: Node, attributes: Sequence[str] = ()) -> Iterator[StoredResource] | None:
        """Yield what matches a filter, None when the upstream does not answer it.

        With `attributes`, resources have those and perhaps no others.
        """
        native, residual = self._split(node, self._known())
        if native is None or residual is not None:
            return None
        question = Question(native, attributes=tuple(attributes))
        return (one.stored for one in self._listing.walk(question))

    def _split(self, node: Node | None, abilities: Abilities) -> tuple[Node | None, Node | None]:
        id_path = self._type.path("id")
        if node is None or id_path is None or not self._applies(id_path, "filter", abilities):
            return None, node
        for path in filter_paths(node):
            if path.attribute in (self._type.members, self._type.memberships):
                by_id = AttributePath(path.attribute, path.attribute.sub_attribute("value"))
                self._applies(by_id, f"clause:{by_id.text} eq", abilities)
        return ForwardFilterCompiler(self._type, abilities).split(node)

    def _applies(self, path: AttributePath, what: str, abilities: Abilities) -> bool:
        """Return whether the upstream applies a filter by `path`: one that ignores it finds everything.

        Other answers are checked; those to a count and those about members cannot be.
        """
        if not abilities.filter or not abilities.can(what):
            return False
        mark = f"{self._type.name} {what}"
        if mark not in abilities.proved:
            nothing = str(uuid.uuid4())
            question = Question(BoundComparison(path, "eq", nothing, nothing), attributes=("id",))
            try:
                if self._listing.part(question, 0, 1)[1]:
                    abilities.refuse(what)
            except NotHonoured as refusal:
                for name in refusal.what:
                    abilities.refuse(name)
            abilities.proved.add(mark)
        return abilities.can(what)

    def _sorts(self, question: Question, abilities: Abilities) -> bool:
        if question.sort is None:
            return True
        path = question.sort.path
        if path.attribute in (self._type.members, self._type.memberships):
            return False
        if path.attribute.name == "meta" and path.leaf.name not in ("created", "lastModified"):
            return False
        return abilities.sort and abilities.can(f"sort:{path.text}")

    def _forwarded(self, question: Question, selection: Selection) -> Found:
        """Return the page as the upstream finds, sorts and cuts it."""

        def read(part: Part, start: int, count: int | None) -> tuple[list[StoredResource], int]:
            found, total = part(question, start, count)
            resources = [placed(one.stored, start + n) for n, one in enumerate(found)]
            self._check(question, resources, start, total)
            return resources, total

        def key(stored: StoredResource) -> str | None:
            return sort_key(question.sort.path, _judged(stored)) if question.sort is not None else None

        source, near = partial(read, self._listing.part), partial(read, self._listing.near)
        return PageCutter(source, key, selection, near).page()

    def _check(self, question: Question, found: list[StoredResource], start: int, total: int) -> None:
        """Raise NotHonoured when what was found does not match, or is not in order."""
        node, sort = question.filter, question.sort
        if node is not None and not is_about_links(self._type, node):
            matches = compile_predicate(node)
            if not all(matches(_judged(one)) for one in found):
                names = Question(node).names
                raise NotHonoured(names, len(names) == 1)
        if sort is None:
            return
        keys = [sort_key(sort.path, _judged(one)) for one in found]
        ranks = [(key is None, key or "") for key in keys]
        none_first = found and start == 0 and not sort.descending and len(found) < total
        if ranks != sorted(ranks, reverse=sort.descending) or (none_first and ranks[0][0]):
            raise NotHonoured(Question(None, sort).names)

    def _unordered(self, question: Question, residual: Node | None, selection: Selection) -> Found:
        """Return what the upstream finds, to be judged and sorted; it may have judged wrongly."""
        edges = selection.after, selection.before
        if any(at is not None and not is_current(at) for at in edges):
            raise ValueRefused("cursor: was made by version 0.2.0; start again")
        # Without the index, which changes when others come and go.
        found = (placed_by_age(one.stored, *edges) for one in self._listing.walk(question))
        judged = residual if mentions_links(self._type, selection) else selection.filter
        resources = sorted(found, key=lambda stored: stored.place)
        return Found(resources, judged, is_narrowed=question.filter is not None)


def _judged(stored: StoredResource) -> Mapping[str, Any]:
    """Return what the upstream judges a resource by, without its links to others."""
    return {**stored.document, "meta": {"created": stored.created, "lastModified": stored.last_modified}}
