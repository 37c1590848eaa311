/* SPDX-License-Identifier: Apache-2.0 */
#define _LGPL_SOURCE
#include <urcu-qsbr.h>

#include "base/rcu.h"

#include "base/check.h"
#include "base/memory.h"

#include <errno.h>
#include <semaphore.h>

/* ThreadSanitizer does not see liburcu's barriers: say by hand that a grace period orders what
 * readers did before it against the free after it. */
#ifdef __SANITIZE_THREAD__
#define RCU_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RCU_TSAN 1
#endif
#endif
#ifdef RCU_TSAN
void __tsan_acquire(void *address);
void __tsan_release(void *address);
static char grace_period;
#define READER_DONE() __tsan_release(&grace_period)
#define GRACE_PASSED() __tsan_acquire(&grace_period)
#else
#define READER_DONE() ((void)0)
#define GRACE_PASSED() ((void)0)
#endif

void rcu_reader_start(void)
{
    urcu_qsbr_register_thread();
}

void rcu_reader_stop(void)
{
    READER_DONE();
    urcu_qsbr_unregister_thread();
}

void rcu_quiescent(void)
{
    READER_DONE();
    urcu_qsbr_quiescent_state();
}

void rcu_sleep(void)
{
    READER_DONE();
    urcu_qsbr_thread_offline();
}

void rcu_wake(void)
{
    urcu_qsbr_thread_online();
}

static void grace_passed(struct rcu_head *head)
{
    GRACE_PASSED();
    mem_free(caa_container_of(head, struct rcu_entry, head));
}

void rcu_free(struct rcu_entry *entry)
{
    READER_DONE();
    urcu_qsbr_call_rcu(&entry->head, grace_passed);
}

void rcu_synchronize(void)
{
    READER_DONE();
    urcu_qsbr_synchronize_rcu();
    GRACE_PASSED();
}

struct marker {
    struct rcu_head head;
    sem_t reached;
};

static void marker_reached(struct rcu_head *head)
{
    sem_post(&caa_container_of(head, struct marker, head)->reached);
}

/* The library's one thread takes entries in the order in which they came, so the marker is last. */
void rcu_drain(void)
{
    struct marker marker;
    CHECK(sem_init(&marker.reached, 0, 0) == 0);
    urcu_qsbr_call_rcu(&marker.head, marker_reached);
    while (sem_wait(&marker.reached) != 0)
        CHECK(errno == EINTR);
    sem_destroy(&marker.reached);
}
