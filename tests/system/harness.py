# SPDX-License-Identifier: Apache-2.0
"""What the system tests, the quickstart and the benches start and stop."""
import contextlib
import itertools
import json
import os
import pathlib
import pwd
import queue
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time

SOURCE = pathlib.Path(
    os.environ.get("TIDEMILL_SOURCE",
                   pathlib.Path(__file__).resolve().parents[2]))


def binaries():
    """The folder with tidemilld and tidemill."""
    return pathlib.Path(os.environ.get("TIDEMILL_BUILD", SOURCE / "build"))


def sanitized():
    """Are the binaries built with sanitizers?"""
    done = subprocess.run(["ldd", binaries() / "tidemilld"],
                          capture_output=True, text=True)
    return "libasan" in done.stdout


# A loaded machine may take a minute over what is due in a second; what
# arrives costs none of it.
PATIENCE = 60.0


def wait_for(condition, timeout=PATIENCE, what="condition", step=0.005):
    """Waits until condition() is true, and returns its value; no less than
    PATIENCE."""
    timeout = max(timeout, PATIENCE)
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"timed out after {timeout} s: {what}")
        time.sleep(step)


def alive(pid):
    """Is this process there, and no zombie?"""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rsplit(b")", 1)[1].split()[0] not in (b"Z",
                                                                    b"X")
    except (FileNotFoundError, ProcessLookupError):
        return False


def merge(base, over):
    """base with over put over it, nested."""
    result = dict(base)
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(result.get(key), dict):
            value = merge(result[key], value)
        result[key] = value
    return result


class NotifySocket:
    """The other end of sd_notify."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.seen = []

    def wait(self, line, timeout):
        end = time.monotonic() + timeout
        while line not in self.seen:
            left = end - time.monotonic()
            if left <= 0:
                return False
            self.socket.settimeout(min(left, 0.1))
            with contextlib.suppress(socket.timeout):
                self.seen += self.socket.recv(65536).decode().splitlines()
                continue
            yield_check = getattr(self, "check", None)
            if yield_check and not yield_check():
                return False
        return True

    def close(self):
        self.socket.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)


class Adopted:
    """A process that is no child of ours, as far as Popen is needed."""

    def __init__(self, pid):
        self.pid = pid
        self.returncode = None

    def poll(self):
        if self.returncode is None and not alive(self.pid):
            self.returncode = 0  # nobody can tell
        return self.returncode

    def wait(self, timeout=PATIENCE):
        end = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(0.005)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)


class Daemon:
    """A tidemilld with its whole state below one folder.  Its pools have all
    their workers from the start, unless `min_workers` is configured."""

    fixed_pools = True

    def __init__(self, folder, config=None, name="d"):
        self.folder = pathlib.Path(folder)
        self.name = name
        self.config_path = self.folder / f"{name}.yaml"
        self.state = self.folder / f"{name}-state"
        self.runtime = self.folder / f"{name}-run"
        self.logs = self.folder / f"{name}-log"
        self.process = None
        self.output = self.folder / f"{name}.out"
        self.config = {
            "system": {"id": f"host-{name}"},
            "paths": {
                "state_dir": str(self.state),
                "runtime_dir": str(self.runtime),
                "log_dir": str(self.logs),
                "template_dir": str(SOURCE / "conf" / "templates"),
            },
            "generation": {"max_workers": 2},
            "sync": {"retry": {"base": "50ms", "max": "500ms"}},
        }
        for path in (self.state, self.runtime, self.logs):
            path.mkdir(exist_ok=True)
        self.configure(config or {})

    def configure(self, over):
        """Puts options over the configuration and writes the file."""
        self.config = merge(self.config, over)
        # JSON is YAML; whoever reads it meanwhile sees one or the other.
        beside = self.config_path.with_suffix(".new")
        written = self.config
        for role in ("generation", "sync") if self.fixed_pools else ():
            most = self.config.get(role, {}).get("max_workers", 2)
            written = merge({role: {"min_workers": most}}, written)
        beside.write_text(json.dumps(written, indent=2) + "\n")
        beside.replace(self.config_path)

    @property
    def pidfile(self):
        return self.runtime / "tidemilld.pid"

    @property
    def control_socket(self):
        return self.runtime / "control.sock"

    @property
    def store_path(self):
        return self.state / "tidemill.db"

    @property
    def centre_path(self):
        return self.state / "centre.db"

    @property
    def pid(self):
        return self.process.pid

    def start(self, wait=True, timeout=PATIENCE, env=None, args=(), wrap=(),
              program=None):
        """Starts in the foreground; with wait, until it is ready.  `wrap` is
        a command that executes what follows it; `program` another tidemilld."""
        environment = dict(os.environ)
        environment.update(env or {})
        notify = NotifySocket(self.runtime / "notify.sock")
        environment["NOTIFY_SOCKET"] = str(notify.path)
        environment.pop("JOURNAL_STREAM", None)
        output = open(self.output, "ab")
        self.process = subprocess.Popen(
            [*wrap, program or binaries() / "tidemilld", "-f", "-c",
             self.config_path, *args],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            env=environment, start_new_session=True)
        output.close()
        try:
            if wait:
                notify.check = lambda: self.process.poll() is None
                if not notify.wait("READY=1", timeout):
                    raise AssertionError(
                        f"not ready (exit {self.process.poll()}):\n"
                        + self.log_text())
        finally:
            notify.close()
        return self

    def log_text(self):
        text = ""
        for path in (self.output, self.logs / "tidemill.log"):
            if path.exists():
                text += path.read_text(errors="replace")
        return text

    def run(self, *args, input=None, timeout=2 * PATIENCE, check=True, env=None):
        """Runs the tidemill command; returns the finished process.  What may
        take seconds may take minutes on a loaded machine."""
        if timeout >= 10:
            timeout = max(timeout, 2 * PATIENCE)
        environment = dict(os.environ)
        environment.update(env or {})
        if isinstance(input, str):
            input = input.encode()
        result = subprocess.run(
            [binaries() / "tidemill", "-c", self.config_path,
             *map(str, args)],
            input=input, capture_output=True, timeout=timeout,
            env=environment)
        result.stdout = result.stdout.decode(errors="replace")
        result.stderr = result.stderr.decode(errors="replace")
        if check and result.returncode != 0:
            raise AssertionError(
                f"tidemill {' '.join(map(str, args))} exited with "
                f"{result.returncode}:\n{result.stdout}{result.stderr}")
        return result

    def json(self, *args, **kwargs):
        return json.loads(self.run("--json", *args, **kwargs).stdout)

    def workers(self, role=None):
        """Entries of `tidemill status`, of one role or all."""
        return [w for w in self.json("status")["workers"]
                if role is None or w["role"] == role]

    def kill_worker(self, role, slot=0, sig=signal.SIGKILL):
        """Kills the process in a slot; returns its pid."""
        def running():
            # Between two workers of a slot there is none: pid 0 would be us.
            return [w["pid"] for w in self.workers(role)
                    if w["slot"] == slot and w["pid"]]
        while True:
            pid = wait_for(running, 10, f"a worker in {role}[{slot}]")[0]
            with contextlib.suppress(ProcessLookupError):  # reaped just now
                os.kill(pid, sig)
                return pid

    def store(self):
        """A read-only connection to the local store."""
        db = sqlite3.connect(f"file:{self.store_path}?mode=ro", uri=True,
                             timeout=10)
        db.row_factory = sqlite3.Row
        return db

    def centre(self):
        """A read-only connection to the sqlite sink's file."""
        db = sqlite3.connect(f"file:{self.centre_path}?mode=ro", uri=True,
                             timeout=10)
        db.row_factory = sqlite3.Row
        return db

    def pending(self):
        return self.json("sync", "status")["pending"]

    def descendants(self):
        """pids of all processes below the master."""
        children = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError):
                    stat = pathlib.Path(f"/proc/{entry}/stat").read_text()
                    parent = int(stat.rsplit(")", 1)[1].split()[1])
                    children.setdefault(parent, []).append(int(entry))
        found, queue = [], [self.process.pid]
        while queue:
            for child in children.get(queue.pop(), []):
                found.append(child)
                queue.append(child)
        return found

    def signal(self, sig):
        os.kill(self.process.pid, sig)

    def named_pid(self):
        """The pid in the pidfile; 0: none."""
        try:
            return int(self.pidfile.read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def follow(self):
        """After an upgrade: the daemon is who the pidfile names.  Returns the
        exit code of the old master, None when it is still the one."""
        pid = self.named_pid()
        if pid in (0, self.process.pid):
            return None
        code = self.process.wait(PATIENCE)
        self.process = Adopted(pid)
        return code

    def stop(self, timeout=PATIENCE):
        """TERM, and waits for the end; returns the exit code."""
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("did not stop:\n" + self.log_text())

    def kill(self):
        """SIGKILL to the master; waits until its workers are gone too."""
        children = self.descendants()
        self.process.kill()
        self.process.wait(10)
        wait_for(lambda: not any(map(alive, children)), 15,
                 "workers to leave after the master died")

    def cleanup(self):
        pid = self.named_pid()
        if self.process is not None and pid and pid != self.process.pid:
            self.process.kill()  # a test failed in the middle of an upgrade
            self.process.wait(10)
            self.process = Adopted(pid)
        if self.process is not None and self.process.poll() is None:
            children = self.descendants()
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
                for pid in children:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)


class _Detached:
    """What of subprocess.Popen a Daemon needs, for a process that is none of
    our children."""

    def __init__(self, pid):
        self.pid = pid

    def poll(self):
        return None if alive(self.pid) else 0

    def wait(self, timeout=PATIENCE):
        wait_for(lambda: not alive(self.pid), timeout, f"{self.pid} to leave")
        return 0

    def terminate(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


class DetachedDaemon(Daemon):
    """One in the background, which logs to its file."""

    @property
    def log(self):
        return self.logs / "tidemill.log"

    def start(self, *args, env=None, wrap=()):
        done = subprocess.run(
            [*wrap, binaries() / "tidemilld", "-c", self.config_path, *args],
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            env={**os.environ, **(env or {})}, timeout=2 * PATIENCE)
        if done.returncode != 0:
            raise AssertionError(f"exit {done.returncode}: {done.stderr}")
        self.process = _Detached(int(self.pidfile.read_text()))
        return self


def _postgres_bin():
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        raise RuntimeError("PostgreSQL is not installed: scripts/test does")
    return found[-1].parent


def free_port():
    """One that nobody gets by chance: below those that the system gives, and
    of this process's own share when several run tests."""
    share = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 8
    while True:
        port = 12000 + 2000 * share + random.randrange(2000)
        with contextlib.suppress(OSError), socket.socket() as s:
            s.bind(("127.0.0.1", port))
            return port


class Database:
    """A database of a test's own."""

    def __init__(self, server, name):
        self.server = server
        self.name = name

    @property
    def conninfo(self):
        return self.server.conninfo(self.name)

    def config(self, **over):
        """The options of a daemon whose centre this is."""
        return merge({"sync": {"sink": "pgsql"},
                      "database": {"conninfo": self.conninfo}}, over)

    def connect(self):
        import psycopg2
        connection = psycopg2.connect(self.conninfo)
        connection.autocommit = True
        return connection

    def query(self, sql, *args):
        connection = self.connect()
        try:
            cursor = connection.cursor()
            cursor.execute(sql, args or None)
            return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()

    def drop(self):
        with contextlib.suppress(Exception):
            Database(self.server, "postgres").query(
                f"DROP DATABASE {self.name} WITH (FORCE)")


class Postgres:
    """A PostgreSQL server in a temporary folder, as an ordinary user."""

    numbers = itertools.count(1)

    def __init__(self, options=None):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
        self.data = self.folder / "data"
        self.port = free_port()
        self.process = None
        self.options = options or {}
        self.wrap = []
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self.wrap = ["setpriv", "--reuid", str(user.pw_uid), "--regid",
                         str(user.pw_gid), "--clear-groups", "--"]
        os.chmod(self.folder, 0o755)
        self.make_data()

    def make_data(self):
        subprocess.run([*self.wrap, _postgres_bin() / "initdb", "-D",
                        self.data, "-A", "trust", "-U", "postgres", "-N",
                        "-E", "UTF8", "--locale=C.UTF-8"],
                       check=True, stdout=subprocess.DEVNULL, cwd="/")

    def conninfo(self, database="postgres"):
        return (f"host=127.0.0.1 port={self.port} user=postgres "
                f"dbname={database}")

    def start(self, timeout=60):
        settings = {"listen_addresses": "127.0.0.1", "port": self.port,
                    "unix_socket_directories": self.folder,
                    "max_connections": 200, **self.options}
        args = [a for k, v in settings.items() for a in ("-c", f"{k}={v}")]
        log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen(
            [*self.wrap, _postgres_bin() / "postgres", "-D", self.data,
             *args], stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            cwd="/", start_new_session=True)
        log.close()
        wait_for(self.accepts, timeout, "PostgreSQL to accept")
        return self

    def accepts(self):
        import psycopg2
        try:
            psycopg2.connect(self.conninfo(), connect_timeout=2).close()
            return True
        except psycopg2.OperationalError:
            return False

    def ensure_running(self):
        if self.process is None or self.process.poll() is not None:
            self.start()

    def create_database(self):
        name = f"t{os.getpid()}_{next(self.numbers)}"
        Database(self, "postgres").query(f"CREATE DATABASE {name}")
        return Database(self, name)

    def crash(self):
        """SIGKILL to all of its processes at once, as when power fails."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(60)

    def stop(self, sig=signal.SIGINT):
        """SIGINT: fast; SIGQUIT: as a crash."""
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, sig)
            self.process.wait(60)

    def cleanup(self):
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)


class Standby(Postgres):
    """A server that follows another one by streaming replication."""

    def __init__(self, primary, options=None):
        self.primary = primary
        super().__init__(options)

    def make_data(self):
        subprocess.run([*self.wrap, _postgres_bin() / "pg_basebackup", "-h",
                        "127.0.0.1", "-p", str(self.primary.port), "-U",
                        "postgres", "-D", self.data, "-R", "-X", "stream",
                        "-c", "fast"],
                       check=True, stdout=subprocess.DEVNULL, cwd="/")

    def promote(self):
        Database(self, "postgres").query("SELECT pg_promote(true, 60)")


class PgBouncer:
    """PgBouncer in transaction mode before a server, for all its databases.
    Reads `options` at its start."""

    def __init__(self, server, **options):
        self.server = server
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pgb-", dir="/tmp"))
        self.port = free_port()
        self.process = None
        self.options = {"pool_mode": "transaction", "auth_type": "any",
                        "listen_addr": "127.0.0.1", "listen_port": self.port,
                        "unix_socket_dir": "", "max_client_conn": 200,
                        "default_pool_size": 10, "server_login_retry": 1,
                        **options}
        if server.wrap:  # PgBouncer refuses root, too
            user = pwd.getpwnam("postgres")
            os.chown(self.folder, user.pw_uid, user.pw_gid)

    def conninfo(self, database):
        return (f"host=127.0.0.1 port={self.port} user=postgres "
                f"dbname={database.name}")

    def start(self):
        ini = self.folder / "pgbouncer.ini"
        ini.write_text(
            "[databases]\n"
            f"* = host=127.0.0.1 port={self.server.port} user=postgres\n"
            "[pgbouncer]\n" +
            "".join(f"{k} = {v}\n" for k, v in self.options.items()))
        log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen(
            [*self.server.wrap, shutil.which("pgbouncer") or
             "/usr/sbin/pgbouncer", ini],
            stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/",
            start_new_session=True)
        log.close()
        wait_for(self.accepts, 10, "PgBouncer to accept")
        return self

    def accepts(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        except OSError:
            return False

    def stop(self, sig=signal.SIGKILL):
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, sig)
            self.process.wait(10)

    def cleanup(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Proxy:
    """A TCP proxy on loopback that can cut, refuse and count.

    `on_client(data, connection)` and `on_server(data, connection)` may
    return False to cut the connection before the data goes on.  `delay` are
    the seconds that data is on its way, each way.
    """

    def __init__(self, target_port, delay=0):
        self.target_port = target_port
        self.delay = delay
        self.on_client = self.on_server = None
        self.refuse = False
        self.connections = 0
        self.live = set()
        self.lock = threading.Lock()
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(100)
        self.port = self.listener.getsockname()[1]
        self.closed = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while not self.closed:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.refuse:
                client.close()
                continue
            self.connections += 1
            try:
                server = socket.create_connection(
                    ("127.0.0.1", self.target_port), timeout=5)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            with self.lock:
                self.live |= {client, server}
            number = self.connections
            for one, other, side in ((client, server, "on_client"),
                                     (server, client, "on_server")):
                threading.Thread(target=self._pump, daemon=True,
                                 args=(one, other, side, number)).start()

    def _late(self, other):
        """A function that sends later, in order, from a thread."""
        data = queue.SimpleQueue()

        def send():
            with contextlib.suppress(OSError):
                while (item := data.get()) is not None:
                    time.sleep(max(0, item[0] - time.monotonic()))
                    other.sendall(item[1])

        threading.Thread(target=send, daemon=True).start()
        return data

    def _pump(self, one, other, side, number):
        late = self._late(other) if self.delay else None
        try:
            while True:
                data = one.recv(65536)
                if not data:
                    break
                check = getattr(self, side)
                if check is not None and check(data, number) is False:
                    break
                if late:
                    late.put((time.monotonic() + self.delay, data))
                else:
                    other.sendall(data)
        except OSError:
            pass
        if late:
            late.put(None)
        for s in (one, other):
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)
            with contextlib.suppress(OSError):
                s.close()
        with self.lock:
            self.live -= {one, other}

    def cut(self):
        """Cuts every connection."""
        with self.lock:
            live = list(self.live)
        for s in live:
            with contextlib.suppress(OSError):
                s.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.closed = True
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()
