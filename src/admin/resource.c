/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a request line and a body to a resource and its parameters. Paths are cut at '/' first and
 * decoded then, so that a client id may contain one (as %2F).
 */
#include "admin/resource.h"

#include "base/check.h"
#include "base/memory.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdlib.h>
#include <strings.h>

/* ---- refusals ----------------------------------------------------------------------------------
 */

static bool refuse(struct admin_request *request, unsigned status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool refuse(struct admin_request *request, unsigned status, const char *format, ...)
{
    va_list args;

    request->resource = NULL;
    request->status = status;
    va_start(args, format);
    vsnprintf(request->detail, sizeof(request->detail), format, args);
    va_end(args);
    return false;
}

/* What may be shown of a peer's text in a detail: printable ASCII, and not much of it. */
static const char *shown(char out[64], struct bytes text)
{
    size_t len = text.len < 60 ? text.len : 60;

    for (size_t i = 0; i < len; i++)
        out[i] = text.data[i] > ' ' && text.data[i] < 0x7F ? (char)text.data[i] : '?';
    memcpy(out + len, text.len > len ? "..." : "", text.len > len ? 4 : 1);
    return out;
}

/* ---- cutting and decoding ----------------------------------------------------------------------
 */

/* Takes the part before the next `mark` (or all) off the front of *rest. */
static struct bytes cut(struct bytes *rest, char mark)
{
    struct bytes part = *rest;

    if (rest->len == 0)
        return part;
    const uint8_t *found = memchr(rest->data, mark, rest->len);
    if (found != NULL)
        part.len = (size_t)(found - rest->data);
    size_t skip = found == NULL ? part.len : part.len + 1;
    *rest = bytes_of(rest->data + skip, rest->len - skip);
    return part;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

enum decode_as { DECODE_PATH, DECODE_QUERY }; /* in a query '+' is a space */

/* Gives a terminated copy with %41 made 'A', NULL when a % is not followed by two hex digits, the
 * result is not UTF-8 or has U+0000 in it, or there is no memory. */
static char *percent_decode(struct bytes in, enum decode_as as)
{
    char *out = mem_try(in.len + 1);
    size_t at = 0;

    for (size_t i = 0; out != NULL && i < in.len; i++) {
        uint8_t c = in.data[i];
        if (c == '%') {
            int high = i + 2 < in.len ? hex_digit(in.data[i + 1]) : -1;
            int low = i + 2 < in.len ? hex_digit(in.data[i + 2]) : -1;
            if (high < 0 || low < 0) {
                mem_free(out);
                return NULL;
            }
            c = (uint8_t)(high << 4 | low);
            i += 2;
        } else if (c == '+' && as == DECODE_QUERY) {
            c = ' ';
        }
        out[at++] = (char)c;
    }
    if (out == NULL)
        return NULL;
    out[at] = '\0';
    if (!utf8_valid_mqtt(bytes_of(out, at))) {
        mem_free(out);
        return NULL;
    }
    return out;
}

/* ---- values ------------------------------------------------------------------------------------
 */

static bool take_integer(struct admin_request *request, struct admin_value *value, const char *text)
{
    const struct admin_field *field = value->field;
    char *end = NULL;
    char seen[64];
    size_t len = strlen(text);

    value->number = strtoull(text, &end, 10);
    if (text[0] >= '0' && text[0] <= '9' && *end == '\0' && len <= 19 &&
        value->number >= field->min && value->number <= field->max)
        return true;
    return refuse(request, 400, "%s: '%s' is not a whole number from %llu to %llu.", field->name,
                  shown(seen, bytes_of(text, len)), (unsigned long long)field->min,
                  (unsigned long long)field->max);
}

static bool take_file(struct admin_request *request, const struct admin_value *value)
{
    if (value->text[0] == '/')
        return true;
    return refuse(request, 400, "%s has to be an absolute path: it starts with '/'.",
                  value->field->name);
}

static bool take_boolean(struct admin_request *request, struct admin_value *value, const char *text)
{
    char seen[64];

    value->number = strcmp(text, "true") == 0;
    if (value->number == 1 || strcmp(text, "false") == 0)
        return true;
    return refuse(request, 400, "%s: '%s' is neither true nor false.", value->field->name,
                  shown(seen, bytes_of_str(text)));
}

/* A parameter of the path or the query. */
static bool take_text(struct admin_request *request, struct admin_value *value, struct bytes raw,
                      enum decode_as as)
{
    char *text = percent_decode(raw, as);

    if (text == NULL)
        return refuse(request, 400, "%s: not UTF-8, or a %% without two hex digits behind it.",
                      value->field->name);
    value->given = true;
    value->text = text;
    if (value->field->type == ADMIN_INTEGER)
        return take_integer(request, value, text);
    if (value->field->type == ADMIN_BOOLEAN)
        return take_boolean(request, value, text);
    return value->field->type != ADMIN_FILE || take_file(request, value);
}

static struct admin_value *find_value(struct admin_request *request, enum admin_place place,
                                      struct bytes name)
{
    for (size_t i = 0; i < ADMIN_PARAMETERS_MAX && request->values[i].field != NULL; i++) {
        const struct admin_field *field = request->values[i].field;
        if (field->place == place && bytes_equal(bytes_of_str(field->name), name))
            return &request->values[i];
    }
    return NULL;
}

/* "limit, after" */
static const char *list_names(const struct admin_request *request, enum admin_place place,
                              char *out, size_t room)
{
    size_t at = 0;

    out[0] = '\0';
    for (size_t i = 0; i < ADMIN_PARAMETERS_MAX && request->values[i].field != NULL; i++) {
        const struct admin_field *field = request->values[i].field;
        if (field->place == place && at < room)
            at += (size_t)snprintf(out + at, room - at, "%s%s", at > 0 ? ", " : "", field->name);
    }
    return at == 0 ? "none" : out;
}

static bool refuse_unknown(struct admin_request *request, enum admin_place place, struct bytes name)
{
    char names[256];
    char seen[64];
    const char *known = list_names(request, place, names, sizeof(names));

    return refuse(request, 400, "Unknown %s '%s'; known here: %s.",
                  place == ADMIN_IN_QUERY ? "parameter" : "member of the body", shown(seen, name),
                  known);
}

static bool parse_query(struct admin_request *request, struct bytes query)
{
    while (query.len > 0) {
        struct bytes text = cut(&query, '&');
        struct bytes name = cut(&text, '=');
        struct admin_value *value = find_value(request, ADMIN_IN_QUERY, name);
        if (value == NULL)
            return refuse_unknown(request, ADMIN_IN_QUERY, name);
        if (value->given)
            return refuse(request, 400, "%s is given twice.", value->field->name);
        if (!take_text(request, value, text, DECODE_QUERY))
            return false;
    }
    return true;
}

/* ---- body --------------------------------------------------------------------------------------
 */

static const char *const type_words[] = {
    [ADMIN_TEXT] = "a string",   [ADMIN_FILE] = "a string",         [ADMIN_INTEGER] = "an integer",
    [ADMIN_NUMBER] = "a number", [ADMIN_BOOLEAN] = "true or false", [ADMIN_OBJECT] = "an object",
    [ADMIN_LIST] = "a list",
};

static bool take_json(struct admin_request *request, struct admin_value *value, const json_t *json)
{
    const struct admin_field *field = value->field;
    char digits[32];

    value->given = true;
    if ((field->type == ADMIN_TEXT || field->type == ADMIN_FILE) && json_is_string(json)) {
        size_t size = json_string_length(json) + 1;
        value->text = mem_try(size);
        if (value->text == NULL)
            return refuse(request, 503, "There is no memory for this request.");
        memcpy(value->text, json_string_value(json), size);
        return field->type != ADMIN_FILE || take_file(request, value);
    }
    if (field->type == ADMIN_BOOLEAN && json_is_boolean(json)) {
        value->number = json_is_true(json);
        return true;
    }
    if (field->type == ADMIN_INTEGER && json_is_integer(json)) {
        snprintf(digits, sizeof(digits), "%lld", (long long)json_integer_value(json));
        return take_integer(request, value, digits);
    }
    return refuse(request, 400, "%s has to be %s.", field->name, type_words[field->type]);
}

static bool takes_body(const struct admin_request *request)
{
    for (size_t i = 0; i < ADMIN_PARAMETERS_MAX && request->values[i].field != NULL; i++)
        if (request->values[i].field->place == ADMIN_IN_BODY)
            return true;
    return false;
}

static bool is_json_type(struct bytes type)
{
    struct bytes name = cut(&type, ';');

    while (name.len > 0 && name.data[name.len - 1] == ' ')
        name.len--;
    return name.len == strlen("application/json") &&
           strncasecmp((const char *)name.data, "application/json", name.len) == 0;
}

static bool parse_members(struct admin_request *request, json_t *body)
{
    const char *name;
    json_t *member;

    if (!json_is_object(body))
        return refuse(request, 400, "The body has to be a JSON object.");
    json_object_foreach(body, name, member)
    {
        struct admin_value *value = find_value(request, ADMIN_IN_BODY, bytes_of_str(name));
        if (value == NULL)
            return refuse_unknown(request, ADMIN_IN_BODY, bytes_of_str(name));
        if (!take_json(request, value, member))
            return false;
    }
    return true;
}

static bool parse_body(struct admin_request *request, const struct admin_question *question)
{
    json_error_t error;
    json_t *body;
    bool ok;

    if (question->body.len == 0)
        return true;
    if (!takes_body(request))
        return refuse(request, 400, "This request takes no body.");
    if (!is_json_type(question->content_type))
        return refuse(request, 415, "The body has to be JSON: Content-Type: application/json.");
    body = json_loadb((const char *)question->body.data, question->body.len, JSON_REJECT_DUPLICATES,
                      &error);
    if (body == NULL)
        return refuse(request, 400, "The body is not JSON: line %d, column %d: %.200s.", error.line,
                      error.column, error.text);
    ok = parse_members(request, body);
    json_decref(body);
    return ok;
}

/* Nothing required is missing, and what was not given is as if its standard were. */
static bool complete(struct admin_request *request)
{
    for (size_t i = 0; i < ADMIN_PARAMETERS_MAX && request->values[i].field != NULL; i++) {
        struct admin_value *value = &request->values[i];
        if (value->given)
            continue;
        if (value->field->presence == ADMIN_REQUIRED)
            return refuse(request, 400, "%s is missing%s.", value->field->name,
                          value->field->place == ADMIN_IN_BODY ? " in the body" : "");
        value->number = value->field->standard;
    }
    return true;
}

/* ---- routing -----------------------------------------------------------------------------------
 */

static bool is_parameter(struct bytes segment)
{
    return segment.len > 2 && segment.data[0] == '{';
}

static bool path_matches(const char *pattern, struct bytes path)
{
    struct bytes wanted = bytes_of_str(pattern);

    while (wanted.len > 0 && path.len > 0) {
        struct bytes want = cut(&wanted, '/');
        struct bytes have = cut(&path, '/');
        if (is_parameter(want) ? have.len == 0 : !bytes_equal(want, have))
            return false;
        if ((wanted.len == 0) != (path.len == 0))
            return false;
    }
    return wanted.len == 0 && path.len == 0;
}

static bool take_path(struct admin_request *request, const char *pattern, struct bytes path)
{
    struct bytes wanted = bytes_of_str(pattern);

    while (wanted.len > 0) {
        struct bytes want = cut(&wanted, '/');
        struct bytes have = cut(&path, '/');
        if (!is_parameter(want))
            continue;
        struct bytes name = bytes_of(want.data + 1, want.len - 2);
        struct admin_value *value = find_value(request, ADMIN_IN_PATH, name);
        CHECK(value != NULL);
        if (!take_text(request, value, have, DECODE_PATH))
            return false;
    }
    return true;
}

static bool refuse_method(struct admin_request *request, const struct resource *table,
                          struct bytes path, enum http_method method)
{
    size_t at = 0;

    for (const struct resource *r = table; r->path != NULL; r++)
        if (path_matches(r->path, path) && at < sizeof(request->allow))
            at += (size_t)snprintf(
                request->allow + at, sizeof(request->allow) - at, "%s%s", at > 0 ? ", " : "",
                r->method == HTTP_GET ? "GET, HEAD" : http_method_str(r->method));
    return refuse(request, 405, "%s cannot be used here, but: %s.", http_method_str(method),
                  request->allow);
}

static const struct resource *find(struct admin_request *request, const struct resource *table,
                                   struct bytes path, enum http_method method)
{
    enum http_method wanted = method == HTTP_HEAD ? HTTP_GET : method;
    bool path_known = false;
    char seen[64];

    for (const struct resource *r = table; r->path != NULL; r++) {
        if (!path_matches(r->path, path))
            continue;
        if (r->method == wanted)
            return r;
        path_known = true;
    }
    if (path_known)
        refuse_method(request, table, path, method);
    else
        refuse(request, 404, "There is no %s; GET /v1/openapi.json lists what there is.",
               shown(seen, path));
    return NULL;
}

/* A client may name the server in the request line (RFC 9112, 3.2.2): "http://localhost/v1/health".
 */
static struct bytes without_server(struct bytes target)
{
    struct bytes scheme = bytes_of_str("http://");

    if (!bytes_starts_with(target, scheme))
        return target;
    target = bytes_of(target.data + scheme.len, target.len - scheme.len);
    const uint8_t *slash = target.len == 0 ? NULL : memchr(target.data, '/', target.len);
    return slash == NULL ? bytes_of_str("/")
                         : bytes_of(slash, target.len - (size_t)(slash - target.data));
}

bool admin_request_parse(struct admin_request *request, const struct resource *table,
                         const struct admin_question *question)
{
    struct bytes query = without_server(question->target);
    struct bytes path = cut(&query, '?');
    const struct resource *resource;

    *request = (struct admin_request){0};
    resource = find(request, table, path, question->method);
    if (resource == NULL)
        return false;
    const struct admin_field *field = resource->parameters;
    for (size_t i = 0; field != NULL && field->name != NULL; i++, field++) {
        CHECK(i < ADMIN_PARAMETERS_MAX);
        request->values[i].field = field;
    }
    request->resource = resource;
    return take_path(request, resource->path, path) && parse_query(request, query) &&
           parse_body(request, question) && complete(request);
}

void admin_request_deinit(struct admin_request *request)
{
    for (size_t i = 0; i < ADMIN_PARAMETERS_MAX; i++) {
        mem_free(request->values[i].text);
        request->values[i].text = NULL;
    }
}

const struct admin_value *admin_request_value(const struct admin_request *request, const char *name)
{
    for (size_t i = 0; i < ADMIN_PARAMETERS_MAX && request->values[i].field != NULL; i++)
        if (strcmp(request->values[i].field->name, name) == 0)
            return &request->values[i];
    UNREACHABLE();
}
