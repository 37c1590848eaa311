/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One node from start to end: bind first (so that a port that is taken is said before anything
 * runs), then make the workers, then wait for signals on the main thread.
 */
#include "broker/broker.h"

#include "base/breaks.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/log.h"
#include "base/memory.h"
#include "broker/node.h"
#include "config/version.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

enum {
    LISTEN_BACKLOG = 4096,
    MALLOC_LARGE = 4 * 1024 * 1024,
    STORE_END_S = 5,
    HOMES_END_S = (HOMES_STOP_MS + HOMES_ENGINE_STOP_MS) / 1000
};

/* ---- listeners ---------------------------------------------------------------------------------
 */

/* One socket a worker for each listener. */
static bool bind_all(struct broker *broker)
{
    const struct config *config = broker->config;
    for (uint32_t l = 0; l < config->listener_count; l++) {
        const struct config_listener *listener = &config->listeners[l];
        struct listener_address address = {.port = listener->port};
        snprintf(address.host, sizeof(address.host), "%s", listener->host);
        for (uint32_t w = 0; w < broker->worker_count; w++) {
            struct worker *worker = &broker->workers[w];
            address.exclusive = w == 0;
            int fd = bind_or_say("listeners", &address, LISTEN_BACKLOG);
            if (fd < 0)
                return false;
            worker->listener_fds[worker->listener_count++] = fd;
        }
        broker->ports[l] = address.port;
        LOG(LOG_INFO, "broker.listening", log_text("host", address.host),
            log_uint("port", address.port),
            log_text("transport", listener->transport == CONFIG_WS ? "ws" : "tcp"));
    }
    return true;
}

static void close_listeners(struct broker *broker)
{
    for (uint32_t w = 0; w < broker->worker_count; w++)
        for (uint32_t l = 0; l < broker->workers[w].listener_count; l++)
            close(broker->workers[w].listener_fds[l]);
}

/* ---- make and unmake ---------------------------------------------------------------------------
 */

static enum share_choice share_choice(enum share_strategy strategy)
{
    switch (strategy) {
    case SHARE_RANDOM:
        return CHOOSE_RANDOM;
    case SHARE_LEAST_INFLIGHT:
        return CHOOSE_LEAST_INFLIGHT;
    case SHARE_STICKY_CLIENT:
        return CHOOSE_STICKY_CLIENT;
    case SHARE_STICKY_TOPIC:
        return CHOOSE_STICKY_TOPIC;
    default:
        return CHOOSE_ROUND_ROBIN;
    }
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static uint32_t count_workers(const struct config *config)
{
    if (config->workers > 0)
        return config->workers;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 1 ? 1 : cores > 256 ? 256 : (uint32_t)cores;
}

/* Large tables come from the system and go back to it at once. By itself malloc would soon take
 * them from where the small things are, and clear them by hand. */
static void set_malloc(void)
{
    mallopt(M_MMAP_THRESHOLD, MALLOC_LARGE);
    mallopt(M_TRIM_THRESHOLD, MALLOC_LARGE);
}

void node_init(struct broker *broker, const struct config *config)
{
    set_malloc();
    broker->config = config;
    broker->started_ms = clock_ms();
    broker->worker_count = count_workers(config);
    broker->shared.config = config;
    if (getrandom(&broker->shared.process_id, sizeof(uint64_t), 0) != sizeof(uint64_t))
        broker->shared.process_id = clock_ns();
    if (getenv("SKEIN_TEST_AUTH") != NULL) {
        auth_register(&broker->shared.auth, &auth_test_challenge);
        LOG(LOG_WARN, "broker.test_authentication_enabled", log_text("method", "test"));
    }
    metrics_init(&broker->metrics, broker->worker_count + 4);
    router_init(&broker->router, share_choice(config->mqtt.share_strategy));
    broker->router.share_prefers_local = config->mqtt.share_prefer_local;
    retained_init(&broker->retained, config->limits.retained_count, config->limits.retained_bytes);
    broker->workers = mem_new(broker->worker_count * sizeof(*broker->workers));
}

void node_make_workers(struct broker *broker)
{
    for (uint32_t i = 0; i < broker->worker_count; i++)
        worker_init(&broker->workers[i], broker, i);
    for (uint32_t i = 0; i < broker->worker_count; i++)
        worker_connect(&broker->workers[i], broker->workers, broker->worker_count);
    sys_topics_start(broker);
}

/* Nobody is connected any more, but workers still owe each other answers, and whichever of them
 * stopped first cannot know: one thread asks them all until none has anything left. */
static void workers_clean_up(struct broker *broker)
{
    bool more;
    rcu_reader_start();
    do {
        more = false;
        for (uint32_t i = 0; i < broker->worker_count; i++)
            more |= worker_clean_up(&broker->workers[i]);
        for (uint32_t i = 0; i < broker->worker_count; i++)
            more |= worker_has_mail(&broker->workers[i]);
        rcu_quiescent();
    } while (more);
    rcu_reader_stop();
}

void node_deinit(struct broker *broker)
{
    groups_end(broker->groups);
    workers_clean_up(broker);
    store_close(broker->store);
    rcu_drain();
    for (uint32_t i = 0; i < broker->worker_count; i++)
        worker_deinit(&broker->workers[i]);
    sys_topics_stop(broker);
    cluster_free(broker->cluster);
    homes_free(broker->homes);
    groups_free(broker->groups);
    mem_free(broker->workers);
    router_deinit(&broker->router);
    retained_deinit(&broker->retained);
    metrics_deinit(&broker->metrics);
}

/* ---- signals -----------------------------------------------------------------------------------
 */

static void block_signals(sigset_t *waited)
{
    sigemptyset(waited);
    sigaddset(waited, SIGTERM);
    sigaddset(waited, SIGINT);
    sigaddset(waited, SIGHUP);
    pthread_sigmask(SIG_BLOCK, waited, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* Until a signal says that it is the end, or that time. */
static void wait_for_end(struct broker *broker, const sigset_t *waited, uint64_t until_ms)
{
    const struct timespec quarter = {.tv_nsec = 250 * 1000 * 1000};
    for (uint32_t quarters = 1; clock_ms() < until_ms; quarters++) {
        int signal = sigtimedwait(waited, NULL, &quarter);
        if (signal == SIGTERM || signal == SIGINT)
            return;
        if (signal == SIGHUP)
            LOG(LOG_INFO, "broker.reload_ignored", log_text("reason", "not supported yet"));
        watch_shrink(broker);
        if (quarters % 4 == 0)
            watch_tick(broker);
    }
}

static void enter_phase(struct broker *broker, enum broker_phase phase)
{
    if (phase == BROKER_SERVING)
        atomic_store_explicit(&broker->vitals.serving_since_ms, clock_ms(), memory_order_relaxed);
    atomic_store_explicit(&broker->vitals.phase, phase, memory_order_release); /* condition_now() */
}

/* Load balancers hear that this broker leaves, and have time to send clients elsewhere. */
static void leave(struct broker *broker, const sigset_t *waited)
{
    uint32_t delay_ms = broker->config->broker.drain_delay_ms;
    enter_phase(broker, BROKER_LEAVING);
    if (delay_ms == 0)
        return;
    LOG(LOG_INFO, "broker.leaving", log_uint("delay_ms", delay_ms));
    wait_for_end(broker, waited, clock_ms() + delay_ms);
}

static void stop_workers(struct broker *broker)
{
    for (uint32_t i = 0; i < broker->worker_count; i++)
        worker_drain(&broker->workers[i]);
    for (uint32_t i = 0; i < broker->worker_count; i++)
        worker_join(&broker->workers[i]);
}

/* A thread of its own, since any other may be waiting for the disk. What is not finished is what a
 * crash leaves, and the next start goes on from there. */
static void *give_up(void *arg)
{
    const struct config *config = arg;
    const struct timespec patience = {.tv_sec = config->broker.drain_timeout_ms / 1000 +
                                                STORE_END_S +
                                                (cluster_configured(config) ? HOMES_END_S : 0)};
    nanosleep(&patience, NULL);
    LOG(LOG_ERROR, "broker.store_not_ended", log_uint("waited_s", (uint64_t)patience.tv_sec));
    _exit(BROKER_EXIT_OK);
}

static void end_in_time(struct broker *broker)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, give_up, (void *)broker->config) == 0)
        pthread_detach(thread);
}

static int serve(struct broker *broker, const char *data_dir, const sigset_t *waited)
{
    pthread_barrier_init(&broker->loaded, NULL, broker->worker_count + 1);
    for (uint32_t i = 0; i < broker->worker_count; i++)
        if (!worker_start(&broker->workers[i]))
            CHECK(!"a thread could not be started");
    int code = load_finish(broker, data_dir);
    if (code == BROKER_EXIT_OK)
        code = join_groups(broker);
    if (code != BROKER_EXIT_OK) {
        control_stop(&broker->control);
        stop_workers(broker);
        control_deinit(&broker->control);
        return code;
    }
    LOG(LOG_INFO, "broker.started", log_text("version", SKEIN_VERSION),
        log_uint("workers", broker->worker_count),
        log_uint("listeners", broker->config->listener_count), log_int("pid", getpid()));
    watch_start(broker);
    join_start(broker);
    control_start(&broker->control, broker);
    mem_release_code();
    enter_phase(broker, BROKER_SERVING);
    sd_notify(0, "READY=1");
    wait_for_end(broker, waited, UINT64_MAX);
    sd_notify(0, "STOPPING=1");
    leave(broker, waited);
    end_in_time(broker);
    LOG(LOG_INFO, "broker.stopping",
        log_uint("connections", metrics_read(&broker->metrics, METRIC_CONNECTIONS_CURRENT)));
    if (broker->homes != NULL)
        homes_stop(broker->homes);
    control_stop(&broker->control);
    stop_workers(broker);
    if (broker->cluster != NULL)
        cluster_stop(broker->cluster);
    control_deinit(&broker->control);
    LOG(LOG_INFO, "broker.stopped", log_uint("uptime_s", (clock_ms() - broker->started_ms) / 1000));
    return BROKER_EXIT_OK;
}

int broker_run(const struct config *config, const char *data_dir)
{
    static struct broker broker;
    sigset_t waited;
    block_signals(&waited);
    raise_descriptor_limit();
    log_set_level(config->log_level);
    fault_init();
    const char *breaks = breaks_init();
    if (breaks != NULL)
        LOG(LOG_WARN, "broker.broken", log_text("break", breaks),
            log_text("meaning", "SKEIN_TEST_BREAK takes a protection away; for tests only"));
    node_init(&broker, config);
    broker.data_dir = data_dir;
    int code = control_open(&broker.control, data_dir);
    if (code != BROKER_EXIT_OK)
        return code;
    code = health_open(&broker.health, &broker);
    if (code == BROKER_EXIT_OK)
        code = bind_all(&broker) ? join_open(&broker) : BROKER_EXIT_UNAVAILABLE;
    if (code == BROKER_EXIT_OK)
        health_start(&broker.health, &broker);
    if (code == BROKER_EXIT_OK)
        code = load_open(&broker, data_dir);
    if (code == BROKER_EXIT_OK) {
        node_make_workers(&broker);
        code = serve(&broker, data_dir, &waited);
        node_deinit(&broker);
    } else {
        control_stop(&broker.control);
        control_deinit(&broker.control);
        close_listeners(&broker);
    }
    health_stop(&broker.health);
    return code;
}
