/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "common/base/clock.h"
#include "common/base/priority.h"
#include "common/document/json_text.h"
#include "common/store/writer_internal.h"

/* What of a bad text is shown. */
#define SHOWN 80

static int shown(size_t size)
{
    return size > SHOWN ? SHOWN : (int)size;
}

static bool is_word(const char *text, size_t size, const char *word)
{
    return size == strlen(word) && memcmp(text, word, size) == 0;
}

static int check_operation(struct outbox_append *append, struct error *error)
{
    static const char *const words[] = {"INSERT", "UPDATE", "DELETE"};
    for (int i = 0; i < 3; i++)
        if (is_word(append->operation, append->operation_size, words[i])) {
            append->kind = (enum operation_kind)(i + 1);
            return 0;
        }
    return error_set(error, ERROR_DATA,
                     "operation \"%.*s\" is not known; write INSERT, UPDATE "
                     "or DELETE (capitals)",
                     shown(append->operation_size), append->operation);
}

static bool is_letter(unsigned char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}

static bool is_table_name(const char *name, size_t size)
{
    if (size == 0 || !is_letter((unsigned char)name[0]))
        return false;
    for (size_t i = 1; i < size; i++) {
        unsigned char c = (unsigned char)name[i];
        if (!is_letter(c) && !(c >= '0' && c <= '9') && c != '.' && c != '$' &&
            c != '-')
            return false;
    }
    return true;
}

static int check_table_name(const struct outbox_append *append,
                            struct error *error)
{
    if (append->table_name_size == 0)
        return error_set(error, ERROR_DATA,
                         "the table name is empty; name the table that the "
                         "record belongs to");
    if (append->table_name_size > OUTBOX_TABLE_NAME_MAX)
        return error_set(error, ERROR_DATA,
                         "table name \"%.*s...\" has %zu bytes, at most %d are "
                         "taken; shorten it",
                         SHOWN, append->table_name, append->table_name_size,
                         OUTBOX_TABLE_NAME_MAX);
    if (!is_table_name(append->table_name, append->table_name_size))
        return error_set(error, ERROR_DATA,
                         "table name \"%.*s\" is not a name: a letter or _ "
                         "first, then letters, digits and _ . $ -",
                         shown(append->table_name_size), append->table_name);
    return 0;
}

static int check_record_id(const struct outbox_append *append,
                           struct error *error)
{
    if (append->record_id_size == 0)
        return error_set(error, ERROR_DATA,
                         "the record id for table %.*s is empty; give the "
                         "record's key",
                         (int)append->table_name_size, append->table_name);
    if (append->record_id_size > OUTBOX_RECORD_ID_MAX)
        return error_set(error, ERROR_DATA,
                         "record id \"%.*s...\" for table %.*s has %zu bytes, "
                         "at most %d are taken; shorten it",
                         SHOWN, append->record_id, (int)append->table_name_size,
                         append->table_name, append->record_id_size,
                         OUTBOX_RECORD_ID_MAX);
    for (size_t i = 0; i < append->record_id_size; i++) {
        unsigned char c = (unsigned char)append->record_id[i];
        if (c < 0x20 || c == 0x7f)
            return error_set(error, ERROR_DATA,
                             "the record id for table %.*s has the control "
                             "character 0x%02x at byte %zu; remove it",
                             (int)append->table_name_size, append->table_name,
                             c, i + 1);
    }
    if (!text_is_utf8(append->record_id, append->record_id_size))
        return error_set(error, ERROR_DATA,
                         "the record id for table %.*s is not UTF-8; convert "
                         "it",
                         (int)append->table_name_size, append->table_name);
    return 0;
}

static int check_data(const struct outbox_append *append, struct error *error)
{
    if (append->kind == OPERATION_DELETE) {
        if (append->data != NULL)
            return error_set(error, ERROR_DATA,
                             "DELETE takes no data; give "
                             "none, or write UPDATE");
        return 0;
    }
    if (append->data == NULL)
        return error_set(error, ERROR_DATA,
                         "%.*s needs data: the record as a JSON object",
                         (int)append->operation_size, append->operation);
    if (append->data_size > OUTBOX_DATA_MAX)
        return error_set(error, ERROR_DATA,
                         "the data has %zu bytes, at most %d are taken; store "
                         "it elsewhere and record where",
                         append->data_size, OUTBOX_DATA_MAX);
    struct error wrong;
    error_clear(&wrong);
    if (!json_text_valid(append->data, append->data_size, &wrong))
        return error_set(error, ERROR_DATA, "the data is not JSON: %s",
                         wrong.text);
    return 0;
}

uint64_t outbox_record_hash(const char *table, size_t table_size,
                            const char *record_id, size_t record_id_size)
{
    uint64_t hash = text_hash(TEXT_HASH_START, table, table_size);
    return text_hash(text_hash(hash, "", 1), record_id, record_id_size);
}

int outbox_priority_parse(const char *text, size_t size, unsigned *priority)
{
    int found = priority_find(text, size);
    if (found < 0)
        return -1;
    *priority = (unsigned)found;
    return 0;
}

int outbox_append_check(struct outbox_append *append, struct error *error)
{
    if (check_operation(append, error) != 0 ||
        check_table_name(append, error) != 0 ||
        check_record_id(append, error) != 0)
        return -1;
    if (append->priority >= OUTBOX_PRIORITIES)
        return error_set(error, ERROR_DATA,
                         "priority %u is not known; write 0 urgent, 1 high, "
                         "2 normal or 3 low",
                         append->priority);
    if (check_data(append, error) != 0)
        return error_prefix(error, "%.*s of %.*s \"%.*s\"",
                            (int)append->operation_size, append->operation,
                            (int)append->table_name_size, append->table_name,
                            shown(append->record_id_size), append->record_id);
    append->table_hash = text_hash(
        text_hash(TEXT_HASH_START, append->table_name, append->table_name_size),
        "", 1);
    append->record_hash = text_hash(append->table_hash, append->record_id,
                                    append->record_id_size);
    return 0;
}

void outbox_append_take(struct outbox_append *append, const struct value *v)
{
    *append = (struct outbox_append){
        .operation = v[0].bytes,
        .operation_size = v[0].size,
        .table_name = v[1].bytes,
        .table_name_size = v[1].size,
        .record_id = v[2].bytes,
        .record_id_size = v[2].size,
        .data = v[3].type == VALUE_NULL ? NULL : v[3].bytes,
        .data_size = v[3].size,
        .priority = v[4].integer >= 0 && v[4].integer < OUTBOX_PRIORITIES
                        ? (unsigned)v[4].integer
                        : OUTBOX_PRIORITIES,
        .created_ms = v[5].type == VALUE_NULL ? clock_wall_ms() : v[5].integer,
        .token = v[6].integer};
    if (v[3].type == VALUE_TEXT && v[3].bytes == NULL)
        append->data = "";
}

int outbox_call_check(const struct store_call *call, struct error *error)
{
    struct outbox_append append;
    outbox_append_take(&append, call->arguments);
    return outbox_append_check(&append, error);
}
