# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the system tests: real daemons, real servers.

Everything a test starts lives in its own temporary folder and process
group, listens on Unix sockets or on loopback, and is stopped by its pid.
"""
import os
import pathlib
import pytest

from harness import Daemon, Postgres, binaries


@pytest.fixture(scope="session", autouse=True)
def _binaries_exist():
    for name in ("tidemilld", "tidemill"):
        path = binaries() / name
        if not path.exists():
            pytest.exit(f"{path} is missing: build first (make)", 2)


@pytest.fixture
def folder(tmp_path_factory):
    """A short path: a Unix socket's name has at most 107 bytes."""
    import shutil
    import tempfile
    path = pathlib.Path(tempfile.mkdtemp(prefix="tm-", dir="/tmp"))
    os.chmod(path, 0o755)
    yield path
    if not os.environ.get("TIDEMILL_KEEP"):
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def daemon(folder):
    """A daemon on the embedded default, not started yet."""
    daemon = Daemon(folder)
    yield daemon
    daemon.cleanup()


@pytest.fixture(scope="session")
def postgres_server():
    """One PostgreSQL server for the whole run."""
    server = Postgres()
    server.start()
    yield server
    server.cleanup()


@pytest.fixture
def postgres(postgres_server):
    """A fresh database on the run's server."""
    postgres_server.ensure_running()
    database = postgres_server.create_database()
    yield database
    database.drop()


@pytest.fixture
def own_postgres():
    """A server of the test's own, to be stopped and started at will."""
    server = Postgres()
    server.start()
    yield server
    server.cleanup()


def pytest_terminal_summary(terminalreporter):
    """What the tests that passed have printed: seeds, and what was measured."""
    told = [report for report in terminalreporter.stats.get("passed", [])
            if report.when == "call" and report.capstdout.strip()]
    if told:
        terminalreporter.section("what they told")
    for report in told:
        terminalreporter.write_line(report.nodeid.partition("::")[2])
        for line in report.capstdout.strip("\n").splitlines()[:20]:
            terminalreporter.write_line("    " + line[:200])
