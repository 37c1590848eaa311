/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `skein cluster haproxy`: from the configuration of nodes to the one of HAProxy.
 *
 * Where a balancer finds a node stands in that node's configuration only. So either all of them are
 * given, or the others are taken to have on the host of their links what this one has on its own.
 */
#include "cli/cluster.h"

#include "base/crc32c.h"
#include "base/memory.h"
#include "cli/commands.h"
#include "cli/control_client.h"
#include "config/address.h"
#include "config/cluster.h"

#include <stdarg.h>
#include <string.h>

/* HAProxy places server `id` on its ring by id * 4096 in 32 bits. */
enum { RING_IDS = 1 << 20 };

/* A node as a balancer sees it. */
struct front {
    char name[CONFIG_TEXT_MAX];
    struct config_address mqtt, health, agent; /* agent: host "" when there is none */
    uint32_t id;                               /* its place in HAProxy's ring */
};

struct site {
    char cluster[CONFIG_NAME_MAX];
    struct front *fronts;
    uint32_t count;
};

static int say(int result, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Says what is wrong, and gives the exit code. */
static int say(int result, const char *format, ...)
{
    va_list args;

    fputs("skein cluster: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return result;
}

/* ---- the node of one configuration -------------------------------------------------------------
 */

static const struct config_listener *proxied_listener(const struct config *config)
{
    for (uint32_t i = 0; i < config->listener_count; i++)
        if (config->listeners[i].transport == CONFIG_TCP &&
            config->listeners[i].proxy == PROXY_PROTOCOL_REQUIRED)
            return &config->listeners[i];
    return NULL;
}

/* All addresses of a machine are none to dial: that is where its links are. */
static struct config_address dialled(const struct config *config, const char *host, uint16_t port)
{
    struct config_address address = {.port = port};

    if (address_is_any(host))
        host = cluster_advertised(config)->host;
    memcpy(address.host, host, strnlen(host, CONFIG_TEXT_MAX - 1));
    return address;
}

static int front_of(const struct config *config, const char *file, struct front *front)
{
    const struct config_listener *listener = proxied_listener(config);

    if (!cluster_configured(config))
        return say(EX_CONFIG, "%s: cluster.name is not set", file);
    if (!cluster_node(config, front->name))
        return say(EX_CONFIG, "%s: cluster.node is not set", file);
    if (listener == NULL)
        return say(EX_CONFIG, "%s: no listener for MQTT has proxy_protocol: required", file);
    if (config->health.listen.host[0] == '\0')
        return say(EX_CONFIG, "%s: health.listen is not set, so HAProxy cannot ask for /ready",
                   file);
    front->mqtt = dialled(config, listener->host, listener->port);
    front->health = dialled(config, config->health.listen.host, config->health.listen.port);
    if (config->health.agent_listen.host[0] != '\0')
        front->agent =
            dialled(config, config->health.agent_listen.host, config->health.agent_listen.port);
    if (front->mqtt.port == 0 || front->health.port == 0 ||
        (front->agent.host[0] != '\0' && front->agent.port == 0))
        return say(EX_CONFIG, "%s: port 0 is another one at each start", file);
    return EX_OK;
}

static int read_node(const char *file, struct config *config, struct front *front)
{
    struct config_error error;

    if (config_read_file(config, file, &error))
        return front_of(config, file, front);
    fprintf(stderr, "%s\n", error.text);
    return EX_CONFIG;
}

/* ---- the other nodes ---------------------------------------------------------------------------
 */

static bool all_on(const struct front *front, const char *host)
{
    return strcmp(front->mqtt.host, host) == 0 && strcmp(front->health.host, host) == 0 &&
           (front->agent.host[0] == '\0' || strcmp(front->agent.host, host) == 0);
}

/* One that is configured as the first, with its links on that host. */
static void add_alike(struct site *site, const char *name, const char *host)
{
    struct front *front = &site->fronts[site->count++];

    *front = site->fronts[0];
    snprintf(front->name, sizeof(front->name), "%s", name);
    snprintf(front->mqtt.host, sizeof(front->mqtt.host), "%s", host);
    snprintf(front->health.host, sizeof(front->health.host), "%s", host);
    if (front->agent.host[0] != '\0')
        snprintf(front->agent.host, sizeof(front->agent.host), "%s", host);
}

static void add_addresses(struct site *site, const struct config *config)
{
    site->fronts =
        mem_resize(site->fronts, (config->cluster.address_count + 1) * sizeof(*site->fronts));
    for (uint32_t i = 0; i < config->cluster.address_count; i++) {
        const char *host = config->cluster.addresses[i].host;
        if (strcmp(host, cluster_advertised(config)->host) != 0) /* lists may have this node, too */
            add_alike(site, host, host);
    }
}

/* Those that the node which runs on the data directory has met. */
static int add_members(struct site *site, const char *data_dir)
{
    struct control_answer answer;
    struct config_address link;
    json_t *member;
    size_t i;

    int result = control_ask("cluster", data_dir, HTTP_GET, "/v1/cluster", NULL, &answer);
    if (result == EX_OK) {
        json_t *members = json_object_get(answer.json, "members");
        site->fronts =
            mem_resize(site->fronts, (json_array_size(members) + 1) * sizeof(*site->fronts));
        json_array_foreach(members, i, member)
        {
            const char *address = json_string_value(json_object_get(member, "address"));
            const char *name = json_string_value(json_object_get(member, "node"));
            if (address != NULL && name != NULL &&
                address_split(address, link.host, &link.port) == NULL)
                add_alike(site, name, link.host);
        }
    }
    control_answer_free(&answer);
    return result;
}

/* ---- all of them -------------------------------------------------------------------------------
 */

/* By its address, not by its place: files that were made on different nodes agree, and a node that
 * comes or goes does not change the places of others. */
static void give_id(struct site *site, uint32_t n)
{
    char address[CONFIG_TEXT_MAX + 8];
    struct front *front = &site->fronts[n];

    address_format(front->mqtt.host, front->mqtt.port, address, sizeof(address));
    uint32_t id = crc32c(0, bytes_of_str(address)) % RING_IDS;
    for (uint32_t i = 0; i < n; i++)
        if (site->fronts[i].id == id + 1) {
            id = (id + 1) % RING_IDS;
            i = UINT32_MAX; /* from the start again */
        }
    front->id = id + 1;
}

static int check_site(struct site *site)
{
    for (uint32_t n = 0; n < site->count; n++) {
        const struct front *front = &site->fronts[n];
        for (uint32_t i = 0; i < n; i++) {
            if (strcmp(site->fronts[i].name, front->name) == 0)
                return say(EX_CONFIG, "two nodes have the name %s", front->name);
            if (site->fronts[i].mqtt.port == front->mqtt.port &&
                strcmp(site->fronts[i].mqtt.host, front->mqtt.host) == 0)
                return say(EX_CONFIG,
                           "%s and %s would have the same address, %s port %u; nodes on one "
                           "machine need -c with the configuration of each",
                           site->fronts[i].name, front->name, front->mqtt.host, front->mqtt.port);
        }
        give_id(site, n);
    }
    return EX_OK;
}

/* From one configuration. */
static int find_alike(const struct cluster_args *args, struct config *config, struct site *site)
{
    const char *file = args->file_count > 0 ? args->files[0] : DEFAULT_CONFIG_FILE;

    int result = read_node(file, config, &site->fronts[site->count++]);
    if (result != EX_OK)
        return result;
    memcpy(site->cluster, config->cluster.name, sizeof(site->cluster));
    if (!all_on(&site->fronts[0], cluster_advertised(config)->host))
        return say(EX_CONFIG,
                   "%s: MQTT or health is not on the address of the links, so the other nodes' "
                   "cannot be known; give -c with the configuration of each",
                   file);
    if (args->data_dir != NULL)
        return add_members(site, args->data_dir);
    add_addresses(site, config);
    return EX_OK;
}

/* From the configuration of every node. */
static int find_listed(const struct cluster_args *args, struct config *config, struct site *site)
{
    for (int i = 0; i < args->file_count; i++) {
        int result = read_node(args->files[i], config, &site->fronts[site->count++]);
        if (result != EX_OK)
            return result;
        if (i > 0 && strcmp(site->cluster, config->cluster.name) != 0)
            return say(EX_CONFIG, "%s: cluster.name is '%s', in %s it is '%s'", args->files[i],
                       config->cluster.name, args->files[0], site->cluster);
        memcpy(site->cluster, config->cluster.name, sizeof(site->cluster));
    }
    return EX_OK;
}

/* ---- what is printed ---------------------------------------------------------------------------
 */

/* The client id is in the first packet, so HAProxy waits for that. `balance hash` of the field
 * itself is evaluated before it is there, and spreads clients at random: hence the variable. */
static const char by_client_id[] =
    "    tcp-request inspect-delay 10s\n"
    "    tcp-request content reject unless { req.payload(0,0),mqtt_is_valid }\n"
    "    tcp-request content set-var(txn.id) "
    "req.payload(0,0),mqtt_field_value(connect,client_identifier),xxh32(0)\n"
    "    balance hash var(txn.id)\n"
    "    hash-type consistent\n";

static void print_server(const struct front *front, bool by_id)
{
    char address[CONFIG_TEXT_MAX + 8];

    printf("    server %s %s send-proxy-v2 check", front->name,
           address_format(front->mqtt.host, front->mqtt.port, address, sizeof(address)));
    if (strcmp(front->health.host, front->mqtt.host) != 0)
        printf(" addr %s", front->health.host);
    printf(" port %u", front->health.port);
    if (by_id) {
        printf(" id %u\n", front->id);
        return;
    }
    if (front->agent.host[0] != '\0') {
        printf(" agent-check agent-inter 2s agent-port %u", front->agent.port);
        if (strcmp(front->agent.host, front->mqtt.host) != 0)
            printf(" agent-addr %s", front->agent.host);
    }
    putchar('\n');
}

static void print_site(const struct site *site, const char *listen, bool by_id)
{
    printf("# Made by `skein cluster haproxy`: %u nodes of cluster %s.\n"
           "global\n"
           "    fd-hard-limit 200000           # a client takes two descriptors\n"
           "\n"
           "defaults\n"
           "    mode tcp\n"
           "    option redispatch 1            # a node that refuses the connection: try another\n"
           "    timeout connect 5s\n"
           "    timeout check 2s\n"
           "    timeout client 2h              # longer than 1.5 times the longest keep alive\n"
           "    timeout server 2h\n"
           "\n"
           "frontend mqtt\n"
           "    bind %s\n"
           "    default_backend nodes\n"
           "\n"
           "backend nodes\n",
           site->count, site->cluster, listen);
    fputs(by_id ? by_client_id : "    balance leastconn\n", stdout);
    fputs("    option httpchk GET /ready\n"
          "    default-server weight 100 inter 2s fall 2 rise 1\n",
          stdout);
    for (uint32_t i = 0; i < site->count; i++)
        print_server(&site->fronts[i], by_id);
}

int cluster_haproxy(const struct cluster_args *args)
{
    const char *listen = args->listen != NULL ? args->listen : "127.0.0.1:1883";
    struct config_address front;
    struct site site = {.fronts = mem_new(CLUSTER_FILES_MAX * sizeof(*site.fronts))};
    struct config config;
    int result = EX_USAGE;

    const char *wrong = address_split(listen, front.host, &front.port);
    if (wrong != NULL)
        say(result, "--listen '%s': %s", listen, wrong);
    else if (args->file_count <= 1)
        result = find_alike(args, &config, &site);
    else if (args->data_dir != NULL)
        say(result, "-d is for one configuration; with more, nobody is asked");
    else
        result = find_listed(args, &config, &site);
    if (result == EX_OK)
        result = check_site(&site);
    if (result == EX_OK)
        print_site(&site, listen, args->by_client_id);
    mem_free(site.fronts);
    return result;
}
