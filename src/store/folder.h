/* SPDX-License-Identifier: Apache-2.0 */
/* Folders of files, flat, as stores are. Any thread. */
#ifndef STORE_FOLDER_H
#define STORE_FOLDER_H

#include "store/engine.h"

/* Makes `to` and puts a store's files there: what the engine never changes as links, the rest as
 * copies, all of it on the disk. A file that cannot be read is left out and told. */
enum rc folder_copy_store(const char *from, const char *to,
                          void (*unreadable)(void *arg, const char *name, const char *error),
                          void *arg, char error[ENGINE_ERROR_MAX]);

/* One file, linked if that is possible. errno says why not. */
enum rc folder_link(const char *from, const char *to);

/* Removes a folder and the files and folders in it; one that is not there is fine. */
enum rc folder_remove(const char *path, char error[ENGINE_ERROR_MAX]);

/* Brings the names in a folder to the disk. */
enum rc folder_sync(const char *path);

/* True: not there, or nothing in it. */
bool folder_empty(const char *path);

#endif
