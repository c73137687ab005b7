/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/top_frame.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/text.h"
#include "ctl/arguments.h"
#include "ctl/print.h"

#define LINE_BYTES_MAX 2048
#define BODY_LEAST     3 /* rows kept for workers when the head is long */

enum style { PLAIN, BOLD, RED, REVERSE };

static const char *const style_codes[] = {"", "\033[1m", "\033[31m", "\033[7m"};

/* Lines on a screen, top down. */
struct canvas {
    const struct top_screen *screen;
    struct buffer *out;
    unsigned rows; /* that may be used; UINT32_MAX for a text */
    unsigned used;
};

static bool is_text(const struct canvas *canvas)
{
    return canvas->screen->rows == 0;
}

/* As much as fits; nothing that would drive the terminal. */
static void put_clipped(struct canvas *canvas, const char *text)
{
    unsigned columns =
        is_text(canvas) ? LINE_BYTES_MAX : canvas->screen->columns;
    for (unsigned column = 0; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        bool starts = (c & 0xc0) != 0x80; /* of a character of UTF-8 */
        if (starts && column++ == columns)
            break;
        buffer_append_char(canvas->out, c < ' ' || c == 0x7f ? '?' : (char)c);
    }
}

__attribute__((format(printf, 3, 4))) static void
put(struct canvas *canvas, enum style style, const char *format, ...)
{
    char text[LINE_BYTES_MAX];
    va_list args;
    bool codes = !is_text(canvas) && (canvas->screen->colour || style != RED);
    if (canvas->used >= canvas->rows)
        return;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (is_text(canvas)) /* nobody sees blanks at the end */
        for (size_t size = strlen(text); size > 0 && text[size - 1] == ' ';)
            text[--size] = '\0';
    if (!is_text(canvas))
        buffer_printf(canvas->out, "\033[%u;1H\033[K", canvas->used + 1);
    if (codes)
        buffer_append_text(canvas->out, style_codes[style]);
    put_clipped(canvas, text);
    if (codes && style != PLAIN)
        buffer_append_text(canvas->out, "\033[0m");
    if (is_text(canvas))
        buffer_append_char(canvas->out, '\n');
    canvas->used++;
}

/* "12345", "123k", "1.2M": at most 5 characters up to 10^10; in 16 bytes. */
static const char *count_words(long long count, char *words)
{
    if (count < 0)
        return "-";
    if (count < 100000)
        snprintf(words, 16, "%lld", count);
    else if (count < 1000000)
        snprintf(words, 16, "%lldk", count / 1000);
    else if (count < 10000000)
        snprintf(words, 16, "%.1fM", (double)count / 1e6);
    else
        snprintf(words, 16, "%lldM", count / 1000000);
    return words;
}

static const char *rate_words(double rate, char *words)
{
    if (rate < 0)
        return "-";
    if (rate >= 9.95 || rate < 0.05)
        return count_words((long long)(rate + 0.5), words);
    snprintf(words, 16, "%.1f", rate);
    return words;
}

/* --- the head --- */

static void put_title(struct canvas *canvas, const struct top_sample *sample)
{
    char at[CLOCK_TEXT_SIZE];
    char up[32];
    char title[128];
    const json_t *status = sample->status;
    clock_format(sample->wall_ms, at);
    if (status == NULL)
        snprintf(title, sizeof(title), "tidemilld");
    else
        snprintf(
            title, sizeof(title), "tidemilld %s on %.28s, up %s, epoch %lld",
            report_text(status, "version"), report_text(status, "system_id"),
            print_duration(
                json_real_value(json_object_get(status, "uptime_seconds")), up),
            report_number(json_object_get(status, "configuration"), "epoch"));
    put(canvas, BOLD, "%-67s %.8s UTC", title, at + 11);
}

/* The title says that it is UTC. */
static const char *time_words(const json_t *line, const char *key, char *text)
{
    const char *words = print_time(json_object_get(line, key), text);
    size_t size = strlen(words);
    if (size > 4)
        text[size - 4] = '\0';
    return words;
}

static void put_line_state(struct canvas *canvas, const json_t *line)
{
    char since[32];
    char next[32];
    const char *state = report_text(line, "state");
    bool bad = strcmp(state, "offline") == 0 || strcmp(state, "busy") == 0 ||
               strcmp(state, "cut") == 0;
    if (line == NULL)
        return;
    put(canvas, bad ? RED : PLAIN, "sync     %s to %s since %s; next %s, %s",
        state, report_text(line, "sink"),
        time_words(line, "state_since", since),
        time_words(line, "next_sync", next), report_text(line, "next_trigger"));
    if (json_is_string(json_object_get(line, "last_error")))
        put(canvas, RED, "         %s", report_text(line, "last_error"));
    if (json_is_true(json_object_get(line, "stalled")))
        put(canvas, RED, "         no attempt is made to sync what pends");
    if (json_is_true(
            json_object_get(json_object_get(line, "pool"), "deferring")))
        put(canvas, RED,
            "         a pool is near capacity: only urgent operations go");
}

static void put_queue(struct canvas *canvas, const json_t *outbox)
{
    const json_t *by = json_object_get(outbox, "by_priority");
    char words[5][16];
    if (outbox == NULL)
        put(canvas, PLAIN, "queue    there is no local store to read");
    else
        put(canvas, PLAIN,
            "queue    %s pending: %s urgent, %s high, %s normal, %s low",
            count_words(report_number(outbox, "pending"), words[0]),
            count_words(report_number(by, "urgent"), words[1]),
            count_words(report_number(by, "high"), words[2]),
            count_words(report_number(by, "normal"), words[3]),
            count_words(report_number(by, "low"), words[4]));
}

static void put_jobs(struct canvas *canvas, const struct top_sample *sample)
{
    const json_t *outbox = sample->outbox;
    char words[4][16];
    if (outbox != NULL)
        put(canvas, PLAIN,
            "jobs     %s queued, %s running; operations %s dead, %s in "
            "conflict",
            count_words(sample->jobs_queued, words[0]),
            count_words(sample->jobs_running, words[1]),
            count_words(report_number(outbox, "dead"), words[2]),
            count_words(report_number(outbox, "conflicts"), words[3]));
}

static void put_rates(struct canvas *canvas, const struct top_sample *sample)
{
    char text[256];
    char words[16];
    size_t at = 0;
    for (unsigned i = 0; i < LOOK_RATES; i++)
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s %s",
                               i > 0 ? ", " : "", look_rate_words[i],
                               rate_words(sample->rates[i], words));
    put(canvas, PLAIN, "rate/s   %s", text);
}

static void put_latencies(struct canvas *canvas,
                          const struct top_sample *sample)
{
    char text[256];
    size_t at = 0;
    for (unsigned i = 0; i < LOOK_LATENCIES; i++) {
        const struct histogram_totals *totals = &sample->latencies[i];
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%s ",
                               i > 0 ? ", " : "", look_latency_words[i]);
        if (totals->count == 0)
            at += (size_t)snprintf(text + at, sizeof(text) - at, "-");
        else
            at += (size_t)snprintf(text + at, sizeof(text) - at, "%.1f",
                                   histogram_quantile_us(totals, 0.95) / 1e3);
    }
    put(canvas, PLAIN, "p95 ms   %s", text);
}

#define STATES_MAX 8

struct state_count {
    const char *state;
    unsigned count;
};

/* How many slots of the role there are in each state. */
static unsigned count_states(const struct top_sample *sample, const char *role,
                             struct state_count states[STATES_MAX])
{
    unsigned kinds = 0;
    for (unsigned i = 0; i < sample->worker_count; i++) {
        const struct top_worker *worker = &sample->workers[i];
        unsigned k = 0;
        if (strcmp(worker->role, role) != 0)
            continue;
        while (k < kinds && strcmp(states[k].state, worker->state) != 0)
            k++;
        if (k == kinds && kinds < STATES_MAX)
            states[kinds++] = (struct state_count){worker->state, 0};
        if (k < kinds)
            states[k].count++;
    }
    return kinds;
}

/* "generation 4: 3 busy, 1 idle". */
static size_t describe_pool(const struct top_sample *sample, const char *role,
                            char *text, size_t room)
{
    struct state_count states[STATES_MAX];
    unsigned kinds = count_states(sample, role, states);
    unsigned total = 0;
    for (unsigned k = 0; k < kinds; k++)
        total += states[k].count;
    size_t at = (size_t)snprintf(text, room, "%s %u", role, total);
    for (unsigned k = 0; k < kinds && at < room; k++)
        at += (size_t)snprintf(text + at, room - at, "%s %u %s",
                               k == 0 ? ":" : ",", states[k].count,
                               states[k].state);
    return at < room ? at : room - 1;
}

static void put_pools(struct canvas *canvas, const struct top_sample *sample)
{
    char text[256];
    size_t at = describe_pool(sample, "generation", text, sizeof(text) / 2);
    at += (size_t)snprintf(text + at, sizeof(text) - at, "; ");
    describe_pool(sample, "sync", text + at, sizeof(text) - at);
    put(canvas, PLAIN, "pools    %s", text);
}

static void put_troubles(struct canvas *canvas, const json_t *status)
{
    size_t i;
    json_t *item;
    const json_t *configuration = json_object_get(status, "configuration");
    const json_t *upgrade = json_object_get(status, "upgrade");
    json_array_foreach(json_object_get(status, "degraded"), i, item)
        put(canvas, RED, "%s is degraded: its workers crash again and again",
            json_string_value(item));
    if (json_is_true(json_object_get(configuration, "reload_failed")))
        put(canvas, RED,
            "the last reload was refused: 'tidemill status' says why");
    if (json_array_size(json_object_get(configuration, "pending_restart")) > 0)
        put(canvas, BOLD,
            "options wait for a restart: 'tidemill status' lists them");
    if (strcmp(report_text(upgrade, "phase"), "none") != 0)
        put(canvas, BOLD, "an upgrade is under way: %s",
            report_text(upgrade, "phase"));
    else if (json_is_string(json_object_get(upgrade, "error")))
        put(canvas, RED, "the last upgrade failed: 'tidemill status' says why");
}

static void put_head(struct canvas *canvas, const struct top_sample *sample)
{
    put_title(canvas, sample);
    if (sample->status == NULL)
        put(canvas, RED, "%s", sample->error.text);
    put_line_state(canvas, sample->line);
    put_queue(canvas, sample->outbox);
    put_jobs(canvas, sample);
    if (sample->status == NULL)
        return;
    put_rates(canvas, sample);
    put_latencies(canvas, sample);
    put_pools(canvas, sample);
    put_troubles(canvas, sample->status);
}

/* --- the table --- */

static void put_worker(struct canvas *canvas, const struct top_worker *worker)
{
    char age[32];
    char work[24] = "-";
    char cpu[16] = "-";
    char rss[24] = "-";
    char words[2][16];
    if (worker->work_id != 0)
        snprintf(work, sizeof(work), "%lld", worker->work_id);
    if (worker->cpu_percent >= 0)
        snprintf(cpu, sizeof(cpu), "%.1f", worker->cpu_percent);
    if (worker->rss_bytes >= 0)
        text_bytes((uint64_t)worker->rss_bytes, rss);
    put(canvas, PLAIN, "%-14s %7d %-8s %7s %8s %7s %8s %5s %8s", worker->name,
        worker->pid, worker->state, print_duration(worker->age_seconds, age),
        work, count_words(worker->finished, words[0]),
        count_words(worker->restarts, words[1]), cpu, rss);
}

static void put_table(struct canvas *canvas, const struct top_sample *sample,
                      struct top_view *view)
{
    const struct top_worker *workers[TOP_WORKERS_MAX];
    unsigned count = top_view_workers(view, sample, workers);
    put(canvas, is_text(canvas) ? PLAIN : REVERSE,
        "%-14s %7s %-8s %7s %8s %7s %8s %5s %8s", "WORKER", "PID", "STATE",
        "AGE", "JOB", "DONE", "RESTARTS", "CPU%", "RSS");
    view->matches = count;
    view->page = canvas->rows > canvas->used ? canvas->rows - canvas->used : 0;
    unsigned last = count > view->page ? count - view->page : 0;
    if (view->first > last)
        view->first = last;
    for (unsigned i = view->first; i < count; i++)
        put_worker(canvas, workers[i]);
}

/* --- help and keys --- */

static void put_help(struct canvas *canvas)
{
    static const char *const lines[] = {
        "q              leave",
        "h ?            this help, and back",
        "space          look now",
        "+ -            twice, half the interval",
        "/              show only what has a text in its name or state",
        "escape         show all again",
        "arrows, pages  move in the list",
        "r              the order turned round",
    };
    put(canvas, BOLD, "Keys");
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        put(canvas, PLAIN, "%s", lines[i]);
    for (unsigned i = 0; i < TOP_SORTS; i++)
        put(canvas, PLAIN, "%c              order by %s",
            top_sort_key((enum top_sort)i), top_sort_word((enum top_sort)i));
    put(canvas, PLAIN, " ");
    put(canvas, PLAIN,
        "AGE is that of the work, or of the state; p95 of the last 10 s.");
}

static void put_keys(struct canvas *canvas, const struct top_view *view)
{
    char more[48] = "";
    if (view->typing) {
        put(canvas, REVERSE, "show only: %s_", view->filter);
        return;
    }
    if (view->matches > view->page && view->page > 0)
        snprintf(more, sizeof(more), "%u to %u of %u  ", view->first + 1,
                 view->first + view->page, view->matches);
    put(canvas, REVERSE,
        "q leave  h help  %s/ filter%s%s  by %s%s  every %.3g s", more,
        view->filter[0] != '\0' ? ": " : "", view->filter,
        top_sort_word(view->sort), view->reversed ? ", turned" : "",
        (double)view->interval_ms / 1000.0);
}

static void put_all(struct canvas *canvas, unsigned body,
                    const struct top_sample *sample, struct top_view *view)
{
    unsigned kept = body > 2 * BODY_LEAST ? BODY_LEAST : 0;
    canvas->rows = body - kept;
    put_head(canvas, sample);
    canvas->rows = body;
    if (sample->status == NULL)
        return;
    if (kept > 0)
        put(canvas, PLAIN, " ");
    put_table(canvas, sample, view);
}

void top_frame_write(const struct top_screen *screen,
                     const struct top_sample *sample, struct top_view *view,
                     struct buffer *out)
{
    bool text = screen->rows == 0;
    unsigned body = text ? UINT32_MAX : screen->rows - 1;
    struct canvas canvas = {.screen = screen, .out = out, .rows = body};
    if (view->help && !text)
        put_help(&canvas);
    else
        put_all(&canvas, body, sample, view);
    if (text)
        return;
    buffer_printf(out, "\033[%u;1H\033[J", canvas.used + 1);
    canvas.rows = screen->rows;
    canvas.used = screen->rows - 1;
    put_keys(&canvas, view);
}
