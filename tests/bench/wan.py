# SPDX-License-Identifier: Apache-2.0
"""wan: a drain over a line of 80 ms there and back, against one without."""
import pathlib
import shutil
import tempfile

import common
import workload
from harness import Daemon, Postgres, Proxy

COUNT = 500_000
DELAY = 0.040  # seconds, each way

FAST = "tidemill sync drain, loopback"
FAR = "tidemill sync drain, 40 ms each way"


def rate(folder, server, name, proxy):
    database = server.create_database()
    config = database.config()
    if proxy:
        config["database"]["conninfo"] += f" port={proxy.port}"
    daemon = Daemon(folder, config, name=name)
    return workload.Drain(daemon, database, COUNT).run().rate


def run(rounds):
    result = common.Result("wan", f"{COUNT:,} operations of 200 bytes, four "
                           "priorities, committed and settled")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="tm-", dir="/tmp"))
    folder.chmod(0o755)
    server = Postgres()
    server.start()
    proxy = Proxy(server.port, delay=DELAY)
    try:
        for number in range(rounds):
            result.add(FAST, "rows/s",
                       rate(folder, server, f"f{number}", None))
            result.add(FAR, "rows/s",
                       rate(folder, server, f"w{number}", proxy))
    finally:
        proxy.close()
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)
    result.ratio("far / loopback", FAR, FAST, at_least=0.6)
    return result


if __name__ == "__main__":
    common.main(run)
