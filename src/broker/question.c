/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/question.h"

#include "admin/server.h"
#include "base/memory.h"
#include "broker/node.h"

/* ---- one worker --------------------------------------------------------------------------------
 */

static void open_answer(struct admin_mail *mail)
{
    struct question *question = CONTAINER_OF(mail, struct question, back);
    struct admin_server *server = question->server;

    question->ops->answered(question);
    admin_release(server);
}

void question_answer(struct question *question)
{
    question->back.open = open_answer;
    admin_mail_post(question->server, &question->back);
}

static bool work(struct job *job)
{
    struct question *question = CONTAINER_OF(job, struct question, job);

    switch (question->ops->step(question, question->worker)) {
    case QUESTION_MORE:
        return false;
    case QUESTION_ANSWERED:
        question_answer(question);
        return true;
    default:
        return true;
    }
}

static void open_question(struct mail *mail, void *receiver)
{
    struct question *question = CONTAINER_OF(mail, struct question, there);

    (void)receiver;
    job_start(&question->worker->jobs, &question->job, work);
}

void question_ask(struct question *question, struct admin_server *server, struct worker *worker,
                  const struct question_ops *ops)
{
    question->there.open = open_question;
    question->ops = ops;
    question->server = server;
    question->worker = worker;
    admin_hold(server);
    mailbox_post(&worker->mailbox, &question->there.letter);
}

/* ---- all workers -------------------------------------------------------------------------------
 */

struct round_ops {
    struct question_ops ops; /* first */
    struct round *round;
};

/* A round and the ops of its questions, in one block. */
struct whole_round {
    struct round_ops ops;
    struct round round; /* last: it ends with its questions */
};

static void finish(struct round *round)
{
    struct admin_call *call = round->call;

    if (call == NULL)
        return;
    round->call = NULL;
    loop_timer_stop(admin_server_loop(round->server), &round->deadline);
    round->finished(round, call);
}

static void one_answered(struct question *question)
{
    const struct round_ops *ops = CONTAINER_OF(question->ops, struct round_ops, ops);
    struct round *round = ops->round;

    if (--round->missing > 0)
        return;
    finish(round);
    mem_free(CONTAINER_OF(round, struct whole_round, round));
}

static void time_is_over(struct loop_timer *timer)
{
    finish(CONTAINER_OF(timer, struct round, deadline));
}

void round_begin(struct broker *broker, struct admin_call *call,
                 enum question_step (*step)(struct question *question, struct worker *worker),
                 uint64_t wait_ms, void (*finished)(struct round *round, struct admin_call *call))
{
    struct admin_server *server = call_server(call);
    struct loop *loop = admin_server_loop(server);
    uint32_t count = broker->worker_count;
    struct whole_round *whole = mem_new(sizeof(*whole) + count * sizeof(struct question));
    struct round *round = &whole->round;

    whole->ops = (struct round_ops){{.step = step, .answered = one_answered}, .round = round};
    round->server = server;
    round->call = call;
    round->count = round->missing = count;
    round->finished = finished;
    loop_timer_init(&round->deadline, time_is_over);
    loop_timer_start(loop, &round->deadline, loop->now_ms + wait_ms);
    for (uint32_t i = 0; i < count; i++)
        question_ask(&round->questions[i], server, &broker->workers[i], &whole->ops.ops);
}
