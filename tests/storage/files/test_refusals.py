"""Folders that cannot be written, disks that are full, and files that nobody may touch."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest

from app import create_app
from app.configuration.settings import Settings
from storage.adapter import Member, StorageAdapter
from storage.errors import ResourceNotFound, StorageError, StorageReadOnly, StorageUnavailable
from storage.testing import GROUP, USER, change_members, members_of, stored
from tests.conftest import KEY, ScimClient, error_of
from tests.storage.files.conftest import Open, ids, in_child, is_pending, open_files, write, written

ReadOnly = Callable[[Path], AbstractContextManager[None]]


def content_of(folder: Path) -> dict[str, bytes]:
    """Return the content of every file but the index."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith((".index-", ".journal", ".queue"))
    }


def fill(adapter: StorageAdapter) -> None:
    for name in "ab":
        adapter.create(USER, stored(name, userName=name, title="t"))
    adapter.create(GROUP, stored("g", displayName="G"))
    change_members(adapter, "g", [Member("a", "User")], ())


WRITES: list[Callable[[StorageAdapter], object]] = [
    lambda adapter: adapter.create(USER, stored("c", userName="c")),
    lambda adapter: adapter.create_many(USER, [stored(n, userName=n) for n in "cd"]),
    lambda adapter: adapter.replace(USER, stored("a", userName="x")),
    lambda adapter: adapter.delete(USER, "a"),
    lambda adapter: adapter.change_members(
        GROUP, stored("g"), [Member("b", "User")], [Member("a", "User")]
    ),
]


@pytest.mark.parametrize("write_it", WRITES)
@pytest.mark.parametrize("part", ["", "Users", "Groups"])
def test_a_folder_that_becomes_read_only_is_read_and_not_half_written(
    adapter: StorageAdapter,
    folder: Path,
    read_only: ReadOnly,
    part: str,
    write_it: Callable[[StorageAdapter], object],
) -> None:
    fill(adapter)
    before = content_of(folder)

    with read_only(folder / part):
        try:
            write_it(adapter)
            written_to = {name.split("/")[0] for name, text in content_of(folder).items() ^ before.items()}
            assert part and part not in written_to
        except StorageReadOnly:
            assert content_of(folder) == before
            assert ids(adapter, 'title eq "t"') == ["a", "b"]
            assert adapter.get(USER, "a").document["title"] == "t"
            assert [m.resource_id for m in members_of(adapter, "g")] == ["a"]

    adapter.create(USER, stored("later", userName="later"))
    assert "later" in ids(adapter, "userName pr")


def test_a_folder_that_was_always_read_only_is_served(
    folder: Path, opened: Open, read_only: ReadOnly
) -> None:
    write(folder / "Users" / "a", userName="a")
    write(folder / "Groups" / "g", displayName="G", members=[{"value": "a"}])

    with read_only(folder):
        adapter = opened(folder)
        assert ids(adapter, 'userName eq "A"') == ["a"]
        assert [m.resource_id for m in members_of(adapter, "g")] == ["a"]
        with pytest.raises(StorageReadOnly):
            adapter.create(USER, stored("b", userName="b"))
        adapter.check()
        adapter.close()

    assert sorted(path.name for path in folder.iterdir()) == ["Groups", "Users"]


@pytest.fixture
def immutable() -> Iterator[Callable[[Path], None]]:
    """Return a function that makes a file one that not even root can replace."""
    made: list[Path] = []

    def make(path: Path) -> None:
        if subprocess.run(["chattr", "+i", path], capture_output=True).returncode:
            pytest.skip("files cannot be made immutable here")
        made.append(path)

    yield make
    for path in made:
        subprocess.run(["chattr", "-i", path], check=True)


@pytest.mark.parametrize("kept", ["Users/a", "Groups/g", "Groups/h"])
def test_of_several_files_one_that_cannot_be_replaced_keeps_all_as_they_were(
    adapter: StorageAdapter, folder: Path, immutable: Callable[[Path], None], kept: str
) -> None:
    fill(adapter)
    adapter.create(GROUP, stored("h", displayName="H"))
    change_members(adapter, "h", [Member("a", "User")], ())
    before = content_of(folder)
    immutable(folder / kept)

    with pytest.raises(StorageReadOnly), adapter.transaction():
        adapter.create_many(USER, [stored(n, userName=n) for n in "cd"])
        adapter.delete(USER, "a")

    assert content_of(folder) == before
    assert ids(adapter, "userName pr") == ["a", "b"]
    assert [m.resource_id for m in members_of(adapter, "g")] == ["a"]
    adapter.create(USER, stored("c", userName="c"))
    adapter.replace(USER, stored("b", userName="b", title="new"))
    assert written(folder / "Users" / "b")["title"] == "new"


@pytest.mark.parametrize("left", [0, 4096, 60_000, 200_000, 400_000])
def test_a_full_disk_refuses_and_loses_nothing(small_disk: Path, opened: Open, left: int) -> None:
    adapter = opened(small_disk)
    fill(adapter)
    filler = small_disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass
    os.truncate(filler, filler.stat().st_size - left)

    acknowledged = set()
    for number in range(20):
        name = f"n{number}"
        with suppress(StorageUnavailable):
            adapter.create(USER, stored(name, userName=name, nickName="n" * 3000 * number))
            acknowledged.add(name)
        with suppress(StorageUnavailable), adapter.transaction():
            for one in "ab":
                adapter.replace(USER, stored(one, userName=one, title=f"t{number}", nickName="n" * 9000))
    filler.unlink()

    assert len(acknowledged) < 20
    assert set(ids(adapter, "userName pr")) == acknowledged | {"a", "b"}
    assert {path.name for path in (small_disk / "Users").iterdir()} == acknowledged | {"a", "b"}
    assert len({adapter.get(USER, one).document["title"] for one in "ab"}) == 1
    adapter.replace(USER, stored("a", userName="a", title="u"))
    assert ids(adapter, 'title eq "u"') == ["a"]
    assert not is_pending(small_disk)


@pytest.mark.parametrize("left", [0, 4096, 60_000, 200_000])
def test_a_full_disk_is_read_also_after_a_restart(small_disk: Path, opened: Open, left: int) -> None:
    before = opened(small_disk)
    fill(before)
    before.close()
    for path in small_disk.glob(".index-*"):
        path.unlink()
    filler = small_disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(b"x" * 4096):
            pass
    os.truncate(filler, filler.stat().st_size - left)

    adapter = opened(small_disk)

    adapter.check()
    assert ids(adapter, "userName pr") == ["a", "b"]
    assert adapter.get(USER, "a").document["title"] == "t"
    if not left:
        with pytest.raises(StorageUnavailable):
            adapter.check_writable()
        with pytest.raises(StorageUnavailable):
            adapter.create(USER, stored("c", userName="c"))
        assert ids(adapter, "userName pr") == ["a", "b"]
    filler.unlink()
    adapter.check_writable()
    adapter.create(USER, stored("c", userName="c"))
    assert ids(adapter, "userName pr") == ["a", "b", "c"]


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that others can come to; pytest keeps its own to itself."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name) / "data"


def test_a_user_without_rights_can_read_and_not_write(public_folder: Path, opened: Open) -> None:
    if os.geteuid():
        pytest.skip("only root can become somebody else")
    folder = public_folder
    fill(opened(folder))
    before = content_of(folder)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    (folder / "Users" / "b").chmod(0o600)

    def as_nobody() -> None:
        os.setuid(65534)
        adapter = open_files(folder)
        assert ids(adapter, "userName pr") == ["a"]
        adapter.check()
        for write_it in [*WRITES[:1], *WRITES[2:4], lambda adapter: adapter.check_writable()]:
            with pytest.raises((StorageUnavailable, ResourceNotFound)) as caught:
                write_it(adapter)
            if isinstance(caught.value, StorageUnavailable):
                assert f"run chown -R 65534 {folder}" in str(caught.value)
        adapter.close()

    assert os.waitpid(in_child(as_nobody), 0)[1] == 0
    assert content_of(folder) == before


def test_a_file_in_place_of_a_folder_is_an_error_of_the_storage(folder: Path) -> None:
    folder.mkdir()
    (folder / "Users").write_text("in the way")

    with pytest.raises(StorageError):
        open_files(folder)


def test_a_folder_in_place_of_a_file_is_no_resource_and_stays(
    adapter: StorageAdapter, folder: Path
) -> None:
    (folder / "Users" / "1").mkdir()

    with pytest.raises(StorageError):
        adapter.create(USER, stored("1", userName="a"))
    with pytest.raises(ResourceNotFound):
        adapter.get(USER, "1")
    adapter.create(USER, stored("2", userName="a"))


def test_clients_are_told_of_a_read_only_folder_with_a_403(
    folder: Path, read_only: ReadOnly, caplog: pytest.LogCaptureFixture
) -> None:
    app = create_app(Settings.from_env({"API_KEY": KEY, "LOGLEVEL": "ERROR", "DATA_PATH": str(folder)}))
    scim = ScimClient(app.test_client())
    user = scim.user("a")

    with read_only(folder):
        assert str(folder) not in error_of(scim("POST", "/Users", {"userName": "b"}), 403)
        assert str(folder) in caplog.text
        assert error_of(scim("PUT", f"/Users/{user['id']}", {"userName": "b"}), 403)
        assert error_of(scim("DELETE", f"/Users/{user['id']}"), 403)
        assert scim.names('userName eq "A"') == ["a"]

    assert scim("DELETE", f"/Users/{user['id']}").status_code == 204
    app.extensions["scim.storage"].close()


def test_clients_are_told_of_a_folder_that_is_gone_with_a_503(folder: Path, tmp_path: Path) -> None:
    app = create_app(Settings.from_env({"API_KEY": KEY, "LOGLEVEL": "ERROR", "DATA_PATH": str(folder)}))
    scim = ScimClient(app.test_client())
    user = scim.user("a")
    folder.rename(tmp_path / "aside")

    assert error_of(scim("GET", f"/Users/{user['id']}"), 503)
    assert error_of(scim("POST", "/Users", {"userName": "b"}), 503)
    (tmp_path / "aside").rename(folder)

    assert scim("GET", f"/Users/{user['id']}").json == user
    app.extensions["scim.storage"].close()
