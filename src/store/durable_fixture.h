/* SPDX-License-Identifier: Apache-2.0 */
/* A durable store in a folder of its own, with the test's thread as its one worker. */
#ifndef DURABLE_FIXTURE_H
#define DURABLE_FIXTURE_H

#include "base/clock.h"
#include "store/durable.h"
#include "store/store_fixture.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

enum { DEADLINE_MS = 20000 };

struct durable {
    char dir[DIR_ROOM];
    struct store *store;
    struct store_end *end;
    struct store_ends ends;
    int woken; /* an eventfd */
    bool never_at_once;
};

static inline void durable_wake(void *owner)
{
    (void)!write(((struct durable *)owner)->woken, &(uint64_t){1}, sizeof(uint64_t));
}

/* Opens the store in d->dir; nothing is committed yet. */
static inline void durable_open(struct durable *d, uint32_t shards)
{
    char error[ENGINE_ERROR_MAX] = "";
    struct store_options options = {.dir = d->dir,
                                    .profile = ENGINE_SMALL,
                                    .workers = 1,
                                    .shards = shards,
                                    .interval_ms = 1,
                                    .never_at_once = d->never_at_once};
    enum rc rc = store_open(&options, &d->store, error);
    assert_string_equal(error, "");
    assert_int_equal(rc, RC_OK);
    d->end = store_end_of(d->store, 0, 0);
    d->woken = eventfd(0, EFD_CLOEXEC);
    store_end_wake_by(d->end, durable_wake, d);
    store_ends_init(&d->ends);
    store_ends_add(&d->ends, d->end);
}

static inline void durable_close(struct durable *d)
{
    store_close(d->store);
    close(d->woken);
    d->store = NULL;
}

/* A turn of the worker. */
static inline void durable_turn(struct durable *d)
{
    store_end_turn(d->end, NULL, NULL);
    store_end_post(d->end);
}

/* Waits for the store's threads; fails when they say nothing. */
static inline void durable_sleep(struct durable *d, uint64_t until_ms)
{
    uint64_t now_ms = clock_ms(), count;
    struct pollfd fd = {.fd = d->woken, .events = POLLIN};
    assert_true(now_ms < until_ms);
    if (poll(&fd, 1, (int)(until_ms - now_ms)) > 0)
        (void)!read(d->woken, &count, sizeof(count));
}

/* Turns until nothing is on its way. */
static inline void durable_settle(struct durable *d)
{
    uint64_t until_ms = clock_ms() + DEADLINE_MS;
    for (;;) {
        durable_turn(d);
        if (!store_end_busy(d->end))
            return;
        store_end_post(d->end); /* asking took it back */
        durable_sleep(d, until_ms);
    }
}

/* ---- a disk that takes nothing ------------------------------------------------------------------
 */

/* No file may grow beyond so many bytes: writes fail as they do on a disk that has errors. */
static inline void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static inline void durable_turn_until(struct durable *d, bool works)
{
    uint64_t until_ms = clock_ms() + DEADLINE_MS;
    while ((store_state(d->store) == RC_OK) != works) {
        assert_true(clock_ms() < until_ms);
        durable_turn(d);
        poll(NULL, 0, 5);
    }
}

#endif
