"""Temporary PostgreSQL server for tests and benchmarks, if PostgreSQL is installed."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.common.harness import free_port

OTHERS = ("postgres", "nobody")  # accounts for the server, since PostgreSQL refuses to run as root
DEBIAN = Path("/usr/lib/postgresql")


class NoPostgres(RuntimeError):
    """No server can be started; the message says why."""


@contextmanager
def postgres() -> Iterator[str]:
    """Yield the address of a new database, postgresql://...

    Raises NoPostgres if no server can be started.
    """
    initdb, server = _program("initdb"), _program("pg_ctl")
    user = _user()
    folder = Path(tempfile.mkdtemp(prefix="postgres-", dir="/tmp"))
    try:
        if user:
            shutil.chown(folder, user)
        data, port = folder / "data", free_port()
        _run([initdb, "-D", data, "-U", "study", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C"], user, folder)
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"
        _run([server, "-D", data, "-w", "-t", "60", "-l", folder / "log", "-o", options, "start"], user, folder)
        try:
            yield f"postgresql://study@127.0.0.1:{port}/postgres"
        finally:
            _run([server, "-D", data, "-m", "immediate", "stop"], user, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _program(name: str) -> str:
    found = shutil.which(name) or next((str(path) for path in sorted(DEBIAN.glob(f"*/bin/{name}"), reverse=True)), None)
    if not found:
        raise NoPostgres(f"PostgreSQL is not installed: the program {name} was not found.")
    return found


def _user() -> str | None:
    if os.getuid() != 0:
        return None
    for name in OTHERS:
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise NoPostgres(f"PostgreSQL does not run as root, and none of these users exists: {', '.join(OTHERS)}.")


def _run(command: list[str | Path], user: str | None, folder: Path) -> None:
    group = pwd.getpwnam(user).pw_gid if user else None
    with tempfile.TemporaryFile("w+") as output:  # a pipe would stay open while the server runs
        done = subprocess.run(
            [str(part) for part in command],
            user=user,
            group=group,
            extra_groups=[] if user else None,
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        if done.returncode:
            output.seek(0)
            raise NoPostgres(f"PostgreSQL did not start: {output.read().strip()[-300:]}")
