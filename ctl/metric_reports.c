/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/metric_reports.h"

#include <stdio.h>
#include <string.h>

#include "ctl/print.h"
#include "ctl/report.h"

#define COLUMNS_MAX 32
#define WIDTH_MAX   40

static const struct metric_report {
    const char *name, *query, *what;
} metric_reports[] = {
#define X(name, query, what) {name, query, what},
    METRIC_REPORT_LIST(X)
#undef X
};

#define REPORT_COUNT (sizeof(metric_reports) / sizeof(*metric_reports))

static const char *cell_text(const json_t *cell, char text[32])
{
    if (json_is_string(cell))
        return json_string_value(cell);
    if (json_is_integer(cell))
        snprintf(text, 32, "%lld", (long long)json_integer_value(cell));
    else if (json_is_real(cell))
        snprintf(text, 32, "%.12g", json_real_value(cell));
    else
        snprintf(text, 32, "-");
    return text;
}

static int shown_width(const char *text)
{
    size_t width = strlen(text);
    return width > WIDTH_MAX ? WIDTH_MAX : (int)width;
}

static void measure(const json_t *row, int widths[COLUMNS_MAX])
{
    const char *name;
    json_t *cell;
    char text[32];
    unsigned column = 0;
    json_object_foreach((json_t *)row, name, cell)
    {
        int width = shown_width(cell_text(cell, text));
        if (column == COLUMNS_MAX)
            return;
        if (widths[column] < shown_width(name))
            widths[column] = shown_width(name);
        if (widths[column] < width)
            widths[column] = width;
        column++;
    }
}

/* The names of the columns, or the values. */
static void show_row(const json_t *row, const int widths[COLUMNS_MAX],
                     bool names)
{
    const char *name;
    json_t *cell;
    char text[32];
    unsigned column = 0;
    json_object_foreach((json_t *)row, name, cell)
    {
        if (column == COLUMNS_MAX)
            break;
        int width = widths[column];
        printf("%s%*.*s", column == 0 ? "" : "  ",
               json_is_number(cell) ? width : -width, WIDTH_MAX,
               names ? name : cell_text(cell, text));
        column++;
    }
    putchar('\n');
}

static void show_rows(const json_t *rows)
{
    int widths[COLUMNS_MAX] = {0};
    size_t i;
    json_t *row;
    json_array_foreach(rows, i, row) measure(row, widths);
    fputs(print_bold(), stdout);
    show_row(json_array_get(rows, 0), widths, true);
    fputs(print_plain(), stdout);
    json_array_foreach(rows, i, row) show_row(row, widths, false);
}

static int list_reports(const struct command_context *context)
{
    json_t *list = json_array();
    for (size_t i = 0; i < REPORT_COUNT; i++) {
        const struct metric_report *report = &metric_reports[i];
        if (!context->json)
            printf("%-32s %s\n", report->name, report->what);
        json_array_append_new(list, json_pack("{s:s,s:s}", "name", report->name,
                                              "what", report->what));
    }
    if (context->json)
        return print_json(list);
    json_decref(list);
    return 0;
}

int metric_report_show(const struct command_context *context, const char *name,
                       int64_t most_rows)
{
    const struct metric_report *report = NULL;
    struct store_reader *reader = NULL;
    struct error error;
    json_t *rows = NULL;
    if (strcmp(name, "list") == 0)
        return list_reports(context);
    for (size_t i = 0; i < REPORT_COUNT; i++)
        if (strcmp(metric_reports[i].name, name) == 0)
            report = &metric_reports[i];
    if (report == NULL)
        return print_usage(
            context, "there is no report '%s'; '--report list' names them all",
            name);
    if (report_open(&reader, context->config, &error) == 0)
        rows = report_table(reader, report->query, most_rows, &error);
    store_reader_close(&reader);
    if (rows == NULL)
        return print_failure(&error);
    if (context->json)
        return print_json(rows);
    if (json_array_size(rows) == 0)
        puts("nothing recorded");
    else
        show_rows(rows);
    json_decref(rows);
    return 0;
}
