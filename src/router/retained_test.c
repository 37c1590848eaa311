/* SPDX-License-Identifier: Apache-2.0 */
#include "router/retained.h"

#include "model/topic.h"
#include "router/router_fixture.h"

#include <pthread.h>
#include <stdio.h>

enum { NOW_MS = 1000000 };

static struct message *message_of(const char *topic, const char *payload)
{
    struct publication p = {.topic = bytes_of_str(topic),
                            .payload = bytes_of_str(payload),
                            .retain = true,
                            .received_ms = NOW_MS};
    struct message *message = message_new(&p);
    assert_non_null(message);
    return message;
}

static enum rc set(struct retained *retained, const char *topic, const char *payload)
{
    struct message *message = message_of(topic, payload);
    enum rc rc = retained_set(retained, message);
    message_drop(message);
    return rc;
}

static void set_expiring(struct retained *retained, const char *topic, uint32_t expiry_s)
{
    struct message *message = message_of(topic, "expires");
    message->publication.has_expiry = true;
    message->publication.expiry_s = expiry_s;
    assert_int_equal(retained_set(retained, message), RC_OK);
    message_drop(message);
}

static bool is_retained(struct retained *retained, const char *topic, const char *payload)
{
    struct message *message = retained_get(retained, bytes_of_str(topic), NOW_MS);
    bool is = message != NULL && bytes_equal(message->publication.payload, bytes_of_str(payload));
    message_drop(message);
    return is;
}

static bool is_empty(struct retained *retained, const char *topic)
{
    struct message *message = retained_get(retained, bytes_of_str(topic), NOW_MS);
    message_drop(message);
    return message == NULL;
}

static int set_up(void **state)
{
    struct retained *retained = calloc(1, sizeof(*retained));
    assert_non_null(retained);
    retained_init(retained, UINT64_MAX, UINT64_MAX);
    *state = retained;
    return 0;
}

static int tear_down(void **state)
{
    retained_deinit(*state);
    free(*state);
    return 0;
}

/* ---- one topic ------------------------------------------------------------------------------ */

static void retained_get_gives_what_was_set(void **state)
{
    assert_int_equal(set(*state, "a/b", "1"), RC_OK);
    assert_true(is_retained(*state, "a/b", "1"));
}

static void retained_get_looks_at_the_whole_topic(void **state)
{
    set(*state, "a/b", "1");
    static const char *const others[] = {"a", "a/", "a/b/", "/a/b", "a/b/c", "b", "a/bb"};
    for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
        assert_true(is_empty(*state, others[i]));
}

static void retained_set_replaces(void **state)
{
    struct retained *retained = *state;
    set(retained, "a", "first");
    set(retained, "a", "second");
    assert_true(is_retained(retained, "a", "second"));
    assert_int_equal(atomic_load(&retained->count), 1);
}

static void retained_clear_removes_the_one_of_the_topic(void **state)
{
    struct retained *retained = *state;
    set(retained, "a", "1");
    set(retained, "a/b", "2");
    retained_clear(retained, bytes_of_str("a"));
    assert_true(is_empty(retained, "a"));
    assert_true(is_retained(retained, "a/b", "2"));
}

static void retained_clear_of_nothing_is_harmless(void **state)
{
    struct retained *retained = *state;
    set(retained, "a/b", "1");
    retained_clear(retained, bytes_of_str("a"));
    retained_clear(retained, bytes_of_str("a/b/c"));
    retained_clear(retained, bytes_of_str("x"));
    assert_int_equal(atomic_load(&retained->count), 1);
}

static void retained_get_gives_a_reference_that_outlives_the_clear(void **state)
{
    set(*state, "a", "1");
    struct message *message = retained_get(*state, bytes_of_str("a"), NOW_MS);
    retained_clear(*state, bytes_of_str("a"));
    assert_memory_equal(message->publication.payload.data, "1", 1);
    message_drop(message);
}

static void retained_counts_messages_and_their_bytes(void **state)
{
    struct retained *retained = *state;
    struct message *message = message_of("a", "12345");
    uint32_t size = message->size;
    message_drop(message);
    set(retained, "a", "12345");
    set(retained, "b", "1234567");
    assert_int_equal(atomic_load(&retained->count), 2);
    assert_int_equal(atomic_load(&retained->bytes), 2 * size + 2);
    set(retained, "b", "12345");
    assert_int_equal(atomic_load(&retained->bytes), 2 * size);
    retained_clear(retained, bytes_of_str("a"));
    retained_clear(retained, bytes_of_str("b"));
    assert_int_equal(atomic_load(&retained->count), 0);
    assert_int_equal(atomic_load(&retained->bytes), 0);
}

/* ---- limits --------------------------------------------------------------------------------- */

static void retained_set_at_the_limit_of_messages_changes_nothing(void **state)
{
    struct retained *retained = *state;
    retained->count_max = 2;
    set(retained, "a", "1");
    set(retained, "b", "2");
    assert_int_equal(set(retained, "c/d", "3"), RC_FULL);
    assert_true(is_empty(retained, "c/d"));
    assert_int_equal(atomic_load(&retained->count), 2);
}

static void retained_set_at_the_limit_of_messages_still_replaces(void **state)
{
    struct retained *retained = *state;
    retained->count_max = 1;
    set(retained, "a", "1");
    assert_int_equal(set(retained, "a", "2"), RC_OK);
    assert_true(is_retained(retained, "a", "2"));
}

static void retained_clear_makes_room_under_the_limit(void **state)
{
    struct retained *retained = *state;
    retained->count_max = 1;
    set(retained, "a", "1");
    retained_clear(retained, bytes_of_str("a"));
    assert_int_equal(set(retained, "b", "1"), RC_OK);
}

static void retained_set_at_the_limit_of_bytes_changes_nothing(void **state)
{
    struct retained *retained = *state;
    set(retained, "a", "1");
    retained->bytes_max = atomic_load(&retained->bytes) + 20;
    assert_int_equal(set(retained, "b", "1"), RC_FULL);
    assert_int_equal(set(retained, "a", "a payload of more than twenty bytes"), RC_FULL);
    assert_true(is_retained(retained, "a", "1"));
}

static void retained_set_over_the_limit_of_bytes_may_still_shrink(void **state)
{
    struct retained *retained = *state;
    set(retained, "a", "a long payload");
    retained->bytes_max = 1;
    assert_int_equal(set(retained, "a", "less"), RC_OK);
    assert_true(is_retained(retained, "a", "less"));
}

/* ---- expiry --------------------------------------------------------------------------------- */

static void retained_get_drops_what_has_expired(void **state)
{
    struct retained *retained = *state;
    set_expiring(retained, "a/b", 10);
    struct message *message = retained_get(retained, bytes_of_str("a/b"), NOW_MS + 9999);
    assert_non_null(message);
    message_drop(message);
    assert_null(retained_get(retained, bytes_of_str("a/b"), NOW_MS + 10000));
    assert_int_equal(atomic_load(&retained->count), 0);
    assert_int_equal(atomic_load(&retained->bytes), 0);
}

/* ---- walks: helpers ------------------------------------------------------------------------- */

enum { FOUND_MAX = 4096 };

/* What a walk has found, as topics one behind the other. */
struct found {
    uint32_t count;
    char topics[FOUND_MAX][TOPIC_ROOM];
};

static bool walk_step(struct retained_walk *walk, uint64_t now_ms, struct found *found)
{
    struct message *out[RETAINED_BATCH];
    bool done;
    uint32_t count = retained_walk_next(walk, now_ms, out, &done);
    assert_true(count <= RETAINED_BATCH);
    for (uint32_t i = 0; i < count; i++) {
        struct bytes topic = out[i]->publication.topic;
        assert_true(found->count < FOUND_MAX && topic.len < TOPIC_ROOM);
        memcpy(found->topics[found->count], topic.data, topic.len);
        found->topics[found->count++][topic.len] = '\0';
        message_drop(out[i]);
    }
    return done;
}

static struct found *found_new(void)
{
    struct found *found = calloc(1, sizeof(*found));
    assert_non_null(found);
    return found;
}

static struct found *walk_all(struct retained *retained, const char *filter, uint64_t now_ms)
{
    struct found *found = found_new();
    struct retained_walk *walk = retained_walk_new(retained, bytes_of_str(filter));
    assert_non_null(walk);
    while (!walk_step(walk, now_ms, found))
        ;
    retained_walk_free(walk);
    return found;
}

static uint32_t walk_count(struct retained *retained, const char *filter)
{
    struct found *found = walk_all(retained, filter, NOW_MS);
    uint32_t count = found->count;
    free(found);
    return count;
}

static uint32_t times_found(const struct found *found, const char *topic)
{
    uint32_t times = 0;
    for (uint32_t i = 0; i < found->count; i++)
        times += strcmp(found->topics[i], topic) == 0;
    return times;
}

/* ---- walks ---------------------------------------------------------------------------------- */

enum { MODEL_TOPICS = 300 };

static uint32_t random_topics(struct random *random, char topics[MODEL_TOPICS][TOPIC_ROOM])
{
    uint32_t count = 0;
    while (count < MODEL_TOPICS) {
        random_topic(random, topics[count]);
        uint32_t same = 0;
        while (strcmp(topics[same], topics[count]) != 0)
            same++;
        count += same == count; /* else it is there already */
    }
    return count;
}

static void retained_walk_finds_exactly_the_topics_that_match(void **state)
{
    static char topics[MODEL_TOPICS][TOPIC_ROOM];
    struct random random = {.state = 0xFEED};
    char filter[TOPIC_ROOM];
    uint32_t count = random_topics(&random, topics);
    for (uint32_t i = 0; i < count; i++)
        set(*state, topics[i], "x");
    for (int round = 0; round < 1500; round++) {
        random_filter(&random, filter);
        struct found *found = walk_all(*state, filter, NOW_MS);
        uint32_t expected = 0;
        for (uint32_t i = 0; i < count; i++) {
            bool matches = topic_matches(bytes_of_str(filter), bytes_of_str(topics[i]));
            if (times_found(found, topics[i]) != matches)
                print_error("topic '%s', filter '%s'\n", topics[i], filter);
            assert_int_equal(times_found(found, topics[i]), matches);
            expected += matches;
        }
        assert_int_equal(found->count, expected);
        free(found);
    }
}

static void retained_walk_of_everything_leaves_dollar_topics_out(void **state)
{
    set(*state, "$SYS/uptime", "1");
    set(*state, "a/$b", "1");
    assert_int_equal(walk_count(*state, "#"), 1);
    assert_int_equal(walk_count(*state, "+/uptime"), 0);
    assert_int_equal(walk_count(*state, "$SYS/#"), 1);
}

static void retained_walk_of_a_parent_and_below_includes_the_parent(void **state)
{
    set(*state, "a", "1");
    set(*state, "a/b", "1");
    set(*state, "ab", "1");
    assert_int_equal(walk_count(*state, "a/#"), 2);
    assert_int_equal(walk_count(*state, "+/#"), 3);
}

static void retained_walk_gives_the_newest_of_a_topic(void **state)
{
    set(*state, "a", "old");
    set(*state, "a", "new");
    struct retained_walk *walk = retained_walk_new(*state, bytes_of_str("+"));
    struct message *out[RETAINED_BATCH];
    bool done;
    assert_int_equal(retained_walk_next(walk, NOW_MS, out, &done), 1);
    assert_memory_equal(out[0]->publication.payload.data, "new", 3);
    message_drop(out[0]);
    retained_walk_free(walk);
}

static void retained_walk_over_nothing_is_done_at_once(void **state)
{
    struct retained_walk *walk = retained_walk_new(*state, bytes_of_str("#"));
    struct message *out[RETAINED_BATCH];
    bool done = false;
    assert_int_equal(retained_walk_next(walk, NOW_MS, out, &done), 0);
    assert_true(done);
    retained_walk_free(walk);
}

static void retained_walk_drops_what_has_expired(void **state)
{
    struct retained *retained = *state;
    set_expiring(retained, "a/1", 10);
    set_expiring(retained, "a/2/x", 20);
    set(retained, "a/3", "1");
    struct found *found = walk_all(retained, "#", NOW_MS + 10000);
    assert_int_equal(found->count, 2);
    assert_int_equal(times_found(found, "a/1"), 0);
    assert_int_equal(atomic_load(&retained->count), 2);
    free(found);
}

static void set_many(struct retained *retained, uint32_t first, uint32_t count)
{
    char topic[TOPIC_ROOM];
    for (uint32_t i = first; i < first + count; i++) {
        snprintf(topic, sizeof(topic), "many/%u", i);
        assert_int_equal(set(retained, topic, "x"), RC_OK);
    }
}

static void clear_many(struct retained *retained, uint32_t first, uint32_t count)
{
    char topic[TOPIC_ROOM];
    for (uint32_t i = first; i < first + count; i++) {
        snprintf(topic, sizeof(topic), "many/%u", i);
        retained_clear(retained, bytes_of_str(topic));
    }
}

static void retained_walk_gives_a_batch_at_a_time(void **state)
{
    struct found *found = found_new();
    set_many(*state, 0, 3 * RETAINED_BATCH);
    struct retained_walk *walk = retained_walk_new(*state, bytes_of_str("#"));
    for (uint32_t i = 1; i <= 3; i++) {
        assert_false(walk_step(walk, NOW_MS, found));
        assert_int_equal(found->count, i * RETAINED_BATCH);
    }
    while (!walk_step(walk, NOW_MS, found))
        ;
    assert_int_equal(found->count, 3 * RETAINED_BATCH);
    retained_walk_free(walk);
    free(found);
}

/* Nothing matches, but there is much to look at. */
static void retained_walk_stops_after_so_many_steps(void **state)
{
    struct found *found = found_new();
    uint32_t calls = 1;
    set_many(*state, 0, 3 * RETAINED_STEPS);
    struct retained_walk *walk = retained_walk_new(*state, bytes_of_str("many/+/none"));
    for (; !walk_step(walk, NOW_MS, found); calls++)
        assert_true(calls < 20);
    assert_true(calls >= 3);
    assert_int_equal(found->count, 0);
    retained_walk_free(walk);
    free(found);
}

/* Whether a walk that has to look at everything under "many" does so in one call. */
static bool walk_is_short(struct retained *retained)
{
    struct message *out[RETAINED_BATCH];
    bool done;
    struct retained_walk *walk = retained_walk_new(retained, bytes_of_str("many/+/none"));
    assert_int_equal(retained_walk_next(walk, NOW_MS, out, &done), 0);
    retained_walk_free(walk);
    return done;
}

static void retained_topics_that_were_cleared_cost_a_walk_nothing(void **state)
{
    set_many(*state, 0, 3 * RETAINED_STEPS);
    assert_false(walk_is_short(*state));
    clear_many(*state, 0, 3 * RETAINED_STEPS);
    assert_true(walk_is_short(*state));
}

static void retained_topics_that_were_refused_cost_a_walk_nothing(void **state)
{
    struct retained *retained = *state;
    char topic[TOPIC_ROOM];
    retained->count_max = 1;
    set(retained, "many/x", "1");
    for (int i = 0; i < 3 * RETAINED_STEPS; i++) {
        snprintf(topic, sizeof(topic), "many/%d/x", i);
        assert_int_equal(set(retained, topic, "1"), RC_FULL);
    }
    assert_true(walk_is_short(retained));
}

/* ---- walks with changes in between ---------------------------------------------------------- */

static void retained_walk_meets_everything_that_stays_once(void **state)
{
    enum { STAY = 500, GO = 500, COME = 500 };
    struct found *found = found_new();
    char topic[TOPIC_ROOM];
    set_many(*state, 0, STAY + GO);
    struct retained_walk *walk = retained_walk_new(*state, bytes_of_str("many/+"));
    uint32_t gone = 0, came = 0;
    while (!walk_step(walk, NOW_MS, found)) {
        clear_many(*state, STAY + gone, 50);
        set_many(*state, STAY + GO + came, 50);
        gone += gone < GO - 50 ? 50 : 0;
        came += came < COME - 50 ? 50 : 0;
    }
    for (uint32_t i = 0; i < STAY + GO + COME; i++) {
        snprintf(topic, sizeof(topic), "many/%u", i);
        assert_in_range(times_found(found, topic), i < STAY, 1);
    }
    retained_walk_free(walk);
    free(found);
}

static void retained_walk_goes_on_when_what_it_stands_on_is_cleared(void **state)
{
    struct retained *retained = *state;
    struct found *found = found_new();
    set_many(retained, 0, 2 * RETAINED_BATCH);
    set(retained, "z", "last");
    struct retained_walk *walk = retained_walk_new(retained, bytes_of_str("#"));
    walk_step(walk, NOW_MS, found);
    clear_many(retained, 0, 2 * RETAINED_BATCH);
    assert_int_equal(atomic_load(&retained->count), 1);
    while (!walk_step(walk, NOW_MS, found))
        ;
    assert_int_equal(times_found(found, "z"), 1);
    assert_int_equal(found->count, RETAINED_BATCH + 1);
    retained_walk_free(walk);
    free(found);
}

static void retained_walks_stand_on_the_same_node_without_harm(void **state)
{
    struct retained *retained = *state;
    struct found *found[2] = {found_new(), found_new()};
    struct retained_walk *walks[2];
    set_many(retained, 0, 4 * RETAINED_BATCH);
    walks[0] = retained_walk_new(retained, bytes_of_str("many/#"));
    walk_step(walks[0], NOW_MS, found[0]);
    walks[1] = retained_walk_new(retained, bytes_of_str("#"));
    walk_step(walks[1], NOW_MS, found[1]);
    retained_walk_free(walks[0]);
    clear_many(retained, 0, 4 * RETAINED_BATCH - 1);
    set_many(retained, 1000, 10);
    while (!walk_step(walks[1], NOW_MS, found[1]))
        ;
    char topic[TOPIC_ROOM];
    snprintf(topic, sizeof(topic), "many/%u", 4 * RETAINED_BATCH - 1);
    assert_int_equal(times_found(found[1], topic), 1);
    retained_walk_free(walks[1]);
    free(found[0]);
    free(found[1]);
}

static void retained_walk_may_be_given_up_anywhere(void **state)
{
    struct found *found = found_new();
    set_many(*state, 0, 1000);
    set(*state, "a/b/c/d/e/f/g/h/i/j/k/l", "deep");
    struct retained_walk *walk = retained_walk_new(*state, bytes_of_str("+/#"));
    walk_step(walk, NOW_MS, found);
    retained_walk_free(walk);
    retained_walk_free(NULL);
    clear_many(*state, 0, 1000);
    assert_int_equal(walk_count(*state, "many/#"), 0);
    free(found);
}

/* Sets, clears, expiries and walks of all shapes, some given up: the count is the model's at the
 * end. */
static void retained_survives_walks_among_changes(void **state)
{
    enum { TOPICS = 200, WALKS = 4 };
    struct retained *retained = *state;
    struct random random = {.state = 0xABCD};
    struct retained_walk *walks[WALKS] = {NULL};
    struct found *found = found_new();
    bool there[TOPICS] = {false};
    char text[TOPIC_ROOM];
    for (int step = 0; step < 20000; step++) {
        uint32_t n = random_below(&random, TOPICS), w = random_below(&random, WALKS);
        snprintf(text, sizeof(text), "%u/%u/%u", n % 2, n % 20, n);
        there[n] = random_below(&random, 100) < (step / 3000 % 2 ? 20 : 80);
        if (there[n])
            set(retained, text, "x");
        else
            retained_clear(retained, bytes_of_str(text));
        found->count = 0;
        if (walks[w] == NULL) {
            walks[w] = retained_walk_new(retained, random_filter(&random, text));
        } else if (walk_step(walks[w], NOW_MS, found) || random_below(&random, 8) == 0) {
            retained_walk_free(walks[w]);
            walks[w] = retained_walk_new(retained, bytes_of_str(step % 2 ? "#" : "+/+/+"));
        }
    }
    for (int w = 0; w < WALKS; w++)
        retained_walk_free(walks[w]);
    uint32_t expected = 0;
    for (int n = 0; n < TOPICS; n++)
        expected += there[n];
    assert_int_equal(atomic_load(&retained->count), expected);
    assert_int_equal(walk_count(retained, "#"), expected);
    free(found);
}

/* ---- threads -------------------------------------------------------------------------------- */

static void *set_and_clear(void *arg)
{
    for (int round = 0; round < 20; round++) {
        set_many(arg, 0, 100);
        clear_many(arg, 0, 100);
    }
    return NULL;
}

static void retained_may_be_used_by_several_threads(void **state)
{
    pthread_t threads[2];
    set_many(*state, 1000, 100);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, set_and_clear, *state), 0);
    for (int round = 0; round < 30; round++)
        assert_true(walk_count(*state, "#") >= 100);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(walk_count(*state, "#"), 100);
}

#define RULE(rule) cmocka_unit_test_setup_teardown(rule, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        RULE(retained_get_gives_what_was_set),
        RULE(retained_get_looks_at_the_whole_topic),
        RULE(retained_set_replaces),
        RULE(retained_clear_removes_the_one_of_the_topic),
        RULE(retained_clear_of_nothing_is_harmless),
        RULE(retained_get_gives_a_reference_that_outlives_the_clear),
        RULE(retained_counts_messages_and_their_bytes),
        RULE(retained_set_at_the_limit_of_messages_changes_nothing),
        RULE(retained_set_at_the_limit_of_messages_still_replaces),
        RULE(retained_clear_makes_room_under_the_limit),
        RULE(retained_set_at_the_limit_of_bytes_changes_nothing),
        RULE(retained_set_over_the_limit_of_bytes_may_still_shrink),
        RULE(retained_get_drops_what_has_expired),
        RULE(retained_walk_finds_exactly_the_topics_that_match),
        RULE(retained_walk_of_everything_leaves_dollar_topics_out),
        RULE(retained_walk_of_a_parent_and_below_includes_the_parent),
        RULE(retained_walk_gives_the_newest_of_a_topic),
        RULE(retained_walk_over_nothing_is_done_at_once),
        RULE(retained_walk_drops_what_has_expired),
        RULE(retained_walk_gives_a_batch_at_a_time),
        RULE(retained_walk_stops_after_so_many_steps),
        RULE(retained_topics_that_were_cleared_cost_a_walk_nothing),
        RULE(retained_topics_that_were_refused_cost_a_walk_nothing),
        RULE(retained_walk_meets_everything_that_stays_once),
        RULE(retained_walk_goes_on_when_what_it_stands_on_is_cleared),
        RULE(retained_walks_stand_on_the_same_node_without_harm),
        RULE(retained_walk_may_be_given_up_anywhere),
        RULE(retained_survives_walks_among_changes),
        RULE(retained_may_be_used_by_several_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
