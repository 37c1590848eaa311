/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be asked over HTTP, as one table: method, path, parameters and their types, what the
 * answer looks like, who answers. From the table come routing, the checks of what a request says
 * (404, 405, 400, 415 with a sentence that helps), docs/reference/api.md, the OpenAPI document and
 * the commands of `skein ctl`. Tables are constant; functions here are pure.
 */
#ifndef ADMIN_RESOURCE_H
#define ADMIN_RESOURCE_H

#include "base/bytes.h"

#include <http_parser.h>
#include <jansson.h>
#include <stdio.h>

struct admin_call;

enum admin_type {
    ADMIN_TEXT,
    ADMIN_FILE, /* a text: an absolute path on the broker's machine */
    ADMIN_INTEGER,
    ADMIN_NUMBER,
    ADMIN_BOOLEAN,
    ADMIN_OBJECT, /* in answers only; of: its fields, NULL: any names with numbers */
    ADMIN_LIST,   /* in answers only; of: the fields of each object in it */
};

enum admin_place { ADMIN_IN_PATH, ADMIN_IN_QUERY, ADMIN_IN_BODY };

enum admin_presence { ADMIN_REQUIRED, ADMIN_OPTIONAL };

/* A parameter of a request, or a member of an answer. */
struct admin_field {
    const char *name; /* NULL ends a table */
    enum admin_type type;
    enum admin_place place;       /* of a parameter; those in the path are listed in its order */
    enum admin_presence presence; /* of a member: optional ones may be missing or null */
    uint64_t min, max;            /* of an ADMIN_INTEGER parameter */
    uint64_t standard;            /* of an optional ADMIN_INTEGER parameter that is not given */
    const char *help;             /* one or two sentences */
    const struct admin_field *of;
};

enum { ADMIN_PARAMETERS_MAX = 8 };

struct resource {
    enum http_method method;              /* HTTP_GET answers HEAD too */
    const char *path;                     /* "/v1/clients/{id}"; NULL ends a table */
    const char *name;                     /* of the operation: "get_client" */
    const char *command;                  /* of skein ctl: "client"; NULL: none */
    const char *summary;                  /* "One client, connected or not": no full stop */
    const char *description;              /* sentences; NULL: the summary says it all */
    const struct admin_field *parameters; /* NULL: none */
    const struct admin_field *answer;     /* members of the answer with status 200 */
    const char *errors; /* "404 There is no such session.\n409 ..."; may be NULL */
    void (*handle)(struct admin_call *call);
};

/* What a request gave for a parameter. */
struct admin_value {
    const struct admin_field *field;
    bool given;
    char *text;      /* as it came, decoded; owned; UTF-8 without U+0000, terminated */
    uint64_t number; /* ADMIN_INTEGER; ADMIN_BOOLEAN: 0 or 1 */
};

/* A request that a resource was found for, or the status and detail of its refusal. */
struct admin_request {
    const struct resource *resource; /* NULL: refused */
    struct admin_value values[ADMIN_PARAMETERS_MAX];
    unsigned status;
    char detail[512];
    char allow[64]; /* status 405: the methods there are */
};

struct admin_question {
    enum http_method method;
    struct bytes target;       /* path and query, not decoded */
    struct bytes content_type; /* data NULL: none */
    struct bytes body;
};

/* Finds the resource and takes the parameters apart; false: refused. Borrows the question; either
 * way admin_request_deinit() follows. */
bool admin_request_parse(struct admin_request *request, const struct resource *table,
                         const struct admin_question *question);

void admin_request_deinit(struct admin_request *request);

/* The parameter of that name, borrowed. CHECKs that the resource has one. */
const struct admin_value *admin_request_value(const struct admin_request *request,
                                              const char *name);

/* ---- documents ---------------------------------------------------------------------------------
 */

/* Gives the OpenAPI 3.1 document (RFC 9457 problems included). */
json_t *admin_openapi(const struct resource *table, const char *version);

/* docs/reference/api.md. */
void admin_write_reference(const struct resource *table, FILE *out);

#endif
