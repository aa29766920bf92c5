"""The nginx configuration that is shipped, run by nginx in front of the shipped server."""

import json
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import KEY, Server, error_of
from tests.ports import free_port
from tests.servers import ServerProcess, program
from tests.web_servers import wait_for

SHIPPED = Path(__file__).parents[2] / "deploy" / "nginx"
DOCS = Path(__file__).parents[2] / "docs" / "how-to"


class Nginx(ServerProcess):
    """nginx with the shipped files; `changes` are what an operator edits in scim.conf, old and new."""

    def __init__(self, upstream_port: int, *changes: tuple[str, str]) -> None:
        super().__init__("www-data")
        nginx = program("nginx", "/usr/sbin/nginx")
        self.make_certificates()
        here = [("8443", str(self.port)), ("/etc/nginx/tls", str(self.folder)), ("/var/log/nginx/", "")]
        site = (SHIPPED / "scim.conf").read_text()
        for old, new in [*here, *changes]:
            assert old in site
            site = site.replace(old, new)
        upstream = (SHIPPED / "upstream.conf").read_text().replace("8000", str(upstream_port))
        folders = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"{name}_temp_path {self.folder}/{name};" for name in folders)
        (self.folder / "nginx.conf").write_text(
            f"daemon off; pid {self.folder}/pid; error_log {self.folder}/error.log; events {{}}\n"
            f"http {{ {temporary}\n{site}\n{upstream} }}"
        )
        configuration = str(self.folder / "nginx.conf")
        self.url = f"https://127.0.0.1:{self.port}"
        self.start([nginx, "-p", str(self.folder), "-c", configuration, "-e", "error.log"], self._ask)

    def make_certificates(self) -> None:
        """Write a key and a certificate for nginx, and for a client."""
        for name in ("tls", "client"):
            key, certificate = (str(self.folder / f"{name}.{kind}") for kind in ("key", "crt"))
            subject = ("-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1")
            self.run(
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
                *(*subject, "-keyout", key, "-out", certificate),
            )

    def _ask(self) -> None:
        with closing(socket.create_connection(("127.0.0.1", self.port), 5)):
            pass

    def __call__(self, method: str, path: str, **options: Any) -> requests.Response:
        headers = {"Authorization": f"Bearer {KEY}"} | options.pop("headers", {})
        trusted = str(self.folder / "tls.crt")
        url = self.url + path
        return requests.request(method, url, headers=headers, verify=trusted, timeout=30, **options)


@pytest.fixture
def start_nginx() -> Iterator[Callable[..., Nginx]]:
    started: list[Nginx] = []

    def start(port: int, *changes: tuple[str, str]) -> Nginx:
        started.append(Nginx(port, *changes))
        return started[-1]

    yield start
    for one in started:
        one.remove()


@pytest.mark.sqlite
def test_a_session_through_nginx(
    serve: Callable[..., Server], start_nginx: Callable[..., Nginx]
) -> None:
    server = serve(WORKERS="1", LOGLEVEL="ERROR", SET_POLL_ENABLED="true", SET_POLL_WAIT="1")
    nginx = start_nginx(server.port)

    created = nginx("POST", "/Users", json={"userName": "anna"})
    read = nginx("GET", created.json()["meta"]["location"])
    polled = nginx("POST", "/Events/Feeds/default/Stream", json={"returnImmediately": False})
    large = {"userName": "x", "displayName": "x" * 1_500_000}

    assert created.status_code == 201
    assert read.json()["userName"] == "anna"
    assert len(polled.json()["sets"]) == 1
    # The server says so itself: the body reached it.
    assert "1048576" in error_of(nginx("POST", "/Users", json=large), 413, "tooLarge")


@pytest.mark.sqlite
def test_a_reader_of_events_gets_the_answer_when_its_event_comes(
    serve: Callable[..., Server], start_nginx: Callable[..., Nginx]
) -> None:
    server = serve(WORKERS="1", LOGLEVEL="ERROR", SET_POLL_ENABLED="true", SET_POLL_WAIT="20")
    nginx = start_nginx(server.port)
    answers: list[requests.Response] = []
    waiting = threading.Thread(
        target=lambda: answers.append(nginx("POST", "/Events/Feeds/default/Stream", json={"maxEvents": 1}))
    )

    waiting.start()
    time.sleep(0.5)
    nginx("POST", "/Users", json={"userName": "anna"})
    waiting.join(15)

    assert [len(answer.json()["sets"]) for answer in answers] == [1]


@pytest.mark.sqlite
@pytest.mark.parametrize("how", ["http://scim;", "http://scim/;"], ids=["kept", "stripped"])
def test_a_base_path_is_kept_or_taken_off(
    serve: Callable[..., Server], start_nginx: Callable[..., Nginx], how: str
) -> None:
    server = serve(WORKERS="1", LOGLEVEL="ERROR", BASE_PATH="/scim/v2")
    changes = [("location / {", "location /scim/v2/ {")]
    if how != "http://scim;":
        changes.append(("{\n        proxy_pass http://scim;\n    }", f"{{\n        proxy_pass {how}\n    }}"))
    nginx = start_nginx(server.port, *changes)

    location = nginx("POST", "/scim/v2/Users", json={"userName": "anna"}).json()["meta"]["location"]

    assert location.startswith("/scim/v2/Users/")
    assert nginx("GET", location).status_code == 200
    assert nginx("GET", "/Users").status_code == 404


def test_what_nginx_refuses_is_a_scim_error(start_nginx: Callable[..., Nginx]) -> None:
    nginx = start_nginx(free_port())

    unreachable = nginx("GET", "/Users")
    too_large = nginx("POST", "/Users", data=b"x" * (10 << 20))
    too_long = nginx("GET", "/Users?filter=" + "x" * 40_000)

    error_of(unreachable, 503)
    assert unreachable.headers["Retry-After"] == "5"
    error_of(too_large, 413, "tooLarge")
    error_of(too_long, 414)


def test_a_client_certificate_is_passed_on_and_cannot_be_made_up(
    start_nginx: Callable[..., Nginx],
) -> None:
    heads: list[str] = []
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        threading.Thread(target=_answer_all, args=(listener, heads), daemon=True).start()
        nginx = start_nginx(
            listener.getsockname()[1],
            ("# ssl_client_certificate", "ssl_client_certificate"),
            ("clients.crt", "client.crt"),
            ("# ssl_verify_client", "ssl_verify_client"),
        )
        certificate = (str(nginx.folder / "client.crt"), str(nginx.folder / "client.key"))

        nginx("GET", "/Users", cert=certificate)
        nginx("GET", "/Users", headers={"X-SSL-Client-Verify": "SUCCESS", "X-SSL-Client-S-DN": "CN=root"})

    assert "X-SSL-Client-Verify: SUCCESS" in heads[0] and "X-SSL-Client-S-DN: CN=client" in heads[0]
    assert "X-SSL-Client-Verify: NONE" in heads[1] and "CN=root" not in heads[1]


def _answer_all(listener: socket.socket, heads: list[str]) -> None:
    """Answer every request with an empty object, and keep its head."""
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65536)
        heads.append(head.decode())
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
        connection.close()


def test_old_versions_of_tls_are_refused(start_nginx: Callable[..., Nginx]) -> None:
    nginx = start_nginx(free_port())
    asked = ["openssl", "s_client", "-connect", f"127.0.0.1:{nginx.port}", "-cipher", "ALL:@SECLEVEL=0"]

    def connects(version: str) -> bool:
        return subprocess.run([*asked, version], input=b"", capture_output=True).returncode == 0

    assert connects("-tls1_2")
    assert not connects("-tls1_1")


def test_a_new_certificate_is_served_after_a_reload(start_nginx: Callable[..., Nginx]) -> None:
    nginx = start_nginx(free_port())
    assert nginx.process is not None
    before = ssl.get_server_certificate(("127.0.0.1", nginx.port))

    nginx.make_certificates()
    nginx.process.send_signal(signal.SIGHUP)

    new = (nginx.folder / "tls.crt").read_text()
    wait_for(lambda: ssl.get_server_certificate(("127.0.0.1", nginx.port)) == new, "the old one is served")
    assert before != new


@pytest.mark.sqlite
def test_the_location_for_a_configuration_of_ones_own_is_enough(
    serve: Callable[..., Server], start_nginx: Callable[..., Nginx]
) -> None:
    server = serve(WORKERS="1", LOGLEVEL="ERROR")
    section = (DOCS / "nginx.md").read_text().partition("## In an existing configuration")[2]
    shown = "\n".join(line for line in section.splitlines() if line.startswith("    "))
    location = "    location / {\n        proxy_pass http://scim;\n    }"
    nginx = start_nginx(server.port, (location, shown.replace("8000", str(server.port))))

    assert "proxy_pass http://127.0.0.1:8000;" in shown
    assert nginx("POST", "/Users", json={"userName": "anna"}).status_code == 201


def test_the_texts_of_nginx_are_json() -> None:
    lines = (SHIPPED / "scim.conf").read_text().splitlines()
    texts = [line.partition("'")[2].rpartition("'")[0] for line in lines if "return " in line]

    assert [json.loads(text)["status"] for text in texts] == ["400", "413", "414", "503"]
