# SPDX-License-Identifier: Apache-2.0
"""The http sink against a real server, good and bad."""
import json
import subprocess
import time

import pytest

from harness import SOURCE, Postgres, wait_for
from http_centre import HttpCentre


@pytest.fixture
def centre():
    centre = HttpCentre()
    yield centre
    centre.close()


@pytest.fixture
def host(daemon, centre):
    daemon.configure(centre.options(timeout="2s"))
    daemon.configure({"sync": {"retry": {"base": "50ms", "max": "300ms"},
                               "max_retries": 1}})
    return daemon


def lines(count, first=0, **more):
    return "\n".join(json.dumps(
        {"table": "t", "record_id": f"r{n}", "data": {"n": n}, **more})
        for n in range(first, first + count))


def fill(host, count, **more):
    report = host.json("enqueue", "--batch", "-", input=lines(count, **more))
    assert report["accepted"] == count


def drained(host, timeout=30):
    wait_for(lambda: host.run("sync", "drain", check=False).returncode == 0
             and host.pending() == 0, timeout, "the drain")


def check(centre, count):
    assert centre.rows("t") == {f"r{n}": {"n": n} for n in range(count)}
    assert sorted(r for r, _ in centre.applications("t")) == sorted(
        f"r{n}" for n in range(count)), "applied twice, or not at all"


def status(host):
    return host.json("sync", "status")


def test_a_drain(host, centre):
    host.start()
    fill(host, 3000)
    drained(host)
    check(centre, 3000)
    assert status(host)["sink"] == "http"
    assert status(host)["state"] == "online"


def test_the_batch_as_it_is_documented(host, centre):
    seen = []
    centre.misbehave = lambda handler, when, text: seen.append(
        (dict(handler.headers), json.loads(text))) if when == "before" \
        else None
    host.start()
    host.run("enqueue", "t", "r1", '{"a": 1}', "--priority", "urgent")
    wait_for(lambda: seen, 10, "the batch")
    headers, batch = seen[0]
    assert batch["system_id"] == "host-d"
    assert headers["Idempotency-Key"] == \
        f"host-d:{batch['epoch']}:{batch['batch_id']}"
    assert int(headers.get("Tidemill-Settled", 0)) < batch["batch_id"]
    operation, = batch["operations"]
    assert operation == {
        "id": operation["id"], "operation": "INSERT", "table": "t",
        "record_id": "r1", "data": {"a": 1}, "priority": "urgent",
        "created_at": batch["sync_timestamp"]}


def test_token_and_its_renewal(host, centre, folder):
    centre.token = "second"
    file = folder / "token"
    file.write_text("first\n")
    host.configure({"sync": {"http": {"token_file": str(file)}}})
    host.start()
    fill(host, 10)
    host.run("sync", "now", check=False)
    wait_for(lambda: "token is not accepted" in
             (status(host)["last_error"] or ""), 10, "the refusal")
    assert host.json("metrics")["tidemill_sync_unauthorized_total"] >= 1
    file.write_text("second\n")
    drained(host)
    check(centre, 10)


@pytest.mark.parametrize("answer", [
    (500, {"message": "oops"}), (502, b"<html>bad gateway</html>"),
    (503, None), (404, {"message": "not found"}), (200, b"<html>portal"),
    (200, {"hello": "you"}), (302, None), (200, b"")])
def test_an_answer_that_says_nothing_is_no_yes(host, centre, answer):
    bad = [answer] * 3

    def misbehave(handler, when, text):
        if when == "before" and bad:
            handler.answer(*bad.pop())
            return True
    centre.misbehave = misbehave
    host.start()
    fill(host, 60)
    drained(host)
    check(centre, 60)


def test_cut_behind_the_commit(host, centre):
    cuts = [0]

    def misbehave(handler, when, text):
        if when == "after" and cuts[0] < 20:
            cuts[0] += 1
            return handler.drop()
    centre.misbehave = misbehave
    host.configure({"sync": {"batch": {"min": 20, "max": 50}}})
    host.start()
    fill(host, 1000)
    drained(host, 60)
    check(centre, 1000)
    assert cuts[0] == 20
    assert host.json("metrics")[
        "tidemill_sync_repeated_batches_total"] >= 5


def test_half_an_answer_and_a_slow_one(host, centre):
    moods = ["half", "silent"]

    def misbehave(handler, when, text):
        if when != "after" or not moods:
            return None
        if moods.pop() == "half":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n"
                                b"\r\n{\"status\":")
            handler.wfile.flush()
            return handler.drop()
        time.sleep(2.5)  # longer than sync.http.timeout: the fault itself
        return handler.drop()
    centre.misbehave = misbehave
    host.start()
    fill(host, 60)
    drained(host)
    check(centre, 60)


def test_busy_and_when_to_come_back(host, centre):
    asked = []

    def misbehave(handler, when, text):
        asked.append(time.monotonic())
        if when == "before" and len(asked) == 1:
            handler.answer(429, {"message": "slow down"},
                           [("Retry-After", "1")])
            return True
    centre.misbehave = misbehave
    host.start()
    host.run("enqueue", "t", "r0", '{"n": 0}', "--priority", "urgent")
    wait_for(lambda: status(host)["state"] == "busy", 10, "busy")
    # A drain that somebody asks for would not wait.
    wait_for(lambda: host.pending() == 0, 10, "the operation to be carried")
    check(centre, 1)
    assert asked[1] - asked[0] >= 0.95


@pytest.mark.parametrize("dumb", [False, True])
def test_poison_delays_only_its_record(host, centre, dumb):
    centre.dumb = dumb
    host.start()
    text = lines(100) + "\n" + json.dumps(
        {"table": "t", "record_id": "bad", "data": {"text": "\0"}}) + "\n" \
        + json.dumps({"operation": "UPDATE", "table": "t", "record_id": "bad",
                      "data": {"later": 1}}) + "\n" + lines(100, first=100)
    host.run("enqueue", "--batch", "-", input=text)
    drained(host)
    wait_for(lambda: status(host)["dead"] == 1, 20, "the poison to be dead")
    drained(host)
    rows = centre.rows("t")
    assert rows.pop("bad") == {"later": 1}
    assert rows == {f"r{n}": {"n": n} for n in range(200)}
    dead, = host.json("sync", "dead")
    assert ("NUL" in dead["error_message"])
    assert not centre.applied_twice()


def test_too_large_a_body_is_halved(host, centre):
    centre.most_bytes = 3000
    host.configure({"sync": {"batch": {"min": 200}}})
    host.start()
    fill(host, 600)
    drained(host)
    check(centre, 600)
    assert max(size for _, size in centre.requests) > 3000


def make_certificate(folder, name):
    files = str(folder / f"{name}.pem"), str(folder / f"{name}.key")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
         f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1",
         "-out", files[0], "-keyout", files[1]],
        check=True, capture_output=True)
    return files


def test_tls_is_verified(daemon, folder):
    good = make_certificate(folder, "good")
    other = make_certificate(folder, "other")
    centre = HttpCentre(good)
    try:
        daemon.configure(centre.options(ca_file=other[0]))
        daemon.start()
        fill(daemon, 10)
        daemon.run("sync", "now", check=False)
        wait_for(lambda: "certificate" in
                 (status(daemon)["last_error"] or ""), 10, "the distrust")
        assert status(daemon)["state"] == "offline"
        assert centre.rows("t") == {}
        daemon.configure(centre.options(ca_file=good[0]))
        daemon.run("reload")
        drained(daemon)
        check(centre, 10)
    finally:
        centre.close()


def test_what_is_wrong_with_the_configuration(daemon):
    daemon.configure({"sync": {"sink": "http"}})
    result = daemon.run("enqueue", "t", "r", "{}", check=False)
    assert result.returncode == 78
    assert "sync.http.url" in result.stderr


class Postgrest(HttpCentre):
    """What PostgREST does with a request, around the real function."""

    def __init__(self, database):
        super().__init__()
        self.database = database
        self.claims = {}

    def take(self, key, batch, size):
        import psycopg2
        connection = psycopg2.connect(self.database.conninfo)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(
                    "SELECT set_config('request.headers', %s, true), "
                    "set_config('request.jwt.claims', %s, true)",
                    (json.dumps({"idempotency-key": key}),
                     json.dumps(self.claims)))
                cursor.execute("SELECT tidemill.apply_http(%s::jsonb)",
                               (json.dumps(batch),))
                return 200, cursor.fetchone()[0]
        except psycopg2.errors.InsufficientPrivilege as error:
            return 403, {"code": error.pgcode, "message": str(error)}
        except psycopg2.DataError as error:
            return 400, {"code": error.pgcode, "message": str(error)}
        finally:
            connection.close()


@pytest.fixture
def postgrest(postgres, daemon):
    database = postgres
    centre = Postgrest(database)
    script = (SOURCE / "conf" / "sql" / "tidemill-http.sql").read_text()
    for _ in range(2):  # it may be run again
        database.query(script)
    database.query("CREATE FUNCTION public.choosy() RETURNS trigger LANGUAGE "
                   "plpgsql AS $$ BEGIN IF new.data->>'n' = '13' THEN RAISE "
                   "check_violation USING MESSAGE = 'no 13'; END IF; RETURN "
                   "new; END $$; CREATE TRIGGER choosy BEFORE INSERT OR UPDATE "
                   "ON tidemill.synced_records FOR EACH ROW EXECUTE FUNCTION "
                   "public.choosy()")
    daemon.configure(centre.options())
    daemon.configure({"sync": {"retry": {"base": "50ms", "max": "300ms"},
                               "max_retries": 0}})
    yield daemon, centre, database
    centre.close()


def test_behind_postgrest(postgrest):
    """Cut behind the commit, refused, merged, deleted; once each."""
    host, centre, database = postgrest
    cuts = []

    def cut(handler, when, text):
        if when == "after" and len(cuts) < 3:
            cuts.append(handler)
            return handler.drop()
        return None
    centre.misbehave = cut
    host.start()
    fill(host, 300)
    host.run("enqueue", "t", "r13", '{"n": 14}')  # behind the refused one
    host.run("enqueue", "t", "r5", '{"m": 1}', "--operation", "UPDATE")
    host.run("enqueue", "t", "r6", "--operation", "DELETE")
    host.run("enqueue", "t", "nul", '{"x": "\\u0000"}')
    host.run("sync", "now", check=False)
    wait_for(lambda: status(host)["pending"] - status(host).get("waiting", 0)
             <= 0 and status(host)["dead"] >= 2, what="the drain")
    rows = dict(database.query("SELECT record_id, data FROM "
                               "tidemill.synced_records WHERE NOT deleted"))
    assert len(cuts) == 3
    assert rows["r5"] == {"n": 5, "m": 1}
    assert "r6" not in rows and "nul" not in rows
    assert len(rows) >= 298
    dead = host.json("sync", "dead")
    assert {row["record_id"] for row in dead} == {"r13", "nul"}
    assert any("no 13" in row["error_message"] for row in dead)


def test_a_token_of_another_system(postgrest):
    host, centre, database = postgrest
    centre.claims = {"system_id": "somebody"}
    host.start()
    fill(host, 3)
    host.run("sync", "now", check=False)
    wait_for(lambda: "this token is for somebody" in
             json.dumps(status(host)), what="the reason")
    assert database.query("SELECT count(*) FROM tidemill.synced_records"
                          )[0][0] == 0
    centre.claims = {"system_id": "host-d"}
    drained(host)
