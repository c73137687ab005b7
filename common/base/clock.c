/* SPDX-License-Identifier: Apache-2.0 */
#include "common/base/clock.h"

#include <stdbool.h>
#include <stdio.h>
#include <time.h>

uint64_t clock_monotonic_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t clock_monotonic_ms(void)
{
    return clock_monotonic_ns() / 1000000u;
}

int64_t clock_wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

struct timeval clock_span(int64_t ms)
{
    if (ms < 0)
        ms = 0;
    return (struct timeval){.tv_sec = ms / 1000,
                            .tv_usec = (suseconds_t)(ms % 1000 * 1000)};
}

/* The civil date of a day since 1970-01-01 (Howard Hinnant's algorithm,
 * https://howardhinnant.github.io/date_algorithms.html); gmtime_r would read
 * /etc/localtime first. */
static void civil_date(int64_t day, int *year, int *month, int *month_day)
{
    day += 719468; /* since 0000-03-01 */
    int64_t era = (day >= 0 ? day : day - 146096) / 146097;
    int64_t of_era = day - era * 146097;
    int64_t year_of_era =
        (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year =
        of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t from_march = (5 * of_year + 2) / 153;
    *month_day = (int)(of_year - (153 * from_march + 2) / 5 + 1);
    *month = (int)(from_march < 10 ? from_march + 3 : from_march - 9);
    *year = (int)(year_of_era + era * 400 + (*month <= 2));
}

char *clock_format(int64_t wall_ms, char *buffer)
{
    int64_t of_day = wall_ms % 86400000;
    if (of_day < 0)
        of_day += 86400000;
    int year;
    int month;
    int month_day;
    civil_date((wall_ms - of_day) / 86400000, &year, &month, &month_day);
    snprintf(buffer, CLOCK_TEXT_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
             year, month, month_day, (int)(of_day / 3600000),
             (int)(of_day / 60000 % 60), (int)(of_day / 1000 % 60),
             (int)(of_day % 1000));
    return buffer;
}

/* Reads exactly `width` digits at *at; advances it. */
static bool digits(const char **at, const char *end, int width, int *value)
{
    *value = 0;
    for (int i = 0; i < width; i++, (*at)++) {
        if (*at >= end || **at < '0' || **at > '9')
            return false;
        *value = *value * 10 + (**at - '0');
    }
    return true;
}

static bool literal(const char **at, const char *end, char c)
{
    if (*at >= end || **at != c)
        return false;
    (*at)++;
    return true;
}

static int fraction_ms(const char **at, const char *end)
{
    int ms = 0;
    int scale = 100;
    if (!literal(at, end, '.'))
        return 0;
    for (; *at < end && **at >= '0' && **at <= '9'; (*at)++, scale /= 10)
        ms += (**at - '0') * scale;
    return ms;
}

static bool offset_ms(const char **at, const char *end, int64_t *offset)
{
    int hours;
    int minutes;
    *offset = 0;
    if (*at == end || literal(at, end, 'Z') || literal(at, end, 'z'))
        return true;
    int sign = **at == '-' ? -1 : 1;
    if (!literal(at, end, '+') && !literal(at, end, '-'))
        return false;
    if (!digits(at, end, 2, &hours))
        return false;
    literal(at, end, ':');
    if (!digits(at, end, 2, &minutes))
        return false;
    *offset = (int64_t)sign * (hours * 60 + minutes) * 60000;
    return true;
}

/* Days since 1970 of a day of the Gregorian calendar, whose years begin with
 * March here.  timegm gives the same and takes 20 times as long.  (Howard
 * Hinnant, chrono-Compatible Low-Level Date Algorithms.) */
static int64_t days_from_civil(int year, int month, int day)
{
    int64_t y = month > 2 ? year : year - 1;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year -
           719468;
}

int clock_parse(const char *text, size_t size, int64_t *wall_ms)
{
    const char *at = text;
    const char *end = text + size;
    struct tm tm = {0};
    int64_t offset = 0;
    if (!digits(&at, end, 4, &tm.tm_year) || !literal(&at, end, '-') ||
        !digits(&at, end, 2, &tm.tm_mon) || !literal(&at, end, '-') ||
        !digits(&at, end, 2, &tm.tm_mday))
        return -1;
    int ms = 0;
    if (at < end) {
        if (*at != 'T' && *at != ' ' && *at != 't')
            return -1;
        at++;
        if (!digits(&at, end, 2, &tm.tm_hour) || !literal(&at, end, ':') ||
            !digits(&at, end, 2, &tm.tm_min) || !literal(&at, end, ':') ||
            !digits(&at, end, 2, &tm.tm_sec))
            return -1;
        ms = fraction_ms(&at, end);
        if (!offset_ms(&at, end, &offset) || at != end)
            return -1;
    }
    if (tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 ||
        tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
        return -1;
    int64_t days = days_from_civil(tm.tm_year, tm.tm_mon, tm.tm_mday);
    int64_t seconds = tm.tm_hour * 3600 + tm.tm_min * 60 + tm.tm_sec;
    *wall_ms = (days * 86400 + seconds) * 1000 + ms - offset;
    return 0;
}
