"""One connection: start-up, authentication, then requests, as a server of release 5.0.2 answers them."""

import base64
import hashlib
import secrets
import socket
import ssl
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from tests.fake_irods import wire
from tests.fake_irods.catalog import Account, Catalog
from tests.fake_irods.data import Refused
from tests.fake_irods.genquery import Query
from tests.fake_irods.mischief import Mischief

_PAGE = 500
_AUTHENTICATION = 110000
_SERVER_INFO = 700
_LENGTH = 50


class Agent:
    """Serves one connection until it ends."""

    def __init__(
        self, connection: socket.socket, catalog: Catalog, mischief: Mischief, tls: ssl.SSLContext | None
    ) -> None:
        self._connection = connection
        self._catalog = catalog
        self._mischief = mischief
        self._tls = tls
        self._user = ""
        self._password = ""
        self._signature = ""
        self._challenge = ""
        self._temporary = ""
        self._is_admin = False
        self._open: dict[int, tuple[Query, list[tuple[str, ...]]]] = {}
        self._poisoned = False
        self._calls: dict[int, Callable[[wire.Message], bytes]] = {
            _AUTHENTICATION: self._authenticate,
            _SERVER_INFO: self._describe,
            701: self._administer,
            702: self._query,
            706: self._change_metadata,
            20002: self._change_metadata_at_once,
            707: self._change_access,
            681: self._make_collection,
            627: self._rename,
        }

    def serve(self) -> None:
        """Answer until the client goes, or the test wants otherwise."""
        try:
            self._mischief.on_connect(self._connection)
            if not self._start():
                return
            while (message := wire.receive(self._connection)) is not None:
                if message.kind == "RODS_DISCONNECT":
                    return
                self._mischief.before(message.number, self._connection)
                answer = self._answer(message)
                self._mischief.after(message.number, self._connection)
                self._connection.sendall(answer)
        except (OSError, ElementTree.ParseError):
            return
        finally:
            self._connection.close()

    def _start(self) -> bool:
        message = wire.receive(self._connection)
        if message is None or message.kind != "RODS_CONNECT":
            return False
        negotiates = message.texts("option")[0].endswith("request_server_negotiation")
        if self._tls and not negotiates:
            return False
        if negotiates:
            policy = "CS_NEG_REQUIRE" if self._tls else "CS_NEG_REFUSE"
            offer = f"<CS_NEG_PI><status>0</status><result>{policy}</result></CS_NEG_PI>"
            self._connection.sendall(wire.frame("RODS_CS_NEG_T", offer))
            answer = wire.receive(self._connection)
            if answer is None or "FAILURE" in answer.texts("result")[0]:
                return False
        self._connection.sendall(wire.version("5.0.2"))
        if self._tls:
            self._connection = self._tls.wrap_socket(self._connection, server_side=True)
            for _ in range(2):
                wire.receive(self._connection)
        return True

    def _answer(self, message: wire.Message) -> bytes:
        if "unusedAVUs" in message.text:
            self._mischief.purges += 1
        else:
            self._mischief.requests.append(message.number)
        call = self._calls.get(message.number)
        try:
            if call is None:
                raise Refused(-1000000)
            if message.number not in (_AUTHENTICATION, _SERVER_INFO) and not self._user:
                raise Refused(-13000)
            return call(message)
        except Refused as refused:
            return wire.refusal(refused.code)

    # -- authentication

    def _authenticate(self, message: wire.Message) -> bytes:
        asked = message.json
        if asked["next_operation"] == "auth_agent_auth_request":
            if asked["scheme"] == "pam_password" and not self._temporary:
                return self._authenticate_pam(asked)
            self._challenge = secrets.token_hex(32)
            return wire.json_reply({**asked, "request_result": self._challenge})
        account = self._known(asked)
        passwords = [self._temporary] if self._temporary else [account.password]
        for password in passwords:
            if password and asked["digest"] == _digest(self._challenge, password):
                self._user, self._password = account.name, password
                self._is_admin = account.kind == "rodsadmin"
                self._signature = "".join(f"{c:02x}" for c in self._challenge.encode()[:16])
                return wire.json_reply(asked)
        raise Refused(-826000)

    def _authenticate_pam(self, asked: dict[str, Any]) -> bytes:
        account = self._known(asked)
        if not isinstance(self._connection, ssl.SSLSocket) or asked.get("a_pw") != account.password:
            raise Refused(-993000)
        self._temporary = secrets.token_hex(10)
        return wire.json_reply({**asked, "request_result": self._temporary})

    def _known(self, asked: dict[str, Any]) -> Account:
        """Return the account of a login; another zone is another one's account."""
        if asked["zone_name"] != self._catalog.zone:
            raise Refused(-826000)
        return self._catalog.account(asked["user_name"])

    def _describe(self, message: wire.Message) -> bytes:
        zone = f"<rodsZone>{self._catalog.zone}</rodsZone>"
        return wire.reply(f"<MiscSvrInfo_PI><serverType>1</serverType>{zone}</MiscSvrInfo_PI>")

    # -- accounts

    def _administer(self, message: wire.Message) -> bytes:
        if not self._is_admin:
            raise Refused(-13000)
        words = message.texts(*(f"arg{number}" for number in range(6)))
        match words[:2]:
            case ["add", "user"]:
                self._catalog.add(words[2], words[3])
            case ["add", "group"]:
                self._catalog.add(words[2], "rodsgroup")
            case ["rm", "user" | "group" as kind]:
                # Since release 4.3.2, each of them removes its own kind.
                if (self._catalog.account(words[2]).kind == "rodsgroup") != (kind == "group"):
                    raise Refused(-827000)
                self._catalog.remove(words[2])
            case ["rm", "unusedAVUs"]:
                self._catalog.purge()
            case ["modify", "user"] if words[3] == "password":
                self._catalog.set_password(words[2], words[4], self._password, self._signature)
            case ["modify", "group"] if words[3] == "add":
                self._catalog.join(words[2], words[4])
            case ["modify", "group"] if words[3] == "remove":
                self._catalog.leave(words[2], words[4])
            case _:
                raise Refused(-130000)
        return wire.reply()

    # -- queries

    def _query(self, message: wire.Message) -> bytes:
        names = ("maxRows", "continueInx", "options", "partialStartIndex")
        asked = dict(zip(names, map(int, message.texts(*names)), strict=True))
        continuation = asked["continueInx"]
        if continuation and asked["maxRows"] == 0:
            self._open.pop(continuation, None)
            return wire.rows_reply([], [], 0)
        if self._poisoned:
            # What a failed query leaves behind makes the next one fail too.
            raise Refused(-806000)
        if continuation:
            query, rows = self._open.pop(continuation)
        else:
            query, rows = self._run(message.text, asked["options"])
            rows = rows[asked["partialStartIndex"] :]
        size = min(asked["maxRows"] or _PAGE, _PAGE)
        page, rest = rows[:size], rows[size:]
        if not page:
            raise Refused(-808000)
        number = 0
        if rest:
            number = continuation or max(self._open, default=0) + 1
            self._open[number] = query, rest
        return wire.rows_reply(query.columns, page, number)

    def _run(self, text: str, options: int) -> tuple[Query, list[tuple[str, ...]]]:
        columns = _pairs(text, "InxIvalPair_PI", "ivalue")
        conditions = _pairs(text, "InxValPair_PI", "svalue")
        try:
            query = Query([(column, int(flag)) for column, flag in columns], conditions, options)
            rows = query.rows(self._catalog)
        except Refused:
            self._poisoned = True
            raise
        return query, rows

    # -- metadata

    def _change_metadata(self, message: wire.Message) -> bytes:
        operation, kind, name, *avu = message.texts(*(f"arg{number}" for number in range(6)))
        if kind != "-u" or operation not in ("add", "rm", "set"):
            raise Refused(-130000)
        self._require_admin()
        attribute, value, unit = avu
        changes = {
            "add": self._catalog.add_avu, "rm": self._catalog.remove_avu, "set": self._catalog.set_avu
        }
        changes[operation](name, (attribute, value, unit))
        return wire.reply()

    def _change_metadata_at_once(self, message: wire.Message) -> bytes:
        asked = message.json
        self._require_admin()
        operations = [
            (o["operation"].replace("remove", "rm"), (o["attribute"], o["value"], o.get("units", "")))
            for o in asked["operations"]
        ]
        self._catalog.change_avus(asked["entity_name"], operations)
        return wire.json_reply({})

    def _require_admin(self) -> None:
        if not self._is_admin:
            raise Refused(-830000)

    # -- data

    def _change_access(self, message: wire.Message) -> bytes:
        level, name, path, recursive = message.texts("accessLevel", "userName", "path", "recursiveFlag")
        if level != "admin:own":
            raise Refused(-130000)
        self._require_admin()
        self._catalog.account(name)
        self._catalog.own(path, name, recursive == "1")
        return wire.reply()

    def _make_collection(self, message: wire.Message) -> bytes:
        self._catalog.make_collection_as(self._user, message.texts("collName")[0])
        return wire.reply()

    def _rename(self, message: wire.Message) -> bytes:
        source, target = wire.every(message.text, "objPath")
        self._catalog.move(source, target, self._user)
        return wire.reply()


def _pairs(text: str, name: str, value: str) -> list[tuple[int, str]]:
    block = next(iter(wire.every(text, name)), "")
    return list(zip(map(int, wire.every(block, "inx")), wire.every(block, value), strict=True))


def _digest(challenge: str, password: str) -> str:
    padded = password.encode().ljust(_LENGTH, b"\0")[:_LENGTH]
    digest = hashlib.md5(challenge.encode() + padded).digest().replace(b"\0", b"\1")
    return base64.b64encode(digest).decode()
