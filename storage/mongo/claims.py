"""Unique values without transactions: a claim is made on each before the document is written.

A claim is a document whose `_id` is the value, so MongoDB itself lets one writer have it at a time; the
documents of resources list the values that they hold. A claim on what no document lists is of a writer
that is about to write, or that died: after LEASE_S it may be taken over. Who has a claim looks whether
a document lists the value; who wrote a document looks whether the claim is still its own. Of two that
meet, at least one sees the other and gives way; what was acknowledged is listed, and seen by all.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from storage.batches import batches
from storage.errors import UniquenessConflict, VersionMismatch
from storage.mongo.database import Documents, insert_new
from storage.mongo.documents import Places
from storage.mongo.layout import Claim, Layout

CLAIMS: Final = "scim_unique"
# Where documents list the values they hold.
LISTED: Final = "_scim.claims.id"

# How long a writer may take from its claim to its document before others doubt that it lives.
LEASE_S: Final = 10.0
_ATTEMPTS: Final = 20


class Claims:
    """The claims of one resource type, made in the name of one call."""

    def __init__(
        self, documents: Documents, layout: Layout, places: Places, clock: Callable[[], float] = time.time
    ) -> None:
        self._claims = documents[CLAIMS]
        self._resources = documents[layout.collection]
        self._layout = layout
        self._places = places
        self._clock = clock

    def make(self, owner: str, ids: Iterable[str]) -> list[Claim]:
        """Claim unique values for a resource, all or none.

        Raises UniquenessConflict, and VersionMismatch when the resource itself has got one of them.
        """
        return self.make_many([(owner, ids)])[0]

    def make_many(self, wanted: Iterable[tuple[str, Iterable[str]]]) -> list[list[Claim]]:
        """Claim unique values for resources, given by their ids, all or none. Raises as `make` does."""
        made = [(owner, [Claim(i, self._places.next()) for i in sorted(ids)]) for owner, ids in wanted]
        every = [(owner, claim) for owner, claims in made for claim in claims]
        try:
            for owner, claim in self._insert(every):
                self._claim(claim, owner)
            self._refuse_listed(every)
        except (UniquenessConflict, VersionMismatch):
            self.release(claim for _, claim in every)
            raise
        return [claims for _, claims in made]

    def confirm(self, owner: str, claims: Sequence[Claim]) -> bool:
        """Return whether the claims of a document that was just written are still its own."""
        return not self.lost((owner, claim) for claim in claims)

    def lost(self, written: Iterable[tuple[str, Claim]]) -> set[str]:
        """Return the owners of those claims, of documents that were just written, that are not theirs."""
        lost: set[str] = set()
        for batch in batches(written):
            wanted = {claim.id: (owner, claim) for owner, claim in batch}
            for found in self._claims.find({"_id": {"$in": list(wanted)}}):
                if found["token"] == wanted[found["_id"]][1].token:
                    del wanted[found["_id"]]
            # Another writer may have been about to change the same resource, and cannot win any more.
            lost |= {owner for owner, claim in wanted.values() if not self._recover(claim, owner)}
        return lost

    def release(self, claims: Iterable[Claim]) -> None:
        """Give up claims that no document lists any more."""
        for batch in batches(claims):
            tokens = [claim.token for claim in batch]
            ids = [claim.id for claim in batch]
            # A token is given out once, so the two lists name no other claims.
            self._claims.delete_many({"_id": {"$in": ids}, "token": {"$in": tokens}})

    def _recover(self, claim: Claim, owner: str) -> bool:
        found = self._claims.replace_one({"_id": claim.id, "owner": owner}, self._document(claim, owner))
        return found.matched_count == 1 or not self._insert([(owner, claim)])

    def _insert(self, claims: Sequence[tuple[str, Claim]]) -> list[tuple[str, Claim]]:
        """Insert claims, each with its owner, and return those on values that are claimed already."""
        taken: list[tuple[str, Claim]] = []
        for batch in batches(claims):
            rows = [self._document(claim, owner) for owner, claim in batch]
            taken += [batch[position] for position in insert_new(self._claims, rows)]
        return taken

    def _claim(self, claim: Claim, owner: str) -> None:
        """Take over a claim that counts no more. Raises as `make` does."""
        for _ in range(_ATTEMPTS):
            before = self._claims.find_one({"_id": claim.id})
            if before is None:
                if not self._insert([(owner, claim)]):
                    return
                continue
            listing = self._resources.find_one({LISTED: claim.id}, {"_id": 1})
            if listing is not None and listing["_id"] == owner:
                raise VersionMismatch(f"{self._layout.resource_type.name} {owner} has changed")
            lives = before["owner"] != owner and abs(self._clock() - before["at"]) < LEASE_S
            if listing is not None or lives:
                break
            if self._take_over(claim, owner, before):
                if before["owner"] == owner and self._resources.find_one({LISTED: claim.id}, {"_id": 1}):
                    # Another writer of the same resource was faster, and counts on its claim.
                    self._claims.replace_one({"_id": claim.id, "token": claim.token}, before)
                    raise VersionMismatch(f"{self._layout.resource_type.name} {owner} has changed")
                return
        raise UniquenessConflict(self._layout.unique_path(claim.id))

    def _take_over(self, claim: Claim, owner: str, before: dict[str, Any]) -> bool:
        known = {"_id": claim.id, "token": before["token"]}
        return self._claims.replace_one(known, self._document(claim, owner)).matched_count == 1

    def _refuse_listed(self, claims: Sequence[tuple[str, Claim]]) -> None:
        """Raise UniquenessConflict when a document lists a value that was claimed for another one."""
        for batch in batches(claims):
            owners = {claim.id: owner for owner, claim in batch}
            query = {LISTED: {"$in": list(owners)}}
            for document in self._resources.find(query, {"_scim.claims": 1}):
                for listed in document["_scim"]["claims"]:
                    if owners.get(listed["id"], document["_id"]) != document["_id"]:
                        raise UniquenessConflict(self._layout.unique_path(listed["id"]))

    def _document(self, claim: Claim, owner: str) -> dict[str, Any]:
        return {"_id": claim.id, "owner": owner, "token": claim.token, "at": self._clock()}
