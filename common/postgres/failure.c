/* SPDX-License-Identifier: Apache-2.0 */
#include "common/postgres/failure.h"

#include <string.h>

enum pg_failure pg_failure_of(const char *sqlstate)
{
    /* A longer code goes before its class. The refusals are those of
     * is_refusal in sql/centre/0003_refusals.sql. */
    static const struct {
        const char *start;
        enum pg_failure failure;
    } list[] = {
        {"25006", PG_DOWN}, /* read only: the primary is elsewhere now */
        {"57", PG_DOWN},    /* shutdown, crash, starting up, cancelled */
        {"08", PG_DOWN},    {"0A", PG_REFUSED}, {"21", PG_REFUSED},
        {"22", PG_REFUSED}, {"23", PG_REFUSED}, {"44", PG_REFUSED},
        {"54", PG_REFUSED}, {"P0", PG_REFUSED}, {"42", PG_SETUP},
        {"3F", PG_SETUP},   {"28", PG_SETUP},   {"3D", PG_SETUP},
        {"26", PG_SETUP},
    };
    if (!*sqlstate)
        return PG_DOWN;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (strncmp(sqlstate, list[i].start, strlen(list[i].start)) == 0)
            return list[i].failure;
    return PG_TRANSIENT;
}

bool pg_failure_is_busy(const char *sqlstate, const char *words)
{
    /* PgBouncer gives 08P01 for whatever it has to say, and passes on the
     * server's words when its own login was refused. */
    static const char *const bouncer[] = {
        "no more connections allowed",   "query_wait_timeout",
        "too many clients already",      "too many connections for",
        "connection slots are reserved",
    };
    if (strcmp(sqlstate, "53300") == 0)
        return true;
    if (*sqlstate && strncmp(sqlstate, "08", 2) != 0)
        return false;
    for (size_t i = 0; i < sizeof bouncer / sizeof *bouncer; i++)
        if (strstr(words, bouncer[i]))
            return true;
    return false;
}

bool pg_failure_is_authorization(const char *sqlstate)
{
    return strncmp(sqlstate, "28", 2) == 0 || strcmp(sqlstate, "42501") == 0;
}

void pg_words_copy(char *out, size_t room, const char *words)
{
    size_t n = 0;
    for (; *words && n + 1 < room; words++)
        out[n++] = *words == '\n' || *words == '\t' ? ' ' : *words;
    while (n && out[n - 1] == ' ')
        n--;
    out[n] = '\0';
}

/* "FATAL:  53300: sorry, ..." : where ":  53300: " starts, or NULL.  The
 * word before it may be in any language. */
static const char *sqlstate_find(const char *words)
{
    static const char letters[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    const char *at = words;
    while ((at = strstr(at, ":  "))) {
        if (strspn(at + 3, letters) == 5 && at[8] == ':')
            return at;
        at += 3;
    }
    return NULL;
}

void pg_words_of_connect(const char *verbose, char sqlstate[PG_SQLSTATE_SIZE],
                         char *out, size_t room)
{
    char text[1000];
    const char *at = sqlstate_find(verbose);
    sqlstate[0] = '\0';
    if (!at) {
        pg_words_copy(out, room, verbose);
        return;
    }
    memcpy(sqlstate, at + 3, 5);
    sqlstate[5] = '\0';
    size_t before = (size_t)(at - verbose) + 2; /* with ": " */
    const char *rest = at + 10;
    size_t after = strcspn(rest, "\n");
    if (before > sizeof text / 2)
        before = sizeof text / 2;
    if (after > sizeof text - before - 1)
        after = sizeof text - before - 1;
    memcpy(text, verbose, before);
    memcpy(text + before, rest, after);
    text[before + after] = '\0';
    pg_words_copy(out, room, text);
}
