"""Claims on unique values (`storage.claims`) as documents whose `_id` is the value.

Documents of resources list the values that they have, each with the token of its claim.
"""

import time
from collections.abc import Callable, Collection, Sequence
from itertools import count
from typing import Any, Final

from storage.batches import BATCH, batches
from storage.claims import Claim, Claims, UniqueValue
from storage.mongo.form import Places, claim_id, claims_of
from storage.mongo.layout import Layout
from storage.mongo.wire import Documents, insert_new

CLAIMS: Final = "scim_unique"
# Where documents list the values they have.
LISTED: Final = "_scim.claims.id"

# How long a writer may take from its claim to its document before others doubt that it lives.
LEASE_S: Final = 10.0


class MongoClaims:
    """The claims on values of one resource type: a `storage.claims.ClaimStore`."""

    lease_s = LEASE_S
    admits_several = False

    def __init__(self, documents: Documents, layout: Layout) -> None:
        self._claims = documents[CLAIMS]
        self._resources = documents[layout.collection]

    def put_if_absent(self, claims: Sequence[Claim]) -> Sequence[Claim]:
        for start, batch in zip(count(0, BATCH), batches(claims)):
            refused = insert_new(self._claims, list(map(_document, batch)), ordered=True)
            if refused:
                return claims[start + refused[0] :]
        return ()

    def read(self, values: Sequence[UniqueValue]) -> Sequence[Claim]:
        found = []
        for batch in batches(values):
            wanted = {claim_id(value): value for value in batch}
            for row in self._claims.find({"_id": {"$in": list(wanted)}}):
                found.append(Claim(wanted[row["_id"]], row["owner"], row["token"], row["at"]))
        return found

    def replace_if(self, seen: Claim, new: Claim) -> bool:
        known = {"_id": claim_id(seen.value), "token": seen.token}
        return self._claims.replace_one(known, _document(new)).matched_count == 1

    def remove_if(self, claims: Sequence[Claim]) -> None:
        for batch in batches(claims):
            tokens = [claim.token for claim in batch]
            ids = [claim_id(claim.value) for claim in batch]
            # A token is given out once, so the two lists name no other claims.
            self._claims.delete_many({"_id": {"$in": ids}, "token": {"$in": tokens}})

    def holds(
        self, values: Sequence[UniqueValue], owners: Collection[str] = ()
    ) -> Collection[tuple[str, UniqueValue]]:
        found = set()
        for batch in batches(values):
            query = {LISTED: {"$in": list(map(claim_id, batch))}}
            for document in self._resources.find(query, {"_scim.claims": 1}):
                found |= {(document["_id"], value) for value in claims_of(document).keys() & set(batch)}
        return found


def claims_in(
    documents: Documents, layout: Layout, places: Places, clock: Callable[[], float] = time.time
) -> Claims:
    """Return the claims of one resource type, made in the name of one call."""
    return Claims(MongoClaims(documents, layout), places.next, clock)


def _document(claim: Claim) -> dict[str, Any]:
    return {"_id": claim_id(claim.value), "owner": claim.owner, "token": claim.token, "at": claim.at}
