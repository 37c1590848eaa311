/* SPDX-License-Identifier: Apache-2.0 */
#include "base/rcu.h"

#include "base/memory.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { VERSIONS = 2000, READERS = 2, WORDS = 8 };

/* Written before it is published, read without locks. What is freed too early shows as torn, or in
 * a sanitizer. */
struct published {
    struct rcu_entry rcu;
    unsigned words[WORDS]; /* all the same */
};

static _Atomic(struct published *) current;
static atomic_bool stop;
static atomic_uint torn;

static void *read_until_stopped(void *arg)
{
    (void)arg;
    rcu_reader_start();
    for (unsigned turn = 0; !atomic_load(&stop); turn++) {
        const struct published *p = atomic_load_explicit(&current, memory_order_acquire);
        for (int i = 1; i < WORDS; i++)
            if (p->words[i] != p->words[0])
                atomic_fetch_add(&torn, 1);
        rcu_quiescent();
        if (turn % 64 == 0) {
            rcu_sleep();
            rcu_wake();
        }
    }
    rcu_reader_stop();
    return NULL;
}

static struct published *published_new(unsigned version)
{
    struct published *p = NEW(struct published);
    for (int i = 0; i < WORDS; i++)
        p->words[i] = version;
    return p;
}

static void rcu_frees_only_what_no_reader_can_hold(void **state)
{
    pthread_t readers[READERS];
    (void)state;
    atomic_store(&current, published_new(0));
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_until_stopped, NULL), 0);
    for (unsigned version = 1; version <= VERSIONS; version++) {
        struct published *old =
            atomic_exchange_explicit(&current, published_new(version), memory_order_acq_rel);
        rcu_free(&old->rcu);
    }
    rcu_drain();
    atomic_store(&stop, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    assert_int_equal(atomic_load(&torn), 0);
    mem_free(atomic_load(&current));
}

/* Were it waited for, the drain would not come back before the test's time limit. */
static void rcu_does_not_wait_for_a_reader_that_sleeps(void **state)
{
    (void)state;
    rcu_reader_start();
    rcu_sleep();
    rcu_free(&published_new(1)->rcu);
    rcu_drain();
    rcu_wake();
    rcu_reader_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rcu_frees_only_what_no_reader_can_hold),
        cmocka_unit_test(rcu_does_not_wait_for_a_reader_that_sleeps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
