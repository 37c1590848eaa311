/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The embedded store underneath: RocksDB by its C API, and nothing of it shows outside engine.c. A
 * write is a serialised write batch (batch.h makes them); reading is by cursors over key ranges.
 * One thread writes; any thread may read. Inside store/ only, and for the tools that work on a
 * store that no broker has open.
 */
#ifndef STORE_ENGINE_H
#define STORE_ENGINE_H

#include "base/bytes.h"
#include "base/rc.h"

#include <stdbool.h>
#include <stdint.h>

/* What is kept apart because it is used differently. The numbers are part of the store's format. */
enum store_family {
    STORE_STATE = 0,    /* sessions, subscriptions, wills, inbound identifiers, outbox */
    STORE_QUEUE = 1,    /* messages that wait; comes and goes */
    STORE_RETAINED = 2, /* stays and is overwritten */
    STORE_FAMILIES = 3,
};

enum engine_profile {
    ENGINE_NORMAL,
    ENGINE_SMALL, /* little memory, few writes */
};

enum engine_open_mode {
    ENGINE_CREATE, /* or finishes one that was being created */
    ENGINE_EXISTING,
    ENGINE_READ_ONLY,
    ENGINE_LENIENT, /* read only; what is damaged or missing shows when it is read */
};

enum engine_sync { ENGINE_BUFFERED, ENGINE_SYNCED };

enum { ENGINE_ERROR_MAX = 512 };

struct engine;
struct engine_cursor;
struct engine_view;

/*
 * Opens the store in `dir`. RC_NOT_FOUND: there is none (and none was to be made). RC_INVALID:
 * damaged. RC_FULL: the disk is. RC_IO: anything else. `error` then says what.
 */
enum rc engine_open(const char *dir, enum engine_open_mode mode, enum engine_profile profile,
                    struct engine **out, char error[ENGINE_ERROR_MAX]);

/* Writes what memory holds and closes. NULL is fine. No cursor may be open. */
void engine_close(struct engine *engine);

/* First on a thread that will call often: it does without RocksDB's counters of the thread. */
void engine_thread_begin(void);

/* Applies a serialised write batch, all or nothing. RC_FULL: the disk is full. RC_IO. */
enum rc engine_write(struct engine *engine, struct bytes batch, enum engine_sync sync,
                     char error[ENGINE_ERROR_MAX]);

/* Sequence number of the latest record. */
uint64_t engine_sequence(struct engine *engine);

/* Brings to the disk what was written ENGINE_BUFFERED. */
enum rc engine_sync(struct engine *engine, char error[ENGINE_ERROR_MAX]);

/* Brings to the disk what memory holds, as files that stand without the log. */
enum rc engine_flush(struct engine *engine, enum store_family family, char error[ENGINE_ERROR_MAX]);

/* To be called now and then: when half of the messages that the queue's files hold have been
 * deleted, they are written again without them, in the background. */
void engine_tidy(struct engine *engine);

/* A consistent copy in the new folder `to` (hard links where possible). RC_EXISTS, RC_FULL, RC_IO.
 */
enum rc engine_checkpoint(struct engine *engine, const char *to, char error[ENGINE_ERROR_MAX]);

/* Reads all of a family again and compares checksums. RC_INVALID: `error` says where. */
enum rc engine_verify(struct engine *engine, enum store_family family,
                      char error[ENGINE_ERROR_MAX]);

/* Bytes of a family on disk, and in its memory tables. */
uint64_t engine_disk_bytes(struct engine *engine, enum store_family family);
uint64_t engine_memory_bytes(struct engine *engine, enum store_family family);

/* Bytes of blocks of files that are kept in memory; there is a limit to them. */
uint64_t engine_cache_bytes(struct engine *engine);

/* ---- reading ----------------------------------------------------------------------------------
 */

/* One value, to be given back with engine_free(). RC_NOT_FOUND, RC_INVALID: damage. */
enum rc engine_get(struct engine *engine, enum store_family family, struct bytes key, void **value,
                   size_t *len);
void engine_free(void *value);

/* A walk over the keys from <= key < until in order; `until` empty: to the end. Gives a cursor of
 * the present moment: later writes are not seen. Copies both bounds. */
struct engine_cursor *engine_cursor_open(struct engine *engine, enum store_family family,
                                         struct bytes from, struct bytes until);

/* The present moment, to be read later. It keeps what is deleted from being given back to the disk,
 * and has to go before the engine does. */
struct engine_view *engine_view_take(struct engine *engine);
void engine_view_drop(struct engine_view *view);

/* As engine_get() and engine_cursor_open(), of that moment. What the cursor reads is not kept in
 * memory. */
enum rc engine_view_get(struct engine_view *view, enum store_family family, struct bytes key,
                        void **value, size_t *len);
struct engine_cursor *engine_view_cursor(struct engine_view *view, enum store_family family,
                                         struct bytes from, struct bytes until);

/* The next pair, borrowed until the next call. RC_NOT_FOUND: the end. RC_INVALID: damage. */
enum rc engine_cursor_next(struct engine_cursor *cursor, struct bytes *key, struct bytes *value);

/* RC_OK: there is a pair where the cursor stands. RC_NOT_FOUND: the end. RC_INVALID: damage. */
enum rc engine_cursor_state(struct engine_cursor *cursor);

/* After RC_INVALID: what is wrong, with the name of the file. */
void engine_cursor_error(struct engine_cursor *cursor, char error[ENGINE_ERROR_MAX]);

void engine_cursor_close(struct engine_cursor *cursor);

#endif
