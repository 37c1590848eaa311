/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the control server's thread asks of workers. A question goes there as mail, is worked on as
 * a job (so in steps of about 100 us, between which the worker serves its clients), and its answer
 * comes back as mail: nobody blocks and nothing is locked. What an answer says is copied.
 */
#ifndef BROKER_QUESTION_H
#define BROKER_QUESTION_H

#include "admin/call.h"
#include "base/job.h"
#include "delivery/mail.h"
#include "net/loop.h"

struct broker;
struct worker;
struct question;

enum question_step {
    QUESTION_MORE,     /* call again */
    QUESTION_ANSWERED, /* answered() follows on the server's thread */
    QUESTION_LATER,    /* question_answer() will be called */
};

struct question_ops {
    /* A piece of the work, on the worker's thread. */
    enum question_step (*step)(struct question *question, struct worker *worker);
    /* Takes the question, on the server's thread. */
    void (*answered)(struct question *question);
};

/* Embedded in what the answer is to be. */
struct question {
    struct mail there;
    struct admin_mail back;
    struct job job;
    const struct question_ops *ops;
    struct admin_server *server;
    struct worker *worker;
};

/* Server's thread. Takes the question until answered(). The server does not end before that. */
void question_ask(struct question *question, struct admin_server *server, struct worker *worker,
                  const struct question_ops *ops);

/* The worker's thread, after QUESTION_LATER. */
void question_answer(struct question *question);

/* ---- all workers at once -----------------------------------------------------------------------
 */

/* The same question to each worker, for a call. */
struct round {
    struct admin_server *server;
    struct admin_call *call; /* NULL: finished() was called */
    struct loop_timer deadline;
    uint32_t count, missing; /* workers asked, and those that have not answered */
    /* All have answered, or the time is over and `missing` have not; answers the call. */
    void (*finished)(struct round *round, struct admin_call *call);
    struct question questions[]; /* one a worker */
};

/* Asks every worker to do `step`, and waits for them at most wait_ms. */
void round_begin(struct broker *broker, struct admin_call *call,
                 enum question_step (*step)(struct question *question, struct worker *worker),
                 uint64_t wait_ms, void (*finished)(struct round *round, struct admin_call *call));

#endif
