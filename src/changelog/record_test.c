/* SPDX-License-Identifier: Apache-2.0 */
/* The format of records, and what can stand behind what. */
#include "changelog/chain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { GROUP = 7, ROOM = CHANGELOG_HEADER + CHANGELOG_CLAIM_MAX };

/* A record as it is in the log. */
struct whole {
    uint8_t bytes[ROOM];
    size_t len;
};

static struct whole written(const struct changelog_record *record)
{
    struct whole whole = {.len = CHANGELOG_HEADER + record->body.len};
    changelog_record_head(record, whole.bytes);
    if (record->body.len > 0)
        memcpy(whole.bytes + CHANGELOG_HEADER, record->body.data, record->body.len);
    return whole;
}

static struct whole claim_of(const char *node)
{
    struct changelog_claim claim = {.incarnation = 5, .attempt = 6};
    uint8_t body[CHANGELOG_CLAIM_MAX];
    struct changelog_record record = {
        .format = CHANGELOG_FORMAT, .kind = CHANGELOG_CLAIM, .part = 1, .parts = 1, .group = GROUP};

    snprintf(claim.node, sizeof(claim.node), "%s", node);
    claim.note = bytes_of_str("note");
    record.body = bytes_of(body, changelog_claim_encode(&claim, body));
    return written(&record);
}

/* ---- format ------------------------------------------------------------------------------------
 */

static void record_is_read_as_it_was_written(void **state)
{
    struct changelog_record record = {.format = 1,
                                      .kind = CHANGELOG_BATCH,
                                      .part = 2,
                                      .parts = 300,
                                      .group = 0x01020304,
                                      .epoch = 0x0102030405060708,
                                      .batch = 9,
                                      .before = {{1, 2, 3}},
                                      .body = bytes_of_str("body")};
    struct changelog_record again;
    struct whole whole = written(&record);
    (void)state;

    assert_true(changelog_record_decode(bytes_of(whole.bytes, whole.len), &again));
    assert_int_equal(again.format, 1);
    assert_int_equal(again.kind, CHANGELOG_BATCH);
    assert_int_equal(again.part, 2);
    assert_int_equal(again.parts, 300);
    assert_int_equal(again.group, 0x01020304);
    assert_true(again.epoch == 0x0102030405060708);
    assert_int_equal(again.batch, 9);
    assert_true(changelog_hash_equal(&again.before, &record.before));
    assert_true(bytes_equal(again.body, record.body));
}

static void format_does_not_change_without_a_new_number(void **state)
{
    static const uint8_t expected[] = {1, 1, 1, 0, 1, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0,  0, 5,
                                       0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0,  1, 2,
                                       0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 'a'};
    static const uint8_t hash[16] = {0x47, 0xc2, 0x49, 0x5c, 0xfc, 0x48, 0x89, 0xec,
                                     0x13, 0x7e, 0x5a, 0x69, 0x6f, 0x61, 0x46, 0x64};
    struct changelog_record record = {.format = 1,
                                      .kind = CHANGELOG_BATCH,
                                      .part = 1,
                                      .parts = 1,
                                      .group = 7,
                                      .epoch = 5,
                                      .batch = 6,
                                      .before = {{1, 2}},
                                      .body = bytes_of_str("a")};
    struct whole whole = written(&record);
    (void)state;

    assert_int_equal(whole.len, sizeof(expected));
    assert_memory_equal(whole.bytes, expected, sizeof(expected));
    struct changelog_hash next =
        changelog_hash_next(&record.before, bytes_of(whole.bytes, CHANGELOG_HEADER), record.body);
    assert_memory_equal(next.bytes, hash, sizeof(hash));
}

/* One byte of a good record changed so that it is none. */
static const struct {
    const char *what;
    size_t at;
    uint8_t byte;
} spoils[] = {
    {"format 0", 0, 0},
    {"format that is newer", 0, CHANGELOG_FORMAT + 1},
    {"kind 0", 1, 0},
    {"kind that is not known", 1, CHANGELOG_RELEASE + 1},
    {"part 0", 2, 0},
    {"part behind the last", 2, 2},
    {"something where nothing is", 6, 1},
    {"something where nothing is", 15, 1},
    {"no epoch", 16, 0},
    {"no batch", 24, 0},
    {"empty record with a body", 1, CHANGELOG_EMPTY},
    {"claim within an epoch", 1, CHANGELOG_CLAIM},
};

static void what_is_no_record_is_refused(void **state)
{
    struct changelog_record record = {.format = 1,
                                      .kind = CHANGELOG_BATCH,
                                      .part = 1,
                                      .parts = 1,
                                      .group = 7,
                                      .epoch = 5,
                                      .batch = 6,
                                      .body = bytes_of_str("a")};
    struct whole good = written(&record);
    (void)state;

    assert_true(changelog_record_decode(bytes_of(good.bytes, good.len), &record));
    for (size_t i = 0; i < sizeof(spoils) / sizeof(spoils[0]); i++) {
        struct whole bad = good;
        bad.bytes[spoils[i].at] = spoils[i].byte;
        assert_false(changelog_record_decode(bytes_of(bad.bytes, bad.len), &record));
    }
    for (size_t len = 0; len < good.len; len++)
        assert_false(changelog_record_decode(bytes_of(good.bytes, len), &record));
}

static void claim_is_read_as_it_was_written(void **state)
{
    struct whole whole = claim_of("node-1");
    struct changelog_record record;
    struct changelog_claim claim;
    (void)state;

    assert_true(changelog_record_decode(bytes_of(whole.bytes, whole.len), &record));
    assert_true(changelog_claim_decode(record.body, &claim));
    assert_string_equal(claim.node, "node-1");
    assert_int_equal(claim.incarnation, 5);
    assert_int_equal(claim.attempt, 6);
    assert_true(bytes_equal(claim.note, bytes_of_str("note")));
    for (size_t len = 0; len < 17 + strlen("node-1"); len++)
        assert_false(changelog_claim_decode(bytes_of(record.body.data, len), &claim));
}

static void claim_of_a_node_without_a_name_or_with_one_too_long_is_refused(void **state)
{
    static uint8_t body[17 + 300 + CHANGELOG_NOTE_MAX + 1];
    struct changelog_claim claim;
    (void)state;

    memset(body + 17, 'n', sizeof(body) - 17);
    for (int len = 0; len < 256; len++) {
        body[16] = (uint8_t)len;
        assert_int_equal(changelog_claim_decode(bytes_of(body, 17 + 300), &claim),
                         len > 0 && len < CHANGELOG_NODE_MAX);
    }
    body[16] = 1;
    assert_true(changelog_claim_decode(bytes_of(body, 18 + CHANGELOG_NOTE_MAX), &claim));
    assert_false(changelog_claim_decode(bytes_of(body, 19 + CHANGELOG_NOTE_MAX), &claim));
    body[17] = '\0';
    assert_false(changelog_claim_decode(bytes_of(body, 18), &claim));
}

/* ---- chain -------------------------------------------------------------------------------------
 */

/* Adds it and says why not; NULL: it fits. */
static const char *add(struct chain *chain, const struct whole *whole, bool *complete)
{
    struct changelog_record record;
    struct bytes body;
    return chain_add(chain, bytes_of(whole->bytes, whole->len), &record, complete, &body);
}

static struct whole next_of(const struct chain *chain, enum changelog_kind kind, const char *text,
                            uint16_t part, uint16_t parts)
{
    struct changelog_record record = chain_next(chain, kind, bytes_of_str(text), part, parts);
    return written(&record);
}

static void begin(struct chain *chain)
{
    static const struct changelog_position beginning = {0};
    struct whole claim = claim_of("a");
    bool complete;

    chain_init(chain, GROUP, &beginning);
    assert_null(add(chain, &claim, &complete));
    assert_true(complete);
}

static void log_begins_with_a_claim(void **state)
{
    static const struct changelog_position beginning = {0};
    struct chain chain;
    struct changelog_record record = {.format = 1,
                                      .kind = CHANGELOG_EMPTY,
                                      .part = 1,
                                      .parts = 1,
                                      .group = GROUP,
                                      .epoch = 1,
                                      .batch = 1};
    struct whole whole = written(&record);
    bool complete;
    (void)state;

    chain_init(&chain, GROUP, &beginning);
    assert_string_equal(add(&chain, &whole, &complete), "it is of another epoch");
    assert_int_equal(chain.at.sequence, 0);
    chain_deinit(&chain);
}

static void batch_is_followed_by_the_next(void **state)
{
    struct chain chain;
    bool complete;
    (void)state;

    begin(&chain);
    struct whole one = next_of(&chain, CHANGELOG_BATCH, "one", 1, 1);
    assert_null(add(&chain, &one, &complete));
    assert_true(complete);
    assert_non_null(add(&chain, &one, &complete)); /* not a second time */
    struct whole two = next_of(&chain, CHANGELOG_BATCH, "two", 1, 1);
    two.bytes[24]++; /* the one after the next */
    assert_string_equal(add(&chain, &two, &complete), "it is not the next batch");
    two.bytes[24]--;
    two.bytes[8]++;
    assert_string_equal(add(&chain, &two, &complete), "it is of another group");
    two.bytes[8]--;
    two.bytes[32] ^= 1;
    assert_non_null(strstr(add(&chain, &two, &complete), "forked"));
    two.bytes[32] ^= 1;
    assert_null(add(&chain, &two, &complete));
    assert_int_equal(chain.whole.sequence, 3);
    assert_int_equal(chain.whole.batch, 2);
    assert_true(chain.whole.held);
    chain_deinit(&chain);
}

static void chain_is_carried_across_a_claim(void **state)
{
    struct chain chain, other;
    struct whole claim = claim_of("b");
    bool complete;
    (void)state;

    begin(&chain);
    begin(&other);
    struct whole one = next_of(&chain, CHANGELOG_BATCH, "one", 1, 1);
    struct whole fork = next_of(&chain, CHANGELOG_BATCH, "eno", 1, 1);
    assert_null(add(&chain, &one, &complete));
    assert_null(add(&other, &fork, &complete));
    assert_null(add(&chain, &claim, &complete));
    assert_null(add(&other, &claim, &complete));
    assert_int_equal(chain.at.epoch, 3);
    struct whole first = next_of(&chain, CHANGELOG_EMPTY, "", 1, 1);

    assert_null(add(&chain, &first, &complete));
    assert_non_null(strstr(add(&other, &first, &complete), "forked"));
    chain_deinit(&chain);
    chain_deinit(&other);
}

static void parts_make_a_batch_when_all_are_there(void **state)
{
    struct chain chain;
    struct changelog_record record;
    struct bytes body;
    bool complete;
    (void)state;

    begin(&chain);
    struct whole part = next_of(&chain, CHANGELOG_BATCH, "on", 1, 3);
    assert_null(add(&chain, &part, &complete));
    assert_false(complete);
    assert_int_equal(chain.whole.sequence, 1);
    struct whole wrong = next_of(&chain, CHANGELOG_BATCH, "e", 3, 3);
    assert_string_equal(add(&chain, &wrong, &complete), "it is not the next part");
    wrong = next_of(&chain, CHANGELOG_BATCH, "e", 2, 4);
    assert_string_equal(add(&chain, &wrong, &complete), "it is not the next part");
    part = next_of(&chain, CHANGELOG_BATCH, "e t", 2, 3);
    assert_null(add(&chain, &part, &complete));
    part = next_of(&chain, CHANGELOG_BATCH, "wo", 3, 3);
    assert_null(chain_add(&chain, bytes_of(part.bytes, part.len), &record, &complete, &body));

    assert_true(complete);
    assert_true(bytes_equal(body, bytes_of_str("one two")));
    assert_int_equal(chain.whole.sequence, 4);
    assert_int_equal(chain.whole.batch, 1);
    chain_deinit(&chain);
}

static void claim_ends_a_batch_that_is_not_complete(void **state)
{
    struct chain chain;
    struct whole claim = claim_of("b");
    bool complete;
    (void)state;

    begin(&chain);
    struct whole part = next_of(&chain, CHANGELOG_BATCH, "on", 1, 2);
    struct whole rest;
    assert_null(add(&chain, &part, &complete));
    rest = next_of(&chain, CHANGELOG_BATCH, "e", 2, 2);
    assert_null(add(&chain, &claim, &complete));
    assert_true(complete);

    assert_string_equal(add(&chain, &rest, &complete), "it is of another epoch");
    assert_int_equal(chain.whole.sequence, 3);
    chain_deinit(&chain);
}

static void nothing_follows_a_release_but_a_claim(void **state)
{
    struct chain chain, later;
    struct whole claim = claim_of("b");
    bool complete;
    (void)state;

    begin(&chain);
    struct whole release = next_of(&chain, CHANGELOG_RELEASE, "", 1, 1);
    assert_null(add(&chain, &release, &complete));
    assert_false(chain.whole.held);
    struct whole empty = next_of(&chain, CHANGELOG_EMPTY, "", 1, 1);
    assert_string_equal(add(&chain, &empty, &complete), "its home had released the group");
    chain_init(&later, GROUP, &chain.whole); /* who comes back knows it, too */
    assert_string_equal(add(&later, &empty, &complete), "its home had released the group");

    assert_null(add(&chain, &claim, &complete));
    assert_false(chain.whole.held);
    chain_deinit(&chain);
    chain_deinit(&later);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(record_is_read_as_it_was_written),
        cmocka_unit_test(format_does_not_change_without_a_new_number),
        cmocka_unit_test(what_is_no_record_is_refused),
        cmocka_unit_test(claim_is_read_as_it_was_written),
        cmocka_unit_test(claim_of_a_node_without_a_name_or_with_one_too_long_is_refused),
        cmocka_unit_test(log_begins_with_a_claim),
        cmocka_unit_test(batch_is_followed_by_the_next),
        cmocka_unit_test(chain_is_carried_across_a_claim),
        cmocka_unit_test(parts_make_a_batch_when_all_are_there),
        cmocka_unit_test(claim_ends_a_batch_that_is_not_complete),
        cmocka_unit_test(nothing_follows_a_release_but_a_claim),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
