/* SPDX-License-Identifier: Apache-2.0
 *
 * doctor: what is missing or wrong on this host, each finding with its
 * remedy.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <sqlite3.h>

#include "common/base/text.h"
#include "common/store/lock.h"
#include "common/store/schema.h"
#include "common/store/spool.h"
#include "ctl/arguments.h"
#include "ctl/control.h"
#include "ctl/print.h"
#include "ctl/report.h"

/* The first SQLite whose checkpoint and write of two processes cannot lose
 * a committed transaction (the WAL-reset fix). */
#define SQLITE_WAL_RESET_FIX 3051003

#define SPACE_LOW_BYTES (200u << 20)
#define FILES_LOW       256u

struct doctor {
    const struct config *config;
    json_t *findings;
    bool running; /* the daemon answers */
};

enum verdict { GOOD, NOTE, BAD };

static void find(struct doctor *doctor, const char *subject,
                 enum verdict verdict, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

static void find(struct doctor *doctor, const char *subject,
                 enum verdict verdict, const char *format, ...)
{
    static const char *const words[] = {"good", "note", "bad"};
    va_list args;
    va_start(args, format);
    char text[ERROR_TEXT_MAX];
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    json_array_append_new(doctor->findings,
                          json_pack("{s:s,s:s,s:s}", "subject", subject,
                                    "verdict", words[verdict], "text", text));
}

static void check_sqlite(struct doctor *doctor)
{
    bool fixed = sqlite3_libversion_number() >= SQLITE_WAL_RESET_FIX;
    find(doctor, "sqlite", GOOD,
         "SQLite %s %s the WAL-reset fix of 3.51.3; Tidemill is protected "
         "%s by its design: the store is the only process that writes or "
         "checkpoints the local store, alone under %s/tidemill.lock",
         sqlite3_libversion(), fixed ? "has" : "does not have",
         fixed ? "also" : "all the same", doctor->config->state_dir);
    if (strcmp(sqlite3_libversion(), SQLITE_VERSION) != 0)
        find(doctor, "sqlite", NOTE,
             "built against %s, running with %s; both are supported",
             SQLITE_VERSION, sqlite3_libversion());
}

static void check_directory(struct doctor *doctor, const char *subject,
                            const char *path)
{
    struct stat status;
    if (stat(path, &status) != 0) {
        find(doctor, subject, errno == ENOENT ? NOTE : BAD,
             "%s: %s; the daemon makes it when it may, else make it and give "
             "it to the daemon's user",
             path, strerror(errno));
        return;
    }
    if (!S_ISDIR(status.st_mode))
        find(doctor, subject, BAD, "%s is no directory; move it away", path);
    else if ((status.st_mode & 0002) != 0)
        find(doctor, subject, BAD, "%s is writable for everyone; chmod o-w %s",
             path, path);
    else
        find(doctor, subject, GOOD, "%s", path);
}

static void check_space(struct doctor *doctor)
{
    struct statvfs fs;
    char text[24];
    if (statvfs(doctor->config->state_dir, &fs) != 0)
        return;
    unsigned long long left = (unsigned long long)fs.f_bavail * fs.f_frsize;
    text_bytes(left, text);
    if (left < SPACE_LOW_BYTES)
        find(doctor, "space", BAD,
             "%s left for %s; free some, or operations will be refused", text,
             doctor->config->state_dir);
    else
        find(doctor, "space", GOOD, "%s left for %s", text,
             doctor->config->state_dir);
}

static void check_limits(struct doctor *doctor)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    if (limit.rlim_cur < FILES_LOW)
        find(doctor, "limits", BAD,
             "at most %llu open files here; raise LimitNOFILE to %u or more",
             (unsigned long long)limit.rlim_cur, FILES_LOW);
    else
        find(doctor, "limits", GOOD, "%llu open files allowed",
             (unsigned long long)limit.rlim_cur);
}

static void check_kernel(struct doctor *doctor)
{
    if (access("/proc/self/stat", R_OK) != 0)
        find(doctor, "kernel", BAD, "/proc is not mounted; mount it");
    if (access("/sys/fs/cgroup/cgroup.controllers", R_OK) != 0)
        find(doctor, "kernel", NOTE,
             "no cgroup v2: trees of processes are found through /proc");
    if (access(doctor->config->generation_pressure_file, R_OK) != 0)
        find(doctor, "kernel", NOTE,
             "no %s (the kernel needs CONFIG_PSI and psi=1): jobs are admitted "
             "without looking at the pressure on memory",
             doctor->config->generation_pressure_file);
}

/* Of the master: its workers have the same. */
static void check_daemon_files(struct doctor *doctor, pid_t pid)
{
    struct rlimit limit;
    if (prlimit(pid, RLIMIT_NOFILE, NULL, &limit) == 0 &&
        limit.rlim_cur < FILES_LOW)
        find(doctor, "limits", BAD,
             "the daemon may have at most %llu open files; raise LimitNOFILE "
             "to %u or more and restart it",
             (unsigned long long)limit.rlim_cur, FILES_LOW);
}

static void check_daemon(struct doctor *doctor)
{
    struct error error;
    json_t *status =
        control_ask(doctor->config, CONTROL_STATUS, NULL, 5000, &error);
    doctor->running = status != NULL;
    if (status == NULL) {
        find(doctor, "daemon", error.code == ERROR_NOT_RUNNING ? NOTE : BAD,
             "%s", error.text);
        return;
    }
    find(doctor, "daemon", GOOD, "runs, version %s, pid %lld",
         report_text(status, "version"), report_number(status, "pid"));
    check_daemon_files(doctor, (pid_t)report_number(status, "pid"));
    const json_t *configuration = json_object_get(status, "configuration");
    if (json_is_true(json_object_get(configuration, "reload_failed")))
        find(doctor, "daemon", BAD,
             "the last reload was refused; 'tidemill status' shows why");
    size_t i;
    json_t *role;
    json_array_foreach(json_object_get(status, "degraded"), i, role)
        find(doctor, "daemon", BAD,
             "%s workers crash again and again; the log says why",
             json_string_value(role));
    const json_t *commands = json_object_get(status, "commands");
    bool noted = json_is_string(json_object_get(commands, "note"));
    find(doctor, "commands", noted ? NOTE : GOOD, "end by %s%s%s",
         report_text(commands, "mechanism"), noted ? ": " : "",
         noted ? report_text(commands, "note") : "");
    const json_t *sync = json_object_get(status, "sync");
    if (json_is_string(json_object_get(sync, "last_error")))
        find(doctor, "centre", BAD, "%s: %s", report_text(sync, "state"),
             report_text(sync, "last_error"));
    else
        find(doctor, "centre", GOOD, "%s, %s", report_text(sync, "sink"),
             report_text(sync, "state"));
    json_decref(status);
}

static void check_spool(struct doctor *doctor)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", doctor->config->state_dir,
             SPOOL_REFUSED_NAME);
    if (spool_is_filled(doctor->config->state_dir))
        find(doctor, "spool", BAD,
             "%s/%s holds events that the store has not taken over; the log "
             "says why",
             doctor->config->state_dir, SPOOL_FILE_NAME);
    if (access(path, F_OK) == 0)
        find(doctor, "spool", BAD,
             "%s holds what the store could not take, damaged or refused; the "
             "log says why: look into it, then remove it",
             path);
}

/* Copies that repairs have left; the first numbers go first. */
static void check_damaged(struct doctor *doctor)
{
    char path[4096];
    unsigned number = 0;
    do
        snprintf(path, sizeof(path), "%s/" STORE_FILE_NAME ".damaged-%u",
                 doctor->config->state_dir, ++number);
    while (access(path, F_OK) == 0);
    if (number > 1)
        find(doctor, "damage", NOTE,
             "%s/" STORE_FILE_NAME ".damaged-* (%u) are damaged stores whose "
             "readable rows went on; check the disk, and remove them when the "
             "log's word on what was lost is dealt with",
             doctor->config->state_dir, number - 1);
}

static void check_store(struct doctor *doctor)
{
    struct error error;
    struct store_reader *reader = NULL;
    if (report_open(&reader, doctor->config, &error) != 0) {
        find(doctor, "store", error.code == ERROR_NO_INPUT ? NOTE : BAD, "%s",
             error.text);
        return;
    }
    json_t *version = report_rows(
        reader, "SELECT max(version) AS version FROM schema_migrations", NULL,
        0, &error);
    json_t *sources =
        report_rows(reader, "SELECT source, cursor, error FROM source_cursors",
                    NULL, 0, &error);
    long long has = report_number(json_array_get(version, 0), "version");
    if (version == NULL || sources == NULL)
        find(doctor, "store", BAD, "%s", error.text);
    else if (has > (long long)local_migration_count)
        find(doctor, "store", BAD,
             "%s/tidemill.db has schema version %lld, this tidemill knows "
             "versions up to %zu; install the newer tidemill again",
             doctor->config->state_dir, has, local_migration_count);
    else if (has < (long long)local_migration_count)
        find(doctor, "store", NOTE,
             "%s/tidemill.db has schema version %lld of %zu; 'tidemill "
             "migrate', or the daemon's next start, brings it up",
             doctor->config->state_dir, has, local_migration_count);
    else
        find(doctor, "store", GOOD, "%s/tidemill.db, schema version %lld",
             doctor->config->state_dir, has);
    size_t i;
    json_t *source;
    json_array_foreach(sources, i, source)
    {
        bool failed = json_is_string(json_object_get(source, "error")) &&
                      report_text(source, "error")[0] != '\0';
        find(doctor, "source", failed ? BAD : GOOD, "%s: %s%s%lld",
             report_text(source, "source"),
             failed ? report_text(source, "error") : "",
             failed ? "; copied up to row " : "copied up to row ",
             report_number(source, "cursor"));
    }
    json_decref(version);
    json_decref(sources);
    store_reader_close(&reader);
}

static void show_finding(const json_t *finding, const char *verdict)
{
    const char *colour = strcmp(verdict, "bad") == 0    ? print_red()
                         : strcmp(verdict, "good") == 0 ? print_green()
                                                        : "";
    printf("%s%-4s%s  %-9s ", colour, verdict, print_plain(),
           report_text(finding, "subject"));
    print_column(16, report_text(finding, "text"));
}

static int show(const struct command_context *context, json_t *findings)
{
    size_t i;
    json_t *finding;
    bool bad = false;
    json_array_foreach(findings, i, finding)
    {
        const char *verdict = report_text(finding, "verdict");
        bad |= strcmp(verdict, "bad") == 0;
        if (!context->json)
            show_finding(finding, verdict);
    }
    if (context->json)
        print_json(findings);
    else
        json_decref(findings);
    return bad ? error_exit_status(ERROR_NEGATIVE) : 0;
}

int command_doctor(const struct command_context *context, int argc, char **argv)
{
    int status = take_no_arguments(context, argc, argv);
    if (status != 0)
        return status;
    struct doctor doctor = {.config = context->config,
                            .findings = json_array()};
    find(&doctor, "config", GOOD, "%s",
         context->config->path != NULL ? context->config->path
                                       : "defaults, there is no file");
    check_sqlite(&doctor);
    check_directory(&doctor, "state", context->config->state_dir);
    check_directory(&doctor, "runtime", context->config->runtime_dir);
    check_directory(&doctor, "log", context->config->log_dir);
    check_directory(&doctor, "templates", context->config->template_dir);
    check_space(&doctor);
    check_limits(&doctor);
    check_kernel(&doctor);
    check_daemon(&doctor);
    check_store(&doctor);
    check_spool(&doctor);
    check_damaged(&doctor);
    return show(context, doctor.findings);
}
