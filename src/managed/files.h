/* SPDX-License-Identifier: Apache-2.0 */
/* Inside managed/: the small files of the folder. */
#ifndef MANAGED_FILES_H
#define MANAGED_FILES_H

#include "managed/process.h"

/* What is noted of a process, so that another broker knows it again. */
struct managed_note {
    pid_t pid;
    uint64_t started; /* 0: it has ended in order */
    char boot[37];    /* id of this boot of the machine */
    char hash[33];
};

/* When the process was started, by the kernel; 0: there is none, or it is dead. */
uint64_t managed_started(pid_t pid);

/* Was it started with this as an argument? */
bool managed_has_argument(pid_t pid, const char *argument);

void managed_boot(char out[37]);

bool managed_note_read(const char *folder, struct managed_note *note);
bool managed_note_write(const char *folder, const struct managed_note *note);

/* At most `room` - 1 bytes, and a NUL. False: there is no such file. */
bool managed_read_file(const char *folder, const char *name, char *out, size_t room);

/* Bytes; 0: there is none. */
uint64_t managed_file_size(const char *folder, const char *name);

/* Whole or not at all, for its owner's eyes, flushed to the disk. */
bool managed_write_file(const char *folder, const char *name, const char *text, size_t len);

/* All that is below the folder is on the disk, as far as it has been written when this is called;
 * what is removed meanwhile is no error. Blocks. False: errno says why. */
bool managed_flush_files(const char *folder);
/* The same, but of what a file system in user space keeps only what all servers agree on: what
 * streams hold changes all the time. */
bool managed_flush_meta(const char *folder);

/*
 * Takes from the server's consensus logs of streams, of which there is a folder each, what came
 * after their last snapshot. What snapshots and the streams themselves hold was accepted by a
 * majority; behind that may be what was not. How many logs had anything there; nothing runs on it.
 */
uint32_t managed_drop_ends(const char *folder);

#endif
