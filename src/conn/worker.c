/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of one worker as a group: who does not read for a while and goes on later, and
 * how all of them are told that the broker shuts down.
 */
#include "conn/connection.h"

#include "base/check.h"
#include "base/memory.h"

/* ---- publishers whose subscribers lag -----------------------------------------------------------
 */

static struct conn *conn_of_session(struct conn_worker *worker, session_ref ref)
{
    struct session *session = session_of_ref(worker->sessions, ref);
    if (session == NULL || session->sink == NULL || session->sink->ops != &conn_sink_ops)
        return NULL;
    return conn_of_sink(session->sink);
}

/*
 * A publisher whose subscribers lag pauses, twice as long each time, and then may send a few
 * packets in a row; with every pause that brings no news of a lag a few more, until it is free
 * again. News halve them. So it settles near the pace of its slowest subscriber.
 */
static uint32_t next_pause_ms(struct conn *conn)
{
    uint32_t pause_ms = conn->allowance > 0 ? conn->pause_ms * 2u : PAUSE_MIN_MS;
    conn->pause_ms = (uint16_t)(pause_ms > PAUSE_MAX_MS ? PAUSE_MAX_MS : pause_ms);
    conn->allowance = conn->allowance / 2 > ALLOWANCE_STEP ? conn->allowance / 2 : ALLOWANCE_STEP;
    return conn->pause_ms;
}

static void allow_more(struct conn *conn)
{
    conn->since_pause = 0;
    if (conn->allowance == 0)
        return;
    conn->pause_ms = PAUSE_MIN_MS;
    conn->allowance += ALLOWANCE_STEP;
    if (conn->allowance > ALLOWANCE_MAX)
        conn->allowance = 0;
}

void conn_pause(struct conn *conn, enum pause_reason reason)
{
    struct conn_worker *worker = conn->worker;
    if (conn->session == NULL || (conn->busy & CONN_BUSY_PAUSED))
        return;
    if (reason == PAUSE_FOR_LAG && conn_config(conn)->queue.slow_subscriber != SLOW_PAUSE_PUBLISHER)
        return;
    conn_set_busy(conn, CONN_BUSY_PAUSED);
    metric_inc(worker->metrics, METRIC_PUBLISHER_PAUSES);
    if (worker->paused_count == worker->paused_room) {
        worker->paused_room = worker->paused_room == 0 ? 64 : worker->paused_room * 2;
        worker->paused = mem_resize(worker->paused, worker->paused_room * sizeof(*worker->paused));
    }
    uint64_t now_ms = worker->loop->now_ms;
    uint32_t pause_ms = reason == PAUSE_FOR_LAG ? next_pause_ms(conn) : PAUSE_MIN_MS;
    uint64_t until_ms = now_ms + pause_ms;
    worker->paused[worker->paused_count++] = (struct pause_entry){conn->session->ref, until_ms};
    struct timer *timer = &worker->pause_timer.timer;
    if (!timer_running(timer) || timer->deadline_ms > until_ms)
        loop_timer_start(worker->loop, &worker->pause_timer, until_ms);
}

static void pause_over(struct loop_timer *timer)
{
    struct conn_worker *worker = CONTAINER_OF(timer, struct conn_worker, pause_timer);
    uint64_t next_ms = UINT64_MAX;
    uint32_t left = 0;
    for (uint32_t i = 0; i < worker->paused_count; i++) {
        struct pause_entry entry = worker->paused[i];
        if (entry.until_ms > worker->loop->now_ms) {
            worker->paused[left++] = entry;
            next_ms = entry.until_ms < next_ms ? entry.until_ms : next_ms;
            continue;
        }
        struct conn *conn = conn_of_session(worker, entry.session);
        if (conn == NULL)
            continue;
        allow_more(conn);
        conn_clear_busy(conn, CONN_BUSY_PAUSED);
    }
    worker->paused_count = left;
    if (left > 0)
        loop_timer_start(worker->loop, timer, next_ms);
}

static void slow_down(struct delivery_hub *hub, session_ref publisher)
{
    struct conn *conn = conn_of_session(hub->owner, publisher);
    if (conn != NULL)
        conn_pause(conn, PAUSE_FOR_LAG);
}

static void published(struct delivery_hub *hub, struct publish_ticket *ticket, enum rc rc)
{
    (void)hub;
    conn_owed_published(ticket, rc);
}

const struct hub_ops conn_hub_ops = {.published = published, .slow_down = slow_down};

/* ---- turns -------------------------------------------------------------------------------------
 */

void conn_yield(struct conn *conn)
{
    struct conn_worker *worker = conn->worker;
    conn_set_busy(conn, CONN_BUSY_YIELDED);
    if (worker->yielded_count == worker->yielded_room) {
        worker->yielded_room = worker->yielded_room == 0 ? 64 : worker->yielded_room * 2;
        worker->yielded =
            mem_resize(worker->yielded, worker->yielded_room * sizeof(*worker->yielded));
    }
    worker->yielded[worker->yielded_count++] = conn->session->ref;
}

bool conn_worker_turn(struct conn_worker *worker)
{
    worker->hub->work = 0;
    uint32_t count = worker->yielded_count;
    worker->yielded_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct conn *conn = conn_of_session(worker, worker->yielded[i]);
        if (conn != NULL)
            conn_clear_busy(conn, CONN_BUSY_YIELDED);
    }
    return count > 0;
}

bool conn_worker_drain(struct conn_worker *worker, uint32_t max)
{
    worker->draining = true;
    LIST_FOR_EACH (link, &worker->connections) {
        struct conn *conn = CONTAINER_OF(link, struct conn, link);
        if (conn->state == CONN_CLOSING)
            continue;
        if (max-- == 0)
            return false;
        conn_close(conn, MQTT_SERVER_SHUTTING_DOWN);
    }
    return true;
}

void conn_worker_close(struct conn_worker *worker)
{
    worker->draining = true;
    LIST_FOR_EACH (link, &worker->connections) {
        stream_close(&CONTAINER_OF(link, struct conn, link)->stream);
    }
}

void conn_worker_init(struct conn_worker *worker)
{
    list_init(&worker->connections);
    list_init(&worker->orphans);
    loop_timer_init(&worker->pause_timer, pause_over);
}

void conn_worker_deinit(struct conn_worker *worker)
{
    CHECK(list_empty(&worker->connections));
    mem_free(worker->paused);
    mem_free(worker->yielded);
    mem_free(worker->spare_owed);
}
