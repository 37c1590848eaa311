/* SPDX-License-Identifier: Apache-2.0 */
/* A line of `skein ctl` made a request, by the table of resources. Pure but for the current folder,
 * which relative paths are put behind. */
#ifndef CLI_CTL_REQUEST_H
#define CLI_CTL_REQUEST_H

#include "admin/resource.h"

enum { CTL_WORDS_MAX = ADMIN_PARAMETERS_MAX };

struct ctl_request {
    enum http_method method;
    char *target;    /* owned */
    json_t *body;    /* owned; NULL: none */
    char error[256]; /* "" or what is wrong */
};

/* The resource of a command, NULL when there is none. */
const struct resource *ctl_find(const struct resource *table, const char *command);

/*
 * `words` are the values of the parameters in their order; one written as NAME=VALUE is for the
 * optional parameter of that name. False: error says what is wrong. ctl_request_free() follows in
 * any case.
 */
bool ctl_request_make(struct ctl_request *request, const struct resource *resource,
                      char *const *words, size_t count);

void ctl_request_free(struct ctl_request *request);

/* "client id" or "clients [limit=...] [after=...]", as it is typed. */
void ctl_write_usage(const struct resource *resource, FILE *out);

#endif
