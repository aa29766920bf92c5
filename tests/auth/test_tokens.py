"""Named tokens in one process: what the cache knows, asks and refuses, on a real database."""

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from app.auth.token_table import NewToken, NoToken, TakenName, TokenTable
from app.auth.token_text import digest_of, new_token
from app.auth.tokens import GRACE_S, REFRESH_S, NamedTokens
from app.auth.uses import Uses
from app.protocol.audit_log import AuditLog
from app.protocol.context import SCOPES
from app.protocol.errors import InvalidToken
from set_delivery.clock import now_ms
from storage.errors import StorageUnavailable
from storage.index.database import Database
from storage.sql.opening import open_database

NEW = NewToken("hr", SCOPES, "default")
DAY_MS = 86_400_000


class Counted:
    """A state database that collects its statements."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.statements: list[str] = []

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._database, name)
        if name not in ("row", "rows", "run"):
            return found

        def counted(statement: str, *params: Any) -> Any:
            self.statements.append(statement)
            return found(statement, *params)

        return counted

    def new(self) -> list[str]:
        """Return the statements since the last call."""
        found, self.statements = self.statements, []
        return found


@dataclass
class Tokens:
    """The tokens of a state database, with a clock that the test moves."""

    folder: Path
    database: Any = field(init=False)
    table: TokenTable = field(init=False)
    now_s: float = 1000.0
    passed_ms: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.database = Counted(open_database(f"sqlite:///{self.folder}/state.db"))
        self.table = TokenTable(self.database, AuditLog(None))
        self.named = self.process()

    def process(self) -> NamedTokens:
        """Return what another process knows."""
        self.uses = Uses(self.table.write_uses, self.database.close)
        table = TokenTable(self.database, AuditLog(None))
        return NamedTokens(table, self.uses, lambda: self.now_s, lambda: now_ms() + self.passed_ms)

    def create(self, new: NewToken = NEW) -> str:
        text = new_token()
        self.table.create(new, text)
        return text

    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds
        self.passed_ms += int(seconds * 1000)

    def break_down(self) -> None:
        """Take the database away."""
        self.database.close()
        self.folder.rename(self.folder.with_name("aside"))
        # No folder can be made here.
        self.folder.write_text("")

    def come_back(self) -> None:
        self.database.close()
        self.folder.unlink()
        self.folder.with_name("aside").rename(self.folder)


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[Tokens]:
    made = Tokens(tmp_path / "state")
    yield made
    made.database.close()


# -- which tokens are known


def test_a_token_names_its_principal(tokens: Tokens) -> None:
    text = tokens.create(NewToken("hr", frozenset({"scim.read:User"}), "strict", "4711"))

    known = tokens.named.known(text)

    assert known is not None
    assert re.fullmatch("token hr [0-9a-f]{8}", known.principal.id)
    assert known.principal.name == "hr"
    assert known.principal.kind == "token"
    assert known.principal.scopes == {"scim.read:User"}
    assert known.principal.user == "4711"
    assert known.principal.credential == f"hr {digest_of(text)[:8]}"
    assert known.profile == "strict"


def test_a_text_of_another_form_is_left_to_other_kinds(tokens: Tokens) -> None:
    wrong = new_token()[:-1] + "!"

    assert tokens.named.known("secret") is None
    assert tokens.named.known(wrong) is None
    assert tokens.named.known("scim_\u00e9") is None
    assert tokens.database.new() == []


def test_before_the_first_token_none_is_valid(tokens: Tokens) -> None:
    with pytest.raises(InvalidToken, match="unknown"):
        tokens.named.known(new_token())
    assert tokens.table.tokens() == []
    with pytest.raises(NoToken):
        tokens.table.revoke("hr")


def test_a_token_is_valid_at_once_where_others_are_known(tokens: Tokens) -> None:
    tokens.named.known(tokens.create())

    assert tokens.named.known(tokens.create(NewToken("other", SCOPES, "default"))) is not None


def test_a_name_is_taken_until_its_token_is_revoked(tokens: Tokens) -> None:
    first = tokens.create()
    with pytest.raises(TakenName):
        tokens.create()
    assert tokens.named.known(first) is not None

    tokens.table.revoke("hr")
    second = tokens.create()

    old, new = tokens.table.tokens()
    assert (old.revoked_at is None, new.revoked_at is None) == (False, True)
    assert old.id != new.id
    assert tokens.named.known(second) is not None


def test_only_one_of_many_processes_stores_the_first_token(tokens: Tokens) -> None:
    stored = []
    texts = [new_token() for _ in range(4)]
    together = threading.Barrier(len(texts))

    def start(text: str) -> None:
        together.wait()
        stored.append(TokenTable(tokens.database, AuditLog(None)).create_first(NEW, text))
        tokens.database.close()

    threads = [threading.Thread(target=start, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(stored) == [False, False, False, True]
    assert len(tokens.table.tokens()) == 1


def test_a_revoked_first_token_does_not_come_back(tokens: Tokens) -> None:
    text = new_token()
    assert tokens.table.create_first(NEW, text)
    tokens.table.revoke("hr")

    assert not tokens.table.create_first(NEW, text)
    with pytest.raises(InvalidToken, match="revoked"):
        tokens.named.known(text)


# -- the end of a token


def test_a_revoked_token_is_refused_after_the_next_look(tokens: Tokens) -> None:
    text, other = tokens.create(), tokens.process()
    assert tokens.named.known(text) == other.known(text) is not None

    tokens.table.revoke("hr")
    tokens.pass_time(REFRESH_S)

    for process in (tokens.named, other):
        with pytest.raises(InvalidToken, match="revoked"):
            process.known(text)


def test_a_token_expires_in_the_cache_too(tokens: Tokens) -> None:
    text = tokens.create(NewToken("hr", SCOPES, "default", expires_at=now_ms() + DAY_MS))
    assert tokens.named.known(text) is not None

    tokens.passed_ms = DAY_MS
    with pytest.raises(InvalidToken, match="expired"):
        tokens.named.known(text)

    tokens.table.rotate("hr", new_token(), DAY_MS, now_ms() + 2 * DAY_MS)
    tokens.pass_time(REFRESH_S)
    tokens.passed_ms -= 60_000
    assert tokens.named.known(text) is not None


def test_old_and_new_are_valid_for_an_overlap(tokens: Tokens) -> None:
    old, new = tokens.create(), new_token()
    before = tokens.named.known(old)
    tokens.table.rotate("hr", new, DAY_MS)

    after = tokens.named.known(new)
    assert before is not None and after is not None
    assert after.principal.id == before.principal.id
    assert after.principal.credential != before.principal.credential
    tokens.pass_time(REFRESH_S)
    assert tokens.named.known(old) is not None

    tokens.passed_ms += DAY_MS
    with pytest.raises(InvalidToken, match="replaced"):
        tokens.named.known(old)
    assert tokens.named.known(new) is not None


def test_a_second_rotation_does_not_lengthen_the_first(tokens: Tokens) -> None:
    oldest = tokens.create()
    tokens.table.rotate("hr", new_token(), 0)
    tokens.table.rotate("hr", new_token(), DAY_MS)

    with pytest.raises(InvalidToken, match="replaced"):
        tokens.named.known(oldest)
    ends = [secret.ends_at for secret in tokens.table.tokens()[0].secrets]
    assert ends.count(None) == 1 and len(ends) == 3


def test_every_secret_ends_with_its_token(tokens: Tokens) -> None:
    texts = [tokens.create(), new_token()]
    tokens.table.rotate("hr", texts[1], DAY_MS)
    tokens.table.revoke("hr")

    for text in texts:
        with pytest.raises(InvalidToken, match="revoked"):
            tokens.named.known(text)


# -- what it costs


def test_a_known_token_costs_no_statement_but_one_every_two_seconds(tokens: Tokens) -> None:
    text = tokens.create()
    tokens.named.known(text)
    assert len(tokens.database.new()) > 0

    for _ in range(100):
        tokens.named.known(text)
    assert tokens.database.new() == []

    tokens.pass_time(REFRESH_S)
    for _ in range(100):
        tokens.named.known(text)
    assert tokens.database.new() == ["SELECT number FROM scim_token_change"]


def test_a_refused_token_fills_no_cache(tokens: Tokens) -> None:
    tokens.create()

    for _ in range(10):
        with pytest.raises(InvalidToken):
            tokens.named.known(new_token())

    assert len(tokens.named._valid) == 0


# -- without the database


def test_without_the_database_known_tokens_go_on_for_a_while(tokens: Tokens) -> None:
    text, unknown = tokens.create(), new_token()
    tokens.named.known(text)
    tokens.break_down()

    tokens.pass_time(GRACE_S - REFRESH_S)
    assert tokens.named.known(text) is not None
    with pytest.raises(StorageUnavailable):
        tokens.named.known(unknown)
    assert tokens.named.known(text) is not None

    tokens.pass_time(REFRESH_S)
    with pytest.raises(StorageUnavailable):
        tokens.named.known(text)

    tokens.come_back()
    assert tokens.named.known(text) is not None


def test_a_process_that_starts_without_the_database_knows_nothing(tokens: Tokens) -> None:
    text = tokens.create()
    tokens.break_down()

    with pytest.raises(StorageUnavailable):
        tokens.process().known(text)
    tokens.come_back()


def test_a_token_that_is_revoked_while_a_thread_reads_it_does_not_stay(tokens: Tokens) -> None:
    """The row is read before the revocation, and kept after the look that finds the revocation."""
    text = tokens.create()
    has_read, go_on = threading.Event(), threading.Event()
    find = tokens.named._table.find

    def slow(digest: str) -> object:
        found = find(digest)
        has_read.set()
        assert go_on.wait(30)
        return found

    tokens.named._table.find = slow  # type: ignore[method-assign,assignment]

    def ask() -> None:
        tokens.named.known(text)
        tokens.database.close()

    reader = threading.Thread(target=ask)
    reader.start()
    assert has_read.wait(30)
    tokens.table.revoke("hr")
    go_on.set()
    reader.join()

    tokens.pass_time(REFRESH_S)
    with pytest.raises(InvalidToken, match="revoked"):
        tokens.named.known(text)


# -- the last use


def test_the_last_use_is_written_beside_the_requests(tokens: Tokens) -> None:
    text = tokens.create()
    tokens.named.known(text)
    assert not any("last_used_at =" in statement for statement in tokens.database.new())
    assert tokens.table.tokens()[0].last_used_at is None

    before = now_ms()
    tokens.named.known(text)
    tokens.uses.write()

    last = tokens.table.tokens()[0].last_used_at
    assert last is not None and before <= last <= now_ms()


def test_an_earlier_use_of_another_process_changes_nothing(tokens: Tokens) -> None:
    digest = digest_of(tokens.create())

    for at in (2000, 1000, 3000, 2500):
        tokens.table.write_uses({digest: at})

    assert tokens.table.tokens()[0].last_used_at == 3000


def test_the_last_use_waits_for_no_database(tokens: Tokens, caplog: pytest.LogCaptureFixture) -> None:
    text = tokens.create()
    tokens.named.known(text)
    tokens.break_down()

    tokens.uses.write()

    assert "the last use of tokens cannot be written" in caplog.text
    tokens.come_back()


def test_the_timer_writes_uses_and_closes_its_connection() -> None:
    written: list[dict[str, int]] = []
    closed = threading.Event()
    uses = Uses(lambda noted: written.append(dict(noted)), closed.set, write_s=0.0)

    uses.note("a", 1)
    assert closed.wait(30)
    closed.clear()
    uses.note("b", 2)
    assert closed.wait(30)

    assert {digest: at for batch in written for digest, at in batch.items()} == {"a": 1, "b": 2}


# -- nothing secret is stored or shown


def test_the_secret_is_nowhere_in_the_database_nor_in_a_repr(tokens: Tokens) -> None:
    text = tokens.create()
    tokens.named.known(text)
    tokens.uses.write()
    tokens.database.close()

    files = [path.read_bytes() for path in tokens.folder.iterdir()]
    assert files and not any(text.encode() in content or text[5:45].encode() in content for content in files)
    shown = repr(tokens.table.tokens()) + repr(vars(tokens.named)) + repr(tokens.named.known(text))
    assert text not in shown and text[5:45] not in shown
