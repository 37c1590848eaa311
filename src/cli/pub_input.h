/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Standard input as lines, on the loop, so that pings go on while a person thinks. A terminal, pipe
 * or socket is polled; a file, which is always readable, is read a piece a turn. Lines that cannot
 * be taken now wait, and reading waits with them.
 */
#ifndef CLI_PUB_INPUT_H
#define CLI_PUB_INPUT_H

#include "base/bytes.h"
#include "net/loop.h"

#include <stdio.h>

struct pub_input {
    uv_poll_t poll;
    struct loop_timer next_piece; /* of a file */
    struct loop *loop;            /* NULL until started and once stopped */
    bool (*line)(void *owner, struct bytes line);
    void (*end)(void *owner);
    void *owner;
    char *data;
    size_t len, room, taken;
    int flags; /* of the descriptor, to be restored; -1: it was not changed */
    bool is_polled, paused, eof, ended;
};

/*
 * Calls line() for each line without its newline, the last one also when it has none; false from
 * there stops until pub_input_resume(). Calls end() once, when all lines were taken.
 */
void pub_input_start(struct pub_input *input, struct loop *loop,
                     bool (*line)(void *owner, struct bytes line), void (*end)(void *owner),
                     void *owner);

/* Goes on with the line that was not taken. */
void pub_input_resume(struct pub_input *input);

/* No more lines; harmless when it was not started. */
void pub_input_stop(struct pub_input *input);
void pub_input_deinit(struct pub_input *input);

static inline bool pub_input_at_end(const struct pub_input *input)
{
    return input->ended;
}

/* Reads a file to its end; gives malloc'ed memory. False with errno: it cannot be read. */
bool pub_input_read_all(FILE *file, uint8_t **data, size_t *len);

#endif
