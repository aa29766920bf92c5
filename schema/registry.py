"""The resource types of one server, read from definition files (RFC 7643 sections 6 and 7).

`core/*.json` holds one schema a file and makes a resource type each; `extensions/<Type>/*.json`
extends the type of that name. A file is a Schema as /Schemas shows it, plus `endpoint` in a core
file (default: the name of the resource type with an `s`) and `required` in an extension. A resource
type has the name of its schema, or that of the file where the schema has a name for people, such as
"Core User schema" (RFC 7643 section 7).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson

from schema.attribute import MUTABILITIES, RETURNED, TYPES, UNIQUENESS, Attribute
from schema.errors import DefinitionError
from schema.resource_type import (
    COMMON_ATTRIBUTES,
    ResourceType,
    Schema,
    SchemaExtension,
    common_attributes,
)

DEFINITIONS = Path(__file__).parent
_NAME = re.compile(r"\$?[A-Za-z][\w\-$]*", re.ASCII)
_ENDPOINT = re.compile(r"/[A-Za-z][\w\-]*", re.ASCII)
# Of ASCII, all but what has a meaning of its own in a filter.
_URN = re.compile(r"urn:[A-Za-z0-9][A-Za-z0-9\-]*:[!#-'*-Z\\^-~]+", re.ASCII)
# The endpoints of the protocol, and those of the server beside it.
_RESERVED = frozenset(
    {
        *("/me", "/bulk", "/schemas", "/resourcetypes", "/serviceproviderconfig"),
        *("/async", "/docs", "/health", "/metrics"),
    }
)


@dataclass(frozen=True)
class Registry:
    """Every resource type of the server; frozen once loaded."""

    resource_types: tuple[ResourceType, ...]

    @cached_property
    def _by_name(self) -> Mapping[str, ResourceType]:
        return {resource_type.name.lower(): resource_type for resource_type in self.resource_types}

    def resource_type(self, name: str) -> ResourceType | None:
        """Return the resource type with that name in any case, or None."""
        return self._by_name.get(name.lower())

    def by_endpoint(self, endpoint: str) -> ResourceType | None:
        """Return the resource type served at `endpoint`, such as `/Users`, or None."""
        return next((r for r in self.resource_types if r.endpoint == endpoint), None)

    def name_in(self, uri: str) -> str:
        """Return the name of the resource type that the URI `/Users/1` leads to, empty for no type."""
        found = self.by_endpoint("/" + uri.strip("/").partition("/")[0])
        return "" if found is None else found.name

    @cached_property
    def schemas(self) -> tuple[Schema, ...]:
        """Every schema once: the core schemas first, then the extensions."""
        found = {r.schema.id: r.schema for r in self.resource_types}
        for resource_type in self.resource_types:
            found |= {e.schema.id: e.schema for e in resource_type.extensions}
        return tuple(found.values())


def load_registry(folder: Path | None = None, *, unique_external_id: bool = True) -> Registry:
    """Read the definition files below `folder`, or those that come with the server.

    `unique_external_id`: no two resources of a type may have the same `externalId`.
    Raises DefinitionError with every problem in every file.
    """
    common = common_attributes(unique_external_id=unique_external_id)
    return _Loader(_definitions_folder(folder) if folder else DEFINITIONS, common).load()


def _definitions_folder(folder: Path) -> Path:
    # SCHEMA_PATH of HarryKodden/scim names the folder above its schema folder.
    for candidate in (folder, folder / "schema", folder / "schemas"):
        if (candidate / "core").is_dir():
            return candidate
    raise DefinitionError([f"{folder}: there is no folder `core` with schema definitions in it"])


class _Loader:
    """Turns files into a Registry and collects what is wrong with them."""

    def __init__(self, folder: Path, common: tuple[Attribute, ...]) -> None:
        self._folder = folder
        self._common = common
        self._problems: list[str] = []

    def load(self) -> Registry:
        resource_types = []
        names = set()
        for source, document in self._documents("core"):
            schema = self._schema(source, document)
            name = _type_name(source, document)
            names.add(name)
            # The extensions of a broken type are checked too: every problem is reported at once.
            extensions = tuple(self._extensions(name))
            if schema is None:
                continue
            if not _NAME.fullmatch(name):
                self._problem(source, f"neither name {schema.name!r} nor the file name is a resource type")
            endpoint = self._endpoint(source, document, name)
            resource_types.append(
                ResourceType(name, endpoint, schema.description, schema, extensions, self._common)
            )
        self._check_folders(names)
        self._check_whole(resource_types)
        if not resource_types and not self._problems:
            self._problems.append(f"{self._folder / 'core'}: there is no schema definition in it")
        if self._problems:
            raise DefinitionError(self._problems)
        return Registry(tuple(resource_types))

    def _endpoint(self, source: Path, document: dict[str, Any], name: str) -> str:
        endpoint = document.get("endpoint", f"/{name}s")
        if not isinstance(endpoint, str) or not _ENDPOINT.fullmatch(endpoint):
            self._problem(source, f"endpoint {endpoint!r} is not a path such as /Users")
        elif endpoint.lower() in _RESERVED:
            self._problem(source, f"endpoint {endpoint} is reserved by the server")
        return str(endpoint)

    def _problem(self, source: Path, text: str) -> None:
        self._problems.append(f"{source.relative_to(self._folder)}: {text}")

    def _documents(self, below: str) -> Iterator[tuple[Path, dict[str, Any]]]:
        for source in sorted((self._folder / below).glob("*.json"), key=_core_order):
            try:
                document = orjson.loads(source.read_bytes())
            except (OSError, orjson.JSONDecodeError) as exc:
                self._problem(source, f"cannot be read as JSON: {exc}")
                continue
            if isinstance(document, dict):
                yield source, document
            else:
                self._problem(source, "is not a JSON object")

    def _extensions(self, resource_type: str) -> Iterator[SchemaExtension]:
        for source, document in self._documents(f"extensions/{resource_type}"):
            required = document.get("required", False)
            if not isinstance(required, bool):
                self._problem(source, "`required` must be true or false")
            extension = self._schema(source, document)
            if extension is not None:
                yield SchemaExtension(extension, required is True)

    def _check_folders(self, names: set[str]) -> None:
        extensions = self._folder / "extensions"
        for folder in sorted(extensions.iterdir()) if extensions.is_dir() else ():
            if folder.is_dir() and folder.name not in names and any(folder.glob("*.json")):
                self._problem(folder, "extends no resource type: there is no core schema of that name")

    def _check_whole(self, resource_types: list[ResourceType]) -> None:
        folder = self._folder / "core"
        seen: set[str] = set()
        for word in [w for r in resource_types for w in (r.name.lower(), r.endpoint.lower())]:
            if word in seen:
                self._problem(folder, f"two resource types share the name or endpoint {word}")
            seen.add(word)
        urns = [r.schema.id.lower() for r in resource_types]
        for resource_type in resource_types:
            own = [resource_type.schema.id.lower()] + [e.schema.id.lower() for e in resource_type.extensions]
            if len(set(own)) < len(own):
                self._problem(folder, f"{resource_type.name} has the same schema URN twice")
        if len(set(urns)) < len(urns):
            self._problem(folder, "two resource types have the same schema URN")

    def _schema(self, source: Path, document: dict[str, Any]) -> Schema | None:
        before = len(self._problems)
        urn, name = document.get("id"), document.get("name")
        if not isinstance(urn, str) or not _URN.fullmatch(urn):
            self._problem(source, f"id {urn!r} is not a URN")
        if not isinstance(name, str) or not name.strip() or not name.isprintable():
            self._problem(source, f"name {name!r} is not a name such as User")
        attributes = self._attributes(source, document.get("attributes"), "")
        if len(self._problems) > before:
            return None
        return Schema(str(urn), str(name), str(document.get("description") or name), attributes)

    def _attributes(self, source: Path, raw: Any, prefix: str) -> tuple[Attribute, ...]:
        if not isinstance(raw, list) or not raw:
            self._problem(source, f"{prefix or 'attributes'}: must be a list of attributes")
            return ()
        found: dict[str, Attribute] = {}
        for position, item in enumerate(raw):
            attribute = self._attribute(source, item, prefix or "attributes", position)
            if attribute is None:
                continue
            if attribute.name.lower() in found:
                self._problem(source, f"{prefix}{attribute.name}: is defined twice")
            found[attribute.name.lower()] = attribute
        if not prefix:
            # Some definitions list the common attributes; what they are is not theirs to say.
            for common in COMMON_ATTRIBUTES:
                found.pop(common.name.lower(), None)
        return tuple(found.values())

    def _attribute(self, source: Path, raw: Any, prefix: str, position: int) -> Attribute | None:
        name = raw.get("name") if isinstance(raw, dict) else None
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            self._problem(source, f"{prefix}[{position}]: name {name!r} is not an attribute name")
            return None
        path = name if prefix == "attributes" else f"{prefix}{name}"
        sub_attributes: tuple[Attribute, ...] = ()
        kind = self._choice(source, path, raw, "type", TYPES, "string")
        if kind == "complex":
            if prefix != "attributes":
                self._problem(source, f"{path}: a sub-attribute cannot be complex")
                return None
            sub_attributes = self._attributes(source, raw.get("subAttributes"), f"{path}.")
        elif raw.get("subAttributes"):
            self._problem(source, f"{path}: only a complex attribute has subAttributes")
        returned = self._choice(source, path, raw, "returned", RETURNED, "default")
        if returned == "never":
            # A secret is secret in all its parts, be they marked or not.
            sub_attributes = tuple(replace(sub, returned="never") for sub in sub_attributes)
        # References and binary values are case-exact unless a definition says otherwise
        # (RFC 7643 sections 2.3.6 and 2.3.7).
        exact_by_type = kind in ("reference", "binary")
        return Attribute(
            name,
            kind,
            multi_valued=self._flag(source, path, raw, "multiValued"),
            description=str(raw.get("description") or ""),
            required=self._flag(source, path, raw, "required"),
            case_exact=self._flag(source, path, raw, "caseExact", exact_by_type),
            mutability=self._choice(source, path, raw, "mutability", MUTABILITIES, "readWrite"),
            returned=returned,
            uniqueness=self._choice(source, path, raw, "uniqueness", UNIQUENESS, "none"),
            canonical_values=self._words(source, path, raw, "canonicalValues"),
            reference_types=self._words(source, path, raw, "referenceTypes"),
            sub_attributes=sub_attributes,
        )

    def _choice(
        self, source: Path, path: str, raw: dict[str, Any], key: str, choices: tuple[str, ...], default: str
    ) -> str:
        value = raw.get(key, default)
        if value in choices:
            return str(value)
        self._problem(source, f"{path}: {key} {value!r} is not one of {', '.join(choices)}")
        return default

    def _flag(self, source: Path, path: str, raw: dict[str, Any], key: str, default: bool = False) -> bool:
        value = raw.get(key, default)
        if not isinstance(value, bool):
            self._problem(source, f"{path}: {key} must be true or false")
        return value is True

    def _words(self, source: Path, path: str, raw: dict[str, Any], key: str) -> tuple[str, ...]:
        value = raw.get(key) or []
        if isinstance(value, list) and all(isinstance(word, str) for word in value):
            return tuple(value)
        self._problem(source, f"{path}: {key} must be a list of strings")
        return ()


def _type_name(source: Path, document: dict[str, Any]) -> str:
    name = document.get("name")
    return name if isinstance(name, str) and _NAME.fullmatch(name) else source.stem


def _core_order(source: Path) -> tuple[bool, str]:
    # User before the others: clients show the first resource type first.
    return source.stem.lower() != "user", source.name
