/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/worker.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "broker/node.h"

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { DRAIN_PER_TURN = 256, DRAIN_LOOK_MS = 20 };
enum { COMMIT_LOOK_NS = 200 * 1000 };
enum { UNDER_WAY_FRACTION = 4, UNDER_WAY_MIN = 64, CPU_READ_NS = 500 * 1000 };

/* ---- mail --------------------------------------------------------------------------------------
 */

static void wake(void *owner)
{
    struct worker *worker = owner;
    loop_wake(&worker->loop);
}

static void open_mail(struct worker *worker)
{
    struct letter *letter = mailbox_take_all(&worker->mailbox);
    while (letter != NULL) {
        struct letter *next = letter->next;
        struct mail *mail = CONTAINER_OF(letter, struct mail, letter);
        mail->open(mail, &worker->hub);
        letter = next;
    }
}

/* A connection on its way to its home. */
struct moving_conn {
    struct mail mail;
    int fd;
    struct conn_origin origin;
    struct stream_filter *filter;
    uint8_t *unread;
    size_t unread_len;
};

static void open_moving_conn(struct mail *mail, void *receiver)
{
    struct delivery_hub *hub = receiver;
    struct moving_conn *moving = CONTAINER_OF(mail, struct moving_conn, mail);
    conn_accept(hub->owner, moving->fd, &moving->origin, moving->filter, moving->unread,
                moving->unread_len);
    mem_free(moving);
}

/* NOLINTBEGIN(readability-non-const-parameter): it takes `unread` */
static void move_conn(void *owner, uint32_t to, int fd, const struct conn_origin *origin,
                      struct stream_filter *filter, uint8_t *unread, size_t unread_len)
{
    struct worker *worker = owner;
    struct moving_conn *moving = NEW(struct moving_conn);
    *moving = (struct moving_conn){
        .mail.open = open_moving_conn,
        .fd = fd,
        .origin = *origin,
        .filter = filter,
        .unread = unread,
        .unread_len = unread_len,
    };
    mailbox_post(worker->hub.peers[to].mailbox, &moving->mail.letter);
}
/* NOLINTEND(readability-non-const-parameter) */

static const struct conn_worker_ops conn_ops = {.move = move_conn,
                                                .home_of = tunnels_home_of,
                                                .tunnel = tunnels_take,
                                                .enroll = tunnels_enroll,
                                                .is_enrolled = tunnels_is_enrolled,
                                                .withdraw = tunnels_withdraw,
                                                .vacate = tunnels_vacate,
                                                .forget = tunnels_forget};

/* ---- a turn ------------------------------------------------------------------------------------
 */

static void wake_for_sessions(void *arg, uint64_t at_ms)
{
    struct worker *worker = arg;
    struct timer *timer = &worker->session_timer.timer;
    if (!timer_running(timer) || timer->deadline_ms > at_ms)
        loop_timer_start(&worker->loop, &worker->session_timer, at_ms);
}

/* After sessions were looked at: when to look next. */
static void arm_session_timer(struct worker *worker)
{
    if (worker->sessions.wheel.count == 0 || timer_running(&worker->session_timer.timer))
        return;
    uint64_t now_ms = worker->loop.now_ms;
    wake_for_sessions(worker, now_ms + timer_wheel_wait_ms(&worker->sessions.wheel, now_ms));
}

/* The next turn looks at the sessions. */
static void session_timer_fired(struct loop_timer *timer)
{
    struct worker *worker = CONTAINER_OF(timer, struct worker, session_timer);
    loop_wake(&worker->loop);
}

static void drain_timer_fired(struct loop_timer *timer)
{
    struct worker *worker = CONTAINER_OF(timer, struct worker, drain_timer);
    loop_wake(&worker->loop);
}

/* Whether this worker's shards can answer late at all; the in-memory store cannot. */
static bool stores_are_late(const struct worker *worker)
{
    return worker->sessions.stores[0].ops->turn != NULL;
}

static bool is_home(const struct worker *worker, uint32_t shard)
{
    return shard % worker->hub.worker_count == worker->index;
}

/* Tells those whose commit is done by `now_ms`. */
static void stores_turn(struct worker *worker, uint64_t now_ms)
{
    struct session_table *table = &worker->sessions;
    for (uint32_t i = 0; stores_are_late(worker) && i < table->shard_count; i++)
        if (is_home(worker, i))
            store_turn(&table->stores[i], now_ms);
}

static bool stores_wait(const struct worker *worker)
{
    const struct session_table *table = &worker->sessions;
    for (uint32_t i = 0; stores_are_late(worker) && i < table->shard_count; i++)
        if (is_home(worker, i) && !list_empty(&table->stores[i].waiting))
            return true;
    return false;
}

static bool drain(struct worker *worker)
{
    if (worker->drain_until_ms == 0)
        return false;
    struct cluster *cluster = worker->broker->cluster;
    bool told_all =
        conn_worker_drain(&worker->conns, DRAIN_PER_TURN) &&
        (cluster == NULL || cluster_drain_worker(cluster, worker->index, DRAIN_PER_TURN));
    bool all_sent = told_all && worker->loop.buffered_bytes == 0;
    if (all_sent || worker->loop.now_ms >= worker->drain_until_ms)
        loop_stop(&worker->loop);
    else
        loop_timer_start(&worker->loop, &worker->drain_timer, worker->loop.now_ms + DRAIN_LOOK_MS);
    return !told_all;
}

static void record_commit(void *arg, uint64_t ns)
{
    struct worker *worker = arg;
    metric_record(worker->hub.metrics, HISTOGRAM_COMMIT_NS, ns);
}

/* What the store has answered. */
static void open_answers(struct worker *worker)
{
    struct store_figures figures = {0};
    store_ends_turn(&worker->ends, record_commit, worker, &figures);
    if (figures.commits + figures.spared == 0)
        return;
    metric_add(worker->hub.metrics, METRIC_STORE_COMMITS, figures.commits);
    metric_add(worker->hub.metrics, METRIC_STORE_SYNCS, figures.syncs);
    metric_add(worker->hub.metrics, METRIC_STORE_RECORDS, figures.records);
    metric_add(worker->hub.metrics, METRIC_STORE_BYTES, figures.bytes);
    metric_add(worker->hub.metrics, METRIC_STORE_SPARED, figures.spared);
}

static void post_records(struct worker *worker)
{
    uint32_t again_ms = store_ends_post(&worker->ends);
    if (again_ms > 0 && !timer_running(&worker->store_timer.timer))
        loop_timer_start(&worker->loop, &worker->store_timer, worker->loop.now_ms + again_ms);
}

/* The turn in which it fires has done what it is for. */
static void store_timer_fired(struct loop_timer *timer)
{
    (void)timer;
}

static bool worker_turn(void *owner)
{
    struct worker *worker = owner;
    worker->sessions.now_ms = worker->loop.now_ms;
    open_answers(worker);
    open_mail(worker);
    bool more = session_table_advance(&worker->sessions, worker->loop.now_ms);
    more |= conn_worker_turn(&worker->conns);
    more |= job_queue_run(&worker->jobs);
    stores_turn(worker, worker->loop.now_ms);
    if (worker->extra_turn != NULL)
        worker->extra_turn(worker);
    more |= delivery_turn(&worker->hub);
    post_records(worker);
    more |= stores_wait(worker); /* after the deliveries, which start waits */
    more |= store_ends_have_news(&worker->ends);
    more |= drain(worker);
    arm_session_timer(worker);
    if (!worker->hub.walking)
        rcu_quiescent();
    return more;
}

/*
 * How long others had to wait. Wall time includes what the machine did meanwhile, and reading a
 * thread's CPU time is a system call: so it is read every CPU_READ_NS at most, and what was used
 * since then is an upper bound of the turn's share.
 */
static void worker_turned(void *owner, uint64_t began_ns, uint64_t ended_ns)
{
    struct worker *worker = owner;
    uint64_t wall_ns = ended_ns - began_ns;
    metric_record(worker->hub.metrics, HISTOGRAM_TURN_NS, wall_ns);
    if (ended_ns - worker->cpu_read_ns < CPU_READ_NS)
        return;
    uint64_t cpu_ns = clock_thread_cpu_ns();
    uint64_t used_ns = cpu_ns - worker->cpu_ns;
    worker->cpu_ns = cpu_ns;
    worker->cpu_read_ns = ended_ns;
    metric_record(worker->hub.metrics, HISTOGRAM_TURN_CPU_NS,
                  used_ns < wall_ns ? used_ns : wall_ns);
}

static void worker_sleep(void *owner)
{
    (void)owner;
    rcu_sleep();
}

static void worker_awake(void *owner)
{
    struct worker *worker = owner;
    worker->sessions.now_ms = worker->loop.now_ms;
    rcu_wake();
}

static void worker_stopping(void *owner)
{
    struct worker *worker = owner;
    conn_worker_close(&worker->conns);
    if (worker->broker->cluster != NULL)
        cluster_leave_worker(worker->broker->cluster, worker->index);
}

static const struct loop_ops loop_ops = {
    .turn = worker_turn,
    .turned = worker_turned,
    .sleep = worker_sleep,
    .awake = worker_awake,
    .stopping = worker_stopping,
};

/* ---- start -------------------------------------------------------------------------------------
 */

static void accepted(struct listener *listener, int fd)
{
    struct worker *worker = listener->owner;
    uint32_t index = (uint32_t)(listener - worker->listeners);
    struct conn_origin origin = {
        .transport = listener->transport,
        .listener = index,
        .proxy_header = worker->broker->config->listeners[index].proxy == PROXY_PROTOCOL_REQUIRED,
    };
    conn_accept(&worker->conns, fd, &origin, NULL, NULL, 0);
}

static enum queue_policy queue_policy(const struct config *config)
{
    switch (config->queue.when_full) {
    case QUEUE_DROP_OLDEST:
        return QUEUE_GIVE_UP_OLDEST;
    case QUEUE_DROP_QOS0_FIRST:
        return QUEUE_GIVE_UP_QOS0;
    default:
        return QUEUE_REJECT_NEW;
    }
}

static void init_stores(struct worker *worker, struct session_table *table)
{
    struct store *store = worker->broker->store;
    uint32_t groups = store == NULL ? 0 : store_groups(store);
    store_ends_init(&worker->ends);
    for (uint32_t i = 0; i < groups; i++) {
        struct store_end *end = store_end_of(store, worker->index, i);
        store_end_wake_by(end, wake, worker);
        store_ends_add(&worker->ends, end);
    }
    table->stores = mem_new(table->shard_count * sizeof(*table->stores));
    /* "DELAY_MS,FAIL_EVERY": the store of the acknowledgement tests */
    const char *late = getenv("SKEIN_TEST_STORE");
    for (uint32_t i = 0; i < table->shard_count; i++) {
        if (late == NULL && store != NULL) {
            store_durable_init(&table->stores[i], i,
                               store_end_of(store, worker->index, i % store_groups(store)));
        } else if (late == NULL) {
            store_memory_init(&table->stores[i], i);
        } else {
            char *rest;
            uint32_t delay_ms = (uint32_t)strtoul(late, &rest, 10);
            uint32_t fail_every = *rest == ',' ? (uint32_t)strtoul(rest + 1, NULL, 10) : 0;
            store_late_init(&table->stores[i], i, delay_ms, fail_every);
        }
    }
}

/* Between two workers so much may be under way that a queue which lags can still take it. */
static uint32_t under_way_max(const struct config *config)
{
    if (config->queue.slow_subscriber != SLOW_PAUSE_PUBLISHER)
        return 0;
    uint32_t messages = config->queue.messages_max / UNDER_WAY_FRACTION;
    return messages > UNDER_WAY_MIN ? messages : UNDER_WAY_MIN;
}

static void init_sessions(struct worker *worker, const struct config *config)
{
    struct session_table *table = &worker->sessions;
    session_table_init(table, worker->index, worker->loop.now_ms);
    table->shard_count = config->shards;
    init_stores(worker, table);
    table->limits = (struct session_limits){
        .sessions_max = config->limits.sessions,
        .queue_messages_max = config->queue.messages_max,
        .queue_bytes_max = config->queue.bytes_max,
        .queue_policy = queue_policy(config),
        .lag_patience_ms = config->queue.publisher_pause_max_ms,
        .inflight_max = config->limits.inflight_out,
        .queue_qos0_offline = config->queue.queue_qos0_offline,
    };
    table->wake_at = wake_for_sessions;
    table->wake_arg = worker;
    table->ops = &delivery_session_ops;
    table->owner = &worker->hub;
    table->metrics = worker->hub.metrics;
    table->sessions = &worker->broker->shared.sessions;
    table->memory_full = &worker->broker->shared.memory_full;
    table->queues_full = &worker->broker->shared.queues_full;
}

void worker_init(struct worker *worker, struct broker *broker, uint32_t index)
{
    worker->broker = broker;
    worker->index = index;
    loop_init(&worker->loop, &loop_ops, worker);
    mailbox_init(&worker->mailbox, wake, worker);
    job_queue_init(&worker->jobs);
    loop_timer_init(&worker->session_timer, session_timer_fired);
    loop_timer_init(&worker->store_timer, store_timer_fired);
    loop_timer_init(&worker->drain_timer, drain_timer_fired);
    moving_init(worker);
    struct delivery_hub *hub = &worker->hub;
    hub->metrics = metrics_shard_get(&broker->metrics, index);
    init_sessions(worker, broker->config);
    hub->sessions = &worker->sessions;
    hub->router = &broker->router;
    hub->retained = &broker->retained;
    hub->jobs = &worker->jobs;
    hub->worker = index;
    hub->worker_count = broker->worker_count;
    hub->under_way_max = under_way_max(broker->config);
    hub->remote = broker->cluster == NULL ? NULL : cluster_remote(broker->cluster, index);
    hub->ops = &conn_hub_ops;
    hub->owner = &worker->conns;
    delivery_init(hub);
    join_worker(worker);
    worker->conns = (struct conn_worker){
        .shared = &broker->shared,
        .loop = &worker->loop,
        .hub = hub,
        .sessions = &worker->sessions,
        .metrics = hub->metrics,
        .jobs = &worker->jobs,
        .worker = index,
        .worker_count = broker->worker_count,
        .ops = &conn_ops,
        .owner = worker,
    };
    conn_worker_init(&worker->conns);
}

void worker_connect(struct worker *worker, struct worker *all, uint32_t count)
{
    worker->hub.peers = mem_new(count * sizeof(*worker->hub.peers));
    for (uint32_t i = 0; i < count; i++)
        worker->hub.peers[i] = (struct delivery_peer){
            .mailbox = i == worker->index ? NULL : &all[i].mailbox,
            .hub = &all[i].hub,
            .backlog = &all[i].hub.backlog,
        };
}

static void close_sockets(struct worker *worker)
{
    for (uint32_t i = 0; i < worker->listener_count; i++)
        close(worker->listener_fds[i]);
    worker->listener_count = 0;
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    rcu_reader_start();
    bool loaded = load_worker(worker);
    for (uint32_t i = 0; loaded && i < worker->listener_count; i++) {
        enum transport transport = worker->broker->config->listeners[i].transport == CONFIG_WS
                                       ? TRANSPORT_WEBSOCKET
                                       : TRANSPORT_TCP;
        CHECK(listener_start(&worker->listeners[i], &worker->loop, worker->listener_fds[i],
                             transport, accepted, worker) == RC_OK);
    }
    if (loaded)
        loop_run(&worker->loop);
    else
        close_sockets(worker);
    delivery_finish_walk(&worker->hub);
    rcu_reader_stop();
    return NULL;
}

bool worker_start(struct worker *worker)
{
    if (pthread_create(&worker->thread, NULL, worker_main, worker) != 0)
        return false;
    char name[16];
    snprintf(name, sizeof(name), "worker-%u", (unsigned)worker->index % 1000);
    pthread_setname_np(worker->thread, name);
    return true;
}

/* ---- stop --------------------------------------------------------------------------------------
 */

struct drain_mail {
    struct mail mail;
    struct worker *worker;
};

static void open_drain(struct mail *mail, void *receiver)
{
    struct drain_mail *order = CONTAINER_OF(mail, struct drain_mail, mail);
    struct worker *worker = order->worker;
    (void)receiver;
    mem_free(order);
    for (uint32_t i = 0; i < worker->listener_count; i++)
        listener_close(&worker->listeners[i], NULL);
    worker->drain_until_ms = worker->loop.now_ms + worker->broker->config->broker.drain_timeout_ms;
}

void worker_drain(struct worker *worker)
{
    struct drain_mail *order = NEW(struct drain_mail);
    *order = (struct drain_mail){.mail.open = open_drain, .worker = worker};
    mailbox_post(&worker->mailbox, &order->mail.letter);
}

void worker_join(struct worker *worker)
{
    pthread_join(worker->thread, NULL);
}

bool worker_clean_up(struct worker *worker)
{
    open_answers(worker);
    open_mail(worker);
    bool more = job_queue_run(&worker->jobs);
    stores_turn(worker, UINT64_MAX);
    more |= delivery_turn(&worker->hub);
    delivery_finish_walk(&worker->hub);
    post_records(worker);
    more |= stores_wait(worker);
    if (store_ends_busy(&worker->ends)) {
        nanosleep(&(struct timespec){.tv_nsec = COMMIT_LOOK_NS}, NULL);
        more = true;
    }
    return more;
}

bool worker_has_mail(struct worker *worker)
{
    return !mailbox_empty(&worker->mailbox);
}

void worker_deinit(struct worker *worker)
{
    conn_worker_deinit(&worker->conns);
    session_table_deinit(&worker->sessions);
    delivery_deinit(&worker->hub);
    mem_free(worker->hub.peers);
    mem_free(worker->sessions.stores);
    loop_deinit(&worker->loop);
}
