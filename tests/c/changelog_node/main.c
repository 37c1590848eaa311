/* SPDX-License-Identifier: Apache-2.0 */
/*
 *     changelog_node node NAME CLUSTER SECRET URL...
 *         look COUNT
 *         create COUNT REPLICAS    attach GROUP    follow GROUP    claim GROUP    release GROUP
 *         append GROUP TEXT        large GROUP BYTES               trim GROUP SEQUENCE
 *         bench GROUPS COUNT BYTES position GROUP  end
 *     changelog_node engine FOLDER CLUSTER NODE SECRET PORT ROUTE_PORT ROUTE_PORT...
 *         stop                     leave           (see engine.c)
 *     changelog_node discard FOLDER                takes a server's store away
 *     changelog_node remove CLUSTER SECRET URL SERVER
 */
#include "node.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/memory.h"
#include "managed/nats_config.h"

#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sysexits.h>
#include <unistd.h>

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
    fflush(stdout);
}

/* ---- what happens ------------------------------------------------------------------------------
 */

static void on_apply(struct changelog *log, const struct changelog_entry *entry)
{
    const char *const kinds[] = {[CHANGELOG_BATCH] = "batch",
                                 [CHANGELOG_EMPTY] = "empty",
                                 [CHANGELOG_CLAIM] = "claim",
                                 [CHANGELOG_RELEASE] = "release"};
    struct bytes text = entry->body;

    if (entry->kind == CHANGELOG_CLAIM)
        text = bytes_of_str(entry->claim->node);
    if (entry->kind != CHANGELOG_EMPTY)
        say("apply %u %" PRIu64 " %s %zu %.*s", log->group, entry->position.sequence,
            kinds[entry->kind], text.len, (int)(text.len < 64 ? text.len : 64), text.data);
}

static void on_opened(struct changelog *log, uint64_t epoch)
{
    say("opened %u %" PRIu64, log->group, epoch);
}

static void on_committed(struct changelog *log, uint64_t cookie,
                         const struct changelog_position *position)
{
    struct node *node = log->owner;
    struct member *member = &node->members[log->group];

    free(member->text);
    member->text = NULL;
    if (node->bench.wanted > 0)
        bench_committed(node, member);
    else
        say("committed %u %" PRIu64 " %" PRIu64, log->group, cookie, position->sequence);
}

static void on_deposed(struct changelog *log)
{
    say("deposed %u", log->group);
}

static void on_released(struct changelog *log)
{
    say("released %u", log->group);
}

static void on_behind(struct changelog *log, uint64_t first)
{
    say("behind %u %" PRIu64, log->group, first);
}

static void on_broken(struct changelog *log, const char *why)
{
    say("broken %u %s", log->group, why);
}

static void on_lease(struct changelog *log, bool fresh)
{
    say("lease %u %d", log->group, fresh);
}

static const struct changelog_ops ops = {
    .apply = on_apply,
    .opened = on_opened,
    .committed = on_committed,
    .deposed = on_deposed,
    .released = on_released,
    .behind = on_behind,
    .broken = on_broken,
    .lease_changed = on_lease,
};

/* ---- commands ----------------------------------------------------------------------------------
 */

static void create(struct node *node, uint32_t count, uint32_t replicas)
{
    char error[JETSTREAM_ERROR_MAX] = "";
    enum rc rc = jetstream_create(node->jetstream, count, replicas, NULL, 30000, error);
    say("created %s %s", rc_name(rc), rc == RC_OK ? "" : error);
}

static void look(struct node *node, uint32_t count)
{
    char error[JETSTREAM_ERROR_MAX] = "";
    say("looked %s", rc_name(jetstream_look(node->jetstream, count, 30000, error)));
}

static void append(struct node *node, struct member *member, char *text)
{
    struct bytes batch = bytes_of_str(text);
    (void)node;

    enum rc rc = changelog_append_fenced(&member->log, batch, member->next_cookie, clock_ms());
    if (rc == RC_OK) {
        member->text = text;
        member->next_cookie++;
    } else {
        free(text);
    }
    say("append %u %s", member->log.group, rc_name(rc));
}

static char *text_of(size_t len)
{
    char *text = malloc(len + 1);
    CHECK(text != NULL);
    memset(text, 'L', len);
    text[len] = '\0';
    return text;
}

static void group_command(struct node *node, const char *word, uint32_t group, char *rest)
{
    struct member *member = &node->members[group];
    uint64_t now_ms = clock_ms();

    if (strcmp(word, "attach") == 0) {
        changelog_init(&member->log, group, jetstream_engine(node->jetstream), &ops, node,
                       node->name, clock_wall_ms() << 16 | (uint64_t)getpid());
        member->attached = true;
    } else if (strcmp(word, "follow") == 0) {
        changelog_follow(&member->log, now_ms);
    } else if (strcmp(word, "claim") == 0) {
        changelog_claim(&member->log, bytes_of_str("note"), now_ms);
    } else if (strcmp(word, "release") == 0) {
        changelog_release(&member->log, now_ms);
    } else if (strcmp(word, "append") == 0) {
        append(node, member, strdup(rest));
    } else if (strcmp(word, "large") == 0) {
        append(node, member, text_of(strtoul(rest, NULL, 10)));
    } else if (strcmp(word, "trim") == 0) {
        changelog_trim(&member->log, strtoull(rest, NULL, 10));
    } else if (strcmp(word, "position") == 0) {
        const struct changelog_position *at = changelog_position(&member->log);
        say("position %u %" PRIu64 " %" PRIu64 " %s %02x%02x%02x%02x", group, at->sequence,
            at->epoch, changelog_state_name(member->log.state), at->hash.bytes[0],
            at->hash.bytes[1], at->hash.bytes[2], at->hash.bytes[3]);
    } else {
        say("unknown %s", word);
    }
}

/* WORD NUMBER REST */
bool node_command(struct node *node, char *line)
{
    line[strcspn(line, "\n")] = '\0';
    if (strcmp(line, "end") == 0)
        return false;
    const char *word = strtok(line, " ");
    char *rest = strtok(NULL, "");
    if (word == NULL || rest == NULL) {
        say("unknown");
        return true;
    }
    unsigned long number = strtoul(rest, &rest, 10);
    rest += *rest == ' ';
    if (strcmp(word, "create") == 0) {
        create(node, (uint32_t)number, (uint32_t)strtoul(rest, NULL, 10));
    } else if (strcmp(word, "look") == 0) {
        look(node, (uint32_t)number);
    } else if (strcmp(word, "bench") == 0) {
        unsigned long count = strtoul(rest, &rest, 10);
        bench_start(node, (uint32_t)number, (uint32_t)count, strtoul(rest, NULL, 10));
    } else if (number < NODE_GROUPS) {
        group_command(node, word, (uint32_t)number, rest);
    }
    return true;
}

/* ---- the loop ----------------------------------------------------------------------------------
 */

static void wake(void *owner)
{
    struct node *node = owner;
    (void)!write(node->wake_fd, &(uint64_t){1}, sizeof(uint64_t));
}

static int turn(struct node *node)
{
    jetstream_turn(node->jetstream);
    uint64_t now_ms = clock_ms(), deadline_ms = now_ms + 1000;
    if (jetstream_is_connected(node->jetstream) != node->connected) {
        node->connected = !node->connected;
        say(node->connected ? "connected" : "disconnected");
    }
    for (uint32_t i = 0; i < NODE_GROUPS; i++) {
        struct changelog *log = &node->members[i].log;
        if (!node->members[i].attached)
            continue;
        changelog_turn(log, now_ms);
        if (changelog_deadline_ms(log) < deadline_ms)
            deadline_ms = changelog_deadline_ms(log);
    }
    return deadline_ms > now_ms ? (int)(deadline_ms - now_ms) : 0;
}

static void run(struct node *node)
{
    static char line[LINE_MAX_BYTES];
    struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                           {.fd = node->wake_fd, .events = POLLIN}};
    uint64_t count;

    setvbuf(stdin, NULL, _IONBF, 0); /* or poll() does not see what stdio has read */
    for (;;) {
        int wait_ms = turn(node);
        if (poll(fds, 2, wait_ms) <= 0)
            continue;
        if (fds[1].revents != 0)
            (void)!read(node->wake_fd, &count, sizeof(count));
        if (fds[0].revents != 0 &&
            (fgets(line, sizeof(line), stdin) == NULL || !node_command(node, line)))
            return;
    }
}

static int node_main(int argc, char **argv)
{
    struct node *node = NEW(struct node);
    struct managed_credentials credentials;
    struct jetstream_options options = {.cluster = argv[3], .wake = wake, .owner = node};
    char error[JETSTREAM_ERROR_MAX];

    managed_derive(argv[4], argv[3], &credentials);
    options.user = MANAGED_USER;
    options.password = credentials.user;
    for (int i = 5; i < argc && options.url_count < JETSTREAM_URLS_MAX; i++)
        options.urls[options.url_count++] = argv[i];
    node->name = argv[2];
    node->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    node->jetstream = jetstream_open(&options, error);
    if (node->jetstream == NULL) {
        fprintf(stderr, "%s\n", error);
        return EX_UNAVAILABLE;
    }
    run(node);
    for (uint32_t i = 0; i < NODE_GROUPS; i++) {
        if (node->members[i].attached)
            changelog_deinit(&node->members[i].log);
        free(node->members[i].text);
    }
    jetstream_close(node->jetstream);
    close(node->wake_fd);
    free(node->bench.batch);
    free(node->bench.took_ns);
    mem_free(node);
    return EX_OK;
}

int main(int argc, char **argv)
{
    if (argc >= 6 && strcmp(argv[1], "node") == 0)
        return node_main(argc, argv);
    if (argc >= 8 && strcmp(argv[1], "engine") == 0)
        return engine_main(argc, argv);
    if (argc == 3 && strcmp(argv[1], "discard") == 0)
        return discard_main(argv[2]);
    if (argc == 6 && strcmp(argv[1], "remove") == 0)
        return remove_main(argv);
    fputs("usage: see main.c\n", stderr);
    return EX_USAGE;
}
