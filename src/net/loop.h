/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One event loop of one worker. A turn is: wait, read everything that is ready (each read is handed
 * up at once), take mail, fire timers, then flush: every stream that has output gets one write.
 * Batching reads and writes per turn is what makes the road fast.
 *
 * It waits on one epoll set that holds all streams, the descriptor that loop_wake() writes to, and
 * the set of a libuv loop, on which everything else is (listeners, signals, pipes) except libuv's
 * timers: see docs/adr/0001-streams-in-their-own-epoll-set.md.
 *
 * Everything here runs on the loop's thread, except loop_wake() and loop_stop(). Output is written
 * with MSG_NOSIGNAL, so nothing here raises SIGPIPE.
 */
#ifndef NET_LOOP_H
#define NET_LOOP_H

#include "base/list.h"
#include "base/timer_wheel.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <uv.h>

enum {
    LOOP_READ_SIZE = 256 * 1024,   /* one shared read buffer a loop */
    LOOP_READ_HEADROOM = 8 * 1024, /* before it: a packet's beginning that was kept goes here */
    LOOP_EVENTS_PER_TURN = 256,    /* streams that are read in one turn; others come in the next */
    LOOP_ENDS_AT_ONCE = 16,        /* streams that end in one turn; of more a share of the time */
    LOOP_SHARE_NS = 2000 * 1000,   /* of a turn, for what many streams need */
};

/* What output is for. Bulk, one message for thousands, is flushed behind everything else and only
 * for LOOP_SHARE_NS a turn. */
enum loop_output { LOOP_OUTPUT_PROMPT, LOOP_OUTPUT_BULK };

struct loop_ops {
    /* After all reads of a turn and after a wake-up, before the flush: take mail, run deferred
     * work. True: there is more to do at once, do not sleep before the next turn. */
    bool (*turn)(void *owner);
    /* At the very end of a turn, with clock_ns() of its beginning, after the wait, and of now. May
     * be NULL. */
    void (*turned)(void *owner, uint64_t began_ns, uint64_t ended_ns);
    /* Around the blocking wait in the kernel; not called in turns that only look. awake() finds the
     * new now_ms. Both may be NULL. */
    void (*sleep)(void *owner);
    void (*awake)(void *owner);
    /* loop_run() is about to return: every stream that is left must be closed now. May be NULL when
     * none ever is. */
    void (*stopping)(void *owner);
};

/* What the loop counts; read by any thread with relaxed loads. */
struct loop_counters {
    _Atomic uint64_t turns, reads, read_bytes, writes, write_bytes, accepts;
};

/* What loop_wake() has to know: only a loop that sleeps needs a system call. */
enum loop_state {
    LOOP_AWAKE,  /* will look for work before it sleeps */
    LOOP_ASLEEP, /* in the kernel, or about to be */
    LOOP_WOKEN   /* somebody has woken it, and it has not looked since */
};

struct loop {
    /* What other threads touch is first, away from what is touched for each message. */
    _Atomic(enum loop_state) state;
    _Atomic bool stop_asked;
    int wake_fd; /* an eventfd, edge-triggered, so that nobody has to read it */
    uv_loop_t uv;
    int events_fd; /* the epoll set */
    bool more;     /* work is left that no list shows: do not sleep */
    bool carried;  /* streams have been flushed into others: those are flushed once more */
    struct timer_wheel wheel;
    uint64_t began_ns;          /* clock_ns() at the start of this turn */
    uint64_t now_ms;            /* the same in milliseconds */
    struct list dirty;          /* streams with output to flush */
    struct list bulk;           /* the same, when there is time */
    struct list ending;         /* streams that end when there is time */
    uint32_t ends_left;         /* streams that may end at once in this turn */
    enum loop_output output;    /* what is written now */
    struct list resumed;        /* streams whose kept input is to be handed up again */
    struct list closing;        /* streams whose closed() comes at the end of this turn */
    size_t stream_count;        /* opened, and closed() has not come */
    struct epoll_event *events; /* LOOP_EVENTS_PER_TURN of them */
    uint8_t *read_buffer;       /* LOOP_READ_HEADROOM + LOOP_READ_SIZE bytes */
    struct out_pool *pool;      /* free output chunks */
    uint64_t shrink_ms;         /* when the pool is looked at next */
    /* The stream that received() is running for, and what was handed to it; NULL otherwise. */
    struct stream *receiving;
    const uint8_t *receiving_data;
    size_t receiving_len;
    size_t buffered_bytes; /* output of all streams that is not written yet */
    struct loop_counters counters;
    const struct loop_ops *ops;
    void *owner;
};

/* Borrows ops and owner. Aborts when the operating system has no loop to give. */
void loop_init(struct loop *loop, const struct loop_ops *ops, void *owner);

/*
 * Runs until loop_stop(), then calls stopping(), closes the listeners that are left and returns
 * when every closed() has come. Other handles on loop->uv are closed without a callback.
 */
void loop_run(struct loop *loop);

enum loop_wait { LOOP_MAY_SLEEP, LOOP_LOOK };

/* One turn: loop_run() for who has a condition of his own. */
void loop_turn(struct loop *loop, enum loop_wait wait);

/* Any thread, until loop_deinit(); signal-safe: the loop makes a turn soon. */
void loop_wake(struct loop *loop);

/* Any thread: loop_run() returns after the current turn, with everything flushed that the sockets
 * take. */
void loop_stop(struct loop *loop);

/* Frees what loop_init() took. No other thread may still wake the loop. */
void loop_deinit(struct loop *loop);

/* Counters have one writer, so a load and a store are enough. */
static inline void loop_count(_Atomic uint64_t *counter, uint64_t n)
{
    uint64_t old = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, old + n, memory_order_relaxed);
}

/*
 * A handle that loop_run() can close by itself is a uv_poll_t whose `data` points at one of these.
 * No other uv_poll_t may be on the loop when it stops, and no uv_timer_t ever.
 */
struct loop_handle_kind {
    void (*close)(uv_poll_t *handle);
};

/*
 * A timer of the wheel with a callback. It fires on the loop's thread, during the turn, at most
 * LOOP_TIMERS_PER_TURN a turn so that a million expiring sessions do not starve the sockets.
 */
struct loop_timer {
    struct timer timer;
    void (*fire)(struct loop_timer *timer);
};

enum { LOOP_TIMERS_PER_TURN = 512 };

static inline void loop_timer_init(struct loop_timer *t, void (*fire)(struct loop_timer *timer))
{
    timer_init(&t->timer);
    t->fire = fire;
}

static inline void loop_timer_start(struct loop *loop, struct loop_timer *t, uint64_t deadline_ms)
{
    timer_start(&loop->wheel, &t->timer, deadline_ms);
}

static inline void loop_timer_stop(struct loop *loop, struct loop_timer *t)
{
    timer_stop(&loop->wheel, &t->timer);
}

#endif
