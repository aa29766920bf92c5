"""Groups in groups: which a resource is in, in how many steps, and how often a backend is asked."""

from collections.abc import Sequence

from storage.nesting import nested


class Groups:
    """Direct groups by member, and the keys of each question."""

    def __init__(self, **groups: str) -> None:
        self._groups = {member: list(names) for member, names in groups.items()}
        self.asked: list[list[str]] = []

    def of(self, keys: Sequence[str]) -> dict[str, list[str]]:
        self.asked.append(list(keys))
        return {key: self._groups[key] for key in keys if key in self._groups}

    def above(self, *keys: str) -> dict[str, list[tuple[str, int]]]:
        return {key: list(steps.items()) for key, steps in nested(self.of(keys), self.of).items()}


def test_direct_groups_come_first_and_each_group_once() -> None:
    groups = Groups(u="ba", a="c", b="ca", c="d")

    assert groups.above("u") == {"u": [("b", 1), ("a", 1), ("c", 2), ("d", 3)]}


def test_a_level_is_one_question_for_all_and_no_key_is_asked_for_twice() -> None:
    groups = Groups(u="a", v="b", w="", a="c", b="ac", c="d")

    assert groups.above("u", "v", "w") == {
        "u": [("a", 1), ("c", 2), ("d", 3)],
        "v": [("b", 1), ("a", 2), ("c", 2), ("d", 3)],
        "w": [],
    }
    assert groups.asked == [["u", "v", "w"], ["a", "b"], ["c"], ["d"]]


def test_a_group_in_a_circle_is_in_itself_and_the_walk_ends() -> None:
    groups = Groups(u="a", a="b", b="ca", c="b")

    assert groups.above("u", "a") == {
        "u": [("a", 1), ("b", 2), ("c", 3)],
        "a": [("b", 1), ("c", 2), ("a", 2)],
    }
    assert groups.asked == [["u", "a"], ["b"], ["c"]]


def test_nobody_is_asked_about_nothing() -> None:
    groups = Groups()

    assert groups.above("u") == {}
    assert groups.asked == [["u"]]
