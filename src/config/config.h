/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration, parsed. One table (schema.c) says of every key its type, range, default and
 * meaning; parsing, `--check`, the reference, the JSON Schema and the commented default file are
 * made from it. To add a key: one line in the table, one field here. Read-only after start-up;
 * shared by all threads.
 */
#ifndef CONFIG_CONFIG_H
#define CONFIG_CONFIG_H

#include "base/log.h"
#include "model/durability.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    CONFIG_LISTENERS_MAX = 64,
    CONFIG_DURABILITY_TOPICS_MAX = 64,
    CONFIG_CLUSTER_LIST_MAX = 64,
    CONFIG_KEYS_MAX = 128,
    CONFIG_TEXT_MAX = 256,      /* bytes of a text, its NUL included */
    CONFIG_NAME_MAX = 64,       /* bytes of a name, its NUL included */
    CONFIG_FILE_MAX = 1U << 20, /* bytes of a file */
};

enum config_transport { CONFIG_TCP, CONFIG_WS };
enum proxy_protocol { PROXY_PROTOCOL_OFF, PROXY_PROTOCOL_REQUIRED };
enum share_strategy {
    SHARE_ROUND_ROBIN,
    SHARE_RANDOM,
    SHARE_LEAST_INFLIGHT,
    SHARE_STICKY_CLIENT, /* by the publisher's client id */
    SHARE_STICKY_TOPIC,
};
enum store_profile { STORE_PROFILE_NORMAL, STORE_PROFILE_SMALL };
enum queue_full_policy { QUEUE_DROP_NEWEST, QUEUE_DROP_OLDEST, QUEUE_DROP_QOS0_FIRST };
enum slow_subscriber_policy { SLOW_DROP, SLOW_PAUSE_PUBLISHER };
enum cluster_role { CLUSTER_ACTIVE, CLUSTER_STANDBY };
enum cluster_engine { CLUSTER_ENGINE_MANAGED, CLUSTER_ENGINE_EXTERNAL };
enum cluster_cut_off { CLUSTER_CUT_OFF_CLOSE, CLUSTER_CUT_OFF_SERVE };

struct config_listener {
    char host[CONFIG_TEXT_MAX]; /* address or name, without brackets */
    uint16_t port;              /* 0: one that the system chooses */
    enum config_transport transport;
    bool has_durability; /* else the global one counts */
    enum durability durability;
    enum proxy_protocol proxy;
    int line; /* in the file; 0: not from a file */
};

/* Of another node, or of this one as others see it. */
struct config_address {
    char host[CONFIG_TEXT_MAX]; /* address or name, without brackets; "": not given */
    uint16_t port;
};

/* A text that must not be shown: no message, log line or document has it. */
struct config_secret {
    char hidden[CONFIG_TEXT_MAX];
};

/* What counts for the topics that match, whichever listener they come through. */
struct config_durability_topic {
    char filter[CONFIG_TEXT_MAX];
    enum durability durability;
};

struct config {
    struct config_listener listeners[CONFIG_LISTENERS_MAX];
    uint32_t listener_count;
    char listeners_from[CONFIG_TEXT_MAX]; /* the file, "--set" or "-p"; "": built in */
    uint32_t workers;                     /* 0: one a core */
    uint32_t shards;                      /* 16..4096, power of two not needed */
    bool allow_anonymous;
    enum log_level log_level;

    struct {
        bool retain_available, wildcard_available, subscription_identifier_available;
        bool shared_available;
        uint8_t qos_max;               /* 0..2 */
        uint16_t keep_alive_max_s;     /* 0: no limit; else server keep alive for larger or 0 */
        uint32_t session_expiry_max_s; /* UINT32_MAX: no limit */
        uint16_t receive_maximum;      /* ours, for publishers */
        uint16_t topic_alias_max;      /* ours, inbound */
        uint16_t topic_alias_out_max;  /* aliases that we make for one connection; 0: none */
        bool
            check_payload_format; /* refuse payloads that break payload format indicator 1 (0x99) */
        bool allow_empty_client_id;
        char response_information[CONFIG_TEXT_MAX]; /* "": none */
        char server_reference[CONFIG_TEXT_MAX];     /* where to go instead; "": not told */
        enum share_strategy share_strategy;
        bool share_prefer_local;
    } mqtt;

    struct {
        uint32_t connections, sessions;
        uint32_t subscriptions_per_client;
        uint16_t filter_levels, client_id_bytes;
        uint16_t topic_bytes;
        uint32_t packet_bytes; /* maximum packet size, header included */
        uint16_t inflight_out; /* our window towards one client; the client's may be lower */
        uint32_t retained_count;
        uint64_t retained_bytes;
        uint64_t memory_bytes; /* resident size above which new work is refused; 0: 80 % of RAM */
        uint32_t connect_timeout_ms; /* accept to CONNECT */
        uint32_t user_properties;    /* in one packet */
    } limits;

    struct {
        uint32_t messages_max; /* of one session */
        uint64_t bytes_max;    /* of one session */
        enum queue_full_policy when_full;
        enum slow_subscriber_policy slow_subscriber;
        uint32_t publisher_pause_max_ms; /* longest time one lagging subscriber slows a publisher */
        bool queue_qos0_offline;
        uint64_t total_messages_max, total_bytes_max; /* of all sessions */
    } queue;

    enum durability durability;
    uint32_t durability_interval_ms; /* at most so long is written and not flushed */
    struct config_durability_topic durability_topics[CONFIG_DURABILITY_TOPICS_MAX];
    uint32_t durability_topic_count; /* the first that matches counts */
    bool durability_property;        /* MQTT 5.0 clients are told in CONNACK */
    struct {
        enum store_profile profile;
    } store;

    struct {
        uint32_t sys_interval_s; /* $SYS; 0: off */
        uint32_t drain_delay_ms; /* from SIGTERM to the drain */
        uint32_t drain_timeout_ms;
    } broker;

    struct {
        struct config_address listen;       /* host "": none */
        struct config_address agent_listen; /* host "": none */
    } health;

    /* config/cluster.h reads what is not as it stands here. */
    struct {
        char name[CONFIG_NAME_MAX];      /* "": not clustered; nothing else counts then */
        char node[CONFIG_NAME_MAX];      /* "": the host's name */
        struct config_address listen;    /* of links */
        struct config_address advertise; /* host "": as listen */
        struct config_address addresses[CONFIG_CLUSTER_LIST_MAX]; /* links of the others */
        uint32_t address_count;
        struct config_secret secret; /* or "file:PATH" */
        uint16_t weight;
        enum cluster_role role;
        enum cluster_engine engine;
        struct config_secret engine_urls[CONFIG_CLUSTER_LIST_MAX]; /* may hold passwords */
        uint32_t engine_url_count;
        uint16_t engine_port, engine_route_port; /* 0: from the link's port */
        uint32_t home_wait_ms;
        enum cluster_cut_off cut_off;
        uint32_t home_stay_ms;   /* of a group, before it is given to where it should be */
        uint32_t drain_delay_ms; /* from `skein cluster drain` until clients are moved */
        uint32_t drain_rate;     /* clients a second */
    } cluster;

    /* Where a value came from, for messages. */
    struct {
        char file[CONFIG_TEXT_MAX];
        int line[CONFIG_KEYS_MAX]; /* 0: built in; -1: --set */
    } origin;
};

/* What is wrong and where; one line for a person. */
struct config_error {
    char text[1024]; /* "skein.yaml:12: limits.conections: unknown key; did you mean ...?" */
};

/* All defaults: 127.0.0.1:1883, [::1]:1883, ws on 127.0.0.1:8083. */
void config_defaults(struct config *config);

/* Sets all defaults, then reads a YAML file over them. False and *error when anything is wrong;
 * *config is then unspecified. Does not call config_validate(). */
bool config_read_file(struct config *config, const char *path, struct config_error *error);
/* The same from memory; `name` stands for the file in messages. */
bool config_read_text(struct config *config, const char *text, uint64_t len, const char *name,
                      struct config_error *error);

/* One `--set key=value`, e.g. limits.connections=100 or listeners=[{address: 127.0.0.1:1884}]. The
 * value is written as it would be in the file. */
bool config_set(struct config *config, const char *assignment, struct config_error *error);

/* What no single key can say: duplicate listeners, a listener outside loopback without
 * authentication unless allow_anonymous. Call after everything has been read. */
bool config_validate(const struct config *config, struct config_error *error);

/* What counts for the sessions of that listener's clients. */
static inline enum durability config_listener_durability(const struct config *config,
                                                         uint32_t listener)
{
    const struct config_listener *l = &config->listeners[listener];
    return l->has_durability ? l->durability : config->durability;
}

/* The strictest that anything in the configuration asks for: MEMORY needs no store. */
enum durability config_strictest_durability(const struct config *config);

/* "fsync", and what that promises in words. */
const char *config_durability_name(enum durability durability);
const char *config_durability_promise(enum durability durability);

/* Replaces all listeners by one on 127.0.0.1:port. */
void config_listen_loopback(struct config *config, uint16_t port);

#endif
