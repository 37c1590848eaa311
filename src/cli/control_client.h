/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks the broker that runs on a data directory, over its control socket. Blocks until the answer
 * is complete. For every subcommand that speaks to a running broker.
 *
 *     struct control_answer answer;
 *     int result = control_ask("store", data_dir, HTTP_POST, "/v1/store/backup", body, &answer);
 *     if (result == EX_OK)
 *         ... answer.json ...
 *     control_answer_free(&answer);
 */
#ifndef CLI_CONTROL_CLIENT_H
#define CLI_CONTROL_CLIENT_H

#include <http_parser.h>
#include <jansson.h>

struct control_answer {
    unsigned status; /* of HTTP; 0: there is no answer */
    json_t *json;    /* NULL: there is no answer */
};

/*
 * Sends one request; borrows `body`, which may be NULL. EX_OK: the status is 200. Otherwise it has
 * said on stderr, as `skein COMMAND: ...`, what is wrong: EX_UNAVAILABLE no broker runs there, or
 * it went away (or status 503), EX_NOPERM not ours to open, EX_NOINPUT what was named does not
 * exist (404), EX_USAGE a parameter is wrong (400, 405, 415), EX_SOFTWARE anything else.
 * control_answer_free() follows in any case.
 */
int control_ask(const char *command, const char *data_dir, enum http_method method,
                const char *target, const json_t *body, struct control_answer *answer);

void control_answer_free(struct control_answer *answer);

#endif
