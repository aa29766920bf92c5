"""Random resources with hostile text: the same ones for the same seed."""

import base64
from random import Random
from typing import Any, Final

from schema.attribute import Attribute
from schema.resource_type import ResourceType

# Text that stores, indexes and query languages are known to confuse with something else.
TEXTS: Final = (
    *("", "a", "A", "ab", "AB", "b", " b", "b ", "B  ", "c", "work", "home", "x", "x y", "x  y"),
    *("100%", "1000", "100_", "%", "%%", "_", "n_n", "nan", "\\", "a\\b", "\\%", "\\\\", "a*b", "*", "?"),
    *("'", "O'Malley", '"', '""', "`", "; drop table", "--", "/*", "(", ")", "(a)", "{}", "$ref", "$1"),
    *("9", "10", "010", "-1", "1e3", "1.0", "0x10", "null", "true", "FALSE", "NULL", "None", "undefined"),
    *("&amp;", "<a>", "a=b", "a,b", "a/b", "a|b", "a:b", "+", "%41", "\\u0041", "urn:a:b", "@", "a@x.org"),
    *("\u00e9", "e\u0301", "\u00c9", "\u212b", "\u00c5", "fi", "\ufb01", "Stra\u00dfe", "STRASSE"),
    *("\u00df", "\u1e9e", "ss", "\u017f", "s", "\u0130", "i\u0307", "I", "i", "\u0131", "\u03c3", "\u03c2"),
    *("\U0001f600", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1f3\U0001f1f1", "\u200b", "\ufeff"),
    *("\u05d0\u05d1", "\u202eabc", "\u0627\u0644", "\u4e2d\u6587", "\uff21", "\ud7ff", "\ue000", "\uffff"),
    *("\U00010000", "\U0010ffff", "\x7f", "\x01", "\t", "a\nb", "\r\n", "a\tb", "\u2028", "\u0085", "\u00a0"),
    *("x" * 255, "x" * 256, "x" * 257, "x" * 257 + "a", "x" * 300 + "b", "X" * 257 + "B", "\u00df" * 140),
    *("x" * 256 + "\U0010ffff", "\U0001f600" * 257, "y" * 700 + "needle"),
)
_INTEGERS: Final = (0, 1, -1, 9, 10, -10, 365, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, -(2**63))
_DECIMALS: Final = (0.0, 1.5, -1.5, 10, 9.25, 1e-9, -1e300, 1e300)
_DATES: Final = (
    *("2026-01-01T00:00:00.000Z", "2026-01-01T00:00:00.001Z", "2025-12-31T23:59:59.999Z"),
    *("2026-02-01T12:30:00.000Z", "1969-12-31T00:00:00.000Z", "2099-01-01T00:00:00.000Z"),
)


class Generator:
    """Makes resources from a source of random numbers, without texts that have a character of `omitted`."""

    def __init__(self, random: Random, omitted: str) -> None:
        self.random = random
        self._texts = [text for text in TEXTS if not set(text) & set(omitted)]

    def text(self) -> str:
        """Return text of the list, now and then two pieces of it."""
        text = self.random.choice(self._texts)
        return text + self.random.choice(self._texts) if self.random.random() < 0.15 else text

    def date_time(self) -> str:
        return self.random.choice(_DATES)

    def document(self, resource_type: ResourceType, number: int) -> dict[str, Any]:
        """Return the attributes of a resource, `number` in what must differ from all others."""
        document = self._attributes(resource_type.schema.attributes, 0.4)
        document.pop("externalId", None)
        for name in ("userName", "displayName"):
            if resource_type.path(name) is not None and (name == "userName" or resource_type.members):
                document[name] = self._unlike_others(number)
        if self.random.random() < 0.3:
            document["externalId"] = self._unlike_others(number)
        for extension in resource_type.extensions:
            attributes = self._attributes(extension.schema.attributes, 0.3)
            if attributes and self.random.random() < 0.5:
                document[extension.schema.id] = attributes
        return document

    def _unlike_others(self, number: int) -> str:
        # Folding makes some texts of the list equal: the number keeps them apart, at either end.
        return self.random.choice((f"{self.text()}~{number}", f"{number}~{self.text()}"))

    def _attributes(self, attributes: tuple[Attribute, ...], share: float) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for attribute in attributes:
            if attribute.returned == "never" or attribute.mutability == "readOnly":
                continue
            if attribute.name not in ("id", "schemas", "meta", "members") and self.random.random() < share:
                found[attribute.name] = self._values(attribute)
        return {name: value for name, value in found.items() if value not in ({}, [])}

    def _values(self, attribute: Attribute) -> Any:
        if not attribute.multi_valued:
            return self._value(attribute)
        values = [self._value(attribute) for _ in range(self.random.randint(1, 3))]
        if attribute.sub_attribute("primary") is not None and self.random.random() < 0.5:
            self.random.choice(values)["primary"] = True
        return [value for value in values if value != {}]

    def _value(self, attribute: Attribute) -> Any:
        if attribute.is_complex:
            parts = self._attributes(attribute.sub_attributes, 0.6)
            return {name: part for name, part in parts.items() if name != "primary" or part is False}
        return self.simple(attribute)

    def simple(self, attribute: Attribute) -> Any:
        """Return a value of the type of an attribute."""
        match attribute.type:
            case "boolean":
                return self.random.random() < 0.5
            case "integer":
                return self.random.choice(_INTEGERS)
            case "decimal":
                return self.random.choice(_DECIMALS)
            case "dateTime":
                return self.date_time()
            case "binary":
                return base64.b64encode(self.text()[:40].encode()).decode()
        if attribute.canonical_values and self.random.random() < 0.6:
            return self.random.choice(attribute.canonical_values)
        return self.text()
