"""Reading and writing resources (RFC 7644 section 3): every caller, REST or other, comes through here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from app.protocol.audit_log import AuditLog
from app.protocol.authorization import Action, authorize, is_allowed
from app.protocol.commit import Commit
from app.protocol.context import Context
from app.protocol.decisions import Decisions, HashedAhead
from app.protocol.patch import IgnoredPaths, check_operations, named_ids
from app.protocol.preconditions import NO_CONDITIONS, Conditions
from app.protocol.profiles import profile_of
from app.protocol.references import Named
from app.protocol.representation import Text
from app.protocol.search import Answer, Query
from app.protocol.search_report import SearchReport
from app.protocol.secrets import take_secrets
from app.protocol.view import Views
from app.protocol.write import NewResource, NewState, Write
from schema.projection import Projection
from schema.registry import Registry
from schema.resource_type import ResourceType
from storage.adapter import Member, Selection, StoredResource
from storage.search import search

_ACTIONS: Final[Mapping[str, Action]] = {
    "POST": "create",
    "PUT": "replace",
    "PATCH": "patch",
    "DELETE": "delete",
}


class Resources:
    """The resources of every type, as the principal of a context may see and change them.

    Each method raises Refusal 403 where the principal may not do what it does.
    """

    def __init__(
        self,
        registry: Registry,
        views: Views,
        decisions: Decisions,
        commit: Commit,
        reads: AuditLog | None = None,
    ) -> None:
        self.registry = registry
        self.commit = commit
        self.ignored_paths = IgnoredPaths()
        # Returns the location of a resource as a context sees it, by the name of its type and its id.
        self.location = views.location
        self._views = views
        self._decisions = decisions
        # Returns a resource for a client as `get` does, after the change log has it where reads are logged.
        # Raises StorageUnavailable where that is not possible.
        self.read = self.get if reads is None else partial(self._logged, reads)

    # -- reading

    def sees_all(self, context: Context) -> bool:
        """Return whether nothing is hidden from a context."""
        return self._views.of(context).is_whole

    def may_read(self, context: Context, resource_type: ResourceType) -> bool:
        """Return whether the principal may read resources of a type."""
        return is_allowed(context, "read", resource_type)

    def get(self, context: Context, resource_type: ResourceType, resource_id: str) -> StoredResource:
        """Return a resource. Raises ResourceNotFound."""
        authorize(context, "read", resource_type)
        return self._views.of(context).storage.get(resource_type, resource_id)

    def _logged(
        self, reads: AuditLog, context: Context, resource_type: ResourceType, resource_id: str
    ) -> StoredResource:
        stored = self.get(context, resource_type, resource_id)
        reads.append(context, "read", (resource_type.name, stored.id))
        return stored

    def search(self, context: Context, resource_type: ResourceType, query: Query) -> Answer:
        """Return a page of the resources of one type. Raises as `Searcher.search`."""
        authorize(context, "read", resource_type)
        return self._views.of(context).searcher.search(resource_type, query, context.principal.id)

    def search_all(self, context: Context, query: Query) -> Answer:
        """Return a page of the resources of every type. Raises as `Searcher.search_all`."""
        for resource_type in self.registry.resource_types:
            authorize(context, "read", resource_type)
        return self._views.of(context).searcher.search_all(query, context.principal.id)

    def explain(self, context: Context, resource_type: ResourceType, query: Query) -> SearchReport:
        """Return how a page of the resources of one type is found. Raises as `Searcher.explain`."""
        authorize(context, "read", resource_type)
        return self._views.of(context).searcher.explain(resource_type, query)

    def scan(self, context: Context, resource_type: ResourceType) -> Iterator[StoredResource]:
        """Yield every resource of a type."""
        authorize(context, "read", resource_type)
        return self._views.of(context).storage.scan(resource_type)

    def page(
        self, context: Context, resource_type: ResourceType, selection: Selection
    ) -> tuple[Sequence[StoredResource], int]:
        """Return the selected resources, and the number of those that match."""
        authorize(context, "read", resource_type)
        storage = self._views.of(context).storage
        found = search(storage, resource_type, selection, lambda stored, links: stored.document)
        return found.resources, found.total

    def members(
        self, context: Context, resource_type: ResourceType, stored: StoredResource
    ) -> Iterator[Member]:
        """Yield the members of a resource."""
        authorize(context, "read", resource_type)
        return self._views.of(context).storage.members(resource_type, stored)

    def find(self, context: Context, resource_ids: Sequence[str]) -> Sequence[Member]:
        """Return every resource that has one of the ids, as `StorageAdapter.find` does."""
        return self._views.of(context).storage.find(resource_ids)

    def named(
        self, context: Context, resource_type: ResourceType, members: Named
    ) -> tuple[list[Member], Mapping[str, str]]:
        """Return who can be a member of a resource of the type, and by id what there is none of."""
        assert resource_type.members is not None
        return self._views.of(context).references.existing(resource_type.members, members)

    # -- showing

    def text(
        self,
        context: Context,
        resource_type: ResourceType,
        stored: StoredResource,
        projection: Projection,
    ) -> Text:
        """Return the JSON of a resource that was read or written, in chunks where it is very large."""
        return self._views.of(context).representation.chunks(resource_type, stored, projection)

    def is_left_out(self, context: Context, resource_type: ResourceType, stored: StoredResource) -> bool:
        """Return whether the answer to a PATCH does not repeat the resource, unless it is asked for."""
        profile = profile_of(context.profile)
        if profile.answers_without_content(resource_type):
            return True
        return self._views.of(context).representation.is_large(resource_type, stored)

    # -- writing

    def check(
        self, context: Context, method: str, resource_type: ResourceType, body: Mapping[str, Any]
    ) -> None:
        """Raise what is wrong with a request and its body, whatever is stored."""
        authorize(context, _ACTIONS[method], resource_type)
        if method in ("POST", "PUT"):
            self._decisions.validated(context, resource_type, body)
        elif method == "PATCH":
            check_operations(self._decisions.planned(context, resource_type, body))

    def new(
        self, context: Context, resource_type: ResourceType, body: Mapping[str, Any], resource_id: str | None
    ) -> tuple[NewResource, bool]:
        """Return the new resource in a body, not kept yet, and whether the body or a mapping gave its id.

        Raises InvalidValue and InvalidSyntax.
        """
        authorize(context, "create", resource_type)
        new = self._decisions.new(context, resource_type, body, resource_id)
        has_id = resource_id is not None or self._decisions.makes_ids(resource_type, new.resource)
        return new, has_id

    def takes_long(self, resource_type: ResourceType, body: Any) -> bool:
        """Return whether keeping `body` may take hashing, which must not hold up other writers."""
        return self._decisions.takes_long(resource_type, body)

    def create(
        self, context: Context, resource_type: ResourceType, body: Mapping[str, Any]
    ) -> StoredResource:
        """Keep a new resource (RFC 7644 section 3.3) and return it.

        Raises InvalidValue, InvalidSyntax or UniquenessConflict, and has then changed nothing.
        """
        authorize(context, "create", resource_type)
        view, new = self._views.of(context), self._decisions.new(context, resource_type, body)
        del body
        return self._changed(context, lambda: self._decisions.created(view, resource_type, new))

    def replace(
        self,
        context: Context,
        resource_type: ResourceType,
        resource_id: str,
        body: Mapping[str, Any],
        conditions: Conditions = NO_CONDITIONS,
    ) -> StoredResource:
        """Put `body` in place of a resource (RFC 7644 section 3.5.1) and return what is kept.

        A body that changes nothing makes no new version. Raises as `create` does, and
        ResourceNotFound, PreconditionFailed and Mutability.
        """
        authorize(context, "replace", resource_type)
        decisions, view = self._decisions, self._views.of(context)
        resource, members = decisions.validated(context, resource_type, body)
        # A large one takes much memory, and nobody else has it.
        del body
        plain = take_secrets(resource_type, resource)
        hashes: Mapping[str, str] = {}
        if plain:
            # Hashing is slow on purpose: it must not hold up other writers.
            hashes = decisions.hashed(plain, view.storage.get(resource_type, resource_id).secrets)

        def decide() -> Write:
            before = view.storage.get(resource_type, resource_id)
            conditions.check(before.version)
            state = decisions.put(resource_type, before, resource, members)
            return decisions.changed("put", view, resource_type, before, state, hashes)

        return self._changed(context, decide)

    def patch(
        self,
        context: Context,
        resource_type: ResourceType,
        resource_id: str,
        body: Mapping[str, Any],
        conditions: Conditions = NO_CONDITIONS,
    ) -> StoredResource:
        """Change parts of a resource (RFC 7644 section 3.5.2) and return what is kept.

        All operations take effect or none. A PATCH that changes nothing makes no new version.
        Raises as `replace` does, and InvalidFilter, InvalidPath and NoTarget.
        """
        authorize(context, "patch", resource_type)
        decisions, view = self._decisions, self._views.of(context)
        # Nothing that depends on the request alone is done while other writers wait.
        plan = decisions.planned(context, resource_type, body)
        ahead = HashedAhead(decisions) if decisions.takes_long(resource_type, body) else None
        member_ids, storage = named_ids(plan), view.storage
        key = resource_type, resource_id

        def patched() -> tuple[StoredResource, NewState]:
            before = storage.get_to_patch(*key, member_ids) if member_ids else storage.get(*key)
            conditions.check(before.version)
            return before, decisions.patched(view, resource_type, before, plan)

        def decide() -> Write:
            before, state = patched()
            hashes = ahead.of(state) if ahead else decisions.hashed(state.secrets, state.known)
            return decisions.changed("patch", view, resource_type, before, state, hashes)

        stored = self._changed(context, decide, (lambda: ahead.hash(patched()[1])) if ahead else None)
        if plan.ignored:
            self.ignored_paths.note(context.principal.name, resource_type.name, plan.ignored)
        return stored

    def delete(
        self,
        context: Context,
        resource_type: ResourceType,
        resource_id: str,
        conditions: Conditions = NO_CONDITIONS,
    ) -> None:
        """Remove a resource, and remove it from all that have it as a member (RFC 7644 section 3.6).

        Raises ResourceNotFound and PreconditionFailed.
        """
        authorize(context, "delete", resource_type)
        view, whole = self._views.of(context), self._views.whole(context.profile)

        def decide() -> Write:
            before, memberships = whole.storage.get_to_delete(resource_type, resource_id)
            if not view.is_whole:
                before = view.storage.get(resource_type, resource_id)
            conditions.check(before.version)
            return self._decisions.deleted(whole, resource_type, before, memberships)

        self.commit.run(context, decide)

    def _changed(
        self,
        context: Context,
        decide: Callable[[], Write],
        prepare: Callable[[], object] | None = None,
    ) -> StoredResource:
        stored = self.commit.run(context, decide, prepare)
        assert stored is not None
        return self._views.seen(context, stored)
