/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A look at the files that RocksDB starts from, before it does: CURRENT, the manifest and the
 * write-ahead logs. RocksDB takes everything behind a bad place in a log for what a crash left
 * behind, as long as the place is in the last 32 KiB; a flipped bit there would cost acknowledged
 * records silently. Here a torn end is one with nothing behind it that was written after the place
 * had been synced (batch_mark()): else, or when numbers are missing, the log is damaged. Reads
 * only; any thread.
 */
#ifndef STORE_LOGS_H
#define STORE_LOGS_H

#include "store/engine.h"

enum { LOGS_NAME_MAX = 64 };

/* Where the damage is. */
enum logs_fault {
    LOGS_GOOD,
    LOGS_CURRENT,  /* it is not known which manifest counts */
    LOGS_MANIFEST, /* files may exist that it does not name */
    LOGS_RECORDS,  /* in the records of a write-ahead log, or a whole one is missing */
};

struct logs_report {
    enum logs_fault fault; /* with RC_INVALID */
    uint32_t logs;         /* write-ahead logs that are there */
    bool unused;           /* nothing has ever been written to the store */
    uint64_t records;
    char torn[LOGS_NAME_MAX]; /* the file whose end is torn; empty: none */
    uint64_t torn_at, torn_bytes;
};

/* RC_OK: good, or torn at its end. RC_NOT_FOUND: there is no store. RC_INVALID: damaged, `error`
 * says where. RC_IO. */
enum rc logs_check(const char *dir, struct logs_report *out, char error[ENGINE_ERROR_MAX]);

/* After an orderly close: writes down how long the manifest is, since one that was cut between two
 * of its records later looks whole, and without a log behind it nothing else tells. What cannot be
 * written down is not looked for. */
void logs_note_end(const char *dir);

/* Bytes of all write-ahead logs of a folder: so much is written when the store is opened. */
uint64_t logs_bytes(const char *dir);

/* Lets CURRENT of a copy name the newest manifest that is good. RC_NOT_FOUND: there is none. */
enum rc logs_mend_current(const char *dir);

/* What one write-ahead log has lost: bytes at a place, and how many changes were in them; 0:
 * unknown. */
struct logs_loss {
    char name[LOGS_NAME_MAX];
    uint64_t at, bytes, changes;
};

struct logs_mending {
    void (*lost)(struct logs_mending *mending, const struct logs_loss *loss); /* a bad place */
    /* A record that is whole: the serialised batch, with the number of its first change in front.
     * NULL: not asked for. */
    void (*record)(struct logs_mending *mending, struct bytes batch);
};

/* Writes the write-ahead logs of a folder anew from the records that are whole. For a copy. */
enum rc logs_mend(const char *dir, struct logs_mending *mending, char error[ENGINE_ERROR_MAX]);

#endif
