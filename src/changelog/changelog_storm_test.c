/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes that claim, append and give up at random over connections that lose, delay and forget at
 * random. At every moment at most one has a lease (the fixture looks); in the end everything that
 * was committed is in the log once, in order, and all that follow it have read the same.
 */
#include "changelog/changelog_fixture.h"

#include "base/log.h"

enum { STORM_NODES = 3, STORM_MS = 40000, STORM_SEEDS = 60, QUIET_MS = 30000 };

struct storm {
    struct world *world;
    uint64_t random;
    uint32_t appended;
    char texts[WORLD_BATCHES][64]; /* batch n, by its cookie */
};

static uint32_t below(struct storm *storm, uint32_t limit)
{
    storm->random ^= storm->random << 13;
    storm->random ^= storm->random >> 7;
    storm->random ^= storm->random << 17;
    return (uint32_t)(storm->random >> 11) % limit;
}

static void trouble(struct storm *storm, struct node *node)
{
    switch (below(storm, 4000)) {
    case 0:
        node->cut = !node->cut;
        break;
    case 1:
        node->failing = !node->failing;
        break;
    case 2:
        node->lost_answers = below(storm, 5);
        break;
    case 3:
        node->delay_ms = below(storm, 900);
        break;
    case 4:
        node->stale_above = below(storm, 2) ? node->log->last : 0;
        break;
    case 5:
        node->forgets_ids = !node->forgets_ids;
        break;
    case 6:
    case 7:
        node->cut = node->failing = node->forgets_ids = false;
        node->lost_answers = 0;
        node->delay_ms = 1;
        node->stale_above = 0;
        break;
    default:
        break;
    }
}

static void work(struct storm *storm, struct node *node)
{
    struct changelog *log = &node->changelog;

    if (log->state == CHANGELOG_OPEN && !log->release_wanted && log->batch.data == NULL &&
        below(storm, 30) == 0) {
        char *text = storm->texts[storm->appended];
        snprintf(text, sizeof(storm->texts[0]), "%u.%0*u", storm->appended,
                 (int)below(storm, 50) + 1, 0U);
        assert_int_equal(append(node, text, storm->appended++), RC_OK);
    }
    if (log->state == CHANGELOG_OPEN && below(storm, 4000) == 0 && !log->release_wanted)
        changelog_release(log, node->world->now_ms);
    if (log->state == CHANGELOG_IDLE && below(storm, 50) == 0)
        follow(node);
    if (log->state == CHANGELOG_FOLLOWING && below(storm, 4000) == 0)
        claim(node);
    if (log->state > CHANGELOG_IDLE && log->state < CHANGELOG_OPEN && below(storm, 20000) == 0)
        changelog_stop(log);
}

static void calm(struct node *node)
{
    node->cut = node->failing = false;
    node->lost_answers = 0;
    node->delay_ms = 1;
    node->stale_above = 0;
}

/* Every batch that was committed, by whomever, is among the applied, once; those of one home in
 * its order. */
static void check_committed(struct storm *storm, const struct node *reader)
{
    static uint32_t seen[WORLD_BATCHES];
    memset(seen, 0, sizeof(seen));
    for (uint32_t i = 0; i < reader->applied_count; i++) {
        uint32_t cookie = (uint32_t)strtoul(reader->applied[i], NULL, 10);
        assert_true(cookie < storm->appended);
        assert_int_equal(strncmp(reader->applied[i], storm->texts[cookie], 15), 0);
        assert_int_equal(reader->applied_len[i], strlen(storm->texts[cookie]));
        assert_int_equal(seen[cookie], 0);
        seen[cookie] = i + 1;
    }
    for (int n = 0; n < STORM_NODES; n++) {
        const struct node *node = storm->world->nodes[n];
        uint32_t before = 0;
        for (uint32_t i = 0; i < node->committed_count; i++) {
            uint32_t at = seen[node->committed[i]];
            assert_true(at > before);
            before = at;
        }
    }
}

static uint32_t run_storm(uint64_t seed)
{
    static const char *const names[] = {"a", "b", "c"};
    struct storm *storm = NEW(struct storm);
    struct world *world = storm->world = world_new();
    uint32_t committed = 0;

    storm->random = seed * 0x9e3779b97f4a7c15u;
    for (uint32_t i = 0; i < STORM_NODES; i++)
        node_new(world, i, names[i])->record_max = CHANGELOG_HEADER + CHANGELOG_CLAIM_MAX;
    world->nodes[0]->record_max = CHANGELOG_HEADER + 20; /* its batches may go in parts */
    for (uint32_t ms = 0; ms < STORM_MS; ms++) {
        for (uint32_t i = 0; i < STORM_NODES; i++) {
            trouble(storm, world->nodes[i]);
            work(storm, world->nodes[i]);
        }
        world_advance(world, 1);
    }
    for (uint32_t i = 0; i < STORM_NODES; i++)
        calm(world->nodes[i]);
    world_advance(world, QUIET_MS);

    struct node *reader = node_new(world, STORM_NODES, "reader");
    follow(reader);
    world_advance(world, 3000);
    for (uint32_t i = 0; i < STORM_NODES; i++) {
        assert_int_equal(world->nodes[i]->broken, 0);
        committed += world->nodes[i]->committed_count;
    }
    assert_int_equal(reader->broken, 0);
    check_committed(storm, reader);
    world_free(world);
    mem_free(storm);
    return committed;
}

static void storms_lose_nothing_that_was_committed(void **state)
{
    uint32_t committed = 0;
    (void)state;

    for (uint64_t seed = 1; seed <= STORM_SEEDS; seed++) {
        uint32_t now = run_storm(seed);
        committed += now;
    }
    print_message("%u batches committed in %d storms\n", committed, STORM_SEEDS);
    assert_true(committed > 10 * STORM_SEEDS);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(storms_lose_nothing_that_was_committed),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
