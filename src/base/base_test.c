/* SPDX-License-Identifier: Apache-2.0 */
/* The small things: bytes, clock, memory, names of return codes, jobs. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/job.h"
#include "base/memory.h"
#include "base/rc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Sanitizers end the program when malloc() fails, unless told that a test wants to see it fail. */
const char *__asan_default_options(void);
const char *__tsan_default_options(void);

const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static void bytes_equal_compares_length_and_content(void **state)
{
    (void)state;
    assert_true(bytes_equal(bytes_of_str("abc"), bytes_of("abcd", 3)));
    assert_false(bytes_equal(bytes_of_str("abc"), bytes_of_str("abd")));
    assert_false(bytes_equal(bytes_of_str("abc"), bytes_of_str("ab")));
    assert_true(bytes_equal(bytes_of(NULL, 0), bytes_of_str("")));
}

static void bytes_starts_with_a_prefix_of_its_own_length_at_most(void **state)
{
    (void)state;
    assert_true(bytes_starts_with(bytes_of_str("$share/a"), bytes_of_str("$share/")));
    assert_true(bytes_starts_with(bytes_of_str("a"), bytes_of_str("a")));
    assert_true(bytes_starts_with(bytes_of_str("a"), bytes_of(NULL, 0)));
    assert_false(bytes_starts_with(bytes_of_str("$shar"), bytes_of_str("$share/")));
}

static void bytes_hash_depends_on_every_byte(void **state)
{
    (void)state;
    assert_int_equal(bytes_hash(bytes_of_str("sensors/1")), bytes_hash(bytes_of("sensors/1", 9)));
    assert_int_not_equal(bytes_hash(bytes_of_str("sensors/1")),
                         bytes_hash(bytes_of_str("sensors/2")));
    assert_int_equal(bytes_hash(bytes_of(NULL, 0)), bytes_hash(bytes_of_str("")));
}

static void clock_never_goes_back_and_is_never_zero(void **state)
{
    uint64_t last_ns = clock_ns();
    (void)state;
    assert_true(clock_ms() > 0);
    for (int i = 0; i < 10000; i++) {
        uint64_t now_ns = clock_ns();
        assert_true(now_ns >= last_ns);
        last_ns = now_ns;
    }
    assert_true(clock_ms() >= last_ns / 1000000);
}

static void memory_new_is_zeroed_and_a_peers_size_may_fail(void **state)
{
    (void)state;
    uint64_t *word = NEW(uint64_t);
    assert_int_equal(*word, 0);
    *word = 42;
    word = mem_resize(word, 2 * sizeof(*word));
    assert_int_equal(*word, 42);
    size_t absurd = SIZE_MAX / 4; /* more than any address space has */
    assert_null(mem_try_resize(word, absurd));
    assert_int_equal(*word, 42);
    mem_free(word);
    mem_free(NULL);
}

static void rc_name_is_the_lower_case_name(void **state)
{
    (void)state;
    assert_string_equal(rc_name(RC_OK), "ok");
    assert_string_equal(rc_name(RC_NO_MEMORY), "no_memory");
    assert_string_equal(rc_name(RC_IO), "io");
    assert_string_equal(rc_name((enum rc)99), "unknown");
}

/* ---- jobs --------------------------------------------------------------------------------------
 */

struct counted_job {
    struct job job;
    int steps_left;
    char name;
};

static char trace[16];
static size_t trace_len;

static bool count_down(struct job *job)
{
    struct counted_job *counted = CONTAINER_OF(job, struct counted_job, job);
    trace[trace_len++] = counted->name;
    trace[trace_len] = '\0';
    return --counted->steps_left == 0;
}

static void job_queue_lets_jobs_take_turns(void **state)
{
    struct job_queue queue;
    struct counted_job a = {.steps_left = 3, .name = 'a'}, b = {.steps_left = 1, .name = 'b'};
    (void)state;
    trace_len = 0;
    job_queue_init(&queue);
    job_start(&queue, &a.job, count_down);
    job_start(&queue, &b.job, count_down);
    while (job_queue_run(&queue))
        ;
    assert_string_equal(trace, "abaa");
    assert_false(job_queue_run(&queue));
}

static bool use_up_the_budget(struct job *job)
{
    (void)job;
    uint64_t end_ns = clock_ns() + JOB_BUDGET_NS;
    while (clock_ns() < end_ns)
        ;
    return false;
}

static void job_queue_stops_when_its_time_is_used_up(void **state)
{
    struct job_queue queue;
    struct counted_job a = {.steps_left = 1, .name = 'a'};
    struct job endless;
    (void)state;
    trace_len = 0;
    job_queue_init(&queue);
    job_start(&queue, &endless, use_up_the_budget);
    job_start(&queue, &a.job, count_down);
    assert_true(job_queue_run(&queue));
    assert_int_equal(trace_len, 0);
    job_cancel(&endless);
    assert_false(job_queue_run(&queue));
    assert_string_equal(trace, "a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_equal_compares_length_and_content),
        cmocka_unit_test(bytes_starts_with_a_prefix_of_its_own_length_at_most),
        cmocka_unit_test(bytes_hash_depends_on_every_byte),
        cmocka_unit_test(clock_never_goes_back_and_is_never_zero),
        cmocka_unit_test(memory_new_is_zeroed_and_a_peers_size_may_fail),
        cmocka_unit_test(rc_name_is_the_lower_case_name),
        cmocka_unit_test(job_queue_lets_jobs_take_turns),
        cmocka_unit_test(job_queue_stops_when_its_time_is_used_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
