/* SPDX-License-Identifier: Apache-2.0 */
#include "link/greeter.h"

#include "base/check.h"
#include "base/log.h"
#include "base/memory.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

/* One meeting. */
struct greeting {
    struct stream stream;
    struct list link; /* in greeter->greetings */
    struct greeter *greeter;
    struct loop_timer timer;
    struct handshake handshake;
    struct greeter_call call; /* of a dialer */
    bool dialled;
    bool given; /* the descriptor is somebody's */
};

/* A name that is looked up before it can be dialled. */
struct lookup {
    uv_getaddrinfo_t request;
    struct greeter *greeter;
    struct greeter_call call;
};

/* ---- the meeting -------------------------------------------------------------------------------
 */

static struct greeting *greeting_of(struct stream *stream)
{
    return CONTAINER_OF(stream, struct greeting, stream);
}

static void make_nonce(uint8_t nonce[LINK_NONCE])
{
    CHECK(getrandom(nonce, LINK_NONCE, 0) == LINK_NONCE);
}

static void say(struct greeting *greeting, const struct handshake_output *out)
{
    if (out->len > 0 && stream_write(&greeting->stream, bytes_of(out->data, out->len)) != RC_OK)
        stream_close(&greeting->stream);
}

/* Both know each other: gives the descriptor away. */
static void give(struct greeting *greeting, size_t consumed)
{
    struct greeter *greeter = greeting->greeter;
    struct stream_filter *filter;
    uint8_t *unread;
    size_t unread_len;
    int fd = stream_detach(&greeting->stream, consumed, &filter, &unread, &unread_len);
    if (fd < 0) {
        stream_close(&greeting->stream);
        return;
    }
    greeting->given = true;
    struct bytes rest = bytes_of(unread, unread_len);
    if (greeting->dialled)
        greeter->ops->reached(greeter, &greeting->call, &greeting->handshake.peer, fd, rest);
    else
        greeter->ops->met(greeter, &greeting->handshake.peer, fd, rest);
    mem_free(unread);
}

static void refused(struct greeting *greeting)
{
    const struct handshake *h = &greeting->handshake;
    LOG_LIMITED(LOG_WARN, "link.refused", log_text("by", h->refused_by_peer ? "peer" : "us"),
                log_text("node", h->peer.node),
                log_text("reason", handshake_refusal_text(h->refusal)));
    stream_close_after_flush(&greeting->stream, GREETING_MS);
}

static size_t received(struct stream *stream, struct bytes in)
{
    struct greeting *greeting = greeting_of(stream);
    size_t consumed = 0;
    while (stream->state == STREAM_OPEN) {
        struct link_frame frame;
        size_t size;
        struct handshake_output out;
        uint8_t nonce[LINK_NONCE];
        struct bytes rest = bytes_of(in.data + consumed, in.len - consumed);
        enum link_parse parsed = link_frame_parse(rest, LINK_GREETING_MAX, &frame, &size);
        if (parsed == LINK_INCOMPLETE)
            return consumed;
        if (parsed == LINK_TOO_LONG) {
            frame = (struct link_frame){0}; /* no frame of ours: the handshake says so */
            size = 0;
        }
        make_nonce(nonce);
        enum handshake_state state = handshake_step(&greeting->handshake, &frame, nonce, &out);
        consumed += size;
        say(greeting, &out);
        if (state == HANDSHAKE_FAILED)
            refused(greeting);
        else if (state == HANDSHAKE_MET && stream->state == STREAM_OPEN)
            give(greeting, consumed);
    }
    return in.len;
}

static void ended(struct stream *stream, enum stream_close_reason reason)
{
    struct greeting *greeting = greeting_of(stream);
    struct greeter *greeter = greeting->greeter;
    const struct handshake *h = &greeting->handshake;
    (void)reason;
    loop_timer_stop(greeter->loop, &greeting->timer);
    if (!greeting->dialled || greeting->given || greeter->stopped)
        return;
    greeter->ops->failed(greeter, &greeting->call, h->refusal,
                         h->refusal == HANDSHAKE_FINE ? "no answer"
                                                      : handshake_refusal_text(h->refusal));
}

static void closed(struct stream *stream)
{
    struct greeting *greeting = greeting_of(stream);
    list_remove(&greeting->link);
    greeting->greeter->greeting_count--;
    loop_timer_stop(greeting->greeter->loop, &greeting->timer);
    mem_free(greeting);
}

static const struct stream_ops stream_ops = {
    .received = received, .ended = ended, .closed = closed};

static void too_late(struct loop_timer *timer)
{
    stream_close(&CONTAINER_OF(timer, struct greeting, timer)->stream);
}

/* Takes the descriptor. NULL: it is closed. */
static struct greeting *greeting_open(struct greeter *greeter, int fd)
{
    if (greeter->stopped || greeter->greeting_count >= GREETINGS_MAX) {
        close(fd);
        return NULL;
    }
    struct greeting *greeting = NEW(struct greeting);
    greeting->greeter = greeter;
    loop_timer_init(&greeting->timer, too_late);
    if (stream_open(&greeting->stream, greeter->loop, &stream_ops, fd, TRANSPORT_TCP, NULL,
                    bytes_of(NULL, 0)) != RC_OK) {
        mem_free(greeting);
        return NULL;
    }
    greeter->greeting_count++;
    list_add_last(&greeter->greetings, &greeting->link);
    loop_timer_start(greeter->loop, &greeting->timer, greeter->loop->now_ms + GREETING_MS);
    return greeting;
}

static void accepted(struct listener *listener, int fd)
{
    struct greeting *greeting = greeting_open(listener->owner, fd);
    if (greeting != NULL)
        handshake_listen(&greeting->handshake, greeting->greeter->own);
}

/* ---- dialling ----------------------------------------------------------------------------------
 */

/* A connection on its way: what is written waits until it is there. */
static int connecting(const struct addrinfo *address)
{
    int one = 1;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (connect(fd, address->ai_addr, address->ai_addrlen) != 0 && errno != EINPROGRESS) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static void dial_address(struct greeter *greeter, const struct greeter_call *call,
                         const struct addrinfo *address)
{
    int fd = connecting(address);
    if (fd < 0) {
        greeter->ops->failed(greeter, call, HANDSHAKE_FINE, strerror(errno));
        return;
    }
    struct greeting *greeting = greeting_open(greeter, fd);
    if (greeting == NULL) {
        greeter->ops->failed(greeter, call, HANDSHAKE_FINE, "too many meetings at once");
        return;
    }
    struct handshake_output out;
    uint8_t nonce[LINK_NONCE];
    make_nonce(nonce);
    greeting->dialled = true;
    greeting->call = *call;
    handshake_dial(&greeting->handshake, greeter->own, call->purpose, call->worker, nonce, &out);
    say(greeting, &out);
}

static void looked_up(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
    struct lookup *lookup = CONTAINER_OF(request, struct lookup, request);
    struct greeter *greeter = lookup->greeter;
    greeter->resolving--;
    if (greeter->stopped)
        ;
    else if (status != 0)
        greeter->ops->failed(greeter, &lookup->call, HANDSHAKE_FINE, uv_strerror(status));
    else
        dial_address(greeter, &lookup->call, found);
    uv_freeaddrinfo(found);
    mem_free(lookup);
}

void greeter_dial(struct greeter *greeter, const struct greeter_call *call)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct lookup *lookup = NEW(struct lookup);
    char service[8];
    lookup->greeter = greeter;
    lookup->call = *call;
    snprintf(service, sizeof(service), "%u", (unsigned)call->port);
    int error = uv_getaddrinfo(&greeter->loop->uv, &lookup->request, looked_up, call->host, service,
                               &hints);
    CHECK(error == 0);
    greeter->resolving++;
}

/* ---- start and stop ----------------------------------------------------------------------------
 */

enum rc greeter_start(struct greeter *greeter, struct loop *loop, int listening_fd,
                      const struct link_identity *own, const struct greeter_ops *ops, void *owner)
{
    *greeter = (struct greeter){.loop = loop, .own = own, .ops = ops, .owner = owner};
    list_init(&greeter->greetings);
    return listener_start(&greeter->listener, loop, listening_fd, TRANSPORT_TCP, accepted, greeter);
}

void greeter_stop(struct greeter *greeter)
{
    if (greeter->stopped)
        return;
    greeter->stopped = true;
    listener_close(&greeter->listener, NULL);
    LIST_FOR_EACH_SAFE (link, &greeter->greetings)
        stream_close(&CONTAINER_OF(link, struct greeting, link)->stream);
}
