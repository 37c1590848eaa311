/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who gets an entry of an outbox for each share: chosen once, and stored with the entry, so that
 * nobody else is chosen when it is sent again. A member of no shard, whose session ends with its
 * connection, is replaced when it has gone without having got the message.
 */
#include "delivery/outbox.h"

#include "base/memory.h"
#include "delivery/routing.h"
#include "store/record.h"

uint64_t outbox_share_hash(struct subscription *member)
{
    char small[256], *text = small;
    size_t len = subscription_filter(member, small, sizeof(small));
    if (len > sizeof(small)) {
        text = mem_new(len);
        subscription_filter(member, text, len);
    }
    uint64_t hash = bytes_hash(bytes_of(text, len));
    if (text != small)
        mem_free(text);
    return hash;
}

static void set_choice(struct delivery_hub *hub, struct outbox_choice *choice, struct share *share,
                       struct subscription *member, const struct route *route)
{
    static_assert((int)OUTBOX_SHARD_AWAY == (int)NO_SHARD,
                  "a member of no shard is on another node");
    bool away = session_ref_is_remote(route->session) &&
                !atomic_load_explicit(&hub->remote->shards_have_homes, memory_order_relaxed);
    *choice = (struct outbox_choice){.stored = {.filter_hash = outbox_share_hash(member),
                                                .shard = away ? OUTBOX_SHARD_AWAY : member->shard},
                                     .route = *route,
                                     .member = member,
                                     .share = share};
}

void outbox_add_choice(struct outbox_entry *entry, struct share *share, struct subscription *member,
                       const struct route *route)
{
    set_choice(entry->hub, &entry->choices[entry->count++], share, member, route);
}

void outbox_choose(struct outbox_entry *entry, const struct route_set *set)
{
    const struct publication *p = &entry->message->publication;
    for (uint32_t i = 0; i < set->share_count; i++) {
        struct subscription *member;
        struct route route;
        const struct router *router = entry->hub->router;
        if (share_choose(set->shares[i], router->share_choice, share_reach_of(router),
                         p->publisher_hash, p->topic, 0, &member, &route))
            outbox_add_choice(entry, set->shares[i], member, &route);
    }
}

void outbox_put_choices(const struct outbox_entry *entry)
{
    struct store_key key = record_key_of(entry->store->shard, RECORD_CHOICES, entry->number);
    struct outbox_share *shares = mem_new(entry->count * sizeof(*shares));
    uint8_t *encoded = mem_new((size_t)entry->count * OUTBOX_SHARE_BYTES + 1);
    for (uint32_t i = 0; i < entry->count; i++)
        shares[i] = entry->choices[i].stored;
    struct record_value value;
    choices_record_encode(shares, entry->count, entry->whom, encoded, &value);
    record_put(entry->store, STORE_STATE, &key, &value);
    mem_free(encoded);
    mem_free(shares);
}

/* Whether one of no shard is to get it still, or has got it: another node knows that, as long as it
 * does not say that it has nobody. */
static bool stands(const struct outbox_entry *entry, struct outbox_choice *choice,
                   struct share *share)
{
    session_ref session = choice->route.session;
    if (session == 0)
        return choice->is_over; /* it is not known any more which node it was */
    if (!session_ref_is_remote(session)) {
        if (entry->not_found && entry->count == 1)
            return false; /* it had gone */
        choice->is_over |= choice->sent;
        return true;
    }
    bool is_there = share != NULL && share_has_member(share, session, NO_SHARD);
    return !choice->unreached && (is_there || (choice->sent && !entry->not_found));
}

static bool choose_again(const struct outbox_entry *entry, struct outbox_choice *choice,
                         struct share *share)
{
    const struct publication *p = &entry->message->publication;
    const struct router *router = entry->hub->router;
    struct subscription *member;
    struct route route;
    if (share == NULL ||
        !share_choose(share, router->share_choice, share_reach_of(router), p->publisher_hash,
                      p->topic, choice->route.session, &member, &route))
        return false;
    set_choice(entry->hub, choice, share, member, &route);
    return true;
}

bool outbox_choose_anew(struct outbox_entry *entry)
{
    struct route_set set;
    bool changed = false;
    route_find(&entry->hub->reader, entry->message->publication.topic, ROUTE_AT_ONCE, &set);
    for (uint32_t i = 0; i < entry->count; i++) {
        struct outbox_choice *choice = &entry->choices[i];
        if (choice->stored.shard != OUTBOX_SHARD_AWAY)
            continue;
        struct share *share = share_of_hash(&set, choice->stored.filter_hash);
        if (!stands(entry, choice, share))
            changed |= choose_again(entry, choice, share);
    }
    entry->not_found = false;
    return changed;
}
