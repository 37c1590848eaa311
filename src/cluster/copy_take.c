/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/copy.h"

void take_begin(struct take *take, const struct copies_ops *ops, void *owner, uint32_t group,
                uint64_t token, uint64_t now_ms)
{
    *take = (struct take){.ops = ops,
                          .owner = owner,
                          .group = group,
                          .token = token,
                          .began_ms = now_ms,
                          .moved_ms = now_ms};
}

void take_fail(struct take *take, const char *why)
{
    if (take->state == TAKE_DONE || take->state == TAKE_FAILED)
        return;
    take->state = TAKE_FAILED;
    take->why = why;
}

static void send(struct take *take, enum link_kind kind, struct bytes body)
{
    if (!take->line->send(take->line, kind, 0, body, bytes_of(NULL, 0)))
        take_fail(take, "the link has ended");
}

void take_ask(struct take *take, struct copy_line *line, const struct copy_ask *ask,
              uint64_t now_ms)
{
    uint8_t body[COPY_ASK_MAX];

    take->line = line;
    take->state = TAKE_ASKS;
    take->moved_ms = now_ms;
    send(take, LINK_COPY_ASK, bytes_of(body, copy_ask_write(ask, body)));
}

/* ---- frames; what fails says why ---------------------------------------------------------------
 */

static const char *begins(struct take *take, struct bytes body)
{
    struct link_reader reader = link_reader_of(body);
    struct bytes position = link_read_text(&reader);

    if (!link_reader_ok(&reader) || position.len == 0 || position.len > COPY_POSITION_MAX)
        return "its position is malformed";
    memcpy(take->position_bytes, position.data, position.len);
    take->position = bytes_of(take->position_bytes, position.len);
    if (!take->ops->begin(take->owner, take->group, take->token, take->position))
        return "its position makes no sense";
    take->state = TAKE_TAKES;
    return NULL;
}

static const char *chunk(struct take *take, struct bytes body)
{
    struct bytes records;
    uint32_t number, count;

    if (!copy_chunk_read(body, &number, &records))
        return "a chunk is damaged";
    if (number != take->received + 1)
        return "a chunk is missing";
    if (take->received - take->written >= COPY_WINDOW)
        return "more comes than was asked for";
    if (!take->ops->chunk(take->owner, take->group, take->token, records, &count))
        return "a chunk has something else than records of the group";
    take->received++;
    take->records += count;
    take->bytes += records.len;
    return NULL;
}

static const char *ends(struct take *take, struct bytes body)
{
    uint32_t chunks;
    uint64_t bytes;

    if (!copy_end_read(body, &chunks, &bytes) || chunks != take->received || bytes != take->bytes)
        return "it is not all that has come";
    take->state = TAKE_WRITES;
    take->ops->end(take->owner, take->group, take->token, take->position);
    return NULL;
}

static const char *refused(uint8_t refusal)
{
    return refusal > 0 && refusal < COPY_REFUSALS ? copy_refusal_text((enum copy_refusal)refusal)
                                                  : "it refuses";
}

void take_frame(struct take *take, const struct link_frame *frame, uint64_t now_ms)
{
    const char *why = "what comes makes no sense";

    take->moved_ms = now_ms;
    if (frame->kind == LINK_COPY_REFUSED)
        why = refused(frame->flags);
    else if (frame->kind == LINK_COPY_BEGIN && take->state == TAKE_ASKS)
        why = begins(take, frame->body);
    else if (frame->kind == LINK_COPY_CHUNK && take->state == TAKE_TAKES)
        why = chunk(take, frame->body);
    else if (frame->kind == LINK_COPY_END && take->state == TAKE_TAKES)
        why = ends(take, frame->body);
    if (why != NULL)
        take_fail(take, why);
}

void take_written(struct take *take, uint32_t chunks, uint64_t now_ms)
{
    uint8_t body[COPY_CREDIT_SIZE];

    if (take->state != TAKE_TAKES && take->state != TAKE_WRITES)
        return;
    take->moved_ms = now_ms;
    take->written += chunks;
    if (take->written <= take->received) {
        copy_credit_write(take->written, body);
        send(take, LINK_COPY_CREDIT, bytes_of(body, sizeof(body)));
        return;
    }
    take->state = TAKE_DONE;
    take->ops->done(take->owner, take->group, take->position);
}

bool take_is_late(const struct take *take, uint64_t now_ms)
{
    return now_ms >= take->moved_ms + COPY_STALL_MS || now_ms >= take->began_ms + COPY_MAX_MS;
}
