/* SPDX-License-Identifier: Apache-2.0 */
/* Both ends of a copy, with a line between them that the test pumps. */
#include "cluster/copy.h"

#include "base/list.h"
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { GROUP = 3, SHARDS = 64, CHUNK = 100, FRAMES = 16, TOKEN = 9 };

struct said {
    struct link_frame frame;
    uint8_t body[256];
};

/* What one end has said and the other has not heard. */
struct line {
    struct copy_line line;
    struct said said[FRAMES];
    uint32_t count, heard;
    bool broken;
};

struct world {
    struct line to_giver, to_taker;
    struct give give;
    struct take take;
    /* the giver's owner */
    enum rc open_rc, next_rc;
    uint32_t chunks, next; /* to be given; and given */
    int images;
    const char *id;
    /* the taker's */
    uint32_t begun, taken, ended, done;
    bool refuses_position, refuses_chunk;
    uint64_t now_ms;
};

/* ---- the owners ---------------------------------------------------------------------------------
 */

static struct bytes on_cluster(void *owner, uint32_t *shards)
{
    *shards = SHARDS;
    return bytes_of_str(((struct world *)owner)->id);
}

static enum rc on_open(void *owner, uint32_t group, void **image, uint8_t *position, uint32_t *len)
{
    struct world *w = owner;
    assert_int_equal(group, GROUP);
    if (w->open_rc != RC_OK)
        return w->open_rc;
    memcpy(position, "here", 4);
    *len = 4;
    *image = w;
    w->images++;
    return RC_OK;
}

static enum rc on_next(void *owner, void *image, struct bytes *chunk)
{
    static uint8_t bytes[CHUNK];
    struct world *w = owner;
    assert_ptr_equal(image, w);
    if (w->next == w->chunks)
        return w->next_rc;
    memset(bytes, (int)++w->next, sizeof(bytes));
    *chunk = bytes_of(bytes, sizeof(bytes));
    return RC_OK;
}

static void on_close(void *owner, void *image)
{
    struct world *w = owner;
    assert_ptr_equal(image, w);
    w->images--;
}

static bool on_begin(void *owner, uint32_t group, uint64_t token, struct bytes position)
{
    struct world *w = owner;
    assert_int_equal(group, GROUP);
    assert_int_equal(token, TOKEN);
    assert_true(bytes_equal(position, bytes_of_str("here")));
    w->begun++;
    return !w->refuses_position;
}

static bool on_chunk(void *owner, uint32_t group, uint64_t token, struct bytes records,
                     uint32_t *count)
{
    struct world *w = owner;
    assert_int_equal(group, GROUP);
    assert_int_equal(token, TOKEN);
    assert_int_equal(records.len, CHUNK);
    assert_int_equal(records.data[0], ++w->taken);
    *count = 10;
    return !w->refuses_chunk;
}

static void on_end(void *owner, uint32_t group, uint64_t token, struct bytes position)
{
    struct world *w = owner;
    assert_int_equal(group + token, GROUP + TOKEN);
    assert_true(bytes_equal(position, bytes_of_str("here")));
    w->ended++;
}

static void on_done(void *owner, uint32_t group, struct bytes position)
{
    struct world *w = owner;
    assert_int_equal(group, GROUP);
    assert_true(bytes_equal(position, bytes_of_str("here")));
    w->done++;
}

static const struct copies_ops ops = {
    .cluster = on_cluster,
    .open = on_open,
    .next = on_next,
    .close = on_close,
    .begin = on_begin,
    .chunk = on_chunk,
    .end = on_end,
    .done = on_done,
};

/* ---- the line -----------------------------------------------------------------------------------
 */

static bool on_send(struct copy_line *base, enum link_kind kind, uint8_t flags, struct bytes head,
                    struct bytes rest)
{
    struct line *line = CONTAINER_OF(base, struct line, line);
    struct said *said = &line->said[line->count];
    if (line->broken)
        return false;
    assert_true(++line->count < FRAMES && head.len + rest.len <= sizeof(said->body));
    if (head.len > 0)
        memcpy(said->body, head.data, head.len);
    if (rest.len > 0)
        memcpy(said->body + head.len, rest.data, rest.len);
    said->frame = (struct link_frame){
        .kind = (uint8_t)kind, .flags = flags, .body = bytes_of(said->body, head.len + rest.len)};
    return true;
}

/* The next frame; NULL: nothing was said. */
static struct link_frame *hear(struct line *line)
{
    if (line->heard == line->count) {
        line->heard = line->count = 0;
        return NULL;
    }
    return &line->said[line->heard++].frame;
}

static void to_giver(struct world *w)
{
    for (struct link_frame *frame; (frame = hear(&w->to_giver)) != NULL;)
        assert_true(give_frame(&w->give, frame, w->now_ms));
}

static void to_taker(struct world *w)
{
    for (struct link_frame *frame; (frame = hear(&w->to_taker)) != NULL;)
        take_frame(&w->take, frame, w->now_ms);
}

static struct world *world_new(uint32_t chunks)
{
    struct world *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    *w = (struct world){.chunks = chunks, .next_rc = RC_NOT_FOUND, .id = "abc", .now_ms = 1000};
    w->to_giver.line.send = w->to_taker.line.send = on_send;
    give_begin(&w->give, &ops, w, &w->to_taker.line, false, w->now_ms);
    take_begin(&w->take, &ops, w, GROUP, TOKEN, w->now_ms);
    return w;
}

static void ask(struct world *w)
{
    struct copy_ask ask = {.format = COPY_FORMAT,
                           .cluster = bytes_of_str("abc"),
                           .group = GROUP,
                           .groups = COPIES_GROUPS,
                           .shards = SHARDS};
    take_ask(&w->take, &w->to_giver.line, &ask, w->now_ms);
}

static void world_free(struct world *w)
{
    give_end(&w->give);
    assert_int_equal(w->images, 0);
    free(w);
}

static void assert_refused(struct world *w, enum copy_refusal refusal)
{
    ask(w);
    to_giver(w);
    to_taker(w);
    assert_int_equal(w->take.state, TAKE_FAILED);
    assert_string_equal(w->take.why, copy_refusal_text(refusal));
    assert_int_equal(w->begun, 0);
    assert_int_equal(w->images, 0);
    world_free(w);
}

/* A giver that has begun, and of whose chunks the taker has heard none. */
static struct world *world_begun(uint32_t chunks)
{
    struct world *w = world_new(chunks);
    ask(w);
    to_giver(w);
    take_frame(&w->take, hear(&w->to_taker), w->now_ms);
    assert_int_equal(w->take.state, TAKE_TAKES);
    return w;
}

/* ---- rules --------------------------------------------------------------------------------------
 */

static void a_copy_is_done_when_all_of_it_is_written(void **state)
{
    struct world *w = world_new(5);
    (void)state;
    ask(w);
    for (int turns = 0; w->ended == 0; turns++) {
        assert_true(turns < 20);
        to_giver(w);
        to_taker(w);
        if (w->take.written < w->taken)
            take_written(&w->take, 1, w->now_ms);
    }
    take_written(&w->take, w->taken - w->take.written, w->now_ms);
    assert_int_equal(w->done, 0); /* the end is not */
    take_written(&w->take, 1, w->now_ms);
    assert_int_equal(w->done, 1);
    assert_int_equal(w->take.state, TAKE_DONE);
    assert_int_equal(w->taken, 5);
    assert_int_equal(w->take.records, 50);
    assert_int_equal(w->images, 0); /* before the link ends */
    world_free(w);
}

static void a_group_without_records_is_copied_as_well(void **state)
{
    struct world *w = world_new(0);
    (void)state;
    ask(w);
    to_giver(w);
    to_taker(w);
    assert_int_equal(w->ended, 1);
    take_written(&w->take, 1, w->now_ms);
    assert_int_equal(w->done, 1);
    world_free(w);
}

static void no_more_is_under_way_than_the_taker_can_write(void **state)
{
    struct world *w = world_new(10);
    (void)state;
    ask(w);
    for (int turns = 0; turns < 5; turns++) {
        to_giver(w);
        to_taker(w);
    }
    assert_int_equal(w->taken, COPY_WINDOW);
    assert_int_equal(w->next, COPY_WINDOW); /* nor is it read */
    take_written(&w->take, 1, w->now_ms);
    to_giver(w);
    to_taker(w);
    assert_int_equal(w->taken, COPY_WINDOW + 1);
    world_free(w);
}

static void what_cannot_be_given_is_refused_with_a_reason(void **state)
{
    struct world *w = world_new(1);
    (void)state;
    w->open_rc = RC_NOT_FOUND;
    assert_refused(w, COPY_NOT_WHOLE);
    w = world_new(1);
    w->open_rc = RC_INVALID;
    assert_refused(w, COPY_NOT_READABLE);
    w = world_new(1);
    w->id = "another";
    assert_refused(w, COPY_OTHER_CLUSTER);
    w = world_new(1);
    w->id = ""; /* it is in none */
    assert_refused(w, COPY_OTHER_CLUSTER);
    w = world_new(1);
    w->give.busy = true;
    assert_refused(w, COPY_BUSY);
}

static void another_version_is_refused_whatever_follows_it(void **state)
{
    struct world *w = world_new(1);
    uint8_t body[] = {COPY_FORMAT + 1, 1, 2, 3};
    struct link_frame frame = {.kind = LINK_COPY_ASK, .body = bytes_of(body, sizeof(body))};
    (void)state;
    assert_true(give_frame(&w->give, &frame, w->now_ms));
    assert_int_equal(w->to_taker.said[0].frame.kind, LINK_COPY_REFUSED);
    assert_int_equal(w->to_taker.said[0].frame.flags, COPY_FORMAT_UNKNOWN);
    world_free(w);
}

static void a_store_that_fails_in_the_middle_ends_the_copy(void **state)
{
    struct world *w = world_new(1);
    (void)state;
    w->next_rc = RC_INVALID;
    ask(w);
    to_giver(w);
    to_taker(w);
    assert_int_equal(w->taken, 1);
    assert_int_equal(w->take.state, TAKE_FAILED);
    assert_int_equal(w->ended + w->done, 0);
    world_free(w);
}

static void a_chunk_that_is_damaged_missing_or_foreign_ends_the_copy(void **state)
{
    (void)state;
    struct world *w = world_begun(2);
    w->to_taker.said[1].body[COPY_CHUNK_HEAD + 5] ^= 1;
    take_frame(&w->take, hear(&w->to_taker), w->now_ms);
    assert_string_equal(w->take.why, "a chunk is damaged");
    world_free(w);
    w = world_begun(2);
    (void)hear(&w->to_taker); /* lost on the way */
    take_frame(&w->take, hear(&w->to_taker), w->now_ms);
    assert_string_equal(w->take.why, "a chunk is missing");
    world_free(w);
    w = world_begun(2);
    w->refuses_chunk = true;
    take_frame(&w->take, hear(&w->to_taker), w->now_ms);
    assert_int_equal(w->take.state, TAKE_FAILED);
    assert_int_equal(w->ended + w->done, 0);
    world_free(w);
}

static void more_than_was_asked_for_ends_the_copy(void **state)
{
    struct world *w = world_begun(5);
    (void)state;
    w->give.written = 1; /* it believes that it has credit */
    uint8_t body[COPY_CREDIT_SIZE];
    copy_credit_write(1, body);
    struct link_frame credit = {.kind = LINK_COPY_CREDIT, .body = bytes_of(body, sizeof(body))};
    assert_true(give_frame(&w->give, &credit, w->now_ms));
    to_taker(w);
    assert_string_equal(w->take.why, "more comes than was asked for");
    world_free(w);
}

static void an_end_that_counts_otherwise_ends_the_copy(void **state)
{
    struct world *w = world_begun(1);
    (void)state;
    w->to_taker.said[2].body[3]++; /* chunks */
    to_taker(w);
    assert_string_equal(w->take.why, "it is not all that has come");
    assert_int_equal(w->ended, 0);
    world_free(w);
}

static void a_position_that_is_none_ends_the_copy(void **state)
{
    struct world *w = world_new(1);
    (void)state;
    w->refuses_position = true;
    ask(w);
    to_giver(w);
    to_taker(w);
    assert_int_equal(w->take.state, TAKE_FAILED);
    assert_int_equal(w->taken, 0);
    world_free(w);
}

static void frames_out_of_turn_make_no_sense(void **state)
{
    static const enum link_kind kinds[] = {LINK_COPY_BEGIN, LINK_COPY_CHUNK, LINK_COPY_END,
                                           LINK_COPY_CREDIT, LINK_PUBLISH};
    (void)state;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        struct world *w = world_new(1);
        uint8_t body[16] = {0};
        struct link_frame frame = {.kind = (uint8_t)kinds[i], .body = bytes_of(body, 12)};
        assert_false(give_frame(&w->give, &frame, w->now_ms));
        ask(w);
        take_frame(&w->take, &frame, w->now_ms);
        assert_int_equal(w->take.state, TAKE_FAILED);
        assert_int_equal(w->begun + w->taken + w->ended, 0);
        world_free(w);
    }
    struct world *w = world_begun(9);
    uint8_t body[COPY_CREDIT_SIZE];
    copy_credit_write(COPY_WINDOW + 1, body); /* for what was never sent */
    struct link_frame frame = {.kind = LINK_COPY_CREDIT, .body = bytes_of(body, sizeof(body))};
    assert_false(give_frame(&w->give, &frame, w->now_ms));
    world_free(w);
}

static void a_copy_that_stalls_or_lasts_too_long_is_late_at_both_ends(void **state)
{
    struct world *w = world_begun(9);
    (void)state;
    w->now_ms += COPY_STALL_MS - 1;
    assert_false(take_is_late(&w->take, w->now_ms) || give_is_late(&w->give, w->now_ms));
    to_taker(w);
    take_written(&w->take, 1, w->now_ms);
    to_giver(w);
    w->now_ms += COPY_STALL_MS - 1;
    assert_false(take_is_late(&w->take, w->now_ms) || give_is_late(&w->give, w->now_ms));
    w->now_ms++;
    assert_true(take_is_late(&w->take, w->now_ms) && give_is_late(&w->give, w->now_ms));
    w->take.moved_ms = w->give.moved_ms = w->now_ms = COPY_MAX_MS + 1000;
    assert_true(take_is_late(&w->take, w->now_ms) && give_is_late(&w->give, w->now_ms));
    world_free(w);
}

static void what_is_written_after_a_failure_does_not_count(void **state)
{
    struct world *w = world_begun(1);
    (void)state;
    to_taker(w);
    assert_int_equal(w->take.state, TAKE_WRITES);
    take_fail(&w->take, "a reason");
    take_fail(&w->take, "another one");
    take_written(&w->take, 2, w->now_ms);
    assert_int_equal(w->done, 0);
    assert_string_equal(w->take.why, "a reason");
    world_free(w);
}

static void a_line_that_has_ended_is_noticed_when_something_is_said(void **state)
{
    struct world *w = world_begun(9);
    (void)state;
    w->to_giver.broken = w->to_taker.broken = true;
    take_frame(&w->take, hear(&w->to_taker), w->now_ms);
    take_written(&w->take, 1, w->now_ms);
    assert_int_equal(w->take.state, TAKE_FAILED);
    uint8_t body[COPY_CREDIT_SIZE];
    copy_credit_write(1, body);
    struct link_frame credit = {.kind = LINK_COPY_CREDIT, .body = bytes_of(body, sizeof(body))};
    assert_false(give_frame(&w->give, &credit, w->now_ms));
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_is_done_when_all_of_it_is_written),
        cmocka_unit_test(a_group_without_records_is_copied_as_well),
        cmocka_unit_test(no_more_is_under_way_than_the_taker_can_write),
        cmocka_unit_test(what_cannot_be_given_is_refused_with_a_reason),
        cmocka_unit_test(another_version_is_refused_whatever_follows_it),
        cmocka_unit_test(a_store_that_fails_in_the_middle_ends_the_copy),
        cmocka_unit_test(a_chunk_that_is_damaged_missing_or_foreign_ends_the_copy),
        cmocka_unit_test(more_than_was_asked_for_ends_the_copy),
        cmocka_unit_test(an_end_that_counts_otherwise_ends_the_copy),
        cmocka_unit_test(a_position_that_is_none_ends_the_copy),
        cmocka_unit_test(frames_out_of_turn_make_no_sense),
        cmocka_unit_test(a_copy_that_stalls_or_lasts_too_long_is_late_at_both_ends),
        cmocka_unit_test(what_is_written_after_a_failure_does_not_count),
        cmocka_unit_test(a_line_that_has_ended_is_noticed_when_something_is_said),
    };
    log_set_level(LOG_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
