/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of keys. To add a key: a line here and a field in config.h, then `dev docs`.
 * Defaults are chosen so that an untouched broker is safe on a small machine and does not stop a
 * large one: what the standard allows, unless a hostile client could use it to take what others
 * need.
 */
#include "config/schema.h"

#include "config/config.h"
#include "config/nearest.h"

#include <string.h>

#define FIELD(member)                                                                              \
    .offset = offsetof(struct config, member), .width = sizeof(((struct config *)NULL)->member)
#define BOOL(member) .type = CONFIG_BOOL, FIELD(member)
#define INT(member, low, high) .type = CONFIG_INT, FIELD(member), .min = (low), .max = (high)
#define SIZE(member, low, high) .type = CONFIG_SIZE, FIELD(member), .min = (low), .max = (high)
#define SECONDS(member, low, high)                                                                 \
    .type = CONFIG_DURATION, .scale = 1000, FIELD(member), .min = (low), .max = (high)
#define MILLISECONDS(member, low, high)                                                            \
    .type = CONFIG_DURATION, .scale = 1, FIELD(member), .min = (low), .max = (high)
#define TEXT(member) .type = CONFIG_TEXT, FIELD(member)
#define NAME(member) .type = CONFIG_NAME, FIELD(member)
#define SECRET(member) .type = CONFIG_SECRET, FIELD(member)
#define ADDRESS(member) .type = CONFIG_ADDRESS, FIELD(member)
#define ENUM(member, list) .type = CONFIG_ENUM, FIELD(member), .choices = (list)

#define TIB(n) ((uint64_t)(n) << 40)
#define HOUR_S 3600
#define HOUR_MS (HOUR_S * 1000)

const struct config_choice config_transports[] = {
    {"tcp", "MQTT straight on TCP", CONFIG_TCP},
    {"ws", "MQTT over WebSocket", CONFIG_WS},
    {0},
};

const struct config_choice config_proxy_protocols[] = {
    {"off", "clients connect here, or through what passes their bytes only", PROXY_PROTOCOL_OFF},
    {"required", "each connection begins with a header of the PROXY protocol",
     PROXY_PROTOCOL_REQUIRED},
    {0},
};

static const struct config_choice log_levels[] = {
    {"error", "what stops something from working", LOG_ERROR},
    {"warn", "what may soon", LOG_WARN},
    {"info", "what a person may act on", LOG_INFO},
    {"debug", "connections and sessions one by one", LOG_DEBUG},
    {0},
};

static const struct config_choice share_strategies[] = {
    {"round_robin", "each in turn", SHARE_ROUND_ROBIN},
    {"random", "any, with equal chance", SHARE_RANDOM},
    {"least_inflight", "the one with the fewest unacknowledged messages", SHARE_LEAST_INFLIGHT},
    {"sticky_client", "always the same for one publishing client", SHARE_STICKY_CLIENT},
    {"sticky_topic", "always the same for one topic", SHARE_STICKY_TOPIC},
    {0},
};

static const struct config_choice full_policies[] = {
    {"drop_newest", "the message that does not fit", QUEUE_DROP_NEWEST},
    {"drop_oldest", "the one that has waited longest", QUEUE_DROP_OLDEST},
    {"drop_qos0_first", "the oldest of QoS 0 if there is one, else the message that does not fit",
     QUEUE_DROP_QOS0_FIRST},
    {0},
};

const struct config_choice config_durabilities[] = {
    {"memory", "nothing: what was acknowledged may end with the process", DURABILITY_MEMORY},
    {"interval",
     "what was acknowledged survives the death of the process; when the machine loses "
     "power the last durability_interval is lost",
     DURABILITY_INTERVAL},
    {"fsync", "what was acknowledged survives a loss of power", DURABILITY_FSYNC},
    {0},
};

static const struct config_choice store_profiles[] = {
    {"normal", "for servers: about 200 MB of memory tables and caches under load",
     STORE_PROFILE_NORMAL},
    {"small", "for small devices with flash memory: about 10 MB, and fewer writes",
     STORE_PROFILE_SMALL},
    {0},
};

static const struct config_choice slow_policies[] = {
    {"pause_publisher", "read from the publisher more slowly, for a bounded time",
     SLOW_PAUSE_PUBLISHER},
    {"drop", "drop for the subscriber at once, never slow the publisher", SLOW_DROP},
    {0},
};

static const struct config_choice cluster_roles[] = {
    {"active", "takes clients and leads groups", CLUSTER_ACTIVE},
    {"standby", "follows, and takes over only when an active node is gone", CLUSTER_STANDBY},
    {0},
};

static const struct config_choice cluster_cut_offs[] = {
    {"close", "they are closed and refused, since their client ids may be connected elsewhere",
     CLUSTER_CUT_OFF_CLOSE},
    {"serve", "they are served, on this node alone, at QoS 0", CLUSTER_CUT_OFF_SERVE},
    {0},
};

static const struct config_choice cluster_engines[] = {
    {"managed", "each node runs a nats-server of its own", CLUSTER_ENGINE_MANAGED},
    {"external", "a NATS with JetStream that already runs, at engine_urls",
     CLUSTER_ENGINE_EXTERNAL},
    {0},
};

const struct config_section config_sections[] = {
    {"log", "What is written to standard error, or to the journal under systemd."},
    {"mqtt", "What the broker offers to clients. Clients of MQTT 5.0 are told in CONNACK."},
    {"limits",
     "What one client, or all of them together, can take. Each limit that is hit counts in a "
     "metric of its own."},
    {"queue", "What happens to messages that a subscriber cannot take now."},
    {"store", "Where sessions and messages are kept on disk: in the data directory."},
    {"broker", "The broker itself."},
    {"health", "What load balancers ask. The answers name no client and change nothing, so other "
               "machines may reach these ports without more."},
    {"cluster",
     "Several nodes that behave as one broker. Under construction: nodes find each "
     "other and forward "
     "what is published, and agree on which of them leads what once the cluster has been "
     "initialised (skein cluster init), see the guide."},
};

const struct config_key config_keys[] = {
    {.path = "listeners",
     .type = CONFIG_LISTENERS,
     FIELD(listeners),
     .since = "0.1.0",
     .doc = "Where clients connect: 1 to 64 entries of an address, a transport, a durability and "
            "whether the PROXY protocol is spoken."},
    {.path = "allow_anonymous",
     BOOL(allow_anonymous),
     .fallback = "false",
     .since = "0.1.0",
     .doc = "Let clients in that do not say who they are, also through listeners outside loopback. "
            "Without it such listeners need authentication, and the broker does not start."},
    {.path = "workers",
     INT(workers, 0, 256),
     .fallback = "0",
     .unit = "threads",
     .since = "0.1.0",
     .doc = "Threads that serve clients. 0: one for each core that the process may use."},
    {.path = "shards",
     INT(shards, 16, 4096),
     .fallback = "64",
     .unit = "shards",
     .since = "0.1.0",
     .doc = "Slices that client ids are spread over; each belongs to one worker. Fixed for a data "
            "directory once it is made."},

    {.path = "durability",
     ENUM(durability, config_durabilities),
     .fallback = "fsync",
     .since = "0.2.0",
     .doc = "What an acknowledgement promises for sessions that outlive their connection, their "
            "messages, and retained messages."},
    {.path = "durability_interval",
     MILLISECONDS(durability_interval_ms, 1, HOUR_MS),
     .fallback = "100ms",
     .since = "0.2.0",
     .doc = "With durability: interval, the longest time until what was written is flushed to the "
            "disk."},
    {.path = "durability_topics",
     .type = CONFIG_DURABILITY_TOPICS,
     FIELD(durability_topics),
     .since = "0.2.0",
     .doc = "Topics with a durability of their own: up to 64 entries of a filter and a durability. "
            "The first that matches counts, whichever listener a message comes through."},
    {.path = "durability_property",
     BOOL(durability_property),
     .fallback = "false",
     .since = "0.2.0",
     .doc = "Tell MQTT 5.0 clients the durability of their listener in CONNACK, as the user "
            "property `durability`."},

    {.path = "log.level",
     ENUM(log_level, log_levels),
     .fallback = "info",
     .since = "0.1.0",
     .doc = "The least important lines that are written."},

    {.path = "mqtt.qos_max",
     INT(mqtt.qos_max, 0, 2),
     .fallback = "2",
     .since = "0.1.0",
     .doc = "The highest QoS that clients may publish with. Subscriptions are granted no more."},
    {.path = "mqtt.retain_available",
     BOOL(mqtt.retain_available),
     .fallback = "true",
     .since = "0.1.0",
     .doc = "Keep retained messages. If not, publishing one is refused (0x9A)."},
    {.path = "mqtt.wildcard_available",
     BOOL(mqtt.wildcard_available),
     .fallback = "true",
     .since = "0.1.0",
     .doc = "Allow + and # in subscriptions. If not, they are refused (0xA2)."},
    {.path = "mqtt.subscription_identifier_available",
     BOOL(mqtt.subscription_identifier_available),
     .fallback = "true",
     .since = "0.1.0",
     .doc = "Allow subscription identifiers. If not, they are refused (0xA1)."},
    {.path = "mqtt.shared_available",
     BOOL(mqtt.shared_available),
     .fallback = "true",
     .since = "0.1.0",
     .doc = "Allow shared subscriptions. If not, they are refused (0x9E)."},
    {.path = "mqtt.share_strategy",
     ENUM(mqtt.share_strategy, share_strategies),
     .fallback = "round_robin",
     .since = "0.1.0",
     .doc = "Which member of a shared subscription gets a message."},
    {.path = "mqtt.share_prefer_local",
     BOOL(mqtt.share_prefer_local),
     .fallback = "false",
     .since = "0.1.0",
     .doc = "In a cluster, members of a shared subscription whose sessions are on the publisher's "
            "node get "
            "its messages as long as one of them is connected."},
    {.path = "mqtt.keep_alive_max",
     SECONDS(mqtt.keep_alive_max_s, 0, UINT16_MAX),
     .fallback = "0",
     .since = "0.1.0",
     .doc =
         "The longest keep alive. Clients that ask for more, or for none, get this one (MQTT 5.0: "
         "server keep alive). 0: no limit."},
    {.path = "mqtt.session_expiry_max",
     SECONDS(mqtt.session_expiry_max_s, 0, UINT32_MAX - 1),
     .word = "unlimited",
     .word_value = UINT32_MAX,
     .fallback = "unlimited",
     .since = "0.1.0",
     .doc =
         "The longest time that a session outlives its connection. Also ends the sessions of MQTT "
         "3.1 and 3.1.1 clients with clean session 0, which otherwise live for ever."},
    {.path = "mqtt.receive_maximum",
     INT(mqtt.receive_maximum, 1, UINT16_MAX),
     .fallback = "1000",
     .unit = "messages",
     .since = "0.1.0",
     .doc =
         "QoS 1 and 2 messages that a client may have unacknowledged towards the broker. An MQTT "
         "5.0 client that exceeds it is disconnected (0x93)."},
    {.path = "mqtt.topic_alias_max",
     INT(mqtt.topic_alias_max, 0, UINT16_MAX),
     .fallback = "64",
     .unit = "aliases",
     .since = "0.1.0",
     .doc = "Topic aliases that a client may make for its connection. 0: none."},
    {.path = "mqtt.topic_alias_out_max",
     INT(mqtt.topic_alias_out_max, 0, UINT16_MAX),
     .fallback = "16",
     .unit = "aliases",
     .since = "0.1.0",
     .doc = "Topic aliases that the broker makes for one connection where they save bytes, if the "
            "client allows as many. 0: none."},
    {.path = "mqtt.check_payload_format",
     BOOL(mqtt.check_payload_format),
     .fallback = "false",
     .since = "0.1.0",
     .doc = "Refuse payloads that say they are UTF-8 and are not (0x99). Costs a look at every "
            "payload that says so."},
    {.path = "mqtt.allow_empty_client_id",
     BOOL(mqtt.allow_empty_client_id),
     .fallback = "true",
     .since = "0.1.0",
     .doc = "Give clients that come without a client id one. If not, they are refused (0x85)."},
    {.path = "mqtt.response_information",
     TEXT(mqtt.response_information),
     .fallback = "\"\"",
     .since = "0.1.0",
     .doc = "What MQTT 5.0 clients get that ask for response information: the start of topics for "
            "their replies. Empty: nothing."},
    {.path = "mqtt.server_reference",
     TEXT(mqtt.server_reference),
     .fallback = "\"\"",
     .since = "0.3.0",
     .doc =
         "Other servers, such as \"b.example.com:1883 c.example.com:1883\". MQTT 5.0 clients are "
         "sent there (0x9C, use another server) when this broker ends, and when it refuses them "
         "because of limits.connections, limits.sessions or limits.memory_bytes. Empty: they "
         "are told what is wrong (0x8B, 0x97)."},

    {.path = "limits.connections",
     INT(limits.connections, 1, 10000000),
     .fallback = "1000000",
     .unit = "connections",
     .since = "0.1.0",
     .doc = "Connections open at one time. The limit on open files of the process may be lower: "
            "start-up says so. More are refused (0x97)."},
    {.path = "limits.sessions",
     INT(limits.sessions, 1, 100000000),
     .fallback = "2000000",
     .unit = "sessions",
     .since = "0.1.0",
     .doc = "Sessions, with and without a connection. A client that would need one more is refused "
            "(0x97)."},
    {.path = "limits.subscriptions_per_client",
     INT(limits.subscriptions_per_client, 1, 10000000),
     .fallback = "100000",
     .unit = "subscriptions",
     .since = "0.1.0",
     .doc = "Subscriptions of one session. More are refused (0x97)."},
    {.path = "limits.filter_levels",
     INT(limits.filter_levels, 1, UINT16_MAX),
     .fallback = "128",
     .unit = "levels",
     .since = "0.1.0",
     .doc =
         "Levels of a topic filter or of the topic of a retained message. Deeper ones are refused "
         "(filters 0x97, topics 0x90)."},
    {.path = "limits.client_id_bytes",
     INT(limits.client_id_bytes, 23, UINT16_MAX),
     .fallback = "1024",
     .unit = "bytes",
     .since = "0.1.0",
     .doc = "Length of a client id. Longer ones are refused (0x85). The standard asks for 23 at "
            "least."},
    {.path = "limits.topic_bytes",
     INT(limits.topic_bytes, 1, UINT16_MAX),
     .fallback = "65535",
     .unit = "bytes",
     .since = "0.1.0",
     .doc =
         "Length of a topic name or filter. Longer ones are refused (names 0x90, filters 0x97)."},
    {.path = "limits.packet_bytes",
     SIZE(limits.packet_bytes, 128, 268435460),
     .fallback = "16M",
     .since = "0.1.0",
     .doc = "Size of a whole MQTT packet from a client. A larger one ends its connection (0x95)."},
    {.path = "limits.user_properties",
     INT(limits.user_properties, 0, 1000000),
     .fallback = "1000",
     .unit = "properties",
     .since = "0.1.0",
     .doc = "User properties in one packet. More end the connection (0x97)."},
    {.path = "limits.inflight_out",
     INT(limits.inflight_out, 1, UINT16_MAX),
     .fallback = "1000",
     .unit = "messages",
     .since = "0.1.0",
     .doc = "QoS 1 and 2 messages sent to one client and not yet acknowledged. The client's own "
            "receive maximum may be lower. The rest waits in its queue."},
    {.path = "limits.retained_count",
     INT(limits.retained_count, 0, UINT32_MAX),
     .fallback = "1000000",
     .unit = "messages",
     .since = "0.1.0",
     .doc = "Retained messages. One more is delivered but not kept, and a QoS 1 or 2 publisher of "
            "MQTT 5.0 is told (0x97)."},
    {.path = "limits.retained_bytes",
     SIZE(limits.retained_bytes, 0, TIB(16)),
     .fallback = "1G",
     .since = "0.1.0",
     .doc =
         "Topics, properties and payloads of all retained messages. Treated as the limit above."},
    {.path = "limits.memory_bytes",
     SIZE(limits.memory_bytes, 0, TIB(16)),
     .fallback = "0",
     .since = "0.1.0",
     .doc = "Memory of the process above which new connections, subscriptions and messages that "
            "would have to be kept are refused. 0: 80 % of what the machine or the control group "
            "has."},
    {.path = "limits.connect_timeout",
     MILLISECONDS(limits.connect_timeout_ms, 100, HOUR_MS),
     .fallback = "10s",
     .since = "0.1.0",
     .doc = "Time from accepting a connection to its complete CONNECT. Then it is closed."},

    {.path = "queue.messages_max",
     INT(queue.messages_max, 0, 100000000),
     .fallback = "10000",
     .unit = "messages",
     .since = "0.1.0",
     .doc =
         "Messages that wait for one session. 0: nothing is queued beyond the in-flight window."},
    {.path = "queue.bytes_max",
     SIZE(queue.bytes_max, 0, TIB(1)),
     .fallback = "64M",
     .since = "0.1.0",
     .doc = "Topics, properties and payloads of the messages that wait for one session. A message "
            "that waits for several sessions is in memory once and counts for each."},
    {.path = "queue.when_full",
     ENUM(queue.when_full, full_policies),
     .fallback = "drop_newest",
     .since = "0.1.0",
     .doc = "What is dropped when a queue is full."},
    {.path = "queue.qos0_offline",
     BOOL(queue.queue_qos0_offline),
     .fallback = "false",
     .since = "0.1.0",
     .doc = "Queue QoS 0 messages too for a session whose client is away."},
    {.path = "queue.slow_subscriber",
     ENUM(queue.slow_subscriber, slow_policies),
     .fallback = "pause_publisher",
     .since = "0.1.0",
     .doc = "What gives when a connected subscriber reads more slowly than others publish to it."},
    {.path = "queue.publisher_pause_max",
     MILLISECONDS(queue.publisher_pause_max_ms, 0, HOUR_MS),
     .fallback = "1s",
     .since = "0.1.0",
     .doc = "The longest time that one lagging subscriber can slow a publisher. From then on "
            "messages are dropped for the subscriber, until it has caught up."},

    {.path = "queue.total_messages_max",
     INT(queue.total_messages_max, 0, 1000000000000),
     .fallback = "0",
     .unit = "messages",
     .since = "0.2.0",
     .doc = "Messages that wait for all sessions together; looked at once a second. 0: no limit."},
    {.path = "queue.total_bytes_max",
     SIZE(queue.total_bytes_max, 0, TIB(1000)),
     .fallback = "0",
     .since = "0.2.0",
     .doc = "The same in bytes, in memory and on disk. 0: no limit but the disk."},

    {.path = "store.profile",
     ENUM(store.profile, store_profiles),
     .fallback = "normal",
     .since = "0.2.0",
     .doc = "How much memory the store may use, and how often it writes."},

    {.path = "broker.sys_interval",
     SECONDS(broker.sys_interval_s, 0, HOUR_S),
     .fallback = "10s",
     .since = "0.1.0",
     .doc = "How often the $SYS topics are published. 0: never."},
    {.path = "broker.drain_delay",
     MILLISECONDS(broker.drain_delay_ms, 0, HOUR_MS),
     .fallback = "0",
     .since = "0.3.0",
     .doc = "Time from SIGTERM until clients are told good-bye. Clients are served and let in as "
            "before, but /ready and HAProxy's agent say that the broker leaves, so that a load "
            "balancer sends it no more. A second SIGTERM ends it."},
    {.path = "broker.drain_timeout",
     MILLISECONDS(broker.drain_timeout_ms, 0, HOUR_MS),
     .fallback = "5s",
     .since = "0.1.0",
     .doc =
         "Time on SIGTERM to tell clients good-bye and to write what is waiting. Then the broker "
         "ends all the same, at most 5 s later when the disk stalls."},

    {.path = "health.listen",
     ADDRESS(health.listen),
     .fallback = "\"\"",
     .since = "0.3.0",
     .doc = "Where /health and /ready are answered over HTTP, to anybody who can reach it, and "
            "nothing else is. Empty: nowhere."},
    {.path = "health.agent_listen",
     ADDRESS(health.agent_listen),
     .fallback = "\"\"",
     .since = "0.3.0",
     .doc = "Where HAProxy's agent-check is answered, with a weight from the load. Empty: "
            "nowhere."},

    {.path = "cluster.name",
     NAME(cluster.name),
     .fallback = "\"\"",
     .since = "0.3.0",
     .doc = "The cluster that this node belongs to, the same on all its nodes. Empty: none, and "
            "the other keys of this section do not count."},
    {.path = "cluster.node",
     NAME(cluster.node),
     .fallback = "\"\"",
     .since = "0.3.0",
     .doc =
         "The name of this node, different on every node. Empty: the host's name up to the first "
         "dot."},
    {.path = "cluster.listen",
     ADDRESS(cluster.listen),
     .fallback = "127.0.0.1:7883",
     .since = "0.3.0",
     .doc = "Where the other nodes reach this one. Outside loopback a cluster.secret is needed."},
    {.path = "cluster.advertise",
     ADDRESS(cluster.advertise),
     .fallback = "\"\"",
     .since = "0.3.0",
     .doc =
         "The address that others use instead, when they cannot use cluster.listen as it stands. "
         "Needed when that is 0.0.0.0 or [::]. Empty: cluster.listen."},
    {.path = "cluster.addresses",
     .type = CONFIG_ADDRESSES,
     FIELD(cluster.addresses),
     .fallback = "[]",
     .since = "0.3.0",
     .doc = "Where the other nodes listen: up to 64 entries of HOST or HOST:PORT, with 7883 when "
            "there is no port; or one name under which DNS lists them all. This node may be among "
            "them."},
    {.path = "cluster.secret",
     SECRET(cluster.secret),
     .fallback = "\"\"",
     .since = "0.3.0",
     .doc =
         "What nodes prove to each other that they know, of 16 to 255 bytes, the same on all of "
         "them; or file:PATH, a file that holds it and that not everybody may read. Never shown. "
         "Needed when anything listed here is outside loopback."},
    {.path = "cluster.weight",
     INT(cluster.weight, 1, 1000),
     .fallback = "100",
     .since = "0.3.0",
     .doc = "The share of groups that this node leads, compared with the others."},
    {.path = "cluster.role",
     ENUM(cluster.role, cluster_roles),
     .fallback = "active",
     .since = "0.3.0",
     .doc = "What this node does in the cluster."},
    {.path = "cluster.engine",
     ENUM(cluster.engine, cluster_engines),
     .fallback = "managed",
     .since = "0.3.0",
     .doc = "The NATS that the nodes agree through."},
    {.path = "cluster.engine_urls",
     .type = CONFIG_URLS,
     FIELD(cluster.engine_urls),
     .fallback = "[]",
     .since = "0.3.0",
     .doc =
         "With engine: external, its servers: up to 64 of nats://[USER:PASSWORD@]HOST[:PORT], or "
         "tls://. Never shown."},
    {.path = "cluster.engine_port",
     INT(cluster.engine_port, 0, UINT16_MAX),
     .fallback = "0",
     .since = "0.3.0",
     .doc = "With engine: managed, the port of nats-server on 127.0.0.1. 0: the port of "
            "cluster.listen plus 1000."},
    {.path = "cluster.engine_route_port",
     INT(cluster.engine_route_port, 0, UINT16_MAX),
     .fallback = "0",
     .since = "0.3.0",
     .doc = "With engine: managed, the port at which its nats-server and those of the other nodes "
            "reach each other, the same on all nodes if given. 0: the port of each node's links "
            "plus 2000."},
    {.path = "cluster.home_wait",
     MILLISECONDS(cluster.home_wait_ms, 0, HOUR_MS),
     .fallback = "5s",
     .since = "0.3.0",
     .doc = "How long a CONNECT waits while no node has its session, as in the moments after a "
            "node has died. Then it is refused: 0x88, or return code 3."},
    {.path = "cluster.cut_off",
     ENUM(cluster.cut_off, cluster_cut_offs),
     .fallback = "close",
     .since = "0.3.0",
     .doc = "While this node hears half of the others or fewer: what becomes of its clients whose "
            "sessions end with their connections. Stored sessions are not served in any case."},
    {.path = "cluster.home_stay",
     MILLISECONDS(cluster.home_stay_ms, 0, HOUR_MS),
     .fallback = "10s",
     .since = "0.3.0",
     .doc = "How long a group of shards stays where it is before it goes to the node that should "
            "have it, and how long that node must have been there: a node that comes and goes "
            "moves nothing. `skein cluster rebalance` does not wait."},
    {.path = "cluster.drain_delay",
     MILLISECONDS(cluster.drain_delay_ms, 0, HOUR_MS),
     .fallback = "5s",
     .since = "0.3.0",
     .doc = "Time from `skein cluster drain` until this node sends its clients to others, and "
            "those away that come. /ready and HAProxy's agent say at once that it takes none, so "
            "that a load balancer has stopped to send it any."},
    {.path = "cluster.drain_rate",
     INT(cluster.drain_rate, 1, 1000000),
     .fallback = "500",
     .unit = "clients a second",
     .since = "0.3.0",
     .doc = "How fast `skein cluster drain` moves clients to other nodes, on average. Those whose "
            "sessions are stored go with their group of shards, all at once; the next group waits "
            "for as long as they would have taken."},
};

const size_t config_key_count = sizeof(config_keys) / sizeof(config_keys[0]);
const size_t config_section_count = sizeof(config_sections) / sizeof(config_sections[0]);

_Static_assert(sizeof(config_keys) / sizeof(config_keys[0]) <= CONFIG_KEYS_MAX, "raise it");
_Static_assert(sizeof(config_sections) / sizeof(config_sections[0]) <= CONFIG_SECTIONS_MAX,
               "raise it");

const struct config_key *config_key_find(const char *path)
{
    for (size_t i = 0; i < config_key_count; i++)
        if (strcmp(config_keys[i].path, path) == 0)
            return &config_keys[i];
    return NULL;
}

const struct config_section *config_section_find(const char *path)
{
    for (size_t i = 0; i < config_section_count; i++)
        if (strcmp(config_sections[i].path, path) == 0)
            return &config_sections[i];
    return NULL;
}

/* "connections" of "limits.connections". */
static const char *leaf(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot != NULL ? dot + 1 : path;
}

const char *config_path_nearest(const char *path)
{
    struct nearest whole = nearest_begin(path), last = nearest_begin(leaf(path));

    for (size_t i = 0; i < config_key_count; i++) {
        nearest_offer(&whole, config_keys[i].path, config_keys[i].path);
        nearest_offer(&last, config_keys[i].path, leaf(config_keys[i].path));
    }
    for (size_t i = 0; i < config_section_count; i++)
        nearest_offer(&whole, config_sections[i].path, config_sections[i].path);
    const char *best = nearest_get(&whole);
    return best != NULL ? best : nearest_get(&last);
}
