# SPDX-License-Identifier: Apache-2.0
"""A server that takes batches by POST, as tidemill-sync(7) wants it.

A batch and its idempotency key are stored in one step; a key that is known
is answered as it was then, and changes nothing.  `misbehave` can make it
answer otherwise, before or behind that step.
"""
import collections
import http.server
import json
import ssl
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    disable_nagle_algorithm = True
    wbufsize = 65536  # an answer is one packet

    def log_message(self, *args):
        pass

    def answer(self, status, body=None, headers=()):
        text = b"" if body is None else json.dumps(body).encode()
        if isinstance(body, bytes):
            text = body
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def do_HEAD(self):
        centre = self.server.centre
        if centre.denies(self.headers):
            self.answer(401)
        else:
            self.answer(405)

    def do_POST(self):
        centre = self.server.centre
        size = int(self.headers.get("Content-Length", 0))
        text = self.rfile.read(size)
        key = self.headers.get("Idempotency-Key")
        centre.requests.append((key, size))
        if centre.denies(self.headers):
            return self.answer(401, {"message": "JWT expired"})
        before = centre.misbehave and centre.misbehave(self, "before", text)
        if before is not None and before is not False:
            return before
        status, body = centre.take(key, json.loads(text), size)
        after = centre.misbehave and centre.misbehave(self, "after", text)
        if after is not None and after is not False:
            return after
        return self.answer(status, body)

    def drop(self):
        """The connection ends without an answer."""
        self.close_connection = True
        self.connection.close()
        return True


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        """Clients are killed here, and connections cut."""


class HttpCentre:
    """Has the same questions as the other sinks' centres in test_kill."""

    sink = "http"

    def __init__(self, certificate=None):
        self.lock = threading.Lock()
        self.known = {}          # key: answer
        self.records = {}        # (table, record): data or None
        self.audit = []          # (table, record, data) in their order
        self.requests = []
        self.misbehave = None
        self.token = None
        self.dumb = False        # refuses a whole part for one operation
        self.most_bytes = None   # of a body
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.centre = self
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        self.scheme = "https" if certificate else "http"
        threading.Thread(target=self.server.serve_forever,
                         kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def options(self, **http):
        return {"sync": {"sink": "http", "http": {
            "url": f"{self.scheme}://127.0.0.1:{self.port}/batches", **http}}}

    def denies(self, headers):
        return self.token is not None and \
            headers.get("Authorization") != f"Bearer {self.token}"

    def take(self, key, batch, size):
        with self.lock:
            if key in self.known:
                return 409, {**self.known[key], "status": "repeated"}
            if self.most_bytes is not None and size > self.most_bytes:
                return 413, {"message": "too large"}
            refused, held, bad = [], [], set()
            for operation in batch["operations"]:
                record = operation["table"], operation["record_id"]
                if record in bad:
                    held.append(operation["id"])
                elif "\0" in json.dumps(operation["data"]) or \
                        "\\u0000" in json.dumps(operation["data"]):
                    bad.add(record)
                    refused.append({"id": operation["id"], "code": "22P05",
                                    "message": "no NUL here"})
            if self.dumb and refused:
                return 422, {"detail": "a NUL somewhere in it"}
            left_out = {r["id"] for r in refused} | set(held)
            for operation in batch["operations"]:
                if operation["id"] not in left_out:
                    self.apply(operation)
            self.known[key] = {"refused": refused, "held": held}
            return 200, {**self.known[key], "status": "applied"}

    def apply(self, operation):
        record = operation["table"], operation["record_id"]
        data = operation["data"]
        before = self.records.get(record)
        if operation["operation"] == "UPDATE" and isinstance(before, dict):
            data = {**before, **data}
        self.records[record] = data
        self.audit.append((*record, data))

    # --- the same questions ---

    def count_applications(self):
        with self.lock:
            self.audit.clear()

    def rows(self, table):
        with self.lock:
            return {r: d for (t, r), d in self.records.items() if t == table}

    def applications(self, table):
        with self.lock:
            return [(r, d) for t, r, d in self.audit if t == table]

    def applied_twice(self):
        counts = collections.Counter(
            (t, r, json.dumps(d)) for t, r, d in self.audit)
        return [k for k, n in counts.items() if n > 1]
