/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events, not prose: `conn.closed client=pump-7 reason=keep_alive_timeout`. One line an event on
 * stderr (or the journal): RFC 3339 time, level, event, key=value pairs; values are quoted and
 * escaped when they need it, control characters never reach the terminal. Info is what a person may
 * act on and never happens per message. Lines that a peer can cause go through LOG_LIMITED, which
 * lets `per_second` through and then counts. Any thread; a line is written with one write().
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/bytes.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/* One key=value pair. Make them with the functions below. */
struct log_field {
    const char *key;
    enum { LOG_FIELD_TEXT, LOG_FIELD_INT, LOG_FIELD_UINT } kind;
    struct bytes text;
    int64_t number;
};

static inline struct log_field log_bytes(const char *key, struct bytes value)
{
    return (struct log_field){.key = key, .kind = LOG_FIELD_TEXT, .text = value};
}

static inline struct log_field log_text(const char *key, const char *value)
{
    return log_bytes(key, bytes_of_str(value));
}

static inline struct log_field log_int(const char *key, int64_t value)
{
    return (struct log_field){.key = key, .kind = LOG_FIELD_INT, .number = value};
}

static inline struct log_field log_uint(const char *key, uint64_t value)
{
    return (struct log_field){.key = key, .kind = LOG_FIELD_UINT, .number = (int64_t)value};
}

/* Lines above this level are not written; LOG_INFO until set. Any thread. */
void log_set_level(enum log_level level);
enum log_level log_level(void);

/* "error", "warn", "info", "debug" -> level; false when it is none of them. */
bool log_level_parse(const char *name, enum log_level *level);

/* Borrows everything until it returns. At most 16 fields; values longer than 256 bytes are cut with
 * "...". */
void log_event(enum log_level level, const char *event, const struct log_field *fields,
               size_t count);

#define LOG(level, event, ...)                                                                     \
    do {                                                                                           \
        if ((level) <= log_level()) {                                                              \
            const struct log_field log_fields_[] = {__VA_ARGS__};                                  \
            log_event((level), (event), log_fields_, sizeof(log_fields_) / sizeof(*log_fields_));  \
        }                                                                                          \
    } while (0)

struct log_limit {
    _Atomic uint64_t window_s;
    _Atomic uint32_t in_window;
    _Atomic uint64_t suppressed;
};

/* True when this caller may write; *suppressed gets how many were not since the last that was. */
bool log_limit_pass(struct log_limit *limit, uint32_t per_second, uint64_t *suppressed);

/* As LOG, at most 10 lines a second from this place, with suppressed=N when some were left out. */
#define LOG_LIMITED(level, event, ...)                                                             \
    do {                                                                                           \
        static struct log_limit log_limit_;                                                        \
        uint64_t log_suppressed_ = 0;                                                              \
        if ((level) <= log_level() && log_limit_pass(&log_limit_, 10, &log_suppressed_)) {         \
            const struct log_field log_fields_[] = {__VA_ARGS__,                                   \
                                                    log_uint("suppressed", log_suppressed_)};      \
            log_event((level), (event), log_fields_,                                               \
                      sizeof(log_fields_) / sizeof(*log_fields_) - (log_suppressed_ == 0));        \
        }                                                                                          \
    } while (0)

#endif
