/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/moving.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/memory.h"
#include "broker/node.h"

/* Clients that are moved at once are those of so many milliseconds, or one. */
enum { STEP_MS = 10, IDLE_MS = 100 };

/* Half of it to one and a half, in thousandths. */
static uint64_t jitter(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return 500 + *state % 1001;
}

uint64_t moving_time_ms(uint32_t count, uint32_t rate, uint32_t workers, uint64_t *random)
{
    return (uint64_t)count * workers * jitter(random) / rate;
}

static uint32_t rate_of(const struct broker *broker)
{
    return broker->config->cluster.drain_rate;
}

static uint64_t since_ms(const struct broker *broker)
{
    return atomic_load_explicit(&broker->shared.closed_ms, memory_order_relaxed);
}

/* `count` more, behind those that have not had their time. */
static uint64_t charge(struct worker *worker, uint64_t free_ms, uint32_t count)
{
    const struct broker *broker = worker->broker;
    uint64_t from_ms = free_ms > worker->loop.now_ms ? free_ms : worker->loop.now_ms;

    return from_ms +
           moving_time_ms(count, rate_of(broker), broker->worker_count, &worker->moving.random);
}

void moving_sent_away(struct worker *worker, uint32_t count)
{
    struct moving *moving = &worker->moving;
    uint64_t free_ms = atomic_load_explicit(&moving->groups_free_ms, memory_order_relaxed);

    if (since_ms(worker->broker) == 0 || count == 0)
        return;
    atomic_store_explicit(&moving->groups_free_ms, charge(worker, free_ms, count),
                          memory_order_relaxed); /* a group may go a little too early */
    moving->free_ms = charge(worker, moving->free_ms, count);
}

bool moving_has_time(const struct broker *broker)
{
    uint64_t now_ms = clock_ms(), from_ms = since_ms(broker);

    for (uint32_t i = 0; i < broker->worker_count; i++) {
        uint64_t free_ms =
            atomic_load_explicit(&broker->workers[i].moving.groups_free_ms, memory_order_relaxed);
        if (free_ms > from_ms)
            from_ms = free_ms;
    }
    return from_ms != 0 && now_ms >= from_ms;
}

static void move_some(struct worker *worker)
{
    const struct broker *broker = worker->broker;
    uint32_t share = rate_of(broker) / broker->worker_count * STEP_MS / 1000;
    uint32_t count = share > 1 ? share : 1;

    worker->moving.free_ms = charge(worker, worker->moving.free_ms, count);
    uint32_t moved = conn_worker_thin_out(&worker->conns, count);
    if (atomic_load_explicit(&broker->shared.connections, memory_order_relaxed) == 0)
        worker->moving.free_ms = worker->loop.now_ms + IDLE_MS;
    else if (moved < count)
        (void)cluster_drain_worker(broker->cluster, worker->index, count - moved);
}

static void fired(struct loop_timer *timer)
{
    struct worker *worker = CONTAINER_OF(timer, struct worker, moving.timer);
    uint64_t now_ms = worker->loop.now_ms, from_ms = since_ms(worker->broker);

    if (from_ms == 0 || worker->drain_until_ms != 0)
        return; /* on duty again, or it ends */
    if (now_ms >= from_ms && now_ms >= worker->moving.free_ms)
        move_some(worker);
    uint64_t next_ms = from_ms > worker->moving.free_ms ? from_ms : worker->moving.free_ms;
    loop_timer_start(&worker->loop, timer, next_ms > now_ms ? next_ms : now_ms + 1);
}

void moving_init(struct worker *worker)
{
    loop_timer_init(&worker->moving.timer, fired);
    worker->moving.random = clock_ns() | 1;
}

struct moving_mail {
    struct mail mail;
    struct worker *worker;
};

static void open_begin(struct mail *mail, void *receiver)
{
    struct moving_mail *begin = CONTAINER_OF(mail, struct moving_mail, mail);
    struct worker *worker = begin->worker;
    (void)receiver;

    mem_free(begin);
    loop_timer_start(&worker->loop, &worker->moving.timer, since_ms(worker->broker));
}

void moving_begin(struct broker *broker, uint64_t delay_ms)
{
    /* Relaxed: the timers, which the mail starts, and the homes thread, which is this one. */
    atomic_store_explicit(&broker->shared.closed_ms, clock_ms() + delay_ms, memory_order_relaxed);
    for (uint32_t i = 0; i < broker->worker_count; i++) {
        struct moving_mail *begin = NEW(struct moving_mail);
        *begin = (struct moving_mail){.mail.open = open_begin, .worker = &broker->workers[i]};
        mailbox_post(&broker->workers[i].mailbox, &begin->mail.letter);
    }
}

void moving_end(struct broker *broker)
{
    atomic_store_explicit(&broker->shared.closed_ms, 0, memory_order_relaxed);
    /* A balancer that was told "drain" is told "ready" again. */
    atomic_store_explicit(&broker->vitals.serving_since_ms, clock_ms(), memory_order_relaxed);
}
