/* SPDX-License-Identifier: Apache-2.0 */
/* cmocka wants these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "broker/api.h"
#include "cli/commands.h"
#include "cli/ctl_print.h"
#include "cli/ctl_request.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORDS_MAX = 4 };

/* The request of a command with these words, which end with NULL. */
static bool make(struct ctl_request *request, const char *command, ...)
{
    char *words[WORDS_MAX];
    size_t count = 0;
    va_list args;

    va_start(args, command);
    for (char *word; (word = va_arg(args, char *)) != NULL;)
        words[count++] = word;
    va_end(args);
    return ctl_request_make(request, ctl_find(api_resources, command), words, count);
}

static void assert_target(const char *target, struct ctl_request *request)
{
    assert_string_equal(request->error, "");
    assert_string_equal(request->target, target);
    ctl_request_free(request);
}

static void assert_wrong(const char *says, struct ctl_request *request)
{
    if (strstr(request->error, says) == NULL)
        fail_msg("'%s' is not in '%s'", says, request->error);
    ctl_request_free(request);
}

static void the_commands_that_help_and_completion_know_are_those_of_the_table(void **state)
{
    char known[512] = "";

    (void)state;
    for (const struct resource *r = api_resources; r->path != NULL; r++)
        if (r->command != NULL)
            snprintf(known + strlen(known), sizeof(known) - strlen(known), "%s ", r->command);
    strcat(known, "get");
    assert_string_equal(known, CTL_COMMANDS);
}

static void words_fill_the_parameters_in_their_order(void **state)
{
    struct ctl_request request;

    (void)state;
    assert_true(make(&request, "client", "a/b c\xC3\xA9%", NULL));
    assert_target("/v1/clients/a%2Fb%20c%C3%A9%25", &request);
    assert_true(make(&request, "metrics", "publish_sent", NULL));
    assert_target("/v1/metrics?name=publish_sent", &request);
    assert_true(make(&request, "clients", NULL));
    assert_target("/v1/clients", &request);
}

static void optional_parameters_can_be_named(void **state)
{
    struct ctl_request request;

    (void)state;
    assert_true(make(&request, "clients", "after=1.2", "limit=5", NULL));
    assert_target("/v1/clients?limit=5&after=1.2", &request);
}

static void client_that_is_called_like_a_parameter_is_a_client(void **state)
{
    struct ctl_request request;

    (void)state;
    assert_true(make(&request, "client", "id=5", NULL));
    assert_target("/v1/clients/id%3D5", &request);
}

static void missing_and_superfluous_words_are_named(void **state)
{
    struct ctl_request request;

    (void)state;
    assert_false(make(&request, "client", NULL));
    assert_wrong("id is missing", &request);
    assert_false(make(&request, "client", "a", "b", NULL));
    assert_wrong("unexpected word 'b'", &request);
    assert_false(make(&request, "health", "b", NULL));
    assert_wrong("unexpected word 'b'", &request);
}

static void relative_path_is_made_absolute(void **state)
{
    struct ctl_request request;
    char folder[4096], want[8192];

    (void)state;
    assert_non_null(getcwd(folder, sizeof(folder)));
    snprintf(want, sizeof(want), "%s/copy", folder);
    assert_true(make(&request, "backup", "copy", NULL));
    assert_string_equal(json_string_value(json_object_get(request.body, "path")), want);
    assert_int_equal(request.method, HTTP_POST);
    ctl_request_free(&request);
}

static void assert_printed(const char *json, const char *want)
{
    json_t *answer = json_loads(json, 0, NULL);
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    assert_non_null(answer);
    assert_non_null(out);
    ctl_print(answer, out);
    fclose(out);
    assert_string_equal(text, want);
    free(text);
    json_decref(answer);
}

static void answers_are_printed_as_names_and_values_and_tables(void **state)
{
    (void)state;
    assert_printed("{\"status\": \"ok\"}", "status  ok\n");
    assert_printed("{\"a\": true, \"long\": 2.5, \"n\": null, \"r\": 3.0}",
                   "a     yes\nlong  2.5\nn     -\nr     3\n");
    assert_printed("{\"kind\": \"x\", \"numbers\": {\"one\": 1, \"three\": 3}}",
                   "kind  x\n\none    1\nthree  3\n");
    assert_printed("{\"list\": [{\"id\": \"a\", \"n\": 1}, {\"id\": \"bcd\", \"m\": 2}]}",
                   "id   n  m\na    1  -\nbcd  -  2\n");
    assert_printed("{\"kind\": \"x\", \"numbers\": {}, \"list\": []}", "kind  x\n");
}

static void control_characters_of_a_client_do_not_reach_the_terminal(void **state)
{
    (void)state;
    assert_printed("{\"id\": \"a\\u001b[2J\\u007f\\u009b\\u00e9\"}",
                   "id  a\\x1B[2J\\x7F\\xC2\\x9B\xC3\xA9\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_commands_that_help_and_completion_know_are_those_of_the_table),
        cmocka_unit_test(words_fill_the_parameters_in_their_order),
        cmocka_unit_test(optional_parameters_can_be_named),
        cmocka_unit_test(client_that_is_called_like_a_parameter_is_a_client),
        cmocka_unit_test(missing_and_superfluous_words_are_named),
        cmocka_unit_test(relative_path_is_made_absolute),
        cmocka_unit_test(answers_are_printed_as_names_and_values_and_tables),
        cmocka_unit_test(control_characters_of_a_client_do_not_reach_the_terminal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
