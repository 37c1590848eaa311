/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Publishers that are slowed because a subscriber lags or another worker is behind. Such a
 * publisher is not read from, so TCP holds its client back.
 *
 * For a lag it pauses some milliseconds, twice as long each time, and then may send a few packets
 * until it pauses again; after every pause without news of a lag a few more, until it is free. News
 * halve them. So it settles near the pace of its slowest subscriber.
 *
 * News from another worker take as long as that worker needs to get at its mail. So a pause ends
 * only when that worker has answered a question that went behind everything sent to it: then its
 * news are here. The wait for an answer has a limit, queue.publisher_pause_max.
 */
#include "conn/connection.h"

#include "base/check.h"
#include "base/memory.h"

enum {
    PAUSE_MIN_MS = 4,
    PAUSE_MAX_MS = 128,
    ALLOWANCE_STEP = 4,
    ALLOWANCE_MAX = 512,
};

enum pace_state {
    PACE_RUNNING,
    PACE_PAUSED,  /* for some milliseconds */
    PACE_WAITING, /* those are over, the answer is not here */
};

/* Of a publisher that is or was lately paused. */
struct pace {
    struct loop_timer timer;
    struct conn *conn;
    uint32_t lag_worker;  /* where the last lag was */
    uint32_t question;    /* not answered yet; 0: none */
    uint16_t allowance;   /* packets between two pauses; 0: no subscriber lagged */
    uint16_t since_pause; /* packets */
    uint16_t pause_ms;    /* the last pause for a lag */
    uint8_t state;        /* enum pace_state */
    bool news;            /* of a lag, in this pause or as its reason */
};

void conn_pace_free(struct conn *conn)
{
    if (conn->pace == NULL)
        return;
    loop_timer_stop(conn->worker->loop, &conn->pace->timer);
    mem_free(conn->pace);
    conn->pace = NULL;
}

/* A pause without news of a lag is over. */
static void allow_more(struct pace *pace)
{
    pace->pause_ms = 0;
    if (pace->allowance > 0)
        pace->allowance += ALLOWANCE_STEP;
    if (pace->allowance > ALLOWANCE_MAX)
        pace->allowance = 0;
}

static void go_on(struct pace *pace)
{
    struct conn *conn = pace->conn;
    pace->state = PACE_RUNNING;
    pace->since_pause = 0;
    pace->question = 0;
    if (!pace->news)
        allow_more(pace);
    pace->news = false;
    if (pace->allowance == 0)
        conn_pace_free(conn);
    conn_clear_busy(conn, CONN_BUSY_PAUSED);
}

static uint64_t wait_max_ms(const struct conn *conn)
{
    uint64_t max_ms = conn_config(conn)->queue.publisher_pause_max_ms;
    return max_ms > PAUSE_MAX_MS ? max_ms : PAUSE_MAX_MS;
}

static void timer_fired(struct loop_timer *timer)
{
    struct pace *pace = CONTAINER_OF(timer, struct pace, timer);
    struct loop *loop = pace->conn->worker->loop;
    if (pace->state == PACE_PAUSED && pace->question != 0) {
        pace->state = PACE_WAITING;
        loop_timer_start(loop, timer, loop->now_ms + wait_max_ms(pace->conn));
        return;
    }
    go_on(pace);
}

void conn_caught_up(struct conn *conn, uint32_t question)
{
    struct pace *pace = conn->pace;
    if (pace == NULL || pace->question != question)
        return; /* of a pause that ended without it */
    pace->question = 0;
    if (pace->state != PACE_WAITING)
        return;
    loop_timer_stop(conn->worker->loop, &pace->timer);
    go_on(pace);
}

/* ---- the beginning of a pause ------------------------------------------------------------------
 */

/* Makes the pace slower by what the news of a lag ask for; once in a pause. */
static void take_news(struct pace *pace, uint32_t worker)
{
    pace->news = true;
    pace->lag_worker = worker;
    uint16_t half = pace->allowance / 2;
    pace->allowance = half > ALLOWANCE_STEP ? half : ALLOWANCE_STEP;
    uint16_t longer = pace->pause_ms * 2u < PAUSE_MAX_MS ? pace->pause_ms * 2u : PAUSE_MAX_MS;
    pace->pause_ms = longer > PAUSE_MIN_MS ? longer : PAUSE_MIN_MS;
}

/* Asks `worker`, and pauses for that long at least. */
static void begin(struct pace *pace, uint32_t worker, uint16_t pause_ms)
{
    struct conn *conn = pace->conn;
    struct conn_worker *home = conn->worker;
    metric_inc(home->metrics, METRIC_PUBLISHER_PAUSES);
    pace->state = PACE_PAUSED;
    conn_set_busy(conn, CONN_BUSY_PAUSED);
    if (worker != home->worker || pause_ms == 0) {
        if (++home->questions == 0)
            home->questions = 1;
        if (delivery_ask(home->hub, worker, conn->session->ref, home->questions))
            pace->question = home->questions;
    }
    loop_timer_start(home->loop, &pace->timer, home->loop->now_ms + pause_ms);
}

static struct pace *pace_of(struct conn *conn)
{
    if (conn->pace == NULL) {
        conn->pace = NEW(struct pace);
        conn->pace->conn = conn;
        loop_timer_init(&conn->pace->timer, timer_fired);
    }
    return conn->pace;
}

void conn_pause(struct conn *conn, enum pause_reason reason, uint32_t worker)
{
    bool lag = reason == PAUSE_FOR_LAG;
    if (conn->session == NULL ||
        (lag && conn_config(conn)->queue.slow_subscriber != SLOW_PAUSE_PUBLISHER))
        return;
    struct pace *pace = pace_of(conn);
    if (lag && !pace->news)
        take_news(pace, worker);
    if (pace->state == PACE_RUNNING)
        begin(pace, worker, lag ? pace->pause_ms : 0);
}

void conn_pace_packet(struct conn *conn)
{
    struct pace *pace = conn->pace;
    if (pace->state == PACE_RUNNING && ++pace->since_pause >= pace->allowance)
        begin(pace, pace->lag_worker,
              pace->pause_ms > PAUSE_MIN_MS ? pace->pause_ms : PAUSE_MIN_MS);
}
