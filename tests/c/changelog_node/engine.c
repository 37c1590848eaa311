/* SPDX-License-Identifier: Apache-2.0 */
/* The nats-server of a node as the broker has it: `stop` ends it in order, `leave` and the end of
 * standard input leave it running, as when the broker is killed. */
#include "node.h"

#include "base/clock.h"
#include "changelog/jetstream_servers.h"
#include "managed/process.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

static void tell(const struct managed_process *process, pid_t *told, const char *name)
{
    if (process->state == MANAGED_RUNS && process->pid != *told) {
        *told = process->pid;
        printf("%s %d %s\n", process->child ? "started" : "adopted", (int)process->pid, name);
        fflush(stdout);
    }
}

static void run(struct managed_process *process, const char *name)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    char line[64];
    pid_t told = 0;

    for (;;) {
        uint64_t now_ms = clock_ms();
        managed_turn(process, now_ms);
        tell(process, &told, name);
        if (process->state == MANAGED_OFF)
            return;
        uint64_t deadline_ms = managed_deadline_ms(process);
        int wait_ms = deadline_ms > now_ms ? (int)(deadline_ms - now_ms) : 0;
        if (poll(&input, 1, wait_ms) <= 0)
            continue;
        ssize_t got = read(STDIN_FILENO, line, sizeof(line));
        if (got <= 0 || strncmp(line, "stop", 4) != 0)
            return;
        managed_stop(process, clock_ms());
    }
}

/* engine FOLDER CLUSTER NODE SECRET PORT ROUTE_PORT ROUTE_PORT... */
int engine_main(int argc, char **argv)
{
    static struct managed_nats nats;
    static struct managed_process process;
    char error[MANAGED_ERROR_MAX], name[MANAGED_NAME_MAX + MANAGED_STORE_ID];
    enum managed_store store;

    if (managed_look(argv[2], &nats, &store, error) != RC_OK) {
        fprintf(stderr, "%s\n", error);
        return EX_IOERR;
    }
    snprintf(nats.cluster, sizeof(nats.cluster), "%s", argv[3]);
    snprintf(nats.node, sizeof(nats.node), "%s", argv[4]);
    managed_derive(argv[5], argv[3], &nats.credentials);
    nats.client_port = (uint16_t)strtoul(argv[6], NULL, 10);
    snprintf(nats.listen.host, sizeof(nats.listen.host), "127.0.0.1");
    nats.listen.port = (uint16_t)strtoul(argv[7], NULL, 10);
    for (int i = 8; i < argc; i++) {
        struct managed_route *route = &nats.routes[nats.route_count++];
        snprintf(route->host, sizeof(route->host), "127.0.0.1");
        route->port = (uint16_t)strtoul(argv[i], NULL, 10);
    }
    nats.store_bytes_max = 1ULL << 30;
    if (managed_start(&process, "nats-server", &nats, clock_ms(), error) != RC_OK) {
        fprintf(stderr, "%s\n", error);
        return EX_IOERR;
    }
    managed_server_name(&nats, name);
    run(&process, name);
    return EX_OK;
}

int discard_main(const char *folder)
{
    char error[MANAGED_ERROR_MAX];

    if (managed_discard(folder, error) == RC_OK)
        return EX_OK;
    fprintf(stderr, "%s\n", error);
    return EX_IOERR;
}

/* remove CLUSTER SECRET URL SERVER */
int remove_main(char **argv)
{
    struct managed_credentials credentials;
    char error[JETSTREAM_ERROR_MAX] = "";

    managed_derive(argv[3], argv[2], &credentials);
    enum rc rc = jetstream_remove_server(argv[4], MANAGED_SYSTEM_USER, credentials.system, argv[5],
                                         5000, error);
    printf("%s %s\n", rc_name(rc), error);
    return EX_OK;
}
