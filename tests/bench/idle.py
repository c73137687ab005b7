# SPDX-License-Identifier: Apache-2.0
"""idle: memory of the idle daemon against nginx's master and two workers."""
import os
import pathlib
import shutil
import subprocess
import tempfile

import common
from harness import Daemon, wait_for


def pss_mb(pids):
    total = 0
    for pid in pids:
        text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += int(text.split("\nPss:")[1].split()[0])
    return total / 1024


def children(pid):
    text = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return list(map(int, text.split()))


def nginx_mb(folder):
    config = folder / "nginx.conf"
    config.write_text(f"""
        daemon off; worker_processes 2; pid {folder}/nginx.pid;
        error_log {folder}/error.log;
        events {{ worker_connections 512; }}
        http {{ access_log off;
          client_body_temp_path {folder}/a; proxy_temp_path {folder}/b;
          fastcgi_temp_path {folder}/c; uwsgi_temp_path {folder}/d;
          scgi_temp_path {folder}/e;
          server {{ listen unix:{folder}/nginx.sock; }} }}""")
    process = subprocess.Popen(["/usr/sbin/nginx", "-c", config],
                               stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: len(children(process.pid)) == 2, 10, "nginx")
        return pss_mb([process.pid, *children(process.pid)])
    finally:
        process.terminate()
        process.wait(10)


def run(rounds):
    result = common.Result("idle", "memory of all processes (PSS)")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tm-", dir="/tmp"))
    try:
        for number in range(rounds):
            result.add("nginx, master and 2 workers", "MiB",
                       nginx_mb(folder))
            daemon = Daemon(folder, name=f"i{number}").start()
            result.add("tidemilld, 2 + 2 workers", "MiB",
                       pss_mb([daemon.pid, *daemon.descendants()]))
            daemon.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    result.ratio("ours / nginx", "tidemilld, 2 + 2 workers",
                 "nginx, master and 2 workers")
    return result


if __name__ == "__main__":
    common.main(run)
