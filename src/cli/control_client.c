/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/control_client.h"

#include "base/memory.h"
#include "broker/control.h"
#include "net/unix_socket.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

enum { READ_SIZE = 64 * 1024 };

/* An answer on its way. */
struct reading {
    http_parser parser;
    char *body;
    size_t len, room;
    bool complete;
};

/* ---- the answer --------------------------------------------------------------------------------
 */

static int on_body(http_parser *parser, const char *at, size_t len)
{
    struct reading *reading = parser->data;

    if (reading->room - reading->len < len) {
        reading->room = 2 * (reading->len + len);
        reading->body = mem_resize(reading->body, reading->room);
    }
    memcpy(reading->body + reading->len, at, len);
    reading->len += len;
    return 0;
}

static int on_message_complete(http_parser *parser)
{
    struct reading *reading = parser->data;
    reading->complete = true;
    return 0;
}

static bool read_answer(int fd, struct reading *reading)
{
    static const http_parser_settings settings = {
        .on_body = on_body,
        .on_message_complete = on_message_complete,
    };
    char *buffer = mem_new(READ_SIZE);

    http_parser_init(&reading->parser, HTTP_RESPONSE);
    reading->parser.data = reading;
    while (!reading->complete) {
        ssize_t got = recv(fd, buffer, READ_SIZE, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0 ||
            http_parser_execute(&reading->parser, &settings, buffer, (size_t)got) != (size_t)got)
            break;
    }
    mem_free(buffer);
    return reading->complete;
}

/* ---- the request -------------------------------------------------------------------------------
 */

static bool send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t sent = send(fd, data, len, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR)
            return false;
        if (sent > 0) {
            data += sent;
            len -= (size_t)sent;
        }
    }
    return true;
}

static bool send_request(int fd, enum http_method method, const char *target, const json_t *body)
{
    char *text = body == NULL ? NULL : json_dumps(body, JSON_COMPACT);
    char *request = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&request, &len);
    bool sent = false;

    if (out != NULL) {
        fprintf(out, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n",
                http_method_str(method), target);
        if (text != NULL)
            fprintf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(text));
        fprintf(out, "\r\n%s", text == NULL ? "" : text);
        sent = fclose(out) == 0 && send_all(fd, request, len);
    }
    free(request);
    free(text);
    return sent;
}

/* ---- both --------------------------------------------------------------------------------------
 */

static int cannot_connect(const char *command, const char *data_dir, const char *path)
{
    int error = errno;

    if (error == ENOENT || error == ECONNREFUSED || error == ENOTDIR) {
        fprintf(stderr, "skein %s: no broker runs on the data directory %s; -d names another one\n",
                command, data_dir);
        return EX_UNAVAILABLE;
    }
    fprintf(stderr, "skein %s: %s: %s%s\n", command, path, strerror(error),
            error == EACCES ? "; only the user that the broker runs as may open it" : "");
    return error == EACCES ? EX_NOPERM : EX_UNAVAILABLE;
}

/* Says what the problem is; gives the exit code that stands for its status. */
static int explain(const char *command, const struct control_answer *answer)
{
    const char *detail = json_string_value(json_object_get(answer->json, "detail"));

    fprintf(stderr, "skein %s: %s\n", command, detail == NULL ? "the broker refused" : detail);
    switch (answer->status) {
    case 400:
    case 405:
    case 415:
        return EX_USAGE;
    case 404:
        return EX_NOINPUT;
    case 503:
        return EX_UNAVAILABLE;
    default:
        return EX_SOFTWARE;
    }
}

static int take_answer(const char *command, int fd, struct control_answer *answer)
{
    struct reading reading = {.body = NULL};
    int result = EX_UNAVAILABLE;

    if (!read_answer(fd, &reading)) {
        fprintf(stderr, "skein %s: the broker ended before it had answered\n", command);
    } else {
        answer->status = reading.parser.status_code;
        answer->json = json_loadb(reading.body == NULL ? "" : reading.body, reading.len, 0, NULL);
        result = answer->status == 200 && answer->json != NULL ? EX_OK : explain(command, answer);
    }
    mem_free(reading.body);
    return result;
}

int control_ask(const char *command, const char *data_dir, enum http_method method,
                const char *target, const json_t *body, struct control_answer *answer)
{
    char path[PATH_MAX];
    int fd;

    *answer = (struct control_answer){0};
    snprintf(path, sizeof(path), "%s/%s", data_dir, CONTROL_SOCKET);
    fd = unix_socket_connect(path);
    if (fd < 0)
        return cannot_connect(command, data_dir, path);
    /* A broker that has no room answers without having read: what it says is worth more than that
     * sending failed. */
    send_request(fd, method, target, body);
    int result = take_answer(command, fd, answer);
    close(fd);
    return result;
}

void control_answer_free(struct control_answer *answer)
{
    json_decref(answer->json);
    answer->json = NULL;
}
