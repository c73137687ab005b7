# SPDX-License-Identifier: Apache-2.0
"""wan: a drain over a line of 80 ms there and back, against one without.

What bounds it, measured: the proxy itself, a program in Python beside all
else on 2 cores: without any delay the drain through it is 0.67 of the one
without it (111,000 rows/s of 165,000; a batch takes 20 ms instead of 11), and
the 80 ms bring that to 0.84 of itself.  Each worker has about 5 batches of
1,000 under way, which take 98 ms from sending to answer.  It is 0.56 with
500,000 operations as with 1,000,000, and with batches of 2,000; half more
batches under way made it 0.44.
"""
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
