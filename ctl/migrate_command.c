/* SPDX-License-Identifier: Apache-2.0
 *
 * migrate: the local store's schema.  The centre's is brought up by the
 * sync workers on their first connection.
 */
#include <stdio.h>
#include <string.h>

#include "common/store/schema.h"
#include "common/store/writer.h"
#include "ctl/arguments.h"
#include "ctl/command.h"
#include "ctl/print.h"
#include "ctl/report.h"

/* What is compiled in, joined with what the store says was applied. */
static json_t *status_rows(const json_t *applied)
{
    json_t *rows = json_array();
    for (size_t i = 0; i < local_migration_count; i++) {
        const struct migration *migration = &local_migrations[i];
        json_t *when = json_null();
        size_t j;
        json_t *row;
        json_array_foreach(applied, j, row)
        {
            if (json_integer_value(json_object_get(row, "version")) ==
                migration->version)
                when = json_incref(json_object_get(row, "applied_at"));
        }
        json_array_append_new(
            rows, json_pack("{s:i,s:s,s:s,s:o}", "version", migration->version,
                            "description", migration->description, "checksum",
                            migration->checksum, "applied_at", when));
    }
    return rows;
}

static int migrate_status(const struct command_context *context)
{
    struct error error;
    struct store_reader *reader = NULL;
    json_t *applied = NULL;
    if (store_reader_open(&reader, context->config->state_dir, &error) == 0)
        applied =
            report_rows(reader,
                        "SELECT version, applied_at FROM schema_migrations "
                        "ORDER BY version",
                        NULL, 0, &error);
    else if (error.code == ERROR_NO_INPUT)
        applied = json_array(); /* no store yet: nothing is applied */
    store_reader_close(&reader);
    if (applied == NULL)
        return print_failure(&error);
    json_t *rows = status_rows(applied);
    json_decref(applied);
    if (context->json)
        return print_json(rows);
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row)
    {
        const json_t *when = json_object_get(row, "applied_at");
        printf("%04d  %-30s %s\n",
               (int)json_integer_value(json_object_get(row, "version")),
               json_string_value(json_object_get(row, "description")),
               json_is_string(when) ? json_string_value(when) : "pending");
    }
    json_decref(rows);
    return 0;
}

int command_migrate(const struct command_context *context, int argc,
                    char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--status") == 0)
        return migrate_status(context);
    if (argc > 1)
        return print_usage(context, "unexpected argument: %s", argv[1]);
    struct error error;
    struct store_writer *writer = NULL;
    /* Opening applies what is missing. */
    if (store_writer_open(&writer, context->config->state_dir,
                          context->config->system_id, &error) != 0) {
        if (error.code == ERROR_TRY_AGAIN)
            error_prefix(&error, "the daemon migrates its store when it "
                                 "starts, and it runs");
        return print_failure(&error);
    }
    store_writer_close(&writer);
    if (context->json)
        return migrate_status(context);
    printf("the store is at version %d\n",
           local_migrations[local_migration_count - 1].version);
    return 0;
}
