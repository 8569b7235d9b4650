"""PostgreSQL and Redis for a test that kills them: on free ports, in temporary folders."""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.running_airflow import Part, free_port


def program(name: str) -> str | None:
    """Return the path of a working program: from the PATH, or from Debian's folder for PostgreSQL."""
    for path in (shutil.which(name), *sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"), reverse=True)):
        with contextlib.suppress(OSError):
            if path and subprocess.run([path, "--version"], capture_output=True, timeout=20).returncode == 0:
                return path
    return None


def absent_programs() -> list[str]:
    """Return the names of needed programs that are not installed."""
    return [name for name in ("initdb", "postgres", "redis-server") if program(name) is None]


class Server:
    """A server process with a temporary folder."""

    name: str

    def __init__(self) -> None:
        # Only the current user can read pytest's folders, and PostgreSQL may run as another user.
        self.folder = Path(tempfile.mkdtemp(prefix=f"whitebit-{self.name}-"))
        self.port = free_port()
        self.password = secrets.token_hex(16)
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        """Return the command that starts the server in the foreground."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Return whether the server answers."""
        raise NotImplementedError

    def user(self) -> dict[str, Any]:
        """Return options of ``subprocess``: the user that the server runs as."""
        return {}

    def start(self) -> None:
        """Start the server unless it runs, and wait until it answers."""
        if self.running():
            return
        log = self.folder / "log"
        for _ in range(3):
            with log.open("ab") as output:
                self.process = subprocess.Popen(
                    self.command(),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                    cwd=self.folder,
                    **self.user(),
                )
            if within(30, lambda: self.answers() or not self.running()) and self.running():
                return
            self.kill()
        raise AssertionError(f"{self.name} does not start: {log.read_text(errors='replace')[-3000:]}")

    def running(self) -> bool:
        """Return whether the server's process runs."""
        return self.process is not None and self.process.poll() is None

    def kill(self) -> bool:
        """Kill all processes of the server. :returns: False if it had ended by itself."""
        if self.process is None:
            return False
        Part(self.name, self.process.pid).kill()
        return self.process.wait() == -signal.SIGKILL

    def remove(self) -> None:
        """Kill the server and remove its folder."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Postgres(Server):
    """A PostgreSQL with one empty database."""

    name = "postgres"

    def __init__(self) -> None:
        super().__init__()
        secret = self.folder / "password"
        secret.write_text(self.password)
        if account := self._account():
            for path in (self.folder, secret):
                os.chown(path, account.pw_uid, account.pw_gid)
        self.data = self.folder / "data"
        subprocess.run(
            [
                *(str(program("initdb")), "--pgdata", str(self.data), "--username", "airflow"),
                *("--auth", "scram-sha-256", "--pwfile", str(secret)),
                *("--encoding", "UTF8", "--locale", "C"),
            ],
            check=True,
            capture_output=True,
            cwd=self.folder,
            timeout=120,
            **self.user(),
        )

    @staticmethod
    def _account() -> pwd.struct_passwd | None:
        # PostgreSQL refuses to run as root.
        if os.getuid() != 0:
            return None
        with contextlib.suppress(KeyError):
            return pwd.getpwnam("postgres")
        return pwd.getpwnam("nobody")

    def user(self) -> dict[str, Any]:
        if account := self._account():
            return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
        return {}

    def command(self) -> list[str]:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": 200,
        }
        chosen = (word for name, value in settings.items() for word in ("-c", f"{name}={value}"))
        return [str(program("postgres")), "-D", str(self.data), *chosen]

    @property
    def address(self) -> str:
        """The database's URL for SQLAlchemy."""
        return f"postgresql+psycopg2://airflow:{self.password}@127.0.0.1:{self.port}/postgres"

    def answers(self) -> bool:
        import psycopg2

        try:
            psycopg2.connect(
                f"host=127.0.0.1 port={self.port} user=airflow password={self.password} dbname=postgres",
                connect_timeout=3,
            ).close()
        except psycopg2.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """Shut down in order, as an administrator does: clients are disconnected."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(timeout=30) == 0, "PostgreSQL did not shut down in order"


class Redis(Server):
    """A Redis that writes each change to a file before it answers."""

    name = "redis"

    def command(self) -> list[str]:
        config = self.folder / "redis.conf"
        if not config.exists():
            config.touch(mode=0o600)
            config.write_text(
                f"port {self.port}\nbind 127.0.0.1\nrequirepass {self.password}\ndir {self.folder}\nappendonly yes\n"
            )
        return [str(program("redis-server")), str(config)]

    @property
    def address(self) -> str:
        """The broker's URL for Celery."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def answers(self) -> bool:
        import redis

        try:
            with redis.Redis(port=self.port, password=self.password, socket_timeout=3) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def forget(self) -> None:
        """Lose all messages while the server is down, like a Redis that keeps them in memory only."""
        shutil.rmtree(self.folder / "appendonlydir", ignore_errors=True)


def within(seconds: float, done: Callable[[], bool]) -> bool:
    """Return whether something became true within some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if done():
            return True
        time.sleep(0.1)
    return False
