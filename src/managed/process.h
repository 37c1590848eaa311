/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The nats-server that belongs to this node. It has a process group of its own and outlives a
 * broker that is killed: the next one finds it by process id, start time and the hash of its
 * configuration, and takes it over as it runs; with another configuration it is started again. One
 * that dies is started again, a little later each time. All files are in one folder:
 *
 *     nats.conf  store/  store-id  engine.log  engine.errors  nats.pid   the server's
 *     process                                             what is noted of the one that runs, or
 * ran
 *
 * One thread; nothing blocks but the start of a process.
 */
#ifndef MANAGED_PROCESS_H
#define MANAGED_PROCESS_H

#include "managed/nats_config.h"

#include <sys/types.h>

enum {
    MANAGED_ERROR_MAX = 256,
    MANAGED_LOSSES = 3, /* so many connections lost in MANAGED_HANGS_MS: it hangs */
    MANAGED_HANGS_MS = 20000,
    MANAGED_STUCK_MS = 30000, /* silent for so long while it starts: it never will */
    MANAGED_DEATHS = 5,       /* in a row: it cannot live on what its store has */
};

enum managed_state {
    MANAGED_OFF,
    MANAGED_RUNS,
    MANAGED_PAUSES, /* it has died, or could not be started; tried again when it is time */
    MANAGED_ENDS,   /* told to */
    MANAGED_RESTS,  /* it has ended because it would only disturb others; started when woken */
};

/* What the store was left like. */
enum managed_store {
    MANAGED_STORE_NEW,     /* there is none: this is a new server */
    MANAGED_STORE_CLEAN,   /* its server ended in order, or this boot of the machine has seen it */
    MANAGED_STORE_UNCLEAN, /* the machine went down while it ran: it may have lost what it
                              acknowledged, and must not come back as the same server alone */
};

struct managed_process {
    enum managed_state state;
    const char *program;           /* "nats-server" */
    char folder[MANAGED_PATH_MAX]; /* absolute */
    char hash[33];                 /* of the configuration */
    pid_t pid;
    bool child;       /* else it was taken over */
    uint64_t started; /* by the kernel's clock, with the pid: which process it is */
    uint64_t since_ms, look_ms;
    uint32_t pause_ms;
    uint32_t starts;                  /* of processes, by this object */
    uint32_t deaths;                  /* in a row, each soon after its start */
    uint64_t lost_ms[MANAGED_LOSSES]; /* when connections to it were lost, the last one first */
    bool stuck;                       /* it is ended because of that: managed_stuck() */
    bool answered;                    /* the owner's word: this process has let it connect */
    uint64_t said;                    /* bytes in its log */
    uint64_t said_ms;                 /* since when there are no more */
    uint64_t kill_ms;                 /* it was told to end, and is killed then; 0: it was not */
    bool rests;                       /* MANAGED_RUNS: it was told to end, and rests then */
    bool joins;  /* the owner's word: the other servers are a quorum without it, and have all that
                  * was accepted; one that starts then takes the ends of its logs from them */
    bool joined; /* the one that runs did */
};

/*
 * Looks at the folder, makes it when it is not there (its parent is), and fills nats->folder and
 * nats->store_id. RC_IO: `error` says why.
 */
MUST_USE enum rc managed_look(const char *folder, struct managed_nats *nats,
                              enum managed_store *store, char error[MANAGED_ERROR_MAX]);

/* Whether no server that was started there has ever had others. */
bool managed_was_alone(const char *folder);

/* Takes the store away, so that the next managed_look() finds a new server. Nothing runs on it. */
MUST_USE enum rc managed_discard(const char *folder, char error[MANAGED_ERROR_MAX]);

/* Writes the configuration, and takes over the process that runs with it or starts one. The program
 * is a path, or a name that is looked for as the shell does and in /usr/sbin. */
MUST_USE enum rc managed_start(struct managed_process *process, const char *program,
                               const struct managed_nats *nats, uint64_t now_ms,
                               char error[MANAGED_ERROR_MAX]);

/* Sees whether it lives, and starts it again when it is time. */
void managed_turn(struct managed_process *process, uint64_t now_ms);
uint64_t managed_deadline_ms(const struct managed_process *process);

/* A connection to it has been lost. When it has become too many it hangs, though it runs: it is
 * told to write down what it is doing (engine.errors, SIGQUIT) and to end, and is killed if it does
 * not. nats-server 2.9 comes to that when its disk is full: it waits for a lock that it has itself,
 * and takes the other servers' connections with it. True: it did. */
bool managed_lost(struct managed_process *process, uint64_t now_ms);

/* To be asked while there is no connection: whether it has let nobody connect since it started, and
 * written nothing to its log for MANAGED_STUCK_MS. Then it is ended as one that hangs, and two such
 * ends in a row are as good as MANAGED_DEATHS. nats-server 2.9 may never end to read a stream's
 * files that a loss of power has torn. True: it did. */
bool managed_stuck(struct managed_process *process, uint64_t now_ms);

/* It is told to end, and is started again like one that has died. */
void managed_restart(struct managed_process *process, const char *reason);

/* Has what the server has written until now got to the disk, by a thread of its own: it leaves that
 * to the kernel, and to a clock that strikes every two minutes. */
void managed_flush(const struct managed_process *process);

/* When the server wrote last to the files of what all servers agree on: which of them there are,
 * and which streams. Nanoseconds of the file system's clock; 0: there are none. */
uint64_t managed_meta_changed(const char *folder);

/* Ends it in order, until it is woken. */
void managed_rest(struct managed_process *process, uint64_t now_ms);
void managed_wake(struct managed_process *process, uint64_t now_ms);

/* Ends it in order: the state is MANAGED_ENDS, and MANAGED_OFF when a turn finds it gone. */
void managed_stop(struct managed_process *process, uint64_t now_ms);

/* Is there a server in the folder that runs? Its pid, or 0. */
pid_t managed_find(const char *folder);

#endif
