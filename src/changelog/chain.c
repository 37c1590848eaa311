/* SPDX-License-Identifier: Apache-2.0 */
/* The rules by which a record may follow another. */
#include "changelog/chain.h"

#include "base/breaks.h"
#include "base/check.h"
#include "base/memory.h"

void chain_init(struct chain *chain, uint32_t group, const struct changelog_position *position)
{
    *chain = (struct chain){
        .group = group,
        .whole = *position,
        .at = *position,
        .released = !position->held && position->batch > 0,
    };
}

void chain_deinit(struct chain *chain)
{
    mem_free(chain->parts_bytes);
    chain->parts_bytes = NULL;
}

static void drop_parts(struct chain *chain)
{
    mem_free(chain->parts_bytes);
    chain->parts_bytes = NULL;
    chain->parts_used = chain->parts_room = 0;
    chain->part = chain->parts = 0;
}

/* ---- the rules ---------------------------------------------------------------------------------
 */

static const char *why_not(const struct chain *chain, const struct changelog_record *r)
{
    if (r->group != chain->group)
        return "it is of another group";
    if (r->kind == CHANGELOG_CLAIM || broken(BREAK_NO_FENCING))
        return NULL;
    if (r->epoch != chain->at.epoch)
        return "it is of another epoch";
    if (chain->released)
        return "its home had released the group";
    if (!changelog_hash_equal(&r->before, &chain->at.hash))
        return "what is before it is not what its home had seen: the log has been forked";
    if (chain->parts != 0) {
        if (r->kind != CHANGELOG_BATCH || r->batch != chain->at.batch ||
            r->part != chain->part + 1 || r->parts != chain->parts)
            return "it is not the next part";
    } else if (r->batch != chain->at.batch + 1 || r->part != 1) {
        return "it is not the next batch";
    }
    if (r->body.len > CHANGELOG_BATCH_MAX - chain->parts_used)
        return "the batch is too large";
    return NULL;
}

void chain_advance(struct chain *chain, const struct changelog_record *r,
                   const struct changelog_hash *hash)
{
    chain->at.sequence++;
    chain->at.hash = *hash;
    if (r->kind == CHANGELOG_CLAIM) {
        drop_parts(chain); /* nobody will ever send the rest */
        chain->at.epoch = chain->at.sequence;
        chain->at.batch = 0;
        chain->released = false;
        CHECK(changelog_claim_decode(r->body, &chain->claimant));
        chain->claimant.note = bytes_of(NULL, 0);
    } else {
        chain->at.batch = r->batch;
        chain->at.held = r->kind != CHANGELOG_RELEASE;
        chain->released = r->kind == CHANGELOG_RELEASE;
        chain->holder = chain->claimant;
    }
    bool whole = r->part == r->parts;
    chain->part = whole ? 0 : r->part;
    chain->parts = whole ? 0 : r->parts;
    if (whole)
        chain->whole = chain->at;
}

/* ---- reading -----------------------------------------------------------------------------------
 */

static bool add_part(struct chain *chain, struct bytes body)
{
    size_t need = chain->parts_used + body.len;
    CHECK(body.len > 0);

    if (need > chain->parts_room) {
        size_t room = need * 2 < CHANGELOG_BATCH_MAX ? need * 2 : CHANGELOG_BATCH_MAX;
        uint8_t *bytes = mem_try_resize(chain->parts_bytes, room);
        if (bytes == NULL)
            return false;
        chain->parts_bytes = bytes;
        chain->parts_room = room;
    }
    memcpy(chain->parts_bytes + chain->parts_used, body.data, body.len);
    chain->parts_used = need;
    return true;
}

const char *chain_add(struct chain *chain, struct bytes whole, struct changelog_record *record,
                      bool *complete, struct bytes *body)
{
    if (!changelog_record_decode(whole, record))
        return "it is no record of a format that is known here";
    const char *why = why_not(chain, record);
    if (why != NULL)
        return why;
    if (chain->parts == 0)
        drop_parts(chain); /* what the caller borrowed */
    if (record->parts > 1 && !add_part(chain, record->body))
        return "there is no memory for its parts";
    struct changelog_hash hash =
        changelog_hash_next(&chain->at.hash, bytes_of(whole.data, CHANGELOG_HEADER), record->body);
    chain_advance(chain, record, &hash);
    *complete = chain->parts == 0;
    *body = record->parts > 1 ? bytes_of(chain->parts_bytes, chain->parts_used) : record->body;
    return NULL;
}

struct changelog_record chain_next(const struct chain *chain, enum changelog_kind kind,
                                   struct bytes body, uint16_t part, uint16_t parts)
{
    return (struct changelog_record){
        .format = CHANGELOG_FORMAT,
        .kind = kind,
        .part = part,
        .parts = parts,
        .group = chain->group,
        .epoch = chain->at.epoch,
        .batch = chain->at.batch + (part == 1 ? 1 : 0),
        .before = chain->at.hash,
        .body = body,
    };
}
