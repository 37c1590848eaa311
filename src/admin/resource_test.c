/* SPDX-License-Identifier: Apache-2.0 */
/* cmocka wants these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "admin/resource.h"

static const struct admin_field thing_parameters[] = {
    {.name = "id", .place = ADMIN_IN_PATH, .help = "Which."},
    {.name = "limit",
     .type = ADMIN_INTEGER,
     .place = ADMIN_IN_QUERY,
     .presence = ADMIN_OPTIONAL,
     .min = 1,
     .max = 50,
     .standard = 7,
     .help = "How many."},
    {.name = "deep",
     .type = ADMIN_BOOLEAN,
     .place = ADMIN_IN_QUERY,
     .presence = ADMIN_OPTIONAL,
     .help = "Whether."},
    {0},
};

static const struct admin_field make_parameters[] = {
    {.name = "path", .type = ADMIN_FILE, .place = ADMIN_IN_BODY, .help = "Where."},
    {.name = "size",
     .type = ADMIN_INTEGER,
     .place = ADMIN_IN_BODY,
     .presence = ADMIN_OPTIONAL,
     .min = 1,
     .max = 9,
     .help = "How large."},
    {0},
};

static void handle(struct admin_call *call)
{
    (void)call;
}

static const struct resource table[] = {
    {.method = HTTP_GET,
     .path = "/v1/things",
     .name = "list_things",
     .summary = "All things",
     .handle = handle},
    {.method = HTTP_POST,
     .path = "/v1/things",
     .name = "make_thing",
     .summary = "Make a thing",
     .parameters = make_parameters,
     .errors = "409 It exists.\n500 No luck.",
     .handle = handle},
    {.method = HTTP_GET,
     .path = "/v1/things/{id}/parts",
     .name = "list_parts",
     .summary = "Parts of a thing",
     .parameters = thing_parameters,
     .handle = handle},
    {0},
};

static const struct resource *ask(struct admin_request *request, enum http_method method,
                                  const char *target, const char *body)
{
    const struct admin_question question = {
        .method = method,
        .target = bytes_of_str(target),
        .content_type = bytes_of_str("application/json; charset=utf-8"),
        .body = bytes_of_str(body),
    };

    admin_request_parse(request, table, &question);
    return request->resource;
}

static void assert_refused(enum http_method method, const char *target, const char *body,
                           unsigned status, const char *says)
{
    struct admin_request request;

    assert_null(ask(&request, method, target, body));
    assert_int_equal(request.status, status);
    if (strstr(request.detail, says) == NULL)
        fail_msg("'%s' is not in '%s'", says, request.detail);
    admin_request_deinit(&request);
}

static void path_and_method_find_their_resource(void **state)
{
    struct admin_request request;

    (void)state;
    assert_ptr_equal(ask(&request, HTTP_GET, "/v1/things", ""), &table[0]);
    assert_ptr_equal(ask(&request, HTTP_HEAD, "/v1/things", ""), &table[0]);
    assert_ptr_equal(ask(&request, HTTP_GET, "http://localhost:80/v1/things", ""), &table[0]);
    assert_refused(HTTP_GET, "/v1/thing", "", 404, "/v1/thing");
    assert_refused(HTTP_GET, "/v1/things/a", "", 404, "openapi.json");
    assert_refused(HTTP_GET, "/v1/things/a/parts/b", "", 404, "There is no");
    assert_refused(HTTP_GET, "/v1/things//parts", "", 404, "There is no");
    assert_refused(HTTP_GET, "", "", 404, "There is no");
    assert_refused(HTTP_GET, "*", "", 404, "There is no");
}

static void wrong_method_is_told_which_ones_there_are(void **state)
{
    struct admin_request request;

    (void)state;
    assert_null(ask(&request, HTTP_DELETE, "/v1/things", ""));
    assert_int_equal(request.status, 405);
    assert_string_equal(request.allow, "GET, HEAD, POST");
}

static void parameters_are_decoded(void **state)
{
    struct admin_request request;

    (void)state;
    assert_non_null(ask(&request, HTTP_GET, "/v1/things/a%2Fb%20c+d/parts?deep=true&limit=50", ""));
    assert_string_equal(admin_request_value(&request, "id")->text, "a/b c+d");
    assert_int_equal(admin_request_value(&request, "limit")->number, 50);
    assert_int_equal(admin_request_value(&request, "deep")->number, 1);
    admin_request_deinit(&request);
}

static void parameter_that_is_not_given_is_its_standard(void **state)
{
    struct admin_request request;

    (void)state;
    assert_non_null(ask(&request, HTTP_GET, "/v1/things/a/parts", ""));
    assert_false(admin_request_value(&request, "limit")->given);
    assert_int_equal(admin_request_value(&request, "limit")->number, 7);
    admin_request_deinit(&request);
}

static void wrong_parameters_are_refused_by_name(void **state)
{
    (void)state;
    assert_refused(HTTP_GET, "/v1/things/a/parts?limit=51", "", 400, "limit: '51'");
    assert_refused(HTTP_GET, "/v1/things/a/parts?limit=0", "", 400, "from 1 to 50");
    assert_refused(HTTP_GET, "/v1/things/a/parts?limit=-1", "", 400, "limit");
    assert_refused(HTTP_GET, "/v1/things/a/parts?limit=", "", 400, "limit");
    assert_refused(HTTP_GET, "/v1/things/a/parts?limit=18446744073709551617", "", 400, "limit");
    assert_refused(HTTP_GET, "/v1/things/a/parts?limit=2&limit=2", "", 400, "twice");
    assert_refused(HTTP_GET, "/v1/things/a/parts?deep=yes", "", 400, "neither true nor false");
    assert_refused(HTTP_GET, "/v1/things/a/parts?limt=2", "", 400, "known here: limit, deep");
    assert_refused(HTTP_GET, "/v1/things?x=1", "", 400, "known here: none");
    assert_refused(HTTP_GET, "/v1/things/%4/parts", "", 400, "id: not UTF-8");
    assert_refused(HTTP_GET, "/v1/things/%FF/parts", "", 400, "id: not UTF-8");
    assert_refused(HTTP_GET, "/v1/things/a%00/parts", "", 400, "id: not UTF-8");
}

static void body_gives_parameters(void **state)
{
    struct admin_request request;

    (void)state;
    assert_non_null(ask(&request, HTTP_POST, "/v1/things", "{\"path\": \"/a\", \"size\": 9}"));
    assert_string_equal(admin_request_value(&request, "path")->text, "/a");
    assert_int_equal(admin_request_value(&request, "size")->number, 9);
    admin_request_deinit(&request);
}

static void wrong_bodies_are_refused_with_what_is_wrong(void **state)
{
    (void)state;
    assert_refused(HTTP_POST, "/v1/things", "", 400, "path is missing in the body");
    assert_refused(HTTP_POST, "/v1/things", "{}", 400, "path is missing in the body");
    assert_refused(HTTP_POST, "/v1/things", "[]", 400, "a JSON object");
    assert_refused(HTTP_POST, "/v1/things", "{\"path\": }", 400, "line 1, column");
    assert_refused(HTTP_POST, "/v1/things", "{\"path\": 1}", 400, "path has to be a string");
    assert_refused(HTTP_POST, "/v1/things", "{\"path\": \"a\"}", 400, "absolute");
    assert_refused(HTTP_POST, "/v1/things", "{\"path\": \"/a\", \"x\": 1}", 400,
                   "known here: path");
    assert_refused(HTTP_POST, "/v1/things", "{\"path\": \"/a\", \"size\": 10}", 400, "from 1 to 9");
    assert_refused(HTTP_POST, "/v1/things", "{\"path\": \"/a\", \"size\": -1}", 400, "size");
    assert_refused(HTTP_POST, "/v1/things", "{\"path\": \"/a\", \"path\": \"/b\"}", 400,
                   "duplicate");
    assert_refused(HTTP_GET, "/v1/things", "{}", 400, "takes no body");
}

static void body_that_is_not_called_json_is_refused(void **state)
{
    const struct bytes types[] = {bytes_of_str("text/plain"), bytes_of(NULL, 0)};

    (void)state;
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct admin_request request;
        const struct admin_question question = {
            .method = HTTP_POST,
            .target = bytes_of_str("/v1/things"),
            .content_type = types[i],
            .body = bytes_of_str("{\"path\": \"/a\"}"),
        };
        assert_false(admin_request_parse(&request, table, &question));
        assert_int_equal(request.status, 415);
        admin_request_deinit(&request);
    }
}

static void openapi_has_every_resource_with_its_parameters(void **state)
{
    json_t *document = admin_openapi(table, "1.2.3");
    const char *summary = NULL, *place = NULL;
    json_t *required = NULL, *conflict = NULL;

    (void)state;
    assert_int_equal(json_unpack(document, "{s:{s:{s:{s:s}, s:{s:{s:{s:{s:{s:o}}}}, s:{s:o}}}}}",
                                 "paths", "/v1/things", "get", "summary", &summary, "post",
                                 "requestBody", "content", "application/json", "schema", "required",
                                 &required, "responses", "409", &conflict),
                     0);
    assert_string_equal(summary, "All things");
    assert_int_equal(json_array_size(required), 1);
    assert_int_equal(json_unpack(document, "{s:{s:{s:{s:[{s:s}*]}}}}", "paths",
                                 "/v1/things/{id}/parts", "get", "parameters", "in", &place),
                     0);
    assert_string_equal(place, "path");
    json_decref(document);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(path_and_method_find_their_resource),
        cmocka_unit_test(wrong_method_is_told_which_ones_there_are),
        cmocka_unit_test(parameters_are_decoded),
        cmocka_unit_test(parameter_that_is_not_given_is_its_standard),
        cmocka_unit_test(wrong_parameters_are_refused_by_name),
        cmocka_unit_test(body_gives_parameters),
        cmocka_unit_test(wrong_bodies_are_refused_with_what_is_wrong),
        cmocka_unit_test(body_that_is_not_called_json_is_refused),
        cmocka_unit_test(openapi_has_every_resource_with_its_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
