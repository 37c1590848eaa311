/* SPDX-License-Identifier: Apache-2.0 */
/* The life of this node's nats-server. */
#include "managed/process.h"

#include "base/check.h"
#include "base/clock.h"
#include "base/log.h"
#include "managed/files.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

enum {
    LOOK_MS = 250,
    KILL_MS = 2000, /* as long may one that hangs take to end by itself */
    PAUSE_MIN_MS = 100,
    PAUSE_MAX_MS = 10000,
    CONFIG_HEAD = 4 * MANAGED_PATH_MAX + 4096, /* bytes of nats.conf; `cluster` begins in them */
    STEADY_MS = 30000,                         /* has run so long: its next death is a new one */
};

/* ---- the folder --------------------------------------------------------------------------------
 */

static enum rc fail(char error[MANAGED_ERROR_MAX], const char *what, const char *path)
{
    snprintf(error, MANAGED_ERROR_MAX, "%.160s %s: %s", path, what, strerror(errno));
    return RC_IO;
}

/* Has the server ever written anything? */
static bool store_is_there(const char *folder)
{
    char path[MANAGED_PATH_MAX + 64];
    struct stat status;

    snprintf(path, sizeof(path), "%s/store/jetstream", folder);
    return stat(path, &status) == 0;
}

static bool read_store_id(const char *folder, char out[MANAGED_STORE_ID])
{
    return managed_read_file(folder, "store-id", out, MANAGED_STORE_ID) &&
           strlen(out) == MANAGED_STORE_ID - 1 &&
           strspn(out, "0123456789abcdef") == MANAGED_STORE_ID - 1;
}

static enum rc new_store_id(struct managed_nats *nats, char error[MANAGED_ERROR_MAX])
{
    uint64_t number;

    if (getrandom(&number, sizeof(number), 0) != sizeof(number))
        return fail(error, "gives nothing", "getrandom()");
    snprintf(nats->store_id, sizeof(nats->store_id), "%016" PRIx64, number);
    if (!managed_write_file(nats->folder, "store-id", nats->store_id, MANAGED_STORE_ID - 1))
        return fail(error, "cannot be written to", nats->folder);
    return RC_OK;
}

enum rc managed_look(const char *folder, struct managed_nats *nats, enum managed_store *store,
                     char error[MANAGED_ERROR_MAX])
{
    struct managed_note note;
    char boot[37];

    if (mkdir(folder, 0700) != 0 && errno != EEXIST)
        return fail(error, "cannot be made", folder);
    char *whole = realpath(folder, NULL);
    if (whole == NULL || strlen(whole) >= sizeof(nats->folder)) {
        free(whole);
        return fail(error, "cannot be used", folder);
    }
    snprintf(nats->folder, sizeof(nats->folder), "%s", whole);
    free(whole);
    managed_boot(boot);
    bool noted = managed_note_read(nats->folder, &note);
    bool clean = noted && (note.started == 0 || strcmp(note.boot, boot) == 0);
    bool has_id = read_store_id(nats->folder, nats->store_id);
    if (store_is_there(nats->folder) && has_id) {
        *store = clean ? MANAGED_STORE_CLEAN : MANAGED_STORE_UNCLEAN;
        return RC_OK;
    }
    /* One that ran when the machine went down may never have got anything to the disk. */
    *store = noted && !clean ? MANAGED_STORE_UNCLEAN : MANAGED_STORE_NEW;
    return *store == MANAGED_STORE_UNCLEAN && has_id ? RC_OK : new_store_id(nats, error);
}

bool managed_was_alone(const char *folder)
{
    char text[CONFIG_HEAD], path[MANAGED_PATH_MAX + 64];
    struct stat status;

    /* what servers of a cluster agree on is kept there, and made at their first start */
    snprintf(path, sizeof(path), "%s/store/jetstream/SYSTEM/_js_/_meta_", folder);
    return managed_read_file(folder, "nats.conf", text, sizeof(text)) &&
           strstr(text, "\ncluster {") == NULL && stat(path, &status) != 0 && errno == ENOENT;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    return remove(path);
}

enum rc managed_discard(const char *folder, char error[MANAGED_ERROR_MAX])
{
    char path[MANAGED_PATH_MAX + 64];

    CHECK(managed_find(folder) == 0);
    snprintf(path, sizeof(path), "%s/store-id", folder);
    if (unlink(path) != 0 && errno != ENOENT) /* first: half a store is nobody's */
        return fail(error, "cannot be removed", path);
    snprintf(path, sizeof(path), "%s/store", folder);
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0 && errno != ENOENT)
        return fail(error, "cannot be removed", path);
    return RC_OK;
}

/* ---- starting ----------------------------------------------------------------------------------
 */

static enum rc write_config(struct managed_process *process, const struct managed_nats *nats,
                            char error[MANAGED_ERROR_MAX])
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    enum rc rc = RC_IO;

    CHECK(out != NULL);
    enum rc written = managed_write_config(nats, out);
    fclose(out);
    if (written != RC_OK) {
        snprintf(error, MANAGED_ERROR_MAX, "%.200s has characters that nats-server cannot read",
                 nats->folder);
    } else if (!managed_write_file(nats->folder, "nats.conf", text, len)) {
        fail(error, "cannot be written to", nats->folder);
    } else {
        XXH128_hash_t hash = XXH3_128bits(text, len);
        snprintf(process->hash, sizeof(process->hash), "%016" PRIx64 "%016" PRIx64, hash.high64,
                 hash.low64);
        rc = RC_OK;
    }
    explicit_bzero(text, len);
    free(text);
    return rc;
}

/* A session of its own, no signal blocked or ignored, no file of ours. What it has to say without
 * its log, when it ends in a panic, goes to `errors`. */
static int spawn(const char *program, const char *config, int errors, pid_t *pid)
{
    char option[] = "-c";
    char *const arguments[] = {(char *)program, option, (char *)config, NULL};
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, all;

    sigemptyset(&none);
    sigfillset(&all);
    CHECK(posix_spawnattr_init(&attributes) == 0 && posix_spawn_file_actions_init(&files) == 0);
    posix_spawnattr_setflags(
        &attributes, (short)(POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF));
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&files, errors >= 0 ? errors : 1, 2);
    posix_spawn_file_actions_addclosefrom_np(&files, 3);
    int failed = posix_spawnp(pid, program, &files, &attributes, arguments, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    return failed;
}

static int spawn_anywhere(const char *program, const char *config, int errors, pid_t *pid)
{
    char path[MANAGED_PATH_MAX];
    int failed = spawn(program, config, errors, pid);

    if (failed != ENOENT || strchr(program, '/') != NULL)
        return failed;
    snprintf(path, sizeof(path), "/usr/sbin/%s", program);
    return spawn(path, config, errors, pid);
}

static void note_process(struct managed_process *process, uint64_t started)
{
    struct managed_note note = {.pid = process->pid, .started = started};

    managed_boot(note.boot);
    memcpy(note.hash, process->hash, sizeof(note.hash));
    if (!managed_note_write(process->folder, &note))
        LOG(LOG_ERROR, "engine.note_failed", log_text("folder", process->folder),
            log_text("error", strerror(errno)));
}

static void pause_it(struct managed_process *process, uint64_t now_ms)
{
    process->state = MANAGED_PAUSES;
    process->pid = 0;
    process->look_ms = now_ms + process->pause_ms;
    process->pause_ms *= 2;
    if (process->pause_ms > PAUSE_MAX_MS)
        process->pause_ms = PAUSE_MAX_MS;
}

/* So what the last one said is there to read, and of no other. */
static void put_aside(const struct managed_process *process, const char *name,
                      char path[MANAGED_PATH_MAX + 64])
{
    char old[MANAGED_PATH_MAX + 64];

    snprintf(path, MANAGED_PATH_MAX + 64, "%s/%s", process->folder, name);
    snprintf(old, sizeof(old), "%s/%s.1", process->folder, name);
    (void)rename(path, old);
}

/*
 * What a leader that is cut off, or killed, has written and nobody has accepted stays in its log.
 * nats-server 2.9 takes on the term of the next leader before it has given such records up, and so
 * may be elected with them, or with less than the others have. What they had accepted is lost then.
 */
static void drop_ends(struct managed_process *process)
{
    process->joined = process->joins;
    if (!process->joins)
        return;
    uint32_t count = managed_drop_ends(process->folder);
    LOG(LOG_INFO, "engine.joins", log_uint("logs", count),
        log_text("reason", "the other servers are a quorum without it; the ends of its logs are "
                           "read from them"));
}

static void start_one(struct managed_process *process, uint64_t now_ms)
{
    char config[MANAGED_PATH_MAX + 64], path[MANAGED_PATH_MAX + 64];

    snprintf(config, sizeof(config), "%s/nats.conf", process->folder);
    put_aside(process, "engine.log", path);
    put_aside(process, "engine.errors", path);
    int errors = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600); /* or none */
    drop_ends(process);
    note_process(process, 1); /* it runs, as far as a loss of power from here on is concerned */
    int failed = spawn_anywhere(process->program, config, errors, &process->pid);
    if (errors >= 0)
        close(errors);
    if (failed != 0) {
        LOG(LOG_ERROR, "engine.start_failed", log_text("program", process->program),
            log_text("error", strerror(failed)));
        pause_it(process, now_ms);
        return;
    }
    process->state = MANAGED_RUNS;
    process->kill_ms = 0;
    process->rests = process->answered = process->stuck = false;
    process->said_ms = 0;
    process->child = true;
    process->starts++;
    process->since_ms = now_ms;
    process->look_ms = now_ms + LOOK_MS;
    process->started = managed_started(process->pid);
    note_process(process, process->started != 0 ? process->started : 1);
    LOG(LOG_INFO, "engine.started", log_int("pid", process->pid),
        log_text("folder", process->folder));
}

/* ---- taking over -------------------------------------------------------------------------------
 */

/* One that a broker started and was killed before it could note it. Its configuration is not
 * known. */
static bool find_orphan(const char *folder, struct managed_note *note)
{
    char text[16], config[MANAGED_PATH_MAX + 64];

    snprintf(config, sizeof(config), "%s/nats.conf", folder);
    if (!managed_read_file(folder, "nats.pid", text, sizeof(text)))
        return false;
    *note = (struct managed_note){.pid = (pid_t)strtol(text, NULL, 10)};
    note->started = managed_started(note->pid);
    return note->started != 0 && managed_has_argument(note->pid, config);
}

/* The process that runs, if one does. */
static bool find(const char *folder, struct managed_note *note)
{
    char boot[37];

    managed_boot(boot);
    return (managed_note_read(folder, note) && note->started != 0 &&
            strcmp(note->boot, boot) == 0 && managed_started(note->pid) == note->started) ||
           find_orphan(folder, note);
}

pid_t managed_find(const char *folder)
{
    struct managed_note note;
    return find(folder, &note) ? note.pid : 0;
}

static void take_over(struct managed_process *process, const struct managed_note *note,
                      uint64_t now_ms)
{
    process->pid = note->pid;
    process->started = note->started;
    process->child = false;
    process->since_ms = now_ms;
    process->look_ms = now_ms + LOOK_MS;
    process->state = MANAGED_RUNS;
    if (strcmp(note->hash, process->hash) == 0) {
        LOG(LOG_INFO, "engine.adopted", log_int("pid", process->pid));
        return;
    }
    LOG(LOG_INFO, "engine.restarts", log_int("pid", process->pid),
        log_text("reason", "its configuration has changed"));
    kill(process->pid, SIGTERM); /* gone, it is started like one that died */
}

enum rc managed_start(struct managed_process *process, const char *program,
                      const struct managed_nats *nats, uint64_t now_ms,
                      char error[MANAGED_ERROR_MAX])
{
    struct managed_note note;

    *process = (struct managed_process){
        .program = program, .pause_ms = PAUSE_MIN_MS, .joins = process->joins};
    snprintf(process->folder, sizeof(process->folder), "%s", nats->folder);
    enum rc rc = write_config(process, nats, error);
    if (rc != RC_OK)
        return rc;
    if (find(process->folder, &note))
        take_over(process, &note, now_ms);
    else
        start_one(process, now_ms);
    return RC_OK;
}

/* ---- watching ----------------------------------------------------------------------------------
 */

static bool lives(struct managed_process *process)
{
    int status;

    if (process->child)
        return waitpid(process->pid, &status, WNOHANG) == 0;
    return managed_started(process->pid) == process->started;
}

static void *flush_in_peace(void *arg)
{
    char *folder = arg;
    uint64_t from_ms = clock_ms();
    bool good = managed_flush_meta(folder);
    LOG(good ? LOG_INFO : LOG_ERROR, "engine.flushed", log_text("folder", folder),
        log_text("result", good ? "ok" : strerror(errno)), log_uint("ms", clock_ms() - from_ms));
    free(folder);
    return NULL;
}

void managed_flush(const struct managed_process *process)
{
    pthread_t thread;
    char *folder = strdup(process->folder);
    CHECK(folder != NULL);
    if (pthread_create(&thread, NULL, flush_in_peace, folder) != 0) {
        LOG(LOG_ERROR, "engine.flushed", log_text("result", "no thread could be started"));
        free(folder);
        return;
    }
    pthread_detach(thread);
}

static void gone(struct managed_process *process, uint64_t now_ms)
{
    if (process->state == MANAGED_ENDS) {
        if (managed_flush_files(process->folder)) /* the server leaves that to the kernel */
            note_process(process, 0);
        process->state = MANAGED_OFF;
        process->pid = 0;
        LOG(LOG_INFO, "engine.ended", log_text("folder", process->folder));
        return;
    }
    if (process->rests) { /* its files are not on the disk yet: the note stays as it is */
        process->state = MANAGED_RESTS;
        process->pid = 0;
        return;
    }
    LOG(LOG_WARN, "engine.died", log_int("pid", process->pid),
        log_text("log", "engine.log.1 in its folder"));
    if (now_ms - process->since_ms >= STEADY_MS && !process->stuck) {
        process->pause_ms = PAUSE_MIN_MS;
        process->deaths = 0;
    }
    process->deaths++;
    pause_it(process, now_ms);
}

void managed_turn(struct managed_process *process, uint64_t now_ms)
{
    if (process->state == MANAGED_OFF || process->state == MANAGED_RESTS ||
        now_ms < process->look_ms)
        return;
    process->look_ms = now_ms + LOOK_MS;
    if (process->state == MANAGED_PAUSES)
        start_one(process, now_ms);
    else if (!lives(process))
        gone(process, now_ms);
    else if (process->kill_ms != 0 && now_ms >= process->kill_ms)
        kill(process->pid, SIGKILL);
}

/* It writes down what it is doing. */
static void end_it(struct managed_process *process, uint64_t now_ms)
{
    kill(process->pid, SIGQUIT);
    process->kill_ms = now_ms + KILL_MS;
}

bool managed_lost(struct managed_process *process, uint64_t now_ms)
{
    uint64_t *lost_ms = process->lost_ms, first_ms;

    memmove(lost_ms + 1, lost_ms, (MANAGED_LOSSES - 1) * sizeof(*lost_ms));
    lost_ms[0] = now_ms;
    first_ms = lost_ms[MANAGED_LOSSES - 1];
    if (process->state != MANAGED_RUNS || process->kill_ms != 0 || first_ms < process->since_ms ||
        now_ms - first_ms > MANAGED_HANGS_MS)
        return false;
    LOG(LOG_ERROR, "engine.hangs", log_int("pid", process->pid),
        log_uint("connections_lost", MANAGED_LOSSES), log_uint("within_ms", now_ms - first_ms),
        log_text("meaning", "it runs and answers nobody, as it does when its disk was full; it is "
                            "started again; what it was doing is in engine.errors.1"));
    end_it(process, now_ms);
    return true;
}

bool managed_stuck(struct managed_process *process, uint64_t now_ms)
{
    if (process->state != MANAGED_RUNS || process->kill_ms != 0 || process->answered)
        return false;
    uint64_t said = managed_file_size(process->folder, "engine.log");
    if (said != process->said || process->said_ms == 0) {
        process->said = said;
        process->said_ms = now_ms;
    }
    if (now_ms < process->said_ms + MANAGED_STUCK_MS)
        return false;
    LOG(LOG_ERROR, "engine.hangs", log_int("pid", process->pid),
        log_uint("silent_ms", now_ms - process->said_ms),
        log_text("meaning", "it has not come up, as it does on files that a loss of power has "
                            "torn; it is started again; what it was doing is in engine.errors.1"));
    process->deaths += MANAGED_DEATHS / 2;
    process->stuck = true;
    end_it(process, now_ms);
    return true;
}

void managed_restart(struct managed_process *process, const char *reason)
{
    if (process->state != MANAGED_RUNS || process->rests || process->kill_ms != 0)
        return;
    LOG(LOG_WARN, "engine.restarts", log_int("pid", process->pid), log_text("reason", reason));
    kill(process->pid, SIGTERM);
}

void managed_rest(struct managed_process *process, uint64_t now_ms)
{
    if (process->state != MANAGED_RUNS || process->rests)
        return;
    process->rests = true;
    process->look_ms = now_ms + LOOK_MS;
    process->kill_ms = now_ms + KILL_MS;
    kill(process->pid, SIGTERM);
}

void managed_wake(struct managed_process *process, uint64_t now_ms)
{
    process->rests = false; /* one that has not ended yet is started as if it had died */
    if (process->state == MANAGED_RESTS)
        start_one(process, now_ms);
}

uint64_t managed_deadline_ms(const struct managed_process *process)
{
    bool idle = process->state == MANAGED_OFF || process->state == MANAGED_RESTS;
    return idle ? UINT64_MAX : process->look_ms;
}

void managed_stop(struct managed_process *process, uint64_t now_ms)
{
    if (process->state == MANAGED_RUNS) {
        process->state = MANAGED_ENDS;
        process->look_ms = now_ms + LOOK_MS;
        kill(process->pid, SIGTERM);
    } else if (process->state == MANAGED_PAUSES || process->state == MANAGED_RESTS) {
        process->state = MANAGED_OFF; /* what one that died left is not clean */
    }
}
