"""Real message brokers for the tests."""

import signal
import subprocess
from typing import Any

import amqp
import redis

from tests.ports import free_port
from tests.receivers import make_certificate
from tests.servers import ServerProcess, program

PASSWORD = "hush-hush"


class RedisServer(ServerProcess):
    """Redis with a password, and nothing on disk.

    At `tls_url` it proves who it is with `certificate`.
    """

    def __init__(self) -> None:
        super().__init__("redis")
        tls_port = free_port()
        self.url = f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"
        self.tls_url = f"rediss://:{PASSWORD}@127.0.0.1:{tls_port}/0"
        _, self.certificate = make_certificate(self.folder)
        self.start(
            [
                *(program("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1"),
                *("--dir", str(self.folder), "--requirepass", PASSWORD),
                *("--save", "", "--appendonly", "no", "--daemonize", "no"),
                *("--tls-port", str(tls_port), "--tls-auth-clients", "no"),
                *("--tls-cert-file", str(self.certificate), "--tls-ca-cert-file", str(self.certificate)),
                *("--tls-key-file", str(self.certificate.with_suffix(".key"))),
            ],
            self._ask,
        )

    def _ask(self) -> None:
        with redis.Redis.from_url(self.url) as client:
            client.ping()

    def waiting(self, queue: str) -> int:
        """Return how many messages nobody has taken."""
        with redis.Redis.from_url(self.url) as client:
            return int(client.llen(queue))


class RabbitmqServer(ServerProcess):
    """RabbitMQ with a user of its own, and the daemon that Erlang wants beside it.

    At `tls_url` it proves who it is with `certificate`.
    """

    def __init__(self) -> None:
        super().__init__("rabbitmq")
        # The one on PATH changes the user with `su`.
        server = program("/usr/lib/rabbitmq/bin/rabbitmq-server")
        folder, names_port = self.folder, str(free_port())
        tls_port = free_port()
        self.url = f"amqp://scim:{PASSWORD}@127.0.0.1:{self.port}//"
        self.tls_url = f"amqps://scim:{PASSWORD}@127.0.0.1:{tls_port}//"
        _, self.certificate = make_certificate(folder)
        (folder / "rabbitmq.conf").write_text(
            "default_user = scim\n"
            f"default_pass = {PASSWORD}\n"
            f"listeners.ssl.default = 127.0.0.1:{tls_port}\n"
            f"ssl_options.certfile = {self.certificate}\n"
            f"ssl_options.keyfile = {self.certificate.with_suffix('.key')}\n"
        )
        (folder / "plugins").write_text("[].")
        # It would be started by the broker, on every address, and outlive it.
        self._names: subprocess.Popen[bytes] | None = subprocess.Popen(
            [program("epmd"), "-port", names_port, "-address", "127.0.0.1"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            **self._as_user,
        )
        variables = {
            "HOME": folder,
            "RABBITMQ_NODENAME": f"scim{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": self.port,
            "RABBITMQ_DIST_PORT": free_port(),
            "ERL_EPMD_PORT": names_port,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_MNESIA_BASE": folder / "mnesia",
            "RABBITMQ_LOG_BASE": folder / "log-of-broker",
            "RABBITMQ_CONFIG_FILE": folder / "rabbitmq",
            "RABBITMQ_ENABLED_PLUGINS_FILE": folder / "plugins",
            "RABBITMQ_FEATURE_FLAGS_FILE": folder / "flags",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} "
            "+sbwt none +S 2:2",
        }
        assigned = [f"{name}={value}" for name, value in variables.items()]
        try:
            self.start([program("env"), *assigned, server], self._ask)
        except BaseException:
            self.remove()
            raise

    def _connect(self) -> Any:
        return amqp.Connection(
            f"127.0.0.1:{self.port}", userid="scim", password=PASSWORD, connect_timeout=5
        )

    def _ask(self) -> None:
        with self._connect():
            pass

    def waiting(self, queue: str) -> int:
        """Return how many messages nobody has taken."""
        with self._connect() as connection:
            return int(connection.channel().queue_declare(queue, passive=True).message_count)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        super().stop(how)

    def remove(self) -> None:
        super().remove()
        if self._names is not None:
            self._names.kill()
            self._names.wait()
            self._names = None
