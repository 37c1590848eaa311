/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an operator asks for while the cluster runs. It is done on the homes thread; who asks waits
 * for that. What has to outlive the process is a file in the data directory; what concerns other
 * nodes, they hear with the news.
 */
#include "homes/inside.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/log.h"
#include "base/memory.h"

#include <stdarg.h>
#include <stdio.h>

#define DRAINED_FILE "drained"

/* ---- asking ------------------------------------------------------------------------------------
 */

enum rc orders_ask(struct homes *homes, struct homes_order *order,
                   void (*open)(struct homes *, struct homes_mail *, uint64_t))
{
    pthread_mutex_lock(&homes->lock);
    homes_post(homes, &(struct homes_mail){.open = open, .order = order});
    while (!order->done && homes->status.phase != HOMES_ENDED)
        homes_wait(homes);
    if (!order->done) { /* and never will be: the thread opens nothing any more */
        order->rc = RC_AGAIN;
        snprintf(order->why, HOMES_WHY_MAX, "This node ends.");
    }
    pthread_mutex_unlock(&homes->lock);
    return order->rc;
}

void orders_answer(struct homes *homes, struct homes_order *order, enum rc rc, const char *format,
                   ...)
{
    va_list args;

    pthread_mutex_lock(&homes->lock);
    va_start(args, format);
    vsnprintf(order->why, HOMES_WHY_MAX, format, args);
    va_end(args);
    order->rc = rc;
    order->done = true;
    pthread_cond_broadcast(&homes->told_more);
    pthread_mutex_unlock(&homes->lock);
}

bool orders_runs(struct homes *homes, struct homes_order *order)
{
    if (homes->phase == HOMES_RUNNING)
        return true;
    orders_answer(homes, order, RC_REFUSED,
                  "This node is no working part of a cluster: its state is %s.",
                  homes_phase_name(homes->phase));
    return false;
}

/* ---- drain, undrain ----------------------------------------------------------------------------
 */

bool homes_drained(const struct homes *homes)
{
    return atomic_load_explicit(&homes->drained, memory_order_relaxed); /* stands for itself */
}

static void set_drained(struct homes *homes, bool drained, bool anew)
{
    atomic_store_explicit(&homes->drained, drained, memory_order_relaxed);
    LOG(LOG_INFO, drained ? "homes.drained" : "homes.on_duty", log_text("node", homes->node));
    homes->options.ops->drained(homes->options.owner, drained, anew);
}

void orders_start(struct homes *homes)
{
    char text[16];

    mark_read_text(homes->data_dir, DRAINED_FILE, text, sizeof(text));
    if (text[0] != '\0')
        set_drained(homes, true, false);
}

/* A claim that has not opened yet is let go. */
static void stop_claims(struct homes *homes)
{
    for (uint32_t i = 0; i < HOMES_GROUPS; i++)
        group_unclaim(&homes->groups[i]);
}

static void open_duty(struct homes *homes, struct homes_mail *mail, uint64_t now_ms)
{
    struct homes_order *order = mail->order;
    bool drained = order->duty == HOMES_DRAINED;
    (void)now_ms;

    if (drained == homes_drained(homes)) {
        orders_answer(homes, order, RC_OK, "%s", "");
        return;
    }
    if (drained && !orders_runs(homes, order))
        return;
    if (drained && !peers_could_take_over(homes)) {
        orders_answer(
            homes, order, RC_REFUSED,
            "No other node is here that could lead what this one does; one is needed that is "
            "not drained itself and whose engine is up.");
        return;
    }
    enum rc rc = drained ? mark_write_text(homes->data_dir, DRAINED_FILE, "drained")
                         : mark_remove(homes->data_dir, DRAINED_FILE);
    if (rc != RC_OK) {
        orders_answer(homes, order, rc, "The data directory cannot be written to.");
        return;
    }
    set_drained(homes, drained, true);
    if (drained)
        stop_claims(homes);
    homes_publish(homes, true); /* whoever has the answer finds it so */
    orders_answer(homes, order, RC_OK, "%s", "");
}

/* NOLINTNEXTLINE(readability-non-const-parameter): orders_answer() writes to it */
enum rc homes_set_duty(struct homes *homes, enum homes_duty duty, char why[HOMES_WHY_MAX])
{
    struct homes_order order = {.duty = duty, .why = why};

    return orders_ask(homes, &order, open_duty);
}

struct duty_mail {
    struct homes_mail mail;
    struct homes_order order;
    struct homes_asked asked;
    char why[HOMES_WHY_MAX];
};

static void open_asked(struct homes *homes, struct homes_mail *mail, uint64_t now_ms)
{
    struct duty_mail *duty = CONTAINER_OF(mail, struct duty_mail, mail);

    open_duty(homes, mail, now_ms);
    duty->asked.answered(&duty->asked, duty->order.rc, duty->why);
}

void homes_ask_duty(struct homes *homes, enum homes_duty duty, const struct homes_asked *asked)
{
    struct duty_mail *mail = NEW(struct duty_mail);

    mail->mail.open = open_asked;
    mail->mail.order = &mail->order;
    mail->order.duty = duty;
    mail->order.why = mail->why;
    mail->asked = *asked;
    mailbox_post(&homes->mailbox, &mail->mail.letter);
}

/* ---- rebalance ---------------------------------------------------------------------------------
 */

static void rebalance(struct homes *homes, uint32_t number, uint64_t now_ms)
{
    homes->rebalance = number;
    homes->rebalance_ms = now_ms + HOMES_REBALANCE_MS;
    LOG(LOG_INFO, "homes.rebalances", log_uint("number", number));
    homes_hurry(homes);
}

static void open_rebalance(struct homes *homes, struct homes_mail *mail, uint64_t now_ms)
{
    if (!orders_runs(homes, mail->order))
        return;
    rebalance(homes, homes->rebalance + 1, now_ms);
    orders_answer(homes, mail->order, RC_OK, "%s", "");
}

/* NOLINTNEXTLINE(readability-non-const-parameter): orders_answer() writes to it */
enum rc homes_rebalance(struct homes *homes, char why[HOMES_WHY_MAX])
{
    struct homes_order order = {.why = why};

    return orders_ask(homes, &order, open_rebalance);
}

void orders_heard(struct homes *homes, const struct peer *peer, uint64_t now_ms)
{
    if (strcmp(peer->news.id, homes->mark.id) == 0 && peer->news.rebalance > homes->rebalance)
        rebalance(homes, peer->news.rebalance, now_ms);
}
