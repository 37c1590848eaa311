/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/copy.h"

#include "base/log.h"

void give_begin(struct give *give, const struct copies_ops *ops, void *owner,
                struct copy_line *line, bool busy, uint64_t now_ms)
{
    *give = (struct give){.ops = ops,
                          .owner = owner,
                          .line = line,
                          .busy = busy,
                          .began_ms = now_ms,
                          .moved_ms = now_ms};
}

void give_end(struct give *give)
{
    if (give->image != NULL)
        give->ops->close(give->owner, give->image);
    give->image = NULL;
    give->state = GIVE_OVER;
}

/* The taker closes the link when it has heard that. */
static bool refuse(struct give *give, enum copy_refusal refusal)
{
    LOG(LOG_INFO, "copy.refused", log_uint("group", give->group),
        log_text("reason", copy_refusal_text(refusal)));
    give_end(give);
    return give->line->send(give->line, LINK_COPY_REFUSED, (uint8_t)refusal, bytes_of(NULL, 0),
                            bytes_of(NULL, 0));
}

static bool send_end(struct give *give)
{
    uint8_t body[COPY_END_SIZE];

    copy_end_write(give->sent, give->bytes, body);
    give->ops->close(give->owner, give->image);
    give->image = NULL;
    give->state = GIVE_GAVE;
    LOG(LOG_INFO, "copy.given", log_uint("group", give->group), log_uint("bytes", give->bytes));
    return give->line->send(give->line, LINK_COPY_END, 0, bytes_of(body, sizeof(body)),
                            bytes_of(NULL, 0));
}

/* As much as the taker has room for. */
static bool give_more(struct give *give)
{
    bool fine = true;

    while (fine && give->state == GIVE_GIVES && give->sent - give->written < COPY_WINDOW) {
        uint8_t head[COPY_CHUNK_HEAD];
        struct bytes chunk;
        enum rc rc = give->ops->next(give->owner, give->image, &chunk);
        if (rc == RC_NOT_FOUND)
            return send_end(give);
        if (rc != RC_OK)
            return refuse(give, COPY_NOT_READABLE);
        copy_chunk_write(++give->sent, chunk, head);
        give->bytes += chunk.len;
        fine =
            give->line->send(give->line, LINK_COPY_CHUNK, 0, bytes_of(head, sizeof(head)), chunk);
    }
    return fine;
}

static bool is_ours(const struct give *give, const struct copy_ask *ask)
{
    uint32_t shards;
    struct bytes id = give->ops->cluster(give->owner, &shards);

    return id.len > 0 && bytes_equal(id, ask->cluster) && ask->groups == COPIES_GROUPS &&
           ask->shards == shards;
}

static bool asked(struct give *give, const struct link_frame *frame)
{
    struct copy_ask ask;
    uint8_t position[COPY_POSITION_MAX], body[2 + COPY_POSITION_MAX];
    uint32_t len = 0;

    if (!copy_ask_read(frame->body, &ask))
        return false;
    give->group = ask.group;
    if (ask.format != COPY_FORMAT)
        return refuse(give, COPY_FORMAT_UNKNOWN);
    if (!is_ours(give, &ask))
        return refuse(give, COPY_OTHER_CLUSTER);
    if (give->busy)
        return refuse(give, COPY_BUSY);
    enum rc rc = give->ops->open(give->owner, ask.group, &give->image, position, &len);
    if (rc != RC_OK)
        return refuse(give, rc == RC_NOT_FOUND ? COPY_NOT_WHOLE : COPY_NOT_READABLE);
    give->state = GIVE_GIVES;
    uint8_t *end = link_write_text(body, bytes_of(position, len));
    return give->line->send(give->line, LINK_COPY_BEGIN, 0, bytes_of(body, (size_t)(end - body)),
                            bytes_of(NULL, 0)) &&
           give_more(give);
}

static bool credited(struct give *give, const struct link_frame *frame)
{
    uint32_t written;

    if (!copy_credit_read(frame->body, &written) || written < give->written || written > give->sent)
        return false;
    give->written = written;
    return give_more(give);
}

bool give_frame(struct give *give, const struct link_frame *frame, uint64_t now_ms)
{
    give->moved_ms = now_ms;
    if (frame->kind == LINK_COPY_ASK && give->state == GIVE_EXPECTS_ASK)
        return asked(give, frame);
    if (frame->kind == LINK_COPY_CREDIT && (give->state == GIVE_GIVES || give->state == GIVE_GAVE))
        return credited(give, frame);
    return false;
}

bool give_is_late(const struct give *give, uint64_t now_ms)
{
    return now_ms >= give->moved_ms + COPY_STALL_MS || now_ms >= give->began_ms + COPY_MAX_MS;
}
