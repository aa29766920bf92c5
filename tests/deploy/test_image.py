"""The container image, run as a runtime would: its own user or any other one, and a read-only root.

SCIM_TEST_IMAGE names an image that buildah holds, as `buildah bud --format docker --tag scim .` makes it.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.conftest import KEY, USER
from tests.ports import free_port

IMAGE = os.environ.get("SCIM_TEST_IMAGE", "")
AUTHORIZED = {"Authorization": f"Bearer {KEY}"}
# What OpenShift gives: a user that /etc/passwd does not have, of group 0.
ARBITRARY = "1234567:0"

pytestmark = pytest.mark.skipif(
    not IMAGE or os.geteuid() != 0 or shutil.which("buildah") is None,
    reason="needs root, buildah, and the name of an image in SCIM_TEST_IMAGE",
)

# Its mounts end with the last of its processes.
RUN = """
root=$1 volume=$2 user=$3 folder=$4; shift 4
mount --make-rprivate / && mount --bind "$root" "$root" && mount -o remount,ro,bind "$root"
mount -t tmpfs tmpfs "$root/tmp" && mount --bind "$volume" "$root/var/lib/scim"
mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev"
exec chroot --userspec="$user" --groups="" "$root" /usr/bin/env -i --chdir="$folder" "$@"
"""


def buildah(*arguments: str) -> str:
    return subprocess.run(["buildah", *arguments], check=True, capture_output=True, text=True).stdout.strip()


class Image:
    """The files of the image and what it says of itself."""

    def __init__(self, root: Path, config: dict[str, Any]) -> None:
        self.root, self.config = root, config
        self.environ: dict[str, str] = dict(line.split("=", 1) for line in config["Env"])

    def start(self, volume: Path, user: str, *command: str, **environ: str) -> "subprocess.Popen[str]":
        """Start a command, or the one of the image, with a volume at /var/lib/scim."""
        variables = {**self.environ, "API_KEY": KEY, "HOST": "127.0.0.1", **environ}
        return subprocess.Popen(
            ["unshare", "--mount", "sh", "-ec", RUN, "sh", self.root, volume, user]
            + [self.config["WorkingDir"]]
            + [f"{name}={value}" for name, value in variables.items()]
            + list(command or self.config["Cmd"]),
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, volume: Path, user: str, *command: str, **environ: str) -> tuple[int, str]:
        """Return the exit code of a command, and all that it prints."""
        process = self.start(volume, user, *command, **environ)
        out, err = process.communicate(timeout=60)
        return process.returncode, out + err


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    config = json.loads(buildah("inspect", "--type", "image", IMAGE))["Docker"]["config"]
    container = buildah("from", IMAGE)
    try:
        yield Image(Path(buildah("mount", container)), config)
    finally:
        buildah("rm", container)


@pytest.fixture
def volume(image: Image) -> Iterator[Path]:
    """A new volume: with the owner and the mode that its folder has in the image, as Docker makes it."""
    with tempfile.TemporaryDirectory() as name:
        status = (image.root / "var/lib/scim").stat()
        os.chown(name, status.st_uid, status.st_gid)
        os.chmod(name, status.st_mode)
        yield Path(name)


def wait_until_it_answers(process: "subprocess.Popen[str]", port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            requests.get(f"http://127.0.0.1:{port}/health", timeout=5)
            return
        except requests.ConnectionError:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
        time.sleep(0.1)


def stop(process: "subprocess.Popen[str]", image: Image) -> int:
    process.send_signal(signal.Signals[image.config["StopSignal"]])
    process.communicate(timeout=30)
    return process.returncode


def post_while_it_stops(process: "subprocess.Popen[str]", image: Image, port: int) -> bytes:
    """Return the answer to a request that is half sent when the server is asked to end."""
    body = json.dumps({"schemas": [USER], "userName": "late"}).encode()
    head = f"POST /Users HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
    head += f"Content-Type: application/scim+json\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(head.encode() + body[:5])
        # Another answer shows that the server has read what came before.
        requests.get(f"http://127.0.0.1:{port}/health", timeout=30)
        process.send_signal(signal.Signals[image.config["StopSignal"]])
        client.sendall(body[5:])
        return client.recv(65536)


@pytest.mark.parametrize("user", ["", ARBITRARY])
def test_a_session_survives_a_restart_and_a_request_in_flight_is_answered(
    user: str, image: Image, volume: Path
) -> None:
    port = free_port()
    server = image.start(volume, user or image.config["User"], PORT=str(port), WORKERS="1")
    wait_until_it_answers(server, port)
    url = f"http://127.0.0.1:{port}"
    created = requests.post(f"{url}/Users", json={"schemas": [USER], "userName": "a"}, headers=AUTHORIZED)
    answer = post_while_it_stops(server, image, port)
    server.communicate(timeout=30)

    again = image.start(volume, user or image.config["User"], PORT=str(port))
    wait_until_it_answers(again, port)
    found = requests.get(f"{url}/Users", headers=AUTHORIZED).json()

    assert created.status_code == 201
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert server.returncode == 0
    assert sorted(one["userName"] for one in found["Resources"]) == ["a", "late"]
    assert stop(again, image) == 0


@pytest.mark.parametrize(
    "environ", [{}, {"HOST": "0.0.0.0"}, {"HOST": "::1"}, {"HOST": "::"}, {"BASE_PATH": "/scim/v2"}]
)
def test_the_health_check_finds_the_server_on_each_address(
    environ: dict[str, str], image: Image, volume: Path
) -> None:
    port = str(free_port())
    check = image.config["Healthcheck"]["Test"]
    assert check[0] == "CMD"

    before, _ = image.run(volume, image.config["User"], *check[1:], PORT=port, **environ)
    server = image.start(volume, image.config["User"], PORT=port, WORKERS="1", **environ)
    deadline = time.monotonic() + 60
    while image.run(volume, image.config["User"], *check[1:], PORT=port, **environ)[0]:
        assert server.poll() is None and time.monotonic() < deadline

    assert before != 0
    assert stop(server, image) == 0


def test_wrong_settings_end_the_container_with_one_line(image: Image, volume: Path) -> None:
    code, said = image.run(volume, image.config["User"], PORT="many")

    assert code == 1
    assert said.startswith("scim: PORT") and len(said.splitlines()) == 1


def test_a_volume_of_root_ends_the_container_with_the_command_that_helps(image: Image, volume: Path) -> None:
    os.chown(volume, 0, 0)
    volume.chmod(0o755)

    code, said = image.run(volume, image.config["User"], LOGLEVEL="CRITICAL")

    assert code == 1 and len(said.splitlines()) == 1
    assert "run install -d -o 10001 /var/lib/scim/data, or start" in said and "--user 0" in said


def test_the_other_commands_start(image: Image, volume: Path) -> None:
    worker = image.start(volume, ARBITRARY, "scim", "worker", LOGLEVEL="WARNING")
    assert worker.stderr is not None
    while "the worker has nothing to do" not in (line := worker.stderr.readline()):
        assert line and worker.poll() is None
    celery = image.run(
        *(volume, ARBITRARY, "celery", "-A", "wsgi.celery", "report"),
        CELERY_BROKER_URL="redis://127.0.0.1:1",
    )

    assert stop(worker, image) == 0
    assert celery[0] == 0 and "redis" in celery[1]


def test_the_image_has_every_driver_and_no_compiler(image: Image, volume: Path) -> None:
    drivers = "import ldap, psycopg, pymysql, mongoengine, irods, celery, redis"
    compilers = "command -v gcc cc g++ make; python3 -m pip --version"

    assert image.run(volume, ARBITRARY, "python3", "-c", drivers) == (0, "")
    code, said = image.run(volume, ARBITRARY, "sh", "-c", compilers)
    assert code == 1 and "No module named pip" in said and len(said.splitlines()) == 1


def test_the_image_names_its_user_by_number(image: Image) -> None:
    # Kubernetes cannot tell that a name is not root (runAsNonRoot).
    assert image.config["User"].partition(":")[0].isdecimal()
    assert image.config["User"].partition(":")[0] != "0"
