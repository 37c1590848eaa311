/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/pub_input.h"

#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 64 * 1024 };

static void take_lines(struct pub_input *input)
{
    while (!input->paused && input->loop != NULL) {
        const char *start = input->data + input->taken;
        size_t left = input->len - input->taken;
        const char *newline = left > 0 ? memchr(start, '\n', left) : NULL;
        if (newline == NULL && (!input->eof || left == 0))
            break;
        size_t len = newline != NULL ? (size_t)(newline - start) : left;
        if (!input->line(input->owner, bytes_of(start, len))) {
            input->paused = true;
            return;
        }
        input->taken += newline != NULL ? len + 1 : len;
    }
    if (input->eof && input->taken == input->len && !input->ended && input->loop != NULL) {
        input->ended = true;
        input->end(input->owner);
    }
}

/* Reads one piece. False: nothing more will come. */
static bool read_piece(struct pub_input *input)
{
    if (input->taken > 0) {
        memmove(input->data, input->data + input->taken, input->len - input->taken);
        input->len -= input->taken;
        input->taken = 0;
    }
    if (input->room - input->len < PIECE) {
        input->room = 2 * input->room + PIECE;
        input->data = mem_resize(input->data, input->room);
    }
    ssize_t got = read(STDIN_FILENO, input->data + input->len, PIECE);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (got <= 0) {
        input->eof = true;
        return false;
    }
    input->len += (size_t)got;
    return true;
}

static void on_poll(uv_poll_t *poll, int status, int events);

/* Waits for more, or stops waiting, as things are now. */
static void wait_for_more(struct pub_input *input)
{
    bool wanted = input->loop != NULL && !input->paused && !input->eof;

    if (input->is_polled && wanted)
        uv_poll_start(&input->poll, UV_READABLE, on_poll);
    else if (input->is_polled)
        uv_poll_stop(&input->poll);
    else if (wanted)
        loop_timer_start(input->loop, &input->next_piece, 0); /* next turn */
}

static void go_on(struct pub_input *input)
{
    read_piece(input);
    take_lines(input);
    wait_for_more(input);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct pub_input *input = CONTAINER_OF(poll, struct pub_input, poll);

    (void)status; /* read() says it too */
    (void)events;
    if (input->loop == NULL)
        return;
    go_on(input);
}

static void on_next_piece(struct loop_timer *timer)
{
    go_on(CONTAINER_OF(timer, struct pub_input, next_piece));
}

static void close_poll(uv_poll_t *poll)
{
    uv_close((uv_handle_t *)poll, NULL);
}

static const struct loop_handle_kind input_kind = {.close = close_poll};

void pub_input_start(struct pub_input *input, struct loop *loop,
                     bool (*line)(void *owner, struct bytes line), void (*end)(void *owner),
                     void *owner)
{
    struct stat stat;

    *input = (struct pub_input){
        .loop = loop,
        .line = line,
        .end = end,
        .owner = owner,
        .flags = fcntl(STDIN_FILENO, F_GETFL),
    };
    loop_timer_init(&input->next_piece, on_next_piece);
    bool is_file = fstat(STDIN_FILENO, &stat) == 0 && S_ISREG(stat.st_mode);
    /* /dev/null and the like cannot be polled either. */
    input->is_polled = !is_file && uv_poll_init(&loop->uv, &input->poll, STDIN_FILENO) == 0;
    if (input->is_polled)
        input->poll.data = (void *)(uintptr_t)&input_kind;
    wait_for_more(input);
}

void pub_input_resume(struct pub_input *input)
{
    if (input->loop == NULL || !input->paused)
        return;
    input->paused = false;
    take_lines(input);
    wait_for_more(input);
}

void pub_input_stop(struct pub_input *input)
{
    struct loop *loop = input->loop;

    if (loop == NULL)
        return;
    input->loop = NULL;
    loop_timer_stop(loop, &input->next_piece);
    if (input->is_polled)
        uv_poll_stop(&input->poll); /* the loop closes it */
}

void pub_input_deinit(struct pub_input *input)
{
    if (input->is_polled && input->flags >= 0)
        fcntl(STDIN_FILENO, F_SETFL, input->flags); /* shared with our parent's shell */
    mem_free(input->data);
    input->data = NULL;
}

bool pub_input_read_all(FILE *file, uint8_t **data, size_t *len)
{
    size_t room = 0;

    *data = NULL;
    *len = 0;
    do {
        room = 2 * room + PIECE;
        *data = mem_resize(*data, room);
        *len += fread(*data + *len, 1, room - *len, file);
    } while (*len == room);
    return !ferror(file);
}
