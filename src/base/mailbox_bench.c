/* SPDX-License-Identifier: Apache-2.0 */
/* Mail between two threads, and the price of a letter without any contention. */
#include "base/bench.h"
#include "base/mailbox.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum { LETTERS = 64, IN_FLIGHT = 1024 };

static void no_wake(void *owner)
{
    (void)owner;
}

static void post_and_take_a_batch(void *context, size_t n)
{
    struct mailbox *box = context;
    static struct letter letters[LETTERS];
    for (size_t i = 0; i < n; i += LETTERS) {
        for (int k = 0; k < LETTERS; k++)
            mailbox_post(box, &letters[k]);
        for (struct letter *l = mailbox_take_all(box); l != NULL; l = l->next)
            BENCH_USE(l);
    }
}

static void look_into_an_empty_box(void *context, size_t n)
{
    for (size_t i = 0; i < n; i++)
        BENCH_USE(mailbox_take_all(context));
}

/* ---- from thread to thread ---------------------------------------------------------------------
 */

/* The receiver sends every letter back, so a fixed number is on the way. */
struct pair {
    struct mailbox to, back;
    struct letter letters[IN_FLIGHT];
    atomic_bool stop;
};

static void *send_back(void *arg)
{
    struct pair *pair = arg;
    while (!atomic_load_explicit(&pair->stop, memory_order_relaxed)) {
        struct letter *letter = mailbox_take_all(&pair->to);
        if (letter == NULL)
            sched_yield();
        while (letter != NULL) {
            struct letter *next = letter->next;
            mailbox_post(&pair->back, letter);
            letter = next;
        }
    }
    return NULL;
}

static void to_and_back(void *context, size_t n)
{
    struct pair *pair = context;
    while (n > 0) {
        struct letter *letter = mailbox_take_all(&pair->back);
        if (letter == NULL)
            sched_yield();
        while (letter != NULL) {
            struct letter *next = letter->next;
            mailbox_post(&pair->to, letter);
            letter = next;
            n -= n > 0;
        }
    }
}

int main(void)
{
    static struct pair pair;
    struct mailbox box;
    pthread_t thread;
    mailbox_init(&box, no_wake, NULL);
    bench("mailbox: post and take, batches of 64", post_and_take_a_batch, &box);
    bench("mailbox: take from an empty box", look_into_an_empty_box, &box);
    mailbox_init(&pair.to, no_wake, NULL);
    mailbox_init(&pair.back, no_wake, NULL);
    for (int i = 0; i < IN_FLIGHT; i++)
        mailbox_post(&pair.back, &pair.letters[i]);
    if (pthread_create(&thread, NULL, send_back, &pair) != 0)
        return 1;
    bench("mailbox: to another thread and back", to_and_back, &pair);
    atomic_store(&pair.stop, true);
    pthread_join(thread, NULL);
    return 0;
}
