/* SPDX-License-Identifier: Apache-2.0 */
/* When a group is claimed and when it is given up. Times are milliseconds. */
#include "homes/judge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { LONG = CHANGELOG_LEASE_MS + JUDGE_LIVES_MS };

/* A home whose last record was read at 10,000, as seen at `now_ms` by who is first in order; the
 * engine has answered all the time. */
static struct judge_vacancy silent_at(uint64_t now_ms)
{
    return (struct judge_vacancy){
        .now_ms = now_ms,
        .read_ms = 10000,
        .watch = {.end_ms = now_ms, .from_ms = 5000},
        .home_lives = true,
    };
}

static void judge_claims_when_a_home_that_lives_has_been_silent_for_lease_and_margin(void **state)
{
    struct judge_vacancy early = silent_at(10000 + LONG - 1), due = silent_at(10000 + LONG);
    (void)state;

    assert_false(judge_claims(&early));
    assert_true(judge_claims(&due));
}

static void judge_claims_when_the_lease_of_a_home_that_is_gone_is_over(void **state)
{
    struct judge_vacancy early = silent_at(10000 + CHANGELOG_LEASE_MS - 1);
    struct judge_vacancy due = silent_at(10000 + CHANGELOG_LEASE_MS);
    (void)state;

    early.home_lives = due.home_lives = false;
    assert_false(judge_claims(&early));
    assert_true(judge_claims(&due));
}

static void judge_does_not_blame_the_home_for_an_engine_that_was_silent(void **state)
{
    struct judge_vacancy v = silent_at(20000);
    (void)state;

    v.watch.from_ms = 19500; /* it answers again since then */
    assert_false(judge_claims(&v));
    v.home_lives = false; /* the links say that it is gone: no need to watch */
    assert_true(judge_claims(&v));
}

static void judge_claims_nothing_while_the_engine_does_not_answer(void **state)
{
    struct judge_vacancy v = silent_at(20000);
    (void)state;

    v.home_lives = false;
    v.watch.end_ms = 20000 - JUDGE_GAP_MS - 1;
    assert_false(judge_claims(&v));
}

static void judge_claims_nothing_before_it_has_seen_the_end_of_the_log(void **state)
{
    struct judge_vacancy v = silent_at(20000);
    (void)state;

    v.vacant = true;
    assert_true(judge_claims(&v));
    v.read_ms = v.watch.end_ms + 1; /* the last that came was a record */
    assert_false(judge_claims(&v));
}

static void judge_lets_those_before_it_in_order_claim_first(void **state)
{
    struct judge_vacancy v = silent_at(10000 + LONG + 2 * JUDGE_TURN_MS - 1);
    (void)state;

    v.turn = 2;
    assert_false(judge_claims(&v));
    v.now_ms = ++v.watch.end_ms;
    assert_true(judge_claims(&v));
    v.turn = JUDGE_NEVER;
    assert_false(judge_claims(&v));
}

static void judge_keeps_the_order_when_the_engine_has_been_silent_for_longer(void **state)
{
    struct judge_vacancy first = silent_at(20000), second = first;
    (void)state;

    first.home_lives = second.home_lives = false;
    first.watch.from_ms = second.watch.from_ms = 20000; /* it answers again */
    second.turn = 1;
    assert_true(judge_claims(&first));
    assert_false(judge_claims(&second));
    second.now_ms = second.watch.end_ms = 20000 + JUDGE_TURN_MS;
    assert_true(judge_claims(&second));
}

static void judge_claims_what_nobody_has_at_once_when_it_is_first(void **state)
{
    struct judge_vacancy v = silent_at(10000);
    (void)state;

    v.vacant = true;
    assert_true(judge_claims(&v));
    v.turn = 1;
    assert_false(judge_claims(&v));
}

static void judge_claims_nothing_that_somebody_else_has_more_of(void **state)
{
    struct judge_vacancy v = silent_at(60000);
    (void)state;

    v.vacant = v.behind = true;
    assert_false(judge_claims(&v));
}

static void judge_begins_to_watch_anew_after_a_gap(void **state)
{
    struct judge_watch watch = {0};
    (void)state;

    judge_watch(&watch, 5000);
    judge_watch(&watch, 5000 + JUDGE_GAP_MS);
    assert_int_equal(watch.from_ms, 5000);
    judge_watch(&watch, 5001 + 2 * JUDGE_GAP_MS);
    assert_int_equal(watch.from_ms, 5001 + 2 * JUDGE_GAP_MS);
}

static struct judge_stay stay(void)
{
    return (struct judge_stay){.now_ms = 50000,
                               .serving_ms = 50000 - 10000,
                               .preferred_ms = 50000 - 10000,
                               .stay_ms = 10000,
                               .own = 1000,
                               .preferred_s = 1000,
                               .preferred_runs = true};
}

static void judge_gives_up_to_the_preferred_node_after_the_minimum_stay_of_both(void **state)
{
    struct judge_stay s = stay();
    (void)state;

    assert_true(judge_gives_up(&s));
    s.serving_ms++;
    assert_false(judge_gives_up(&s));
    s = stay();
    s.preferred_ms++;
    assert_false(judge_gives_up(&s));
}

static void judge_waits_no_longer_than_the_stay_it_is_given(void **state)
{
    struct judge_stay s = stay();
    (void)state;

    s.stay_ms = 0;
    s.serving_ms = s.preferred_ms = s.now_ms;
    assert_true(judge_gives_up(&s));
    s.preferred_runs = false;
    assert_false(judge_gives_up(&s));
}

static void judge_gives_up_to_nobody_who_could_not_go_on(void **state)
{
    struct judge_stay s = stay();
    (void)state;

    s.preferred_runs = false;
    assert_false(judge_gives_up(&s));
    s = stay();
    s.preferred_ms = 0; /* it is not here */
    assert_false(judge_gives_up(&s));
    s = stay();
    s.own += JUDGE_NEAR + 1; /* it has yet to read so much */
    assert_false(judge_gives_up(&s));
}

static void judge_trims_when_it_is_worth_it_and_keeps_some(void **state)
{
    (void)state;

    assert_int_equal(judge_trim(0, 0, JUDGE_KEEP), 0);
    assert_int_equal(judge_trim(JUDGE_KEEP + JUDGE_TRIM_MIN - 1, 0, JUDGE_KEEP), 0);
    assert_int_equal(judge_trim(JUDGE_KEEP + JUDGE_TRIM_MIN, 0, JUDGE_KEEP), JUDGE_TRIM_MIN);
    assert_int_equal(judge_trim(JUDGE_KEEP + JUDGE_TRIM_MIN, JUDGE_TRIM_MIN, JUDGE_KEEP), 0);
    assert_int_equal(judge_trim(15, 0, 8), 0);
    assert_int_equal(judge_trim(16, 0, 8), 8);
}

static void judge_lets_one_node_make_changelogs_again(void **state)
{
    (void)state;
    struct judge_making first = {.waited_ms = 0}, second = {.waited_ms = 0, .before = 1};

    assert_true(judge_makes(&first));
    assert_false(judge_makes(&second));
    second.waited_ms = JUDGE_MAKES_MS - 1;
    assert_false(judge_makes(&second));
    second.waited_ms++; /* the first has not done it */
    assert_true(judge_makes(&second));
}

static void judge_gives_an_engine_that_ran_on_time_to_answer_and_keeps_the_order(void **state)
{
    (void)state;
    struct judge_making first = {.ran_on = true}, second = {.ran_on = true, .before = 1};

    for (uint64_t ms = 0; ms < JUDGE_RAN_ON_MS + JUDGE_MAKES_MS; ms += 500) {
        first.waited_ms = second.waited_ms = ms;
        assert_true(judge_makes(&first) == (ms >= JUDGE_RAN_ON_MS));
        assert_false(judge_makes(&second));
    }
    second.waited_ms = JUDGE_RAN_ON_MS + JUDGE_MAKES_MS;
    assert_true(judge_makes(&second));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(judge_claims_when_a_home_that_lives_has_been_silent_for_lease_and_margin),
        cmocka_unit_test(judge_claims_when_the_lease_of_a_home_that_is_gone_is_over),
        cmocka_unit_test(judge_does_not_blame_the_home_for_an_engine_that_was_silent),
        cmocka_unit_test(judge_claims_nothing_while_the_engine_does_not_answer),
        cmocka_unit_test(judge_claims_nothing_before_it_has_seen_the_end_of_the_log),
        cmocka_unit_test(judge_lets_those_before_it_in_order_claim_first),
        cmocka_unit_test(judge_keeps_the_order_when_the_engine_has_been_silent_for_longer),
        cmocka_unit_test(judge_claims_what_nobody_has_at_once_when_it_is_first),
        cmocka_unit_test(judge_claims_nothing_that_somebody_else_has_more_of),
        cmocka_unit_test(judge_begins_to_watch_anew_after_a_gap),
        cmocka_unit_test(judge_gives_up_to_the_preferred_node_after_the_minimum_stay_of_both),
        cmocka_unit_test(judge_waits_no_longer_than_the_stay_it_is_given),
        cmocka_unit_test(judge_gives_up_to_nobody_who_could_not_go_on),
        cmocka_unit_test(judge_trims_when_it_is_worth_it_and_keeps_some),
        cmocka_unit_test(judge_lets_one_node_make_changelogs_again),
        cmocka_unit_test(judge_gives_an_engine_that_ran_on_time_to_answer_and_keeps_the_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
