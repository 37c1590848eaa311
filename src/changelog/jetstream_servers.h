/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The servers under JetStream. One that has lost its store comes back as another server, and the
 * old one has to be taken out of the cluster, or its place stays empty: streams then move to the
 * new one by themselves. Only while a majority of the servers is there.
 */
#ifndef CHANGELOG_JETSTREAM_SERVERS_H
#define CHANGELOG_JETSTREAM_SERVERS_H

#include "changelog/jetstream.h"

/*
 * Takes the server out, for good; blocks. User and password are of the system account. RC_OK: it is
 * out. RC_NOT_FOUND: it was none of the cluster. RC_AGAIN: no answer, ask again. RC_REFUSED:
 * `error` says why.
 */
MUST_USE enum rc jetstream_remove_server(const char *url, const char *user, const char *password,
                                         const char *name, uint64_t timeout_ms,
                                         char error[JETSTREAM_ERROR_MAX]);

#endif
