/* SPDX-License-Identifier: Apache-2.0 */
/* What nodes say of their groups, there and back, and what is refused of it. */
#include "cluster/news.h"
#include "link/handshake.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct homes_news some_news(void)
{
    struct homes_news news = {.id = "0123456789abcdef",
                              .founded = true,
                              .holds = true,
                              .standby = true,
                              .drained = true,
                              .rebalance = 7,
                              .instance = 0xfedcba9876543210,
                              .server = "n1-0123456789abcdef",
                              .left = "n2-00000000000000aa",
                              .engine = HOMES_ENGINE_UP,
                              .weight = 250,
                              .workers = 8};
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        news.groups[i] = (struct homes_group_news){
            .part = (uint8_t)(i % 3),
            .epoch = 1000 + i,
            .sequence = 1ULL << 40 | i,
            .flushed = {.sequence = 77 + i, .epoch = 5, .batch = 6, .hash = {{9, 8}}, .held = true},
        };
    return news;
}

static void news_say_the_same_when_they_have_been_read(void **state)
{
    struct homes_news news = some_news(), read;
    uint8_t body[NEWS_BYTES];
    (void)state;

    size_t len = news_write(&news, LINK_VERSION_MAX, body);
    assert_true(len <= NEWS_BYTES && news_read(bytes_of(body, len), LINK_VERSION_MAX, &read));
    assert_string_equal(read.id, news.id);
    assert_true(read.drained && read.rebalance == 7 && read.instance == news.instance);
    assert_string_equal(read.server, news.server);
    assert_string_equal(read.left, news.left);
    assert_true(read.founded && read.holds && read.standby && read.engine == HOMES_ENGINE_UP);
    assert_int_equal(read.weight, 250);
    assert_int_equal(read.workers, 8);
    for (uint32_t i = 0; i < HOMES_GROUPS; i++) {
        assert_int_equal(read.groups[i].part, news.groups[i].part);
        assert_int_equal(read.groups[i].epoch, news.groups[i].epoch);
        assert_int_equal(read.groups[i].sequence, news.groups[i].sequence);
        assert_int_equal(read.groups[i].flushed.sequence, news.groups[i].flushed.sequence);
        assert_true(read.groups[i].flushed.held);
        assert_true(
            changelog_hash_equal(&read.groups[i].flushed.hash, &news.groups[i].flushed.hash));
    }
}

static void news_for_an_older_node_say_what_it_understands(void **state)
{
    struct homes_news news = some_news(), read;
    uint8_t body[NEWS_BYTES];
    (void)state;

    news.engine = HOMES_ENGINE_JOINS;
    size_t len = news_write(&news, LINK_VERSION_JOINS - 1, body);
    assert_false(news_read(bytes_of(body, len), LINK_VERSION_JOINS, &read));
    assert_true(news_read(bytes_of(body, len), LINK_VERSION_JOINS - 1, &read));
    assert_int_equal(read.engine, HOMES_ENGINE_UP);
    assert_string_equal(read.left, "");
    assert_string_equal(read.server, news.server);
    len = news_write(&news, LINK_VERSION_JOINS, body);
    assert_true(news_read(bytes_of(body, len), LINK_VERSION_JOINS, &read));
    assert_int_equal(read.engine, HOMES_ENGINE_JOINS);
}

static void news_that_end_early_or_late_are_refused(void **state)
{
    struct homes_news news = some_news(), read;
    uint8_t body[NEWS_BYTES + 1] = {0};
    (void)state;

    size_t len = news_write(&news, LINK_VERSION_MAX, body);
    for (size_t cut = 0; cut < len; cut++)
        assert_false(news_read(bytes_of(body, cut), LINK_VERSION_MAX, &read));
    assert_false(news_read(bytes_of(body, len + 1), LINK_VERSION_MAX, &read));
}

static void refused(struct homes_news news)
{
    struct homes_news read;
    uint8_t body[NEWS_BYTES];

    assert_false(news_read(bytes_of(body, news_write(&news, LINK_VERSION_MAX, body)),
                           LINK_VERSION_MAX, &read));
}

static void news_with_what_cannot_be_are_refused(void **state)
{
    struct homes_news news = some_news();
    (void)state;

    news.weight = 0;
    refused(news);
    news = some_news();
    news.engine = HOMES_ENGINES;
    refused(news);
    news = some_news();
    news.groups[4].part = HOMES_COPIES + 1;
    refused(news);
    news = some_news();
    news.groups[4].epoch = 1ULL << 46; /* more than homes_of() can give */
    refused(news);
}

static void removed_node_is_read_as_it_was_written_and_not_when_it_cannot_be_one(void **state)
{
    struct homes_known removed = {"n2", "192.0.2.3:7883", "n2-00", 77}, read;
    uint8_t body[NEWS_REMOVED_BYTES];
    (void)state;

    size_t len = news_write_removed(&removed, body);
    assert_true(news_read_removed(bytes_of(body, len), &read));
    assert_string_equal(read.node, "n2");
    assert_string_equal(read.address, "192.0.2.3:7883");
    assert_string_equal(read.server, "n2-00");
    assert_int_equal(read.instance, 77);
    for (size_t cut = 0; cut < len; cut++)
        assert_false(news_read_removed(bytes_of(body, cut), &read));
    removed.instance = 0; /* would be every node that does not know its own */
    assert_false(news_read_removed(bytes_of(body, news_write_removed(&removed, body)), &read));
    removed.instance = 77;
    memcpy(removed.address, "a b", 4);
    assert_false(news_read_removed(bytes_of(body, news_write_removed(&removed, body)), &read));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(news_say_the_same_when_they_have_been_read),
        cmocka_unit_test(news_for_an_older_node_say_what_it_understands),
        cmocka_unit_test(news_that_end_early_or_late_are_refused),
        cmocka_unit_test(news_with_what_cannot_be_are_refused),
        cmocka_unit_test(removed_node_is_read_as_it_was_written_and_not_when_it_cannot_be_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
