/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/copies_inside.h"

#include "base/check.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "base/memory.h"
#include "cluster/copy.h"
#include "link/link.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

enum { COPIES_TICK_MS = 200 };

struct copies {
    const struct copies_ops *ops;
    void *owner;
    void (*dial)(void *cluster, uint32_t group);
    void *cluster;
    struct loop loop;
    pthread_t thread;
    bool started;
    struct mailbox mailbox; /* struct copies_mail */
    struct loop_timer tick;
    uint64_t tokens;
    struct taking *takes[COPIES_GROUPS]; /* NULL: none */
    struct list gives;                   /* struct giving */
    pthread_mutex_t lock;                /* of what follows */
    struct wanted {
        bool is, taken; /* wanted; and begun */
        struct copies_progress progress;
    } wanted[COPIES_GROUPS];
};

/* The link to a giver. */
struct taking_link {
    struct link link;
    struct copy_line line;
    struct taking *taking; /* NULL: over */
};

struct taking {
    struct copies *copies;
    struct take take;
    struct taking_link *link; /* NULL: none, or not any more */
};

struct giving {
    struct list node; /* in copies->gives until the link has ended */
    struct copies *copies;
    struct link link;
    struct copy_line line;
    struct give give;
};

/* ---- taking ------------------------------------------------------------------------------------
 */

static void tell_progress(const struct taking *taking)
{
    struct copies *copies = taking->copies;
    struct copies_progress *progress = &copies->wanted[taking->take.group].progress;

    pthread_mutex_lock(&copies->lock);
    progress->records = taking->take.records;
    progress->bytes = taking->take.bytes;
    pthread_mutex_unlock(&copies->lock);
}

static void taking_over(struct taking *taking)
{
    struct copies *copies = taking->copies;
    struct wanted *wanted = &copies->wanted[taking->take.group];
    char node[sizeof(wanted->progress.node)];

    copies->takes[taking->take.group] = NULL;
    pthread_mutex_lock(&copies->lock);
    memcpy(node, wanted->progress.node, sizeof(node));
    *wanted = (struct wanted){0};
    pthread_mutex_unlock(&copies->lock);
    if (taking->take.state == TAKE_FAILED)
        copies->ops->failed(copies->owner, taking->take.group, node, taking->take.why);
    if (taking->link != NULL) {
        taking->link->taking = NULL;
        link_close(&taking->link->link);
    }
    mem_free(taking);
}

/* After whatever may have moved it on: it may be gone then. */
static void settle(struct taking *taking)
{
    if (taking->take.state == TAKE_DONE || taking->take.state == TAKE_FAILED)
        taking_over(taking);
    else
        tell_progress(taking);
}

static struct taking_link *taking_link_of(struct link *link)
{
    return CONTAINER_OF(link, struct taking_link, link);
}

static bool take_send(struct copy_line *line, enum link_kind kind, uint8_t flags, struct bytes head,
                      struct bytes rest)
{
    return link_send_parts(&CONTAINER_OF(line, struct taking_link, line)->link, kind, flags, head,
                           rest, NULL);
}

static bool taking_frame(struct link *link, const struct link_frame *frame)
{
    struct taking *taking = taking_link_of(link)->taking;

    if (taking == NULL)
        return true;
    take_frame(&taking->take, frame, taking->copies->loop.now_ms);
    settle(taking);
    return true;
}

static void taking_ended(struct link *link)
{
    struct taking *taking = taking_link_of(link)->taking;

    if (taking == NULL)
        return;
    taking->link = NULL;
    if (taking->take.state == TAKE_WRITES)
        return; /* all has come */
    take_fail(&taking->take, "the link has ended");
    settle(taking);
}

static void taking_closed(struct link *link)
{
    mem_free(taking_link_of(link));
}

static const struct link_ops taking_ops = {
    .frame = taking_frame, .ended = taking_ended, .closed = taking_closed};

static void reached(struct taking *taking, int fd, struct bytes unread)
{
    struct copies *copies = taking->copies;
    struct copy_ask ask = {
        .format = COPY_FORMAT, .group = taking->take.group, .groups = COPIES_GROUPS};

    ask.cluster = copies->ops->cluster(copies->owner, &ask.shards);
    struct taking_link *link = NEW(struct taking_link);
    link->taking = taking;
    link->line.send = take_send;
    if (link_open(&link->link, &copies->loop, &taking_ops, fd, unread) != RC_OK) {
        mem_free(link);
        take_fail(&taking->take, "there is no memory for a link");
        return;
    }
    taking->link = link;
    take_ask(&taking->take, &link->line, &ask, copies->loop.now_ms);
}

static void begin_take(struct copies *copies, uint32_t group)
{
    struct taking *taking = NEW(struct taking);

    taking->copies = copies;
    take_begin(&taking->take, copies->ops, copies->owner, group, ++copies->tokens,
               copies->loop.now_ms);
    copies->takes[group] = taking;
    copies->dial(copies->cluster, group);
}

/* Those that wait for their turn, as far as there is room. */
static void begin_takes(struct copies *copies)
{
    uint32_t under_way = 0, begun[COPIES_GROUPS], count = 0;

    for (uint32_t group = 0; group < COPIES_GROUPS; group++)
        under_way += copies->takes[group] != NULL;
    pthread_mutex_lock(&copies->lock);
    for (uint32_t group = 0; group < COPIES_GROUPS && under_way + count < COPIES_TAKEN; group++)
        if (copies->wanted[group].is && !copies->wanted[group].taken) {
            copies->wanted[group].taken = true;
            begun[count++] = group;
        }
    pthread_mutex_unlock(&copies->lock);
    for (uint32_t i = 0; i < count; i++)
        begin_take(copies, begun[i]);
}

/* ---- giving ------------------------------------------------------------------------------------
 */

static struct giving *giving_of(struct link *link)
{
    return CONTAINER_OF(link, struct giving, link);
}

static bool give_send(struct copy_line *line, enum link_kind kind, uint8_t flags, struct bytes head,
                      struct bytes rest)
{
    return link_send_parts(&CONTAINER_OF(line, struct giving, line)->link, kind, flags, head, rest,
                           NULL);
}

static bool giving_frame(struct link *link, const struct link_frame *frame)
{
    struct giving *giving = giving_of(link);
    return give_frame(&giving->give, frame, giving->copies->loop.now_ms);
}

static void giving_ended(struct link *link)
{
    struct giving *giving = giving_of(link);
    list_remove(&giving->node);
    give_end(&giving->give);
}

static void giving_closed(struct link *link)
{
    mem_free(giving_of(link));
}

static const struct link_ops giving_ops = {
    .frame = giving_frame, .ended = giving_ended, .closed = giving_closed};

static void begin_give(struct copies *copies, int fd, struct bytes unread)
{
    struct giving *giving = NEW(struct giving);
    uint32_t count = 0;

    LIST_FOR_EACH (node, &copies->gives)
        count++;
    giving->copies = copies;
    giving->line.send = give_send;
    give_begin(&giving->give, copies->ops, copies->owner, &giving->line, count >= COPIES_GIVEN,
               copies->loop.now_ms);
    list_add_last(&copies->gives, &giving->node);
    if (link_open(&giving->link, &copies->loop, &giving_ops, fd, unread) == RC_OK)
        return;
    list_remove(&giving->node);
    mem_free(giving);
}

/* ---- mail --------------------------------------------------------------------------------------
 */

enum copies_mail_kind { COPIES_WANTED, COPIES_REACHED, COPIES_MET, COPIES_WRITTEN };

struct copies_mail {
    struct letter letter;
    enum copies_mail_kind kind;
    uint32_t group, chunks;
    uint64_t token;
    int fd;
    size_t unread_len;
    uint8_t unread[];
};

static void post(struct copies *copies, const struct copies_mail *what, struct bytes unread)
{
    struct copies_mail *mail = mem_new(sizeof(*mail) + unread.len);
    *mail = *what;
    mail->unread_len = unread.len;
    if (unread.len > 0)
        memcpy(mail->unread, unread.data, unread.len);
    mailbox_post(&copies->mailbox, &mail->letter);
}

static void open_reached(struct copies *copies, const struct copies_mail *mail)
{
    struct taking *taking = copies->takes[mail->group];

    if (taking == NULL || taking->take.state != TAKE_DIALS) {
        if (mail->fd >= 0)
            close(mail->fd);
        return;
    }
    if (mail->fd >= 0)
        reached(taking, mail->fd, bytes_of(mail->unread, mail->unread_len));
    else
        take_fail(&taking->take, "it cannot be reached");
    settle(taking);
}

static void open_written(struct copies *copies, const struct copies_mail *mail)
{
    struct taking *taking = copies->takes[mail->group];

    if (taking == NULL || taking->take.token != mail->token)
        return;
    take_written(&taking->take, mail->chunks, copies->loop.now_ms);
    settle(taking);
}

static void open_mail(struct copies *copies, const struct copies_mail *mail)
{
    switch (mail->kind) {
    case COPIES_WANTED: /* wanted[] says what */
        break;
    case COPIES_REACHED:
        open_reached(copies, mail);
        break;
    case COPIES_MET:
        begin_give(copies, mail->fd, bytes_of(mail->unread, mail->unread_len));
        break;
    case COPIES_WRITTEN:
        open_written(copies, mail);
        break;
    }
}

static bool turn(void *owner)
{
    struct copies *copies = owner;
    struct letter *letter = mailbox_take_all(&copies->mailbox);

    while (letter != NULL) {
        struct letter *next = letter->next;
        struct copies_mail *mail = CONTAINER_OF(letter, struct copies_mail, letter);
        open_mail(copies, mail);
        mem_free(mail);
        letter = next;
    }
    begin_takes(copies);
    return false;
}

static void tick(struct loop_timer *timer)
{
    struct copies *copies = CONTAINER_OF(timer, struct copies, tick);
    uint64_t now_ms = copies->loop.now_ms;

    loop_timer_start(&copies->loop, timer, now_ms + COPIES_TICK_MS);
    for (uint32_t group = 0; group < COPIES_GROUPS; group++) {
        struct taking *taking = copies->takes[group];
        if (taking == NULL || !take_is_late(&taking->take, now_ms))
            continue;
        take_fail(&taking->take, "nothing has come for long, or it takes too long");
        settle(taking);
    }
    LIST_FOR_EACH_SAFE (node, &copies->gives) {
        struct giving *giving = CONTAINER_OF(node, struct giving, node);
        if (give_is_late(&giving->give, now_ms))
            link_close(&giving->link);
    }
}

static void close_all(void *owner)
{
    struct copies *copies = owner;

    for (uint32_t group = 0; group < COPIES_GROUPS; group++) {
        struct taking *taking = copies->takes[group];
        if (taking == NULL)
            continue;
        take_fail(&taking->take, "this node ends");
        settle(taking);
    }
    LIST_FOR_EACH_SAFE (node, &copies->gives)
        link_close(&CONTAINER_OF(node, struct giving, node)->link);
}

/* ---- what others call --------------------------------------------------------------------------
 */

void copies_want(struct copies *copies, uint32_t group, const char *node)
{
    CHECK(group < COPIES_GROUPS);
    struct wanted *wanted = &copies->wanted[group];

    pthread_mutex_lock(&copies->lock);
    bool is_new = !wanted->taken;
    if (is_new) {
        *wanted = (struct wanted){.is = true};
        snprintf(wanted->progress.node, sizeof(wanted->progress.node), "%s", node);
    }
    pthread_mutex_unlock(&copies->lock);
    if (is_new)
        post(copies, &(struct copies_mail){.kind = COPIES_WANTED}, bytes_of(NULL, 0));
}

bool copies_progress(struct copies *copies, uint32_t group, struct copies_progress *out)
{
    CHECK(group < COPIES_GROUPS);
    pthread_mutex_lock(&copies->lock);
    bool taken = copies->wanted[group].taken;
    *out = copies->wanted[group].progress;
    pthread_mutex_unlock(&copies->lock);
    return taken;
}

void copies_written(struct copies *copies, uint32_t group, uint64_t token, uint32_t chunks)
{
    post(copies,
         &(struct copies_mail){
             .kind = COPIES_WRITTEN, .group = group, .token = token, .chunks = chunks},
         bytes_of(NULL, 0));
}

void copies_post_out(struct copies *copies, uint32_t group, int fd, struct bytes unread)
{
    post(copies, &(struct copies_mail){.kind = COPIES_REACHED, .group = group, .fd = fd}, unread);
}

void copies_post_in(struct copies *copies, int fd, struct bytes unread)
{
    post(copies, &(struct copies_mail){.kind = COPIES_MET, .fd = fd}, unread);
}

/* ---- life --------------------------------------------------------------------------------------
 */

static const struct loop_ops loop_ops = {.turn = turn, .stopping = close_all};

static void wake(void *owner)
{
    loop_wake(&((struct copies *)owner)->loop);
}

static void *run(void *arg)
{
    struct copies *copies = arg;

    loop_timer_start(&copies->loop, &copies->tick, copies->loop.now_ms);
    loop_run(&copies->loop);
    return NULL;
}

struct copies *copies_new(const struct copies_ops *ops, void *owner,
                          void (*dial)(void *cluster, uint32_t group), void *cluster)
{
    struct copies *copies = NEW(struct copies);

    copies->ops = ops;
    copies->owner = owner;
    copies->dial = dial;
    copies->cluster = cluster;
    list_init(&copies->gives);
    pthread_mutex_init(&copies->lock, NULL);
    loop_init(&copies->loop, &loop_ops, copies);
    loop_timer_init(&copies->tick, tick);
    mailbox_init(&copies->mailbox, wake, copies);
    return copies;
}

enum rc copies_start(struct copies *copies)
{
    if (pthread_create(&copies->thread, NULL, run, copies) != 0)
        return RC_IO;
    pthread_setname_np(copies->thread, "copies");
    copies->started = true;
    return RC_OK;
}

void copies_stop(struct copies *copies)
{
    if (!copies->started)
        return;
    loop_stop(&copies->loop);
    pthread_join(copies->thread, NULL);
    copies->started = false;
}

void copies_free(struct copies *copies)
{
    if (copies == NULL)
        return;
    struct letter *letter = mailbox_take_all(&copies->mailbox);
    while (letter != NULL) {
        struct letter *next = letter->next;
        struct copies_mail *mail = CONTAINER_OF(letter, struct copies_mail, letter);
        if (mail->kind == COPIES_MET || (mail->kind == COPIES_REACHED && mail->fd >= 0))
            close(mail->fd);
        mem_free(mail);
        letter = next;
    }
    loop_deinit(&copies->loop);
    pthread_mutex_destroy(&copies->lock);
    mem_free(copies);
}
