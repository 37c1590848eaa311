/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include "base/clock.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A line of FIELDS_MAX values of which every byte is escaped, and their keys, still fits. */
enum { LINE_MAX_BYTES = 20 * 1024, VALUE_MAX = 256, FIELDS_MAX = 16 };

static _Atomic int current_level = LOG_INFO;

static const char *const level_names[] = {"error", "warn", "info", "debug"};

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&current_level, (int)level, memory_order_relaxed);
}

enum log_level log_level(void)
{
    return (enum log_level)atomic_load_explicit(&current_level, memory_order_relaxed);
}

bool log_level_parse(const char *name, enum log_level *level)
{
    for (int i = 0; i < 4; i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

struct line {
    char text[LINE_MAX_BYTES];
    size_t len;
};

static void add(struct line *line, const char *text, size_t len)
{
    size_t room = sizeof(line->text) - 1 - line->len; /* one for the newline */
    if (len > room)
        len = room;
    memcpy(line->text + line->len, text, len);
    line->len += len;
}

/* What a terminal may show as it is: ASCII from the space on, and well-formed characters behind the
 * C1 control characters. Gives its size, or 0. */
static size_t printable(struct bytes text)
{
    uint8_t c = text.data[0];
    if (c < 0x80)
        return c >= ' ' && c != 0x7F;
    bool c1 = c == 0xC2 && text.len > 1 && text.data[1] < 0xA0;
    return c1 ? 0 : utf8_character_size(text);
}

static bool needs_quotes(struct bytes value)
{
    if (value.len == 0 || value.len > VALUE_MAX)
        return true;
    for (size_t i = 0, size; i < value.len; i += size) {
        uint8_t c = value.data[i];
        size = printable(bytes_of(value.data + i, value.len - i));
        if (size == 0 || c == ' ' || c == '"' || c == '=' || c == '\\')
            return true;
    }
    return false;
}

/* Adds the first character, escaped if need be; gives its size. */
static size_t add_character(struct line *line, struct bytes text)
{
    size_t size = printable(text);
    if (size == 0) {
        char escape[8];
        add(line, escape, (size_t)snprintf(escape, sizeof(escape), "\\x%02x", text.data[0]));
        return 1;
    }
    if (text.data[0] == '"' || text.data[0] == '\\')
        add(line, "\\", 1);
    add(line, (const char *)text.data, size);
    return size;
}

static void add_text(struct line *line, struct bytes value)
{
    if (!needs_quotes(value)) {
        add(line, (const char *)value.data, value.len);
        return;
    }
    size_t len = value.len < VALUE_MAX ? value.len : VALUE_MAX;
    add(line, "\"", 1);
    for (size_t i = 0; i < len;)
        i += add_character(line, bytes_of(value.data + i, len - i));
    if (len < value.len)
        add(line, "...", 3);
    add(line, "\"", 1);
}

static void add_field(struct line *line, const struct log_field *field)
{
    char number[24];
    add(line, " ", 1);
    add(line, field->key, strlen(field->key));
    add(line, "=", 1);
    switch (field->kind) {
    case LOG_FIELD_TEXT:
        add_text(line, field->text);
        break;
    case LOG_FIELD_INT:
        add(line, number,
            (size_t)snprintf(number, sizeof(number), "%lld", (long long)field->number));
        break;
    case LOG_FIELD_UINT:
        add(line, number,
            (size_t)snprintf(number, sizeof(number), "%llu", (unsigned long long)field->number));
        break;
    }
}

static void add_time(struct line *line)
{
    uint64_t now_ms = clock_wall_ms();
    time_t seconds = (time_t)(now_ms / 1000);
    struct tm utc;
    char text[40];
    gmtime_r(&seconds, &utc);
    size_t len = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
    add(line, text, len);
    add(line, text, (size_t)snprintf(text, sizeof(text), ".%03uZ ", (unsigned)(now_ms % 1000)));
}

void log_event(enum log_level level, const char *event, const struct log_field *fields,
               size_t count)
{
    struct line line;
    line.len = 0;
    add_time(&line);
    add(&line, level_names[level], strlen(level_names[level]));
    add(&line, " ", 1);
    add(&line, event, strlen(event));
    for (size_t i = 0; i < count && i < FIELDS_MAX; i++)
        add_field(&line, &fields[i]);
    line.text[line.len++] = '\n';
    ssize_t written = write(STDERR_FILENO, line.text, line.len);
    (void)written; /* nowhere left to complain */
}

bool log_limit_pass(struct log_limit *limit, uint32_t per_second, uint64_t *suppressed)
{
    uint64_t now_s = clock_ms() / 1000;
    uint64_t window_s = atomic_load_explicit(&limit->window_s, memory_order_relaxed);
    if (window_s != now_s &&
        atomic_compare_exchange_strong_explicit(&limit->window_s, &window_s, now_s,
                                                memory_order_relaxed, memory_order_relaxed))
        atomic_store_explicit(&limit->in_window, 0, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&limit->in_window, 1, memory_order_relaxed) >= per_second) {
        atomic_fetch_add_explicit(&limit->suppressed, 1, memory_order_relaxed);
        return false;
    }
    *suppressed = atomic_exchange_explicit(&limit->suppressed, 0, memory_order_relaxed);
    return true;
}
