"""A way to a server that is cut, or slow, when a client has sent a certain thing."""

import socket
import threading
import time
from contextlib import suppress


class CuttingProxy:
    """Carries bytes between clients and the server at `port`.

    The first time that a client sends `fatal` (None for never), it gets no answer: the server gets the
    request and answers, or, with `is_lost`, does not get it; then the connection is cut. `slow` makes
    the server get what contains it `delay_s` seconds later.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self.fatal: bytes | None = None
        self._armed_by: bytes | None = None
        self._next_fatal: bytes | None = None
        self.is_lost = False
        self.slow: bytes | None = None
        self.delay_s = 0.0
        self.cuts = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def arm(self, by: bytes, fatal: bytes) -> None:
        """Let `fatal` be fatal once a client has sent `by`."""
        self._armed_by, self._next_fatal = by, fatal

    def close(self) -> None:
        """Take no more connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
            except OSError:
                return
            threading.Thread(target=self._carry, args=(client, server), daemon=True).start()

    def _carry(self, client: socket.socket, server: socket.socket) -> None:
        is_cut, is_answered = threading.Event(), threading.Event()
        back = threading.Thread(target=_pump, args=(server, client, is_cut, is_answered), daemon=True)
        try:
            back.start()
            while data := client.recv(1 << 16):
                if self._armed_by is not None and self._armed_by in data:
                    self._armed_by, self.fatal = None, self._next_fatal
                if self.fatal is not None and self.fatal in data:
                    self.fatal, is_lost = None, self.is_lost
                    self.cuts += 1
                    is_cut.set()
                    if not is_lost:
                        server.sendall(data)
                        is_answered.wait(10)
                    return
                if self.slow is not None and self.slow in data:
                    time.sleep(self.delay_s)
                server.sendall(data)
        except OSError:
            pass
        finally:
            for end in (client, server):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()


def _pump(
    source: socket.socket, target: socket.socket, is_cut: threading.Event, is_answered: threading.Event
) -> None:
    """Carry answers; of a connection that is to be cut, note that there is one."""
    with suppress(OSError):
        while data := source.recv(1 << 16):
            if is_cut.is_set():
                is_answered.set()
            else:
                with suppress(OSError):
                    target.sendall(data)
    is_answered.set()
    with suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
