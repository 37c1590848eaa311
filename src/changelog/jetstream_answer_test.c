/* SPDX-License-Identifier: Apache-2.0 */
/* What JetStream's answers mean. The texts are as nats-server 2.9 writes them. */
#include "changelog/jetstream_answer.h"

#include "base/memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct jetstream_answer read_text(enum jetstream_question question, const char *json)
{
    struct jetstream_answer read;
    jetstream_answer_read(question, bytes_of_str(json), &read);
    return read;
}

static void append_is_acknowledged_with_its_sequence(void **state)
{
    (void)state;

    struct jetstream_answer read =
        read_text(JETSTREAM_APPEND, "{\"stream\":\"skein_a_0\", \"seq\":12}");
    assert_int_equal(read.answer.outcome, ENGINE_APPENDED);
    assert_int_equal(read.answer.sequence, 12);
}

static void append_that_was_there_before_is_acknowledged_with_where_it_is(void **state)
{
    (void)state;

    struct jetstream_answer read =
        read_text(JETSTREAM_APPEND, "{\"stream\":\"s\",\"seq\":12,\"duplicate\": true}");
    assert_int_equal(read.answer.outcome, ENGINE_APPENDED);
    assert_int_equal(read.answer.sequence, 12);
}

static void wrong_last_sequence_is_a_refusal_and_nothing_else_is(void **state)
{
    (void)state;

    struct jetstream_answer read =
        read_text(JETSTREAM_APPEND,
                  "{\"error\":{\"code\":400,\"err_code\":10071,\"description\":\"wrong last "
                  "sequence: 5\"},\"stream\":\"s\",\"seq\":0}");
    assert_int_equal(read.answer.outcome, ENGINE_REFUSED);
    read = read_text(JETSTREAM_APPEND,
                     "{\"error\":{\"code\":503,\"err_code\":10077,\"description\":\"maximum bytes "
                     "exceeded\"},\"stream\":\"s\",\"seq\":0}");
    assert_int_equal(read.answer.outcome, ENGINE_FAILED);
    assert_string_equal(read.why, "maximum bytes exceeded");
    assert_int_equal(read.code, 10077);
}

static void acknowledgement_without_a_sequence_is_none(void **state)
{
    (void)state;

    assert_int_equal(read_text(JETSTREAM_APPEND, "{\"stream\":\"s\"}").answer.outcome,
                     ENGINE_FAILED);
    assert_int_equal(read_text(JETSTREAM_APPEND, "{\"seq\":-1}").answer.outcome, ENGINE_FAILED);
    assert_int_equal(read_text(JETSTREAM_APPEND, "{\"seq\":\"1\"}").answer.outcome, ENGINE_FAILED);
}

static void record_is_decoded_whatever_its_padding(void **state)
{
    static const struct {
        const char *base64;
        struct bytes data;
    } cases[] = {{"AP8B", {(const uint8_t *)"\0\xff\1", 3}},
                 {"AP8=", {(const uint8_t *)"\0\xff", 2}},
                 {"AA==", {(const uint8_t *)"\0", 1}}};
    char json[256];
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(json, sizeof(json),
                 "{\"type\":\"io.nats.jetstream.api.v1.stream_msg_get_response\",\"message\":{"
                 "\"subject\":\"skein.a.changelog.0\",\"seq\":3,\"hdrs\":\"TkFUUw==\",\"data\":"
                 "\"%s\",\"time\":\"2024-01-01T00:00:00Z\"}}",
                 cases[i].base64);
        struct jetstream_answer read = read_text(JETSTREAM_READ, json);
        assert_int_equal(read.answer.outcome, ENGINE_RECORD);
        assert_int_equal(read.answer.sequence, 3);
        assert_true(bytes_equal(read.answer.record, cases[i].data));
        mem_free(read.record);
    }
}

static void record_that_is_not_base64_is_none(void **state)
{
    static const char *const texts[] = {"", "A", "AAA", "A*==", "A\\u0000=="};
    char json[128];
    (void)state;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        snprintf(json, sizeof(json), "{\"message\":{\"seq\":3,\"data\":\"%s\"}}", texts[i]);
        assert_int_equal(read_text(JETSTREAM_READ, json).answer.outcome, ENGINE_FAILED);
    }
    assert_int_equal(read_text(JETSTREAM_READ, "{\"message\":{\"data\":\"AA==\"}}").answer.outcome,
                     ENGINE_FAILED);
    assert_int_equal(
        read_text(JETSTREAM_READ, "{\"message\":{\"seq\":3,\"data\":5}}").answer.outcome,
        ENGINE_FAILED);
}

static void message_that_is_not_there_is_not_found(void **state)
{
    (void)state;

    struct jetstream_answer read = read_text(
        JETSTREAM_READ, "{\"type\":\"io.nats.jetstream.api.v1.stream_msg_get_response\",\"error\":{"
                        "\"code\":404,\"err_code\":10037,\"description\":\"no message found\"}}");
    assert_int_equal(read.answer.outcome, ENGINE_NOT_FOUND);
    read = read_text(JETSTREAM_READ, "{\"error\":{\"code\":404,\"err_code\":10059,\"description\":"
                                     "\"stream not found\"}}");
    assert_int_equal(read.answer.outcome, ENGINE_FAILED);
}

static void info_tells_first_and_last(void **state)
{
    (void)state;

    struct jetstream_answer read =
        read_text(JETSTREAM_INFO,
                  "{\"config\":{},\"state\":{\"messages\":3,\"first_seq\":5,\"last_seq\":7}}");
    assert_int_equal(read.answer.outcome, ENGINE_INFO);
    assert_int_equal(read.answer.first, 5);
    assert_int_equal(read.answer.sequence, 7);
    read = read_text(JETSTREAM_INFO, "{\"state\":{\"messages\":0,\"first_seq\":0,\"last_seq\":0}}");
    assert_int_equal(read.answer.first, 1);
    assert_int_equal(read.answer.sequence, 0);
    assert_int_equal(read_text(JETSTREAM_INFO, "{}").answer.outcome, ENGINE_FAILED);
}

static void stream_says_behind_what_it_goes_on(void **state)
{
    (void)state;

    assert_int_equal(read_text(JETSTREAM_CREATE,
                               "{\"config\":{\"description\":\"goes on behind 4294967297\"},"
                               "\"state\":{\"first_seq\":0,\"last_seq\":0}}")
                         .base,
                     4294967297);
    assert_int_equal(
        read_text(JETSTREAM_CREATE, "{\"config\":{\"description\":\"17\"},\"state\":{}}").base, 0);
    assert_int_equal(read_text(JETSTREAM_CREATE, "{\"config\":{},\"state\":{}}").base, 0);
}

static void copies_are_those_that_are_current_and_can_be_reached(void **state)
{
    (void)state;

    struct jetstream_answer read =
        read_text(JETSTREAM_COPIES,
                  "{\"config\":{\"num_replicas\":3},\"cluster\":{\"leader\":\"a\",\"replicas\":["
                  "{\"name\":\"b\",\"current\":true},{\"name\":\"c\",\"current\":false}]}}");
    assert_int_equal(read.answer.outcome, ENGINE_INFO);
    assert_int_equal(read.copies, 3);
    assert_int_equal(read.copies_current, 2);
    assert_int_equal(read.copies_away, 0);
    assert_int_equal(read.copies_servers, 3);
    read = read_text(JETSTREAM_COPIES,
                     "{\"config\":{\"num_replicas\":2},\"cluster\":{\"leader\":\"a\",\"replicas\":["
                     "{\"name\":\"b\",\"current\":true,\"offline\":true}]}}");
    assert_int_equal(read.copies_current, 1);
    assert_int_equal(read.copies_away, 1);
    read = read_text(JETSTREAM_COPIES, "{\"config\":{\"num_replicas\":3},\"cluster\":{"
                                       "\"leader\":\"a\",\"replicas\":[{\"name\":\"b\"}]}}");
    assert_int_equal(read.copies_servers, 2); /* one was taken out, and none has come */
    read = read_text(JETSTREAM_COPIES, "{\"config\":{\"num_replicas\":1}}");
    assert_true(read.copies == 1 && read.copies_current == 1 && read.copies_servers == 1);
    assert_int_equal(read_text(JETSTREAM_COPIES, "{}").answer.outcome, ENGINE_FAILED);
}

static void server_says_who_it_is(void **state)
{
    char id[JETSTREAM_SERVER_ID_MAX];
    (void)state;

    assert_true(jetstream_answer_server(
        bytes_of_str("{\"server\":{\"name\":\"n1\",\"id\":\"NCE2\"},\"data\":{}}"), id));
    assert_string_equal(id, "NCE2");
    static const char *const others[] = {
        "", "{}", "[]", "{\"server\":5}", "{\"server\":{\"id\":1}}", "{\"server\":{\"id\":\"\"}}"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_false(jetstream_answer_server(bytes_of_str(others[i]), id));
}

static void what_is_no_answer_fails(void **state)
{
    static const char *const texts[] = {"", "{", "[]", "5", "null", "{\"error\":5}"};
    (void)state;

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_int_equal(read_text(JETSTREAM_APPEND, texts[i]).answer.outcome, ENGINE_FAILED);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(append_is_acknowledged_with_its_sequence),
        cmocka_unit_test(append_that_was_there_before_is_acknowledged_with_where_it_is),
        cmocka_unit_test(wrong_last_sequence_is_a_refusal_and_nothing_else_is),
        cmocka_unit_test(acknowledgement_without_a_sequence_is_none),
        cmocka_unit_test(record_is_decoded_whatever_its_padding),
        cmocka_unit_test(record_that_is_not_base64_is_none),
        cmocka_unit_test(message_that_is_not_there_is_not_found),
        cmocka_unit_test(info_tells_first_and_last),
        cmocka_unit_test(stream_says_behind_what_it_goes_on),
        cmocka_unit_test(copies_are_those_that_are_current_and_can_be_reached),
        cmocka_unit_test(server_says_who_it_is),
        cmocka_unit_test(what_is_no_answer_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
