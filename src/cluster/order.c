/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator asks of another node. The order goes over the control link that leads there, and
 * its answer comes back on the same; who asks waits for it on a thread of its own.
 *
 *     cluster_set_duty() -> control  == ORDER ===>  control -> homes_ask_duty()
 *             ^                |                       |            |
 *             +--- answer() <--+  <== ORDERED ==       +<-----------+
 *
 * ORDER:   number (8) | enum homes_duty (1)
 * ORDERED: number (8) | drained (1) | groups (2) | connections (4) | why not, or nothing
 */
#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/memory.h"
#include "cluster/inside.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

enum { ORDER_BYTES = 8 + 1, ORDERED_BYTES = 8 + 1 + 2 + 4 + 2 + HOMES_WHY_MAX };

/* The flags of ORDERED. */
enum { ORDER_DONE, ORDER_REFUSED, ORDER_AGAIN, ORDER_FAILED };

static const enum rc outcomes[] = {
    [ORDER_DONE] = RC_OK,
    [ORDER_REFUSED] = RC_REFUSED,
    [ORDER_AGAIN] = RC_AGAIN,
    [ORDER_FAILED] = RC_IO,
};

/* ---- asking ------------------------------------------------------------------------------------
 */

/* On the stack of who asks; under the lock. */
struct order {
    struct list link; /* in orders->waiting */
    uint64_t number;
    const char *node;
    bool done;
    enum rc rc;
    struct cluster_duty *is;
    char *why;
};

struct order_mail {
    struct control_mail mail;
    uint64_t number;
    enum homes_duty duty;
    char node[LINK_NAME_MAX + 1];
};

void orders_init(struct cluster *cluster)
{
    pthread_mutex_init(&cluster->orders.lock, NULL);
    pthread_cond_init(&cluster->orders.answered, NULL);
    list_init(&cluster->orders.waiting);
    cluster->orders.number = cluster->own.incarnation;
}

void orders_deinit(struct cluster *cluster)
{
    pthread_cond_destroy(&cluster->orders.answered);
    pthread_mutex_destroy(&cluster->orders.lock);
}

/* Under the lock. NULL: nobody waits for it any more. */
static struct order *find(struct orders *orders, const char *node, uint64_t number)
{
    LIST_FOR_EACH (link, &orders->waiting) {
        struct order *order = CONTAINER_OF(link, struct order, link);
        if (order->number == number && strcmp(order->node, node) == 0)
            return order;
    }
    return NULL;
}

__attribute__((format(printf, 4, 5))) static void finish(struct orders *orders, struct order *order,
                                                         enum rc rc, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(order->why, HOMES_WHY_MAX, format, args);
    va_end(args);
    order->rc = rc;
    order->done = true;
    pthread_cond_broadcast(&orders->answered);
}

static void open_order(struct control_mail *mail)
{
    const struct order_mail *asked = CONTAINER_OF(mail, struct order_mail, mail);
    struct orders *orders = &mail->cluster->orders;
    struct member *member = member_find(mail->cluster, asked->node);
    uint8_t body[ORDER_BYTES];
    bool here = member != NULL && member_is_here(member);

    uint8_t *end = link_write_u64(body, asked->number);
    *end = (uint8_t)asked->duty;
    pthread_mutex_lock(&orders->lock);
    struct order *order = find(orders, asked->node, asked->number);
    if (order != NULL && here && member->version < LINK_VERSION_ORDERS)
        finish(orders, order, RC_REFUSED,
               "Node %s runs an older version, which does not understand this (it speaks protocol "
               "%u, this takes %d): run the command on that node.",
               asked->node, member->version, LINK_VERSION_ORDERS);
    else if (order != NULL && (!here || !tell_order(member, bytes_of(body, sizeof(body)))))
        finish(orders, order, RC_AGAIN, "Node %s cannot be reached from here; nothing was done.",
               asked->node);
    pthread_mutex_unlock(&orders->lock);
}

void orders_away(struct member *member)
{
    struct orders *orders = &member->cluster->orders;

    pthread_mutex_lock(&orders->lock);
    LIST_FOR_EACH (link, &orders->waiting) {
        struct order *order = CONTAINER_OF(link, struct order, link);
        if (!order->done && strcmp(order->node, member->node) == 0)
            finish(orders, order, RC_AGAIN,
                   "Node %s has gone before it has answered, and may have done it: ask again.",
                   member->node);
    }
    pthread_mutex_unlock(&orders->lock);
}

static void wait_a_little(struct orders *orders)
{
    struct timespec until;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 1;
    (void)pthread_cond_timedwait(&orders->answered, &orders->lock, &until);
}

enum rc cluster_set_duty(struct cluster *cluster, const char *node, enum homes_duty duty,
                         struct cluster_duty *is, char why[HOMES_WHY_MAX])
{
    struct orders *orders = &cluster->orders;
    struct order order = {.node = node, .rc = RC_AGAIN, .is = is, .why = why};
    struct order_mail *mail = NEW(struct order_mail);
    uint64_t until_ms = clock_ms() + CLUSTER_ORDER_MS;

    snprintf(why, HOMES_WHY_MAX, "Node %s has not answered in %d s, and may do it yet: ask again.",
             node, CLUSTER_ORDER_MS / 1000);
    mail->mail.open = open_order;
    mail->mail.cluster = cluster;
    mail->duty = duty;
    snprintf(mail->node, sizeof(mail->node), "%s", node);
    pthread_mutex_lock(&orders->lock);
    mail->number = order.number = ++orders->number;
    list_add_last(&orders->waiting, &order.link);
    mailbox_post(&cluster->mailbox, &mail->mail.letter);
    while (!order.done && clock_ms() < until_ms && !homes_ends(cluster->homes))
        wait_a_little(orders);
    list_remove(&order.link);
    pthread_mutex_unlock(&orders->lock);
    return order.rc;
}

/* Sentences, for people. */
static bool read_why(struct link_reader *reader, char why[HOMES_WHY_MAX])
{
    struct bytes text = link_read_text(reader);

    if (!link_reader_ok(reader) || text.len >= HOMES_WHY_MAX)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < ' ' || text.data[i] > '~')
            return false;
    snprintf(why, HOMES_WHY_MAX, "%.*s", (int)text.len, text.len > 0 ? (char *)text.data : "");
    return true;
}

bool order_answered(struct member *member, const struct link_frame *frame)
{
    struct link_reader reader = link_reader_of(frame->body);
    struct orders *orders = &member->cluster->orders;
    uint64_t number = link_read_u64(&reader);
    struct cluster_duty is;
    char why[HOMES_WHY_MAX];

    is.drained = link_read_u8(&reader) == 1;
    is.groups = link_read_u16(&reader);
    is.connections = link_read_u32(&reader);
    if (!read_why(&reader, why) || frame->flags > ORDER_FAILED)
        return false;
    pthread_mutex_lock(&orders->lock);
    struct order *order = find(orders, member->node, number);
    if (order != NULL) {
        *order->is = is;
        finish(orders, order, outcomes[frame->flags], "Node %s: %.240s", member->node, why);
    }
    pthread_mutex_unlock(&orders->lock);
    return true;
}

/* ---- being asked -------------------------------------------------------------------------------
 */

struct ordered_mail {
    struct control_mail mail; /* its `remote`: who has asked */
    uint8_t outcome;
    size_t len;
    uint8_t body[ORDERED_BYTES];
};

static void open_ordered(struct control_mail *mail)
{
    const struct ordered_mail *ordered = CONTAINER_OF(mail, struct ordered_mail, mail);

    LIST_FOR_EACH (link, &mail->cluster->members) {
        struct member *member = CONTAINER_OF(link, struct member, link);
        if (member->remote == mail->remote)
            hear_ordered(member, ordered->outcome, bytes_of(ordered->body, ordered->len));
    }
}

static uint8_t outcome_of(enum rc rc)
{
    int outcome = ORDER_DONE;

    while (outcome < ORDER_FAILED && outcomes[outcome] != rc)
        outcome++;
    return (uint8_t)outcome;
}

/* On the homes thread. */
static void answered(const struct homes_asked *asked, enum rc rc, const char *why)
{
    struct cluster *cluster = asked->owner;
    struct ordered_mail *mail = NEW(struct ordered_mail);
    uint16_t groups = 0;

    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        groups += homes_of(cluster->homes, i).place == HOME_HERE;
    mail->mail.open = open_ordered;
    mail->mail.cluster = cluster;
    mail->mail.remote = asked->from;
    mail->outcome = outcome_of(rc);
    uint8_t *at = link_write_u64(mail->body, asked->number);
    *at++ = homes_drained(cluster->homes);
    at = link_write_u16(at, groups);
    at = link_write_u32(
        at, atomic_load_explicit(cluster->workers[0].connections, memory_order_relaxed));
    at = link_write_text(at, bytes_of_str(why));
    mail->len = (size_t)(at - mail->body);
    mailbox_post(&cluster->mailbox, &mail->mail.letter);
}

bool order_heard(struct member *member, const struct link_frame *frame)
{
    struct link_reader reader = link_reader_of(frame->body);
    struct homes_asked asked = {.answered = answered,
                                .owner = member->cluster,
                                .number = link_read_u64(&reader),
                                .from = member->remote};
    uint8_t duty = link_read_u8(&reader);

    if (!link_reader_ok(&reader) || duty > HOMES_DRAINED)
        return false;
    if (member->cluster->homes == NULL)
        return true; /* not initialised, and never will be: nobody asks in earnest */
    LOG(LOG_INFO, "cluster.order", log_text("from", member->node),
        log_text("order", duty == HOMES_DRAINED ? "drain" : "undrain"));
    homes_ask_duty(member->cluster->homes, (enum homes_duty)duty, &asked);
    return true;
}
