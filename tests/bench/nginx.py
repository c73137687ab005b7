# SPDX-License-Identifier: Apache-2.0
"""nginx as the peer of a supervisor: a master and its workers."""
import pathlib
import socket
import subprocess
import time

from harness import wait_for


def children(pid):
    text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return list(map(int, text.split()))


class Nginx:
    def __init__(self, folder, workers):
        self.socket = folder / "nginx.sock"
        self.workers = workers
        self.config = folder / "nginx.conf"
        self.config.write_text(f"""
            daemon off; worker_processes {workers}; pid {folder}/nginx.pid;
            error_log {folder}/error.log;
            events {{ worker_connections 512; }}
            http {{ access_log off;
              client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
              fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d;
              scgi_temp_path {folder}/e;
              server {{ listen unix:{self.socket}; return 204; }} }}""")

    def __enter__(self):
        self.process = subprocess.Popen(["/usr/sbin/nginx", "-c", self.config],
                                        stderr=subprocess.DEVNULL)
        wait_for(lambda: len(self.pids()) == 1 + self.workers, what="nginx")
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(10)

    def pids(self):
        return [self.process.pid, *children(self.process.pid)]

    def ask(self):
        """A request; its time in seconds."""
        began = time.monotonic()
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(self.socket))
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            if not client.recv(4096).startswith(b"HTTP/1.1 204"):
                raise ConnectionError("no answer")
        return time.monotonic() - began
