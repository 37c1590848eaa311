/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine on NATS with JetStream: a stream for each group. The client library has threads of its
 * own; what they receive goes through a mailbox to the owner's thread, where it is read. Nothing is
 * kept while there is no connection: what is asked then fails at once, and who asked asks again. A
 * server that does not read holds up who appends to it for a second at most, once a connection.
 * Streams are made by jetstream_create() alone, which is called once in the life of a cluster: one
 * that is missing later has been lost, and is made again only where the stores of all nodes are
 * there to go on from (homes/founding.c). Such a stream counts from 1 again, and its description
 * says what has to be added (`base`): nobody else sees the stream's own numbers.
 */
#ifndef CHANGELOG_JETSTREAM_H
#define CHANGELOG_JETSTREAM_H

#include "base/rc.h"
#include "changelog/engine.h"

enum { JETSTREAM_ERROR_MAX = 256, JETSTREAM_URLS_MAX = 64 };

struct jetstream;

struct jetstream_options {
    const char *urls[JETSTREAM_URLS_MAX]; /* nats://HOST:PORT; may hold user and password */
    uint32_t url_count;
    const char *user, *password; /* NULL: as in the URLs */
    const char *cluster;         /* letters, digits, '-' and '_': in the names of streams */
    void (*wake)(void *owner);   /* there are answers; any thread, must not block */
    void *owner;
};

/* Copies the options. Connects in the background, and goes on trying. NULL: the options are no
 * good, and `error` says why. */
struct jetstream *jetstream_open(const struct jetstream_options *options,
                                 char error[JETSTREAM_ERROR_MAX]);

/* Waits for the library's threads. All groups have been detached. */
void jetstream_close(struct jetstream *js);

struct engine *jetstream_engine(struct jetstream *js);

/* Hands on the answers that have come. Owner's thread; when it was woken, and once a second. */
void jetstream_turn(struct jetstream *js);

bool jetstream_is_connected(const struct jetstream *js);

/* So many connections have been lost; it may be connected again since. */
uint32_t jetstream_losses(const struct jetstream *js);

/*
 * Makes the streams of groups 0 to count - 1, where they are not there yet; blocks, for
 * `timeout_ms` at most. RC_OK: all are there. RC_AGAIN: some are not, ask again. RC_EXISTS: one is
 * there that is not as it would be made. RC_INVALID: it is one server by itself, which keeps one
 * replica. RC_REFUSED: the engine will not; `error` says why. `bases` (NULL: all 0), by group: the
 * first record of a new stream has the sequence behind that.
 */
MUST_USE enum rc jetstream_create(struct jetstream *js, uint32_t count, uint32_t replicas,
                                  const uint64_t *bases, uint64_t timeout_ms,
                                  char error[JETSTREAM_ERROR_MAX]);

/* Asks all servers of the engine to speak; jetstream_other_ms() says when one that this node is not
 * connected to has done so last (0: never). Owner's thread. */
void jetstream_ask_servers(struct jetstream *js);
uint64_t jetstream_other_ms(const struct jetstream *js);

/* Of a stream; 0: not known yet. */
struct jetstream_copies {
    uint32_t wanted;
    uint32_t current; /* have all of it and can be reached */
    uint32_t away;    /* cannot be reached */
    uint32_t servers; /* that are to have one; fewer than wanted when one was taken out */
};

/* Asks the engine; jetstream_copies() gives it when it has answered. Owner's thread. */
void jetstream_ask_copies(struct jetstream *js, uint32_t group);
struct jetstream_copies jetstream_copies(const struct jetstream *js, uint32_t group);
/* The stream is to have so many copies, on as many servers; whether it is done is seen by the
 * above. Owner's thread. */
void jetstream_set_copies(struct jetstream *js, uint32_t group, uint32_t copies);

/* Whether they are all there; blocks as above. RC_NOT_FOUND: the engine is whole and lacks one, so
 * it is none that this cluster was made on, or it has lost its disks. */
MUST_USE enum rc jetstream_look(struct jetstream *js, uint32_t count, uint64_t timeout_ms,
                                char error[JETSTREAM_ERROR_MAX]);

#endif
