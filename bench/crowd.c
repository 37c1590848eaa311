/* SPDX-License-Identifier: Apache-2.0 */
#include "crowd.h"

#include "base/check.h"
#include "base/memory.h"
#include "codec/frame.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>

/* What a client wants to do when the broker reads. */
enum intent { SILENT, SPEAKS, LEAVES };

struct client {
    void *source;     /* epoll_data of the broker */
    uint32_t watched; /* EPOLL* bits; 0: not in the set */
    uint32_t left;    /* of the packet that is coming: bytes still to be skipped */
    uint32_t publishes;
    uint8_t type;        /* of that packet, while its length is not known; else 0 */
    uint8_t length_bits; /* of the length, that have been read */
    uint8_t intent;
    bool queued; /* in the ring */
};

static struct crowd {
    struct client *clients;
    uint32_t count;
    uint32_t *ring; /* clients that may be ready, each at most once */
    uint32_t ring_first, ring_count;
    crowd_words *words;
    struct crowd_heard heard;
    uint64_t clock_ms;
} crowd;

/* ---- for the scenario --------------------------------------------------------------------------
 */

void crowd_init(uint32_t clients)
{
    crowd = (struct crowd){.count = clients};
    crowd.clients = mem_new(clients * sizeof(*crowd.clients));
    crowd.ring = mem_new(clients * sizeof(*crowd.ring));
    memset(crowd.clients, 0, clients * sizeof(*crowd.clients));
    memset(crowd.ring, 0xFF, clients * sizeof(*crowd.ring));
}

void crowd_deinit(void)
{
    mem_free(crowd.clients);
    mem_free(crowd.ring);
}

int crowd_descriptor(uint32_t client)
{
    CHECK(client < crowd.count);
    return CROWD_FD_FIRST + (int)client;
}

static void enqueue(struct client *client)
{
    if (client->queued)
        return;
    CHECK(crowd.ring_count < crowd.count);
    client->queued = true;
    crowd.ring[(crowd.ring_first + crowd.ring_count++) % crowd.count] =
        (uint32_t)(client - crowd.clients);
}

static void intend(uint32_t first, uint32_t count, enum intent intent)
{
    for (uint32_t i = first; i < first + count; i++) {
        struct client *client = &crowd.clients[i];
        CHECK(client->intent == SILENT);
        client->intent = (uint8_t)intent;
        if (client->watched & EPOLLIN)
            enqueue(client);
    }
}

void crowd_say(uint32_t first, uint32_t count, crowd_words *words)
{
    CHECK(crowd_is_silent());
    crowd.words = words;
    intend(first, count, SPEAKS);
}

void crowd_leave(uint32_t first, uint32_t count)
{
    intend(first, count, LEAVES);
}

bool crowd_is_silent(void)
{
    return crowd.ring_count == 0;
}

const struct crowd_heard *crowd_heard(void)
{
    return &crowd.heard;
}

uint32_t crowd_publishes(uint32_t client)
{
    CHECK(client < crowd.count);
    return crowd.clients[client].publishes;
}

void crowd_clock_advance(uint64_t ms)
{
    crowd.clock_ms += ms;
}

/* ---- what the broker writes --------------------------------------------------------------------
 */

static void count_packet(struct client *client, uint8_t type)
{
    struct crowd_heard *heard = &crowd.heard;
    switch (type) {
    case PACKET_CONNACK:
        heard->connacks++;
        break;
    case PACKET_SUBACK:
        heard->subacks++;
        break;
    case PACKET_PINGRESP:
        heard->pingresps++;
        break;
    case PACKET_PUBLISH:
        heard->publishes++;
        client->publishes++;
        break;
    default:
        heard->others++;
        break;
    }
}

/* One byte of a fixed header. */
static void hear_header(struct client *client, uint8_t byte)
{
    if (client->type == 0) {
        client->type = byte >> 4;
        client->length_bits = 0;
        return;
    }
    client->left |= (uint32_t)(byte & 127) << client->length_bits;
    client->length_bits += 7;
    if (byte & 128)
        return;
    count_packet(client, client->type);
    client->type = 0;
}

static void hear(struct client *client, const uint8_t *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        if (client->type != 0 || client->left == 0) {
            hear_header(client, data[at++]);
            continue;
        }
        size_t skip = len - at < client->left ? len - at : client->left;
        client->left -= (uint32_t)skip;
        at += skip;
    }
}

/* ---- system calls ------------------------------------------------------------------------------
 */

/* NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl*): the linker's names */
int __real_epoll_ctl(int set, int operation, int fd, struct epoll_event *event);
int __real_epoll_wait(int set, struct epoll_event *events, int max, int timeout_ms);
ssize_t __real_recv(int fd, void *out, size_t room, int flags);
ssize_t __real_send(int fd, const void *data, size_t len, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
int __real_shutdown(int fd, int how);
int __real_close(int fd);
int __real_clock_gettime(clockid_t clock, struct timespec *now);

int __wrap_epoll_ctl(int set, int operation, int fd, struct epoll_event *event);
int __wrap_epoll_wait(int set, struct epoll_event *events, int max, int timeout_ms);
ssize_t __wrap_recv(int fd, void *out, size_t room, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t len, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
int __wrap_shutdown(int fd, int how);
int __wrap_close(int fd);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);

/* NULL: the kernel's descriptor. */
static struct client *client_of(int fd)
{
    if (fd < CROWD_FD_FIRST)
        return NULL;
    CHECK((uint32_t)(fd - CROWD_FD_FIRST) < crowd.count);
    return &crowd.clients[fd - CROWD_FD_FIRST];
}

int __wrap_epoll_ctl(int set, int operation, int fd, struct epoll_event *event)
{
    struct client *client = client_of(fd);
    if (client == NULL)
        return __real_epoll_ctl(set, operation, fd, event);
    if (operation == EPOLL_CTL_ADD)
        *client = (struct client){.queued = client->queued};
    client->watched = operation == EPOLL_CTL_DEL ? 0 : event->events;
    client->source = event->data.ptr;
    if ((client->watched & EPOLLIN) && client->intent != SILENT)
        enqueue(client);
    return 0;
}

int __wrap_epoll_wait(int set, struct epoll_event *events, int max, int timeout_ms)
{
    int count = __real_epoll_wait(set, events, max, crowd.ring_count > 0 ? 0 : timeout_ms);
    for (uint32_t looks = crowd.ring_count; looks > 0 && count >= 0 && count < max; looks--) {
        struct client *client = &crowd.clients[crowd.ring[crowd.ring_first]];
        crowd.ring_first = (crowd.ring_first + 1) % crowd.count;
        crowd.ring_count--;
        client->queued = false;
        if (client->intent == SILENT || !(client->watched & EPOLLIN))
            continue;
        events[count].events = EPOLLIN;
        events[count++].data.ptr = client->source;
        enqueue(client);
    }
    return count;
}

ssize_t __wrap_recv(int fd, void *out, size_t room, int flags)
{
    struct client *client = client_of(fd);
    if (client == NULL)
        return __real_recv(fd, out, room, flags);
    crowd.heard.calls++;
    if (client->intent == LEAVES)
        return 0;
    if (client->intent == SILENT) {
        errno = EAGAIN;
        return -1;
    }
    CHECK(room >= CROWD_WORDS_MAX);
    client->intent = SILENT;
    return (ssize_t)crowd.words((uint32_t)(client - crowd.clients), out);
}

ssize_t __wrap_send(int fd, const void *data, size_t len, int flags)
{
    struct client *client = client_of(fd);
    if (client == NULL)
        return __real_send(fd, data, len, flags);
    crowd.heard.calls++;
    hear(client, data, len);
    return (ssize_t)len;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct client *client = client_of(fd);
    if (client == NULL)
        return __real_sendmsg(fd, message, flags);
    crowd.heard.calls++;
    size_t total = 0;
    for (size_t i = 0; i < message->msg_iovlen; i++) {
        hear(client, message->msg_iov[i].iov_base, message->msg_iov[i].iov_len);
        total += message->msg_iov[i].iov_len;
    }
    return (ssize_t)total;
}

/* The client closes its end too. */
int __wrap_shutdown(int fd, int how)
{
    struct client *client = client_of(fd);
    if (client == NULL)
        return __real_shutdown(fd, how);
    crowd.heard.calls++;
    client->intent = LEAVES;
    enqueue(client);
    return 0;
}

int __wrap_close(int fd)
{
    struct client *client = client_of(fd);
    if (client == NULL)
        return __real_close(fd);
    crowd.heard.calls++;
    crowd.heard.closed++;
    client->watched = 0;
    client->intent = SILENT;
    return 0;
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    if (clock != CLOCK_BOOTTIME)
        return __real_clock_gettime(clock, now);
    int result = __real_clock_gettime(CLOCK_THREAD_CPUTIME_ID, now);
    now->tv_sec += (time_t)(crowd.clock_ms / 1000);
    now->tv_nsec += (long)(crowd.clock_ms % 1000) * 1000000;
    if (now->tv_nsec >= 1000000000) {
        now->tv_nsec -= 1000000000;
        now->tv_sec++;
    }
    return result;
}
/* NOLINTEND(bugprone-reserved-identifier,cert-dcl*) */
