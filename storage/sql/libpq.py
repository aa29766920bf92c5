"""Statements through the protocol of PostgreSQL: several at once, prepared when they come often.

Cursors of psycopg send one at a time, take more than twice the CPU, and forget all that is prepared
whenever a transaction is undone: tables might be gone then, but ours are not.
"""

import re
import select
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from itertools import count
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import pq
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result

from storage.index.statements import ByValue, Row

# Types of parameters. The server finds out what a text, an array or NULL is to be.
_UNKNOWN, _BOOLEAN, _BIGINT, _INTEGER, _NUMERIC = 0, 16, 20, 23, 1700
_MOST_INTEGER, _MOST_BIGINT = 2**31, 2**63
_MARK: Final = re.compile(r"\?")
_SPECIAL: Final = re.compile(r'([\\"])')
_ESCAPED: Final = r"\\\1"
# How many statements a connection remembers.
_MOST_KNOWN: Final = 200
# A prepared statement that looks up keys is planned once, along the keys: a plan that was made for small
# tables, or without statistics, stays good while they grow.
_BY_KEY: Final = (
    b"SELECT set_config('plan_cache_mode', 'force_generic_plan', false), "
    b"set_config('enable_seqscan', 'off', false), set_config('enable_hashjoin', 'off', false), "
    b"set_config('enable_mergejoin', 'off', false)"
)
# Every other statement is planned each time, for its values.
_BY_VALUE: Final = (
    _BY_KEY.replace(b"'off'", b"'on'").replace(b"force_generic_plan", b"force_custom_plan")
)
_DONE: Final = (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)


class Bound(NamedTuple):
    """A statement and its parameters; without any (None) it is not worth to be prepared.

    `is_by_value` says that the best plan depends on the parameters.
    """

    text: bytes
    cells: Sequence[bytes | None] | None
    types: tuple[int, ...]
    is_by_value: bool = False


class Answer:
    """What the server has answered to a statement, as a cursor would show it."""

    def __init__(self, transformer: Any, result: Any) -> None:
        self._transformer = transformer
        self._result = result

    @property
    def rowcount(self) -> int:
        """How many rows were found or written."""
        return int(self._result.command_tuples or 0)

    def fetchall(self) -> list[Any]:
        """Return every row."""
        self._transformer.set_pgresult(self._result)
        rows: list[Any] = self._transformer.load_rows(0, self._result.ntuples, tuple)
        return rows

    def fetchone(self) -> Any:
        """Return the first row, or None."""
        return next(iter(self.fetchall()), None)


class Session:
    """How statements go over one connection, and which of them are prepared there.

    A statement is prepared when it comes once more than the connection's `prepare_threshold`. With None
    no statement is, for poolers that give each transaction another session.
    """

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self._connection = connection
        self._server: Any = connection.pgconn
        self._transformer = Transformer(connection)
        self._threshold = connection.prepare_threshold
        self._numbers = count()
        # How often each statement came, or its name once it is prepared; the latest is last.
        self._known: OrderedDict[tuple[bytes, tuple[int, ...]], int | bytes] = OrderedDict()
        # The last of the two settings above; None is unknown.
        self._plans: bytes | None = None
        # How many plans by key were used.
        self._uses = 0
        self._readable = select.poll()
        self._readable.register(self._server.socket, select.POLLIN)

    def run(self, statements: Sequence[Bound]) -> list[Answer]:
        """Send statements together and return the answer to each. Raises psycopg.Error.

        Statements behind one that fails are not run.
        """
        new: list[Bound] = []
        # Each with whether somebody waits for its answer.
        calls = [call for one in statements for call in self._calls(one, new)]
        try:
            results = self._results([send for send, _ in calls])
        except KeyboardInterrupt:
            # The server would go on. The connection is closed, because an answer is missing.
            self._connection.cancel()
            raise
        except psycopg.Error:
            for one in new:
                # The server may have prepared it, under a name that does not come again.
                self._known.pop((one.text, one.types), None)
            self._plans = None
            raise
        asked = (result for result, (_, is_asked) in zip(results, calls, strict=True) if is_asked)
        return [Answer(self._transformer, result) for result in asked]

    # -- sending

    def _calls(self, one: Bound, new: list[Bound]) -> Iterator[tuple[Callable[[], None], bool]]:
        """Yield what sends a statement, and what prepares it before, which makes it one of the `new`."""
        server, (text, cells, types, is_by_value) = self._server, one
        if cells is None or self._threshold is None:
            if text.startswith(b"ROLLBACK"):
                # It undoes settings too.
                self._plans = None
            yield partial(server.send_query_params, text, cells, types), True
            return
        known = self._known.pop((text, types), 0)
        if known == self._threshold:
            known = b"scim%d" % next(self._numbers)
            new.append(one)
            yield partial(server.send_prepare, known, text, types), False
        # A statement that comes rarely, such as one of a migration, may join whole tables, and one without
        # parameters may count a whole table.
        is_by_key = cells and not is_by_value and isinstance(known, bytes)
        yield from self._planned(_BY_KEY if is_by_key else _BY_VALUE)
        if isinstance(known, int):
            self._known[text, types] = known + 1
            yield partial(server.send_query_params, text, cells, types), True
        else:
            self._known[text, types] = known
            yield partial(server.send_query_prepared, known, cells), True
        if len(self._known) > _MOST_KNOWN:
            _, oldest = self._known.popitem(last=False)
            if isinstance(oldest, bytes):
                yield partial(server.send_query_params, b"DEALLOCATE " + oldest, None), False

    def _planned(self, plans: bytes) -> Iterator[tuple[Callable[[], None], bool]]:
        """Yield what makes the server plan the next statement so."""
        if plans != self._plans:
            self._plans = plans
            yield partial(self._server.send_query_params, plans, None), False
        if plans == _BY_KEY:
            self._uses += 1
            # Every time the number of uses doubles: the tables may have grown as much.
            if self._uses & (self._uses - 1) == 0:
                yield partial(self._server.send_query_params, b"DISCARD PLANS", None), False

    def _results(self, calls: Sequence[Callable[[], None]]) -> list[Any]:
        """Return the result of each call. Raises what is wrong with the first that has failed."""
        server, is_pipeline = self._server, len(calls) > 1
        if is_pipeline:
            server.enter_pipeline_mode()
        for call in calls:
            call()
        if is_pipeline:
            server.pipeline_sync()
        self._flush()
        results = [*self._received(is_pipeline)]
        if is_pipeline and server.status != pq.ConnStatus.BAD:
            server.exit_pipeline_mode()
        for result in results:
            if result.status not in _DONE:
                raise error_from_result(result)
        if len(results) != len(calls):
            raise psycopg.OperationalError("the connection was lost")
        return results

    def _flush(self) -> None:
        """Send what is left to send; the server may have to be read from meanwhile."""
        server = self._server
        if not server.flush():
            return
        both = select.poll()
        both.register(server.socket, select.POLLIN | select.POLLOUT)
        while server.flush():
            if any(event & select.POLLIN for _, event in both.poll()):
                server.consume_input()

    def _received(self, is_pipeline: bool) -> Iterator[Any]:
        server = self._server
        while True:
            while server.is_busy():
                self._readable.poll()
                server.consume_input()
            result = server.get_result()
            if result is None:
                # In a pipeline, this stands between two statements.
                if not is_pipeline or server.status == pq.ConnStatus.BAD:
                    return
            elif result.status == pq.ExecStatus.PIPELINE_SYNC:
                return
            else:
                yield result


def bound(statement: str, params: Row | None) -> Bound:
    """Return a statement with `?` for parameters as it is sent. Raises psycopg.DataError."""
    if params is None:
        return Bound(statement.encode(), None, ())
    cells: list[bytes | None] = []
    types: list[int] = []
    for value in params:
        # Most are texts.
        cell, kind = (_text(value), _UNKNOWN) if value.__class__ is str else _encoded(value)
        cells.append(cell)
        types.append(kind)
    return Bound(_numbered(statement), cells, tuple(types), isinstance(statement, ByValue))


@lru_cache(maxsize=1024)
def _numbered(statement: str) -> bytes:
    numbers = count(1)
    return _MARK.sub(lambda _: f"${next(numbers)}", statement).encode()


def _encoded(value: Any) -> tuple[bytes | None, int]:
    """Return a parameter as text, and the number of its type."""
    if isinstance(value, str):
        return _text(value), _UNKNOWN
    if value is None:
        return None, _UNKNOWN
    if isinstance(value, bool):
        return (b"t" if value else b"f"), _BOOLEAN
    if isinstance(value, int):
        kind = _INTEGER if -_MOST_INTEGER <= value < _MOST_INTEGER else _BIGINT
        return b"%d" % value, kind if -_MOST_BIGINT <= value < _MOST_BIGINT else _NUMERIC
    if isinstance(value, list):
        return _text(_array(value)), _UNKNOWN
    raise TypeError(f"a parameter cannot be a {type(value).__name__}")


def _text(value: str) -> bytes:
    if "\0" in value:
        raise psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    return value.encode()


def _array(values: list[str | int | None]) -> str:
    kinds = {type(value) for value in values}
    if kinds == {int}:
        return f"{{{','.join(map(str, values))}}}"
    if kinds == {str}:
        inner = '","'.join(values)  # type: ignore[arg-type]
        # Nothing but what stands between the values is to be escaped.
        if "\\" not in inner and inner.count('"') == 2 * (len(values) - 1):
            return f'{{"{inner}"}}'
    return "{%s}" % ",".join(["NULL" if v is None else f'"{_SPECIAL.sub(_ESCAPED, str(v))}"' for v in values])
