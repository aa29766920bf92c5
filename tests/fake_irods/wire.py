"""The iRODS protocol as bytes: frames of a header, a message and an error, written as XML."""

import base64
import json
import re
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape, unescape


@dataclass(frozen=True)
class Message:
    """What a client sent: the type of the message, its number, and its content."""

    kind: str
    number: int
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def texts(self, *names: str) -> list[str]:
        """Return the text of each of the elements, empty for one that is not there."""
        return [next(iter(every(self.text, name)), "") for name in names]

    @property
    def json(self) -> Any:
        return json.loads(base64.b64decode(self.texts("buf")[0]).rstrip(b"\0"))


def every(text: str, name: str) -> list[str]:
    """Return the text of every element with that name, in order.

    Like the real server this takes characters that XML does not allow: obfuscated passwords have some.
    """
    found = re.findall(rf"<{name}>(.*?)</{name}>", text, re.DOTALL)
    return [unescape(content) if "<" not in content else content for content in found]


def receive(connection: socket.socket) -> Message | None:
    """Return the next message, or None when the client has gone."""
    size = _exactly(connection, 4)
    if size is None:
        return None
    header = _exactly(connection, struct.unpack(">i", size)[0])
    if header is None:
        return None
    root = ElementTree.fromstring(header)
    lengths = [int(root.findtext(name) or 0) for name in ("msgLen", "errorLen", "bsLen")]
    kind, number = root.findtext("type") or "", int(root.findtext("intInfo") or 0)
    if kind not in ("RODS_CONNECT", "RODS_API_REQ", "RODS_CS_NEG_T", "RODS_DISCONNECT", "SHARED_SECRET"):
        # The parameters of the encryption: lengths of other things.
        return Message(kind, number, b"")
    content = _exactly(connection, sum(lengths)) or b""
    return Message(kind, number, content[: lengths[0]])


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    content = b""
    while len(content) < size:
        try:
            part = connection.recv(size - len(content))
        except OSError:
            return None
        if not part:
            return None
        content += part
    return content


def frame(kind: str, body: str = "", number: int = 0, error: str = "") -> bytes:
    """Return a message as it is sent."""
    message, problem = body.encode(), error.encode()
    header = (
        f"<MsgHeader_PI><type>{kind}</type><msgLen>{len(message)}</msgLen>"
        f"<errorLen>{len(problem)}</errorLen><bsLen>0</bsLen><intInfo>{number}</intInfo></MsgHeader_PI>"
    ).encode()
    return struct.pack(">i", len(header)) + header + message + problem


def reply(body: str = "") -> bytes:
    return frame("RODS_API_REPLY", body)


def refusal(code: int) -> bytes:
    """Return the answer that tells of an error."""
    reason = f"<RErrMsg_PI><status>{code}</status><msg>refused</msg></RErrMsg_PI>"
    error = f"<RError_PI><count>1</count>{reason}</RError_PI>"
    return frame("RODS_API_REPLY", "", code, error)


def json_reply(content: Any) -> bytes:
    text = json.dumps(content).encode() + b"\0"
    buffer = base64.b64encode(text).decode()
    return reply(f"<BinBytesBuf_PI><buflen>{len(text)}</buflen><buf>{buffer}</buf></BinBytesBuf_PI>")


def rows_reply(columns: Sequence[int], rows: Sequence[Sequence[str]], continuation: int) -> bytes:
    """Return the answer to a query: a list of values for each column."""
    results = "".join(
        f"<SqlResult_PI><attriInx>{column}</attriInx><reslen>2701</reslen>"
        + "".join(f"<value>{escape(row[index])}</value>" for row in rows)
        + "</SqlResult_PI>"
        for index, column in enumerate(columns)
    )
    return reply(
        f"<GenQueryOut_PI><rowCnt>{len(rows)}</rowCnt><attriCnt>{len(columns)}</attriCnt>"
        f"<continueInx>{continuation}</continueInx><totalRowCount>0</totalRowCount>{results}</GenQueryOut_PI>"
    )


def version(release: str) -> bytes:
    return frame(
        "RODS_VERSION",
        f"<Version_PI><status>0</status><relVersion>rods{release}</relVersion><apiVersion>d</apiVersion>"
        "<reconnPort>0</reconnPort><reconnAddr></reconnAddr><cookie>400</cookie></Version_PI>",
    )
