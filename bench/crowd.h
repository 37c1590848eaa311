/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients at the other end of sockets that do not exist, so that one process can have a million.
 * The system calls that a stream makes (epoll_ctl, epoll_wait, recv, send, sendmsg, shutdown,
 * close) are replaced at link time for descriptors from CROWD_FD_FIRST on, which no process has,
 * and go to the kernel for all others; nothing of the broker knows. The set is level-triggered, as
 * the kernel's is: who is reported goes behind those who are not.
 *
 * The broker's clock is the CPU time of the thread that asks, so that nobody is late on a busy
 * machine, and what crowd_clock_advance() has added.
 *
 * One per process; all of it runs on the thread of the loop, and the memory of all clients is taken
 * and touched by crowd_init().
 */
#ifndef BENCH_CROWD_H
#define BENCH_CROWD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CROWD_FD_FIRST = 1 << 24, CROWD_WORDS_MAX = 512 };

/* Writes what the client says, at most CROWD_WORDS_MAX bytes; gives how many. */
typedef size_t crowd_words(uint32_t client, uint8_t *out);

struct crowd_heard {
    uint64_t connacks, subacks, pingresps, publishes, others; /* packets of the broker, by type */
    uint64_t closed;                                          /* descriptors that it closed */
    uint64_t calls; /* of recv, send, close and shutdown */
};

void crowd_init(uint32_t clients);
void crowd_deinit(void);

/* What the broker is given as the client's connected socket. */
int crowd_descriptor(uint32_t client);

/* Each of these clients sends something, once. Only clients that have nothing else to say. */
void crowd_say(uint32_t first, uint32_t count, crowd_words *words);

/* Each of these clients closes its end. */
void crowd_leave(uint32_t first, uint32_t count);

/* Nobody has anything to say that the broker wants to read. */
bool crowd_is_silent(void);

const struct crowd_heard *crowd_heard(void);

/* How many PUBLISH packets this client has got since it was given to the broker. */
uint32_t crowd_publishes(uint32_t client);

void crowd_clock_advance(uint64_t ms);

#endif
