/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of this folder share: a router with one reader, on the test's own thread, and
 * random topics and filters of few letters, so that many of them meet. Always the same ones: a
 * failure can be seen again.
 */
#ifndef ROUTER_FIXTURE_H
#define ROUTER_FIXTURE_H

#include "router/router.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { TOPIC_ROOM = 64 };

struct random {
    uint64_t state; /* not 0 */
};

/* 0..n-1 */
static inline uint32_t random_below(struct random *random, uint32_t n)
{
    random->state ^= random->state << 13;
    random->state ^= random->state >> 7;
    random->state ^= random->state << 17;
    return (uint32_t)((random->state >> 20) % n);
}

static inline void random_levels(struct random *random, const char *const *words, uint32_t count,
                                 char *out)
{
    uint32_t levels = 1 + random_below(random, 5);
    *out = '\0';
    for (uint32_t i = 0; i < levels; i++) {
        const char *word = words[random_below(random, count)];
        if (i > 0)
            strcat(out, "/");
        strcat(out, word);
        if (*word == '#')
            break;
    }
    if (*out == '\0') /* one empty level */
        strcpy(out, "/");
}

/* A valid topic name of 1..5 levels, now and then one that begins with '$'. */
static inline struct bytes random_topic(struct random *random, char out[TOPIC_ROOM])
{
    static const char *const words[] = {"a", "b", "c", "", "aa", "$x"};
    random_levels(random, words, 6, out);
    return bytes_of_str(out);
}

/* A valid filter of 1..5 levels, about every second with wildcards. */
static inline struct bytes random_filter(struct random *random, char out[TOPIC_ROOM])
{
    static const char *const words[] = {"a", "b", "c", "", "aa", "$x", "+", "+", "#"};
    random_levels(random, words, 9, out);
    return bytes_of_str(out);
}

struct router_fixture {
    struct router router;
    struct route_reader reader;
};

/* Everything given to RCU so far is freed: who holds on to it is caught by AddressSanitizer. */
static inline void grace_period(void)
{
    rcu_sleep();
    rcu_drain();
    rcu_wake();
}

static inline struct router_fixture *router_fixture_new(uint32_t workers)
{
    struct router_fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    rcu_reader_start();
    router_init(&f->router, CHOOSE_ROUND_ROBIN);
    route_reader_init(&f->reader, &f->router, workers);
    return f;
}

static inline int one_worker(void **state)
{
    *state = router_fixture_new(1);
    return 0;
}

static inline int two_workers(void **state)
{
    *state = router_fixture_new(2);
    return 0;
}

static inline int router_fixture_free(void **state)
{
    struct router_fixture *f = *state;
    grace_period();
    route_reader_deinit(&f->reader);
    router_deinit(&f->router);
    rcu_reader_stop();
    free(f);
    return 0;
}

static inline struct subscription *subscribe_with(struct router_fixture *f, session_ref session,
                                                  const char *filter, const char *share,
                                                  const struct subscription_options *options)
{
    struct subscriber_is who = {.session = session, .shard = (uint16_t)(session % 4)};
    struct subscription *s =
        router_subscribe(&f->router, &who, bytes_of_str(filter), bytes_of_str(share), options);
    assert_non_null(s);
    return s;
}

static inline struct subscription *subscribe(struct router_fixture *f, session_ref session,
                                             const char *filter)
{
    return subscribe_with(f, session, filter, "", &(struct subscription_options){.qos = 1});
}

static inline struct subscription *join(struct router_fixture *f, session_ref session,
                                        const char *filter, const char *share)
{
    return subscribe_with(f, session, filter, share, &(struct subscription_options){.qos = 1});
}

static inline struct route_set find(struct router_fixture *f, const char *topic)
{
    struct route_set set;
    route_find(&f->reader, bytes_of_str(topic), ROUTE_AT_ONCE, &set);
    return set;
}

static inline bool has_session(const struct route_set *set, session_ref session)
{
    for (uint32_t i = 0; i < set->count; i++)
        if (set->routes[i].session == session)
            return true;
    return false;
}

#endif
