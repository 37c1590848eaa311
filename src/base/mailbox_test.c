/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mailbox.h"

#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void count_wake(void *owner)
{
    ++*(int *)owner;
}

static void mailbox_gives_letters_in_the_order_in_which_they_were_posted(void **state)
{
    struct mailbox box;
    struct letter letters[3];
    int wakes = 0;
    (void)state;
    mailbox_init(&box, count_wake, &wakes);
    for (int i = 0; i < 3; i++)
        mailbox_post(&box, &letters[i]);
    struct letter *first = mailbox_take_all(&box);
    assert_ptr_equal(first, &letters[0]);
    assert_ptr_equal(first->next, &letters[1]);
    assert_ptr_equal(first->next->next, &letters[2]);
    assert_null(first->next->next->next);
    assert_null(mailbox_take_all(&box));
}

static void mailbox_wakes_its_owner_only_when_it_was_empty(void **state)
{
    struct mailbox box;
    struct letter letters[3];
    int wakes = 0;
    (void)state;
    mailbox_init(&box, count_wake, &wakes);
    assert_true(mailbox_empty(&box));
    mailbox_post(&box, &letters[0]);
    mailbox_post(&box, &letters[1]);
    assert_int_equal(wakes, 1);
    assert_false(mailbox_empty(&box));
    mailbox_take_all(&box);
    mailbox_post(&box, &letters[2]);
    assert_int_equal(wakes, 2);
}

/* ---- two senders, one owner --------------------------------------------------------------------
 */

enum { SENDERS = 2, LETTERS = 20000 };

struct numbered {
    struct letter letter;
    int sender, number;
};

struct sender {
    struct mailbox *box;
    struct numbered letters[LETTERS];
    pthread_t thread;
};

static void *send_all(void *arg)
{
    struct sender *sender = arg;
    for (int i = 0; i < LETTERS; i++)
        mailbox_post(sender->box, &sender->letters[i].letter);
    return NULL;
}

static void wake_by_semaphore(void *owner)
{
    sem_post(owner);
}

static void mailbox_loses_nothing_and_keeps_each_senders_order(void **state)
{
    static struct sender senders[SENDERS];
    struct mailbox box;
    sem_t woken;
    int next[SENDERS] = {0};
    (void)state;
    sem_init(&woken, 0, 0);
    mailbox_init(&box, wake_by_semaphore, &woken);
    for (int s = 0; s < SENDERS; s++) {
        senders[s].box = &box;
        for (int i = 0; i < LETTERS; i++)
            senders[s].letters[i] = (struct numbered){.sender = s, .number = i};
        assert_int_equal(pthread_create(&senders[s].thread, NULL, send_all, &senders[s]), 0);
    }
    for (int got = 0; got < SENDERS * LETTERS;) {
        sem_wait(&woken); /* a lost wake-up would hang here until the test's time limit */
        for (struct letter *l = mailbox_take_all(&box); l != NULL; l = l->next, got++) {
            struct numbered *letter = (struct numbered *)l;
            assert_int_equal(letter->number, next[letter->sender]++);
        }
    }
    for (int s = 0; s < SENDERS; s++)
        pthread_join(senders[s].thread, NULL);
    assert_true(mailbox_empty(&box));
    sem_destroy(&woken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mailbox_gives_letters_in_the_order_in_which_they_were_posted),
        cmocka_unit_test(mailbox_wakes_its_owner_only_when_it_was_empty),
        cmocka_unit_test(mailbox_loses_nothing_and_keeps_each_senders_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
