/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a connection belongs: client id -> shard -> node and worker. One whose session outlives it
 * goes to the node that is home of its shard; there is none for a moment when that changes, and
 * then CONNECT waits. A session that ends with its connection lives on the node that has the
 * transport. So it can go on on a node that is cut off from most others, when that is configured.
 */
#include "conn/connection.h"

#include "base/check.h"
#include "base/log.h"

#include <stdio.h>

/* How many numbers are tried for one whose session's home is this node, too. */
enum { ASSIGN_TRIES = 1024 };

/* The home waits so long for a node that does not answer it, and a little. */
enum { VACATE_MS = 9000 };

/* So long is a clean client not answered while nobody knows who is the home of its client id, or
 * that one has not said that the client is still the one. By then it is known, unless the engine
 * has no leader. */
enum { PING_HELD_MS = 4000 };

/* ---- places ------------------------------------------------------------------------------------
 */

static uint32_t worker_of(const struct conn *conn, uint32_t hash)
{
    return hash % conn_config(conn)->shards % conn->worker->worker_count;
}

static struct conn_home home_of(const struct conn *conn, uint32_t hash)
{
    const struct conn_worker *worker = conn->worker;
    if (worker->ops->home_of == NULL)
        return (struct conn_home){.place = CONN_HERE};
    return worker->ops->home_of(worker->owner, hash);
}

static bool serves_cut_off(const struct conn *conn)
{
    return conn_config(conn)->cluster.cut_off == CLUSTER_CUT_OFF_SERVE;
}

/* ---- leaving -----------------------------------------------------------------------------------
 */

/* What goes to the session's home. */
struct leaving {
    int fd; /* -1: it could not be taken off, and is closed */
    struct conn_origin origin;
    struct stream_filter *filter;
    uint8_t *unread;
    size_t unread_len;
};

static struct leaving leave(struct conn *conn, uint32_t hash, size_t consumed)
{
    struct leaving leaving = {
        .origin =
            {
                .transport = (enum transport)conn->stream.transport,
                .listener = conn->listener,
                .peer = stream_peer(&conn->stream),
                .hash = hash,
                .durability = conn->durability,
                .version = conn->version,
            },
    };
    conn_leave_home(conn);
    conn->state = CONN_CLOSING;
    conn_count_closed(conn); /* before it is counted there */
    loop_timer_stop(conn->worker->loop, &conn->timer);
    leaving.fd = stream_detach(&conn->stream, consumed, &leaving.filter, &leaving.unread,
                               &leaving.unread_len);
    if (leaving.fd < 0) {
        LOG_LIMITED(LOG_WARN, "conn.out_of_descriptors", log_uint("worker", conn->worker->worker));
        stream_close(&conn->stream);
    }
    return leaving;
}

static enum home_result move(struct conn *conn, uint32_t hash, uint32_t to, size_t consumed)
{
    struct conn_worker *worker = conn->worker;
    struct leaving leaving = leave(conn, hash, consumed);
    if (leaving.fd >= 0)
        worker->ops->move(worker->owner, to, leaving.fd, &leaving.origin, leaving.filter,
                          leaving.unread, leaving.unread_len);
    return HOME_LEFT;
}

static enum home_result tunnel(struct conn *conn, uint32_t hash, const struct conn_home *home,
                               size_t consumed)
{
    struct conn_worker *worker = conn->worker;
    struct leaving leaving = leave(conn, hash, consumed);
    if (leaving.fd >= 0)
        worker->ops->tunnel(worker->owner, home, leaving.fd, &leaving.origin, leaving.filter,
                            leaving.unread, leaving.unread_len);
    return HOME_LEFT;
}

/* ---- waiting -----------------------------------------------------------------------------------
 */

static enum home_result await(struct conn *conn, uint32_t wait_ms)
{
    struct conn_worker *worker = conn->worker;
    if (!conn->awaits_home)
        loop_timer_start(worker->loop, &conn->timer, worker->loop->now_ms + wait_ms);
    conn->awaits_home = true;
    conn_set_busy(conn, CONN_BUSY_HOME);
    list_remove(&conn->link);
    list_add_last(&worker->homeless, &conn->link);
    return HOME_AWAITED;
}

static bool hold(struct conn *conn)
{
    if (conn->held_ms == 0)
        conn->held_ms = (uint32_t)conn->worker->loop->now_ms; /* 0 once in 49 days: not aged */
    conn_set_busy(conn, CONN_BUSY_HOME);
    list_remove(&conn->link);
    list_add_last(&conn->worker->homeless, &conn->link);
    return true;
}

bool conn_hold_stalled(struct conn *conn)
{
    struct conn_worker *worker = conn->worker;
    bool stalls = delivery_has_stalled(worker->hub->remote, worker->loop->now_ms);
    if (stalls || worker->stalls)
        worker->stalled_ms = worker->loop->now_ms;
    worker->stalls = stalls;
    return stalls && hold(conn);
}

bool conn_hold_ping(struct conn *conn)
{
    const struct session *session = conn->session;
    enum conn_place place = home_of(conn, session->hash).place;
    if (session_stored(session))
        return place != CONN_HERE && hold(conn);
    /* Another node may have become home, and let somebody else in under its name. Unless that is to
     * be put up with it is going to be closed as soon as this node is known to be cut off. */
    const struct conn_worker *worker = conn->worker;
    bool sure = conn->registration == NULL
                    ? place == CONN_HERE       /* elsewhere it is going to be enrolled */
                    : place != CONN_NOWHERE && /* its home may be this node, without a lease */
                          worker->ops->is_enrolled(worker->owner, conn->registration);
    sure |= place == CONN_CUT_OFF && serves_cut_off(conn);
    uint64_t now_ms = worker->loop->now_ms, from_ms = conn_received_ms(conn);
    if (from_ms < worker->stalled_ms)
        from_ms = worker->stalled_ms; /* nothing could be known before */
    return !sure && now_ms - from_ms < PING_HELD_MS && hold(conn);
}

bool conn_hold_publish(struct conn *conn, const struct frame *frame)
{
    enum { QOS_OR_RETAIN = 7 };
    const struct conn_worker *worker = conn->worker;
    bool waits = delivery_lacks_routes(worker->hub) || delivery_routes_again(worker->hub);
    return waits && (frame->flags & QOS_OR_RETAIN) != 0 && hold(conn);
}

bool conn_hold_subscribe(struct conn *conn)
{
    return delivery_lacks_retained(conn->worker->hub) && hold(conn);
}

void conn_go_on(struct conn *conn)
{
    conn->claims = false;
    if (!(conn->busy & CONN_BUSY_HOME))
        return;
    list_remove(&conn->link);
    list_add_last(&conn->worker->connections, &conn->link);
    conn_clear_busy(conn, CONN_BUSY_HOME); /* its CONNECT comes again */
}

void conn_leave_home(struct conn *conn)
{
    const struct conn_worker *worker = conn->worker;
    struct registration *registration = conn->registration;
    conn->registration = NULL;
    if (registration != NULL)
        worker->ops->withdraw(worker->owner, registration,
                              conn->will_stands ? SESSION_WILL_KEEP : SESSION_WILL_DISCARD);
    conn->will_away = conn->will_stands = false;
    if (conn->claims)
        worker->ops->forget(worker->owner, conn);
    conn->claims = false;
}

static void evict(struct session *session)
{
    if (session->sink != NULL)
        session->sink->ops->taken_over(session->sink);
    session->sink = NULL;
    session_end(session);
}

void conn_drop(struct conn *conn, bool reached)
{
    if (conn->session != NULL && reached)
        evict(conn->session);
    else if (conn->session != NULL)
        conn_close(conn, MQTT_SERVER_BUSY);
    else if (reached)
        conn_end(conn, SESSION_WILL_KEEP); /* as one that is taken over before its CONNACK */
    else
        conn_refuse(conn, MQTT_SERVER_UNAVAILABLE, "the home of the client id does not answer");
}

void conn_worker_evict(struct conn_worker *worker, struct bytes client_id)
{
    struct session *session = session_find(worker->sessions, client_id);
    if (session != NULL)
        evict(session);
}

/* The home of its client id has become another node: that has to know of it. When it cannot be
 * told it may let another one in. */
static void enroll_connected(struct conn *conn)
{
    const struct conn_worker *worker = conn->worker;
    const struct session *session = conn->session;
    struct conn_home home = home_of(conn, session->hash);
    if (home.place == CONN_AWAY)
        conn->registration = worker->ops->enroll(worker->owner, &home, session_client_id(session),
                                                 conn, CONN_CONNECTED_BEFORE, NULL);
    else if (home.place == CONN_CUT_OFF && !serves_cut_off(conn))
        conn_drop(conn, false);
}

/* A walk over all connections, some ten nanoseconds each. */
static void enroll_all_connected(struct conn_worker *worker)
{
    if (worker->ops->enroll == NULL)
        return;
    LIST_FOR_EACH_SAFE (link, &worker->connections) {
        struct conn *conn = CONTAINER_OF(link, struct conn, link);
        if (conn->session != NULL && conn->registration == NULL && !session_durable(conn->session))
            enroll_connected(conn);
    }
}

void conn_worker_go_on(struct conn_worker *worker)
{
    struct list all;
    struct list *link;
    list_init(&all);
    list_move_all(&all, &worker->homeless);
    while ((link = list_take_first(&all)) != NULL) {
        struct conn *conn = CONTAINER_OF(link, struct conn, link);
        list_add_last(&worker->connections, link);
        conn_clear_busy(conn, CONN_BUSY_HOME); /* its packet comes again */
    }
}

void conn_worker_homes_changed(struct conn_worker *worker)
{
    conn_worker_go_on(worker);
    enroll_all_connected(worker);
}

/* ---- finding -----------------------------------------------------------------------------------
 */

/* Nothing is left of it when the connection ends, and nothing has to be there. */
static bool lives_with_connection(const struct connect *connect)
{
    return connect->clean_start &&
           (connect->version != MQTT_V5 || connect->properties.session_expiry_s == 0);
}

size_t conn_assign_client_id(struct conn *conn, char *out, size_t room)
{
    struct conn_shared *shared = conn->worker->shared;
    uint32_t hash, tries = 0;
    size_t len;
    if (conn->extra != NULL && conn->extra->assigned != out && conn->extra->assigned[0] != '\0')
        return (size_t)snprintf(out, room, "%s", conn->extra->assigned);
    do {
        uint64_t number = atomic_fetch_add_explicit(&shared->next_number, 1, memory_order_relaxed);
        len = (size_t)snprintf(out, room, "auto-%016llx-%llx",
                               (unsigned long long)shared->process_id, (unsigned long long)number);
        hash = client_id_hash(bytes_of(out, len));
    } while (worker_of(conn, hash) != conn->worker->worker ||
             (home_of(conn, hash).place != CONN_HERE && ++tries < ASSIGN_TRIES) ||
             session_find(conn->worker->sessions, bytes_of(out, len)) != NULL);
    return len;
}

/* The one that it will be assigned: its will is kept under it. */
static struct bytes client_id_to_be(struct conn *conn)
{
    struct conn_extra *extra = conn_extra(conn);
    if (extra->assigned[0] == '\0')
        conn_assign_client_id(conn, extra->assigned, sizeof(extra->assigned));
    return bytes_of_str(extra->assigned);
}

/* One that has come from another node goes nowhere from here: that one was mistaken. */
static enum home_result stay(struct conn *conn, const struct connect *connect, uint32_t hash)
{
    bool is_here = connect->client_id.len == 0 || worker_of(conn, hash) == conn->worker->worker;
    if (is_here && home_of(conn, hash).place != CONN_AWAY)
        return HOME_FOUND;
    LOG_LIMITED(LOG_WARN, "conn.not_its_home", log_bytes("client", connect->client_id));
    conn_refuse(conn, MQTT_SERVER_UNAVAILABLE, "the session lives on another node");
    return HOME_REFUSED;
}

/* The client has the usual time again for what comes next. */
static void stop_waiting(struct conn *conn)
{
    struct conn_worker *worker = conn->worker;
    if (!conn->awaits_home)
        return;
    conn->awaits_home = false;
    loop_timer_start(worker->loop, &conn->timer,
                     worker->loop->now_ms + conn_config(conn)->limits.connect_timeout_ms);
}

/* Its node alone knows of the session: another one keeps the will. What is to be kept in memory is
 * not. */
static bool leaves_will(const struct conn *conn, const struct connect *connect)
{
    return connect->has_will && delivery_has_homes(conn->worker->hub) &&
           conn_session_expiry(conn, connect) == 0 &&
           conn_durability_of(conn, connect->will_topic) != DURABILITY_MEMORY;
}

static void enroll(struct conn *conn, const struct connect *connect, const struct conn_home *home)
{
    const struct conn_worker *worker = conn->worker;
    struct message *will = NULL;
    if (leaves_will(conn, connect)) {
        will = conn_will_of(conn, connect, 0);
        if (will == NULL)
            metric_inc(worker->metrics, METRIC_PUBLISH_DROPPED_NO_MEMORY);
    }
    conn->will_away = will != NULL;
    conn->registration =
        worker->ops->enroll(worker->owner, home, connect->client_id, conn, CONN_ASKS, will);
    message_drop(will);
}

/* One client id, one connection: others of that name, on any node, have gone when it is let in. */
static enum home_result be_let_in(struct conn *conn, const struct connect *connect,
                                  const struct conn_home *home)
{
    const struct conn_worker *worker = conn->worker;
    if (worker->ops->vacate == NULL)
        return HOME_FOUND;
    if (!conn->claims && conn->registration == NULL)
        conn->awaits_home = false; /* the wait for that begins */
    if (home->place == CONN_HERE) {
        conn->claims = !worker->ops->vacate(worker->owner, connect->client_id, conn);
        if (conn->claims)
            return await(conn, VACATE_MS);
        if (!leaves_will(conn, connect)) {
            /* It may have asked another home before, and is no newcomer to the next. */
            conn_leave_home(conn);
            return HOME_FOUND;
        }
    }
    if (conn->registration == NULL)
        enroll(conn, connect, home);
    return worker->ops->is_enrolled(worker->owner, conn->registration) ? HOME_FOUND
                                                                       : await(conn, VACATE_MS);
}

/* Which may be configured: it is served here, alone. */
static bool needs_no_home(const struct conn *conn, const struct connect *connect)
{
    return serves_cut_off(conn) && !conn_is_tunnelled(conn) && lives_with_connection(connect) &&
           !leaves_will(conn, connect);
}

/* Its client id may be connected elsewhere: that is settled when this node is not cut off any more
 * (enroll_all_connected()). */
static enum home_result be_served_alone(struct conn *conn, uint32_t hash, size_t consumed)
{
    if (worker_of(conn, hash) != conn->worker->worker)
        return move(conn, hash, worker_of(conn, hash), consumed);
    conn_leave_home(conn); /* it may have asked one before */
    return HOME_FOUND;
}

static enum home_result find(struct conn *conn, const struct connect *connect, size_t consumed)
{
    uint32_t hash = client_id_hash(connect->client_id);
    bool named = connect->client_id.len > 0;
    struct conn_home home = {.place = CONN_HERE};
    if (named)
        home = home_of(conn, hash);
    if (home.place == CONN_CUT_OFF && needs_no_home(conn, connect))
        return be_served_alone(conn, hash, consumed);
    if (home.place == CONN_NOWHERE || home.place == CONN_CUT_OFF)
        return await(conn, conn_config(conn)->cluster.home_wait_ms);
    if (conn_is_tunnelled(conn)) {
        enum home_result result = stay(conn, connect, hash);
        if (result != HOME_FOUND)
            return result;
    } else if (home.place == CONN_AWAY && !lives_with_connection(connect)) {
        return tunnel(conn, hash, &home, consumed);
    } else if (named && worker_of(conn, hash) != conn->worker->worker) {
        return move(conn, hash, worker_of(conn, hash), consumed);
    }
    return named ? be_let_in(conn, connect, &home) : HOME_FOUND;
}

enum home_result conn_find_home(struct conn *conn, const struct connect *connect, size_t consumed)
{
    struct connect named = *connect;
    bool may_be_nowhere = home_of(conn, 0).place == CONN_CUT_OFF; /* then all are, or nearly */
    if (connect->client_id.len == 0 && (may_be_nowhere || leaves_will(conn, connect)))
        named.client_id = client_id_to_be(conn);
    enum home_result result = find(conn, &named, consumed);
    if (result == HOME_FOUND)
        stop_waiting(conn);
    return result;
}
