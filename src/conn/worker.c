/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connections of one worker as a group: what the hub tells them, who yields and goes on in the
 * next turn, and how all of them are told that the broker shuts down.
 */
#include "conn/connection.h"

#include "base/check.h"
#include "base/memory.h"

/* Connections that are looked at in one turn for some to send away. */
enum { THIN_OUT_LOOK = 1024 };

struct conn *conn_of_session(const struct session *session)
{
    if (session->sink == NULL || session->sink->ops != &conn_sink_ops)
        return NULL;
    return conn_of_sink(session->sink);
}

static struct conn *conn_of_ref(struct conn_worker *worker, session_ref ref)
{
    struct session *session = session_of_ref(worker->sessions, ref);
    return session == NULL ? NULL : conn_of_session(session);
}

void conn_tell(struct conn *conn, struct conn_facts *facts)
{
    *facts = (struct conn_facts){
        .transport = (enum transport)conn->stream.transport,
        .version = (enum mqtt_version)conn->version,
        .keep_alive_s = conn->keep_alive_s,
        .connected_ms = conn->connected_s * (uint64_t)1000,
    };
    stream_peer_name(&conn->stream, facts->address, sizeof(facts->address));
}

/* ---- for the hub -------------------------------------------------------------------------------
 */

static void slow_down(struct delivery_hub *hub, session_ref publisher, uint32_t worker)
{
    struct conn *conn = conn_of_ref(hub->owner, publisher);
    if (conn != NULL)
        conn_pause(conn, PAUSE_FOR_LAG, worker);
}

static void caught_up(struct delivery_hub *hub, session_ref publisher, uint32_t question)
{
    struct conn *conn = conn_of_ref(hub->owner, publisher);
    if (conn != NULL)
        conn_caught_up(conn, question);
}

static void published(struct delivery_hub *hub, struct publish_ticket *ticket, enum rc rc)
{
    (void)hub;
    conn_owed_published(ticket, rc);
}

static void all_routed(struct delivery_hub *hub)
{
    conn_worker_go_on(hub->owner);
}

static void output_is(struct delivery_hub *hub, enum delivery_output output)
{
    struct conn_worker *worker = hub->owner;
    worker->loop->output = output == OUTPUT_BULK ? LOOP_OUTPUT_BULK : LOOP_OUTPUT_PROMPT;
}

const struct hub_ops conn_hub_ops = {
    .published = published,
    .all_routed = all_routed,
    .slow_down = slow_down,
    .output_is = output_is,
    .caught_up = caught_up,
};

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
        struct conn *conn = conn_of_ref(worker, worker->yielded[i]);
        if (conn != NULL)
            conn_clear_busy(conn, CONN_BUSY_YIELDED);
    }
    return count > 0;
}

bool conn_worker_drain(struct conn_worker *worker, uint32_t max)
{
    worker->draining = true;
    list_move_all(&worker->connections, &worker->homeless);
    LIST_FOR_EACH (link, &worker->connections) {
        struct conn *conn = CONTAINER_OF(link, struct conn, link);
        if (conn->state == CONN_CLOSING)
            continue;
        if (max-- == 0)
            return false;
        if (conn->awaits_home)
            conn_refuse(conn, conn_elsewhere(conn, MQTT_SERVER_UNAVAILABLE), NULL);
        else
            conn_close(conn, conn_elsewhere(conn, MQTT_SERVER_SHUTTING_DOWN));
    }
    return true;
}

static bool is_in(const struct conn *conn, struct shard_group group)
{
    const struct session *session = conn->session;
    return session != NULL && session_durable(session) &&
           session->store->shard % group.of == group.group;
}

static bool is_closed_to_new(const struct conn_worker *worker)
{
    return atomic_load_explicit(&worker->shared->closed_ms, memory_order_relaxed) != 0;
}

/* Through a tunnel the same node serves the client as well as before, as soon as it comes again. */
static enum mqtt_reason reason_to_leave(const struct conn *conn)
{
    if (conn_is_tunnelled(conn))
        return MQTT_SERVER_BUSY;
    return conn_elsewhere(conn, is_closed_to_new(conn->worker) ? MQTT_SERVER_SHUTTING_DOWN
                                                               : MQTT_SERVER_BUSY);
}

static uint32_t send_away(struct conn_worker *worker, struct list *connections,
                          struct shard_group group)
{
    uint32_t count = 0;
    LIST_FOR_EACH_SAFE (link, connections) {
        struct conn *conn = CONTAINER_OF(link, struct conn, link);
        if (!is_in(conn, group))
            continue;
        struct session *session = conn->session;
        if (conn->state == CONN_CONNECTED)
            conn_send_disconnect(conn, reason_to_leave(conn), NULL);
        count++;
        conn_forget_session(conn);
        session->sink = NULL;
        delivery_session_changed(worker->hub, session);
        if (conn->state == CONN_ACCEPTED) /* its CONNACK waits for what will not be stored here */
            conn_refuse(conn, conn_elsewhere(conn, MQTT_SERVER_UNAVAILABLE), NULL);
        else
            conn_end(conn, SESSION_WILL_KEEP);
    }
    return count;
}

uint32_t conn_worker_send_away(struct conn_worker *worker, struct shard_group group)
{
    return send_away(worker, &worker->connections, group) +
           send_away(worker, &worker->homeless, group);
}

uint32_t conn_worker_thin_out(struct conn_worker *worker, uint32_t max)
{
    uint32_t count = 0;
    for (uint32_t seen = 0; seen < THIN_OUT_LOOK && count < max; seen++) {
        struct list *link = list_take_first(&worker->connections);
        if (link == NULL)
            break;
        list_add_last(&worker->connections, link);
        struct conn *conn = CONTAINER_OF(link, struct conn, link);
        if (conn->state != CONN_CONNECTED || session_durable(conn->session))
            continue;
        count++;
        conn_close(conn, reason_to_leave(conn));
    }
    return count;
}

void conn_worker_close(struct conn_worker *worker)
{
    worker->draining = true;
    list_move_all(&worker->connections, &worker->homeless);
    LIST_FOR_EACH (link, &worker->connections) {
        stream_close(&CONTAINER_OF(link, struct conn, link)->stream);
    }
}

void conn_worker_init(struct conn_worker *worker)
{
    list_init(&worker->connections);
    list_init(&worker->homeless);
    list_init(&worker->orphans);
    worker->policy = topic_policy_new(worker->shared->config);
}

void conn_worker_deinit(struct conn_worker *worker)
{
    CHECK(list_empty(&worker->connections) && list_empty(&worker->homeless));
    mem_free(worker->yielded);
    mem_free(worker->spare_owed);
    mem_free(worker->policy);
}
