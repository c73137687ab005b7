# SPDX-License-Identifier: Apache-2.0
"""The roles of conf/sql/tidemill-roles.sql: enough rights, and no more."""
import subprocess

import psycopg2
import pytest

from harness import SOURCE, wait_for


def run_script(postgres):
    subprocess.run(
        ["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", postgres.conninfo,
         "-f", SOURCE / "conf" / "sql" / "tidemill-roles.sql"],
        check=True, capture_output=True)


def conninfo_as(postgres, role):
    return postgres.conninfo.replace("user=postgres", f"user={role}")


def as_role(postgres, role, sql):
    connection = psycopg2.connect(conninfo_as(postgres, role))
    try:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute(sql)
        return cursor.fetchall() if cursor.description else None
    finally:
        connection.close()


def connect_as(daemon, postgres, role):
    daemon.configure(postgres.config(
        database={"conninfo": conninfo_as(postgres, role)}))


def test_hosts_write_as_a_role_that_owns_nothing(daemon, postgres):
    run_script(postgres)
    connect_as(daemon, postgres, "tidemill_owner")
    daemon.start()
    wait_for(lambda: daemon.json("sync", "status")["state"] == "online", 20,
             "the owner to make the schema")
    daemon.stop()
    run_script(postgres)
    postgres.query("CREATE TABLE public.audit (t text); "
                   "GRANT SELECT ON public.audit TO tidemill_reader")
    connect_as(daemon, postgres, "tidemill_writer")
    daemon.configure({"sync": {
        "max_retries": 0, "batch": {"min": 10, "max": 20},
        "tables": {"both": {"conflict": "last_write_wins"}}}})
    daemon.start()
    lines = [f'{{"table": "t", "record_id": "{n}", "data": {{"n": {n}}}}}'
             for n in range(1000)]
    lines += ['{"table": "t", "record_id": "1", "operation": "DELETE"}',
              '{"table": "t", "record_id": "bad", "data": "\\u0000"}',
              '{"table": "both", "record_id": "1", "data": {"a": 1}}']
    daemon.run("enqueue", "--batch", "-", input="\n".join(lines))
    wait_for(lambda: daemon.run("sync", "drain", check=False).returncode == 0
             and daemon.pending() == 0, 30, "the drain")
    assert daemon.json("sync", "status")["dead"] == 1
    count = "SELECT count(*) FROM tidemill.synced_records WHERE NOT deleted"
    assert as_role(postgres, "tidemill_reader", count) == [(999,)]
    # The ledger was pruned on the way, with the writer's rights.
    assert as_role(postgres, "tidemill_reader",
                   "SELECT count(*) FROM tidemill.stores") == [(1,)]
    for view, in postgres.query("SELECT viewname FROM pg_views WHERE "
                                "schemaname = 'tidemill'"):
        as_role(postgres, "tidemill_reader", f"SELECT * FROM tidemill.{view}")
    as_role(postgres, "tidemill_writer", "SELECT tidemill."
            "update_mixin_compatibility('a', 'b', 'EFFECT', true)")
    as_role(postgres, "tidemill_writer", "SELECT tidemill."
            "record_pattern_feedback(gen_random_uuid(), 'p', 1, NULL, "
            "'correct')")
    for role, sql in [
            ("tidemill_writer", "DELETE FROM tidemill.synced_records"),
            ("tidemill_writer", "DELETE FROM tidemill.schema_migrations"),
            ("tidemill_writer", "CREATE TABLE tidemill.x (a int)"),
            ("tidemill_writer", "DROP TABLE tidemill.ledger"),
            ("tidemill_reader", "DELETE FROM tidemill.ledger"),
            ("tidemill_reader",
             "UPDATE tidemill.synced_records SET deleted = true")]:
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            as_role(postgres, role, sql)
