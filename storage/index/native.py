"""A part of a filter as SQL: a condition on `r`, the alias of scim_resource."""

from dataclasses import dataclass, replace

# How many resources a condition lets through, as a guess: 1 is a single one. Of the parts of an
# `and`, the most selective is looked up and the others are tested on what it finds.
UNIQUE, EQUAL, RANGE, SCAN, COMMON, UNKNOWN = range(1, 7)


@dataclass(frozen=True)
class Native:
    """A condition on `r` with its parameters.

    `probe` is an EXISTS, the same condition in a form that is cheap to test on one resource, where there is
    one, with `probe_params` if these differ; `rids` is a SELECT of the row keys it holds for, where it is
    one, and `distinct` says that each comes once. `keys_only`: nothing but the row key is looked
    at, and `rids` has none of another type. `negated` is what this is the opposite of.

    `conjuncts` must hold together, where the condition is an `and`. A condition on the one value of
    a path has the number of that as `path`, and as `on_row` its form for a row `r` of scim_attribute with
    that path; its parameters are those of the probe without the first.
    """

    where: str
    params: tuple[object, ...] = ()
    rank: int = UNKNOWN
    probe: str | None = None
    rids: str | None = None
    distinct: bool = False
    keys_only: bool = True
    negated: "Native | None" = None
    conjuncts: "tuple[Native, ...]" = ()
    path: int | None = None
    on_row: str = ""
    probe_params: tuple[object, ...] | None = None

    @classmethod
    def owned(cls, type_number: int, owner: str) -> "Native":
        """Return the condition that a resource of a type has an owner."""
        rids = "SELECT o.rid FROM scim_resource o WHERE o.owner = ? AND o.type = ?"
        probe = "EXISTS (SELECT 1 FROM scim_resource o WHERE o.rid = r.rid AND o.owner = ?)"
        native = among(rids, (owner, type_number), RANGE, probe, distinct=True)
        return replace(native, probe_params=(owner,))

    def test(self, one_by_one: str = "") -> str:
        """Return the condition in the form to test one resource by, with `test_params`.

        `one_by_one` is of the dialect, where few resources are tested.
        """
        return self.where if self.probe is None else f"{self.probe.removesuffix(')')}{one_by_one})"

    @property
    def test_params(self) -> tuple[object, ...]:
        return self.params if self.probe_params is None else self.probe_params


def among(
    rids: str,
    params: tuple[object, ...],
    rank: int,
    probe: str | None = None,
    distinct: bool = False,
    keys_only: bool = True,
) -> Native:
    """Return the condition that the row key is one of those that `rids` selects."""
    return Native(f"r.rid IN ({rids})", params, rank, probe, rids, distinct, keys_only)


def on_rows(
    on_path: str,
    condition: str,
    params: tuple[object, ...],
    rank: int,
    distinct: bool = False,
    by_resource: str = "",
    by_path: str = "",
) -> Native:
    """Return the condition that a resource has a row `a` with one of some paths.

    `on_path` is the condition on the path; `by_resource` and `by_path` are of the dialect.
    """
    rows = f"WHERE {on_path} AND {condition}"
    probe = f"EXISTS (SELECT 1 FROM scim_attribute a{by_resource} {rows} AND a.rid = r.rid)"
    return among(f"SELECT a.rid FROM scim_attribute a{by_path} {rows}", params, rank, probe, distinct)
