/* SPDX-License-Identifier: Apache-2.0 */
/* cmocka wants these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/proxy_header.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <sys/socket.h>

/* Decodes from memory of exactly that size, so that a sanitizer sees a read beyond it. */
static enum proxy_result decode(struct bytes in, struct proxy_header *header)
{
    uint8_t *exact = malloc(in.len > 0 ? in.len : 1);
    enum proxy_result result;

    assert_non_null(exact);
    if (in.len > 0)
        memcpy(exact, in.data, in.len);
    result = proxy_header_decode(bytes_of(exact, in.len), header);
    free(exact);
    return result;
}

static void assert_client(const struct proxy_header *header, const char *host, uint16_t port)
{
    char text[INET6_ADDRSTRLEN];

    assert_int_not_equal(header->client.family, 0);
    assert_non_null(inet_ntop(header->client.family, header->client.address, text, sizeof(text)));
    assert_string_equal(text, host);
    assert_int_equal(header->client.port, port);
}

/* Every beginning of a good header asks for more, until `enough` bytes of it are there. */
static void assert_good(struct bytes whole, size_t enough, struct proxy_header *header)
{
    for (size_t len = 0; len < whole.len; len++)
        assert_int_equal(decode(bytes_of(whole.data, len), header),
                         len < enough ? PROXY_MORE : PROXY_DONE);
    assert_int_equal(decode(whole, header), PROXY_DONE);
    assert_int_equal(header->size, whole.len);
}

/* Some beginning of it is refused, with a reason, and so is all that is longer. */
static void assert_refused(struct bytes whole)
{
    struct proxy_header header;
    bool refused = false;

    for (size_t len = 0; len <= whole.len; len++) {
        enum proxy_result result = decode(bytes_of(whole.data, len), &header);
        assert_true(result == (refused ? PROXY_REFUSED : result));
        assert_int_not_equal(result, PROXY_DONE);
        refused = result == PROXY_REFUSED;
        assert_true(!refused || header.fault != NULL);
    }
    assert_true(refused);
}

/* ---- version 1 */

static void assert_line_good(const char *line, struct proxy_header *header)
{
    assert_good(bytes_of_str(line), strlen(line), header);
}

static void line_of_tcp4_names_the_client(void **state)
{
    struct proxy_header header;

    (void)state;
    assert_line_good("PROXY TCP4 192.0.2.1 198.51.100.7 54321 1883\r\n", &header);
    assert_client(&header, "192.0.2.1", 54321);
    assert_line_good("PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n", &header);
    assert_client(&header, "255.255.255.255", 65535);
}

static void line_of_tcp6_names_the_client(void **state)
{
    struct proxy_header header;

    (void)state;
    assert_line_good("PROXY TCP6 2001:db8::1 2001:DB8::2 1 1883\r\n", &header);
    assert_client(&header, "2001:db8::1", 1);
    assert_line_good("PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
                     "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
                     &header);
}

static void line_of_an_unknown_protocol_names_nobody(void **state)
{
    struct proxy_header header;

    (void)state;
    assert_line_good("PROXY UNKNOWN\r\n", &header);
    assert_int_equal(header.client.family, 0);
    assert_line_good("PROXY UNKNOWN ffff:f...f:ffff what ever 65535 65535\r\n", &header);
    assert_int_equal(header.client.family, 0);
}

static void line_leaves_what_follows_it(void **state)
{
    struct bytes in = bytes_of_str("PROXY TCP4 192.0.2.1 198.51.100.7 5 6\r\nPROXY\r\n");
    struct proxy_header header;

    (void)state;
    assert_int_equal(decode(in, &header), PROXY_DONE);
    assert_int_equal(header.size, in.len - 7);
}

static void line_of_the_longest_length_is_good_and_one_byte_more_is_not(void **state)
{
    char line[PROXY_V1_MAX + 2];
    struct proxy_header header;

    (void)state;
    memset(line, 'x', sizeof(line));
    memcpy(line, "PROXY UNKNOWN ", 14);
    memcpy(line + PROXY_V1_MAX - 2, "\r\n", 2);
    assert_good(bytes_of(line, PROXY_V1_MAX), PROXY_V1_MAX, &header);
    memcpy(line + PROXY_V1_MAX - 2, "x\r\n", 3);
    assert_refused(bytes_of(line, PROXY_V1_MAX + 1));
}

static void bad_lines_are_refused(void **state)
{
    static const char *const lines[] = {
        "PROXY\r\n",
        "PROXY \r\n",
        "proxy TCP4 192.0.2.1 198.51.100.7 5 6\r\n",
        "PROXY  TCP4 192.0.2.1 198.51.100.7 5 6\r\n",
        "PROXY TCP4 192.0.2.1  198.51.100.7 5 6\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 5 6 \r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 5 6 7\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 5\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7\r\n",
        "PROXY TCP4 192.0.2.1\r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 5 6\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 5 6\rx\n",
        "PROXY TCP4 192.0.2.01 198.51.100.7 5 6\r\n",
        "PROXY TCP4 192.0.2 198.51.100.7 5 6\r\n",
        "PROXY TCP4 192.0.2.256 198.51.100.7 5 6\r\n",
        "PROXY TCP4 192.0.2.1 2001:db8::1 5 6\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 5 6\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.7 5 6\r\n",
        "PROXY TCP6 2001:db8::1::2 2001:db8::2 5 6\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 65536 6\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 5 65536\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 05 6\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 -5 6\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 5x 6\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.7 000005 6\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.7 5 6\r\n",
        "PROXY unknown\r\n",
        "PROXY UNKNOWNX\r\n",
    };
    const char nul[] = "PROXY TCP4 192.0.2.1 198.51.100.7 5 6\0 7\r\n";

    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
        assert_refused(bytes_of_str(lines[i]));
    assert_refused(bytes_of(nul, sizeof(nul) - 1));
}

/* ---- version 2 */

#define V2 "\r\n\r\n\0\r\nQUIT\n"
#define ADDRESSES_4                                                                                \
    "\300\0\2\1"                                                                                   \
    "\306\63\144\7"                                                                                \
    "\324\61"                                                                                      \
    "\7\133" /* 192.0.2.1:54321 */
#define ADDRESS_6 "\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0"
#define ADDRESSES_6                                                                                \
    ADDRESS_6 "\1" ADDRESS_6 "\2"                                                                  \
              "\324\61"                                                                            \
              "\7\133"
#define BYTES(text) bytes_of(text, sizeof(text) - 1)

enum { V2_HEAD = 16 };

static void binary_header_of_ipv4_names_the_client(void **state)
{
    struct proxy_header header;

    (void)state;
    assert_good(BYTES(V2 "\x21\x11\0\xc" ADDRESSES_4), V2_HEAD + 12, &header);
    assert_client(&header, "192.0.2.1", 54321);
}

static void binary_header_of_ipv6_names_the_client(void **state)
{
    struct proxy_header header;

    (void)state;
    assert_good(BYTES(V2 "\x21\x21\0\x24" ADDRESSES_6), V2_HEAD + 36, &header);
    assert_client(&header, "2001:db8::1", 54321);
}

static void binary_header_need_not_be_there_beyond_its_addresses(void **state)
{
    struct proxy_header header;

    (void)state;
    assert_good(BYTES(V2 "\x21\x11\0\x13" ADDRESSES_4 "\3\0\4abcd"), V2_HEAD + 12, &header);
    assert_int_equal(decode(BYTES(V2 "\x21\x11\xff\xff" ADDRESSES_4), &header), PROXY_DONE);
    assert_int_equal(header.size, PROXY_HEADER_MAX);
    assert_client(&header, "192.0.2.1", 54321);
}

static void binary_header_that_speaks_for_no_client_names_nobody(void **state)
{
    static const struct bytes headers[] = {
        {(const uint8_t *)V2 "\x20\0\0\0", V2_HEAD},     /* LOCAL */
        {(const uint8_t *)V2 "\x20\x11\0\0", V2_HEAD},   /* LOCAL, addresses left out */
        {(const uint8_t *)V2 "\x20\xff\0\0", V2_HEAD},   /* LOCAL, whatever it says */
        {(const uint8_t *)V2 "\x21\0\0\0", V2_HEAD},     /* not specified */
        {(const uint8_t *)V2 "\x21\1\0\0", V2_HEAD},     /* family not specified */
        {(const uint8_t *)V2 "\x21\x12\0\xc", V2_HEAD},  /* UDP */
        {(const uint8_t *)V2 "\x21\x10\0\xc", V2_HEAD},  /* protocol not specified */
        {(const uint8_t *)V2 "\x21\x31\0\xd8", V2_HEAD}, /* unix stream */
    };
    struct proxy_header header;

    (void)state;
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
        for (size_t len = 0; len < V2_HEAD; len++)
            assert_int_equal(decode(bytes_of(headers[i].data, len), &header), PROXY_MORE);
        assert_int_equal(decode(headers[i], &header), PROXY_DONE);
        assert_int_equal(header.size, V2_HEAD + (size_t)headers[i].data[15]);
        assert_int_equal(header.client.family, 0);
    }
}

static void binary_header_with_a_bad_byte_is_refused(void **state)
{
    char good[] = V2 "\x21\x11\0\xc" ADDRESSES_4;
    struct proxy_header header;

    (void)state;
    for (unsigned at = 0; at < 12; at++) { /* of what it starts with */
        char bad[sizeof(good)];
        memcpy(bad, good, sizeof(good));
        bad[at] ^= 1;
        assert_refused(BYTES(bad));
    }
    for (unsigned byte = 0; byte < 256; byte++) { /* version and command */
        good[12] = (char)byte;
        assert_int_equal(decode(BYTES(good), &header),
                         byte == 0x20 || byte == 0x21 ? PROXY_DONE : PROXY_REFUSED);
    }
    good[12] = 0x21;
    good[15] = (char)216;
    for (unsigned byte = 0; byte < 256; byte++) { /* family and protocol */
        good[13] = (char)byte;
        bool known = byte >> 4 <= 3 && (byte & 15) <= 2;
        enum proxy_result fitting = byte == 0x21 ? PROXY_MORE : PROXY_DONE;
        assert_int_equal(decode(BYTES(good), &header), known ? fitting : PROXY_REFUSED);
    }
}

static void binary_header_shorter_than_its_addresses_is_refused(void **state)
{
    (void)state;
    assert_refused(BYTES(V2 "\x21\x11\0\xb" ADDRESSES_4));
    assert_refused(BYTES(V2 "\x21\x21\0\x23" ADDRESSES_6));
    assert_refused(BYTES(V2 "\x21\x31\0\xd7" ADDRESSES_6));
    assert_refused(BYTES(V2 "\x21\x11\0\0"));
}

/* ---- neither */

static void anything_else_is_refused_at_once(void **state)
{
    struct proxy_header header;

    (void)state;
    for (unsigned byte = 0; byte < 256; byte++) {
        uint8_t first = (uint8_t)byte;
        assert_int_equal(decode(bytes_of(&first, 1), &header),
                         byte == 'P' || byte == '\r' ? PROXY_MORE : PROXY_REFUSED);
    }
    assert_refused(BYTES("\x10\x10\0\4MQTT\4\2\0\x3c\0\2id"));
    assert_refused(BYTES("GET / HTTP/1.1\r\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(line_of_tcp4_names_the_client),
        cmocka_unit_test(line_of_tcp6_names_the_client),
        cmocka_unit_test(line_of_an_unknown_protocol_names_nobody),
        cmocka_unit_test(line_leaves_what_follows_it),
        cmocka_unit_test(line_of_the_longest_length_is_good_and_one_byte_more_is_not),
        cmocka_unit_test(bad_lines_are_refused),
        cmocka_unit_test(binary_header_of_ipv4_names_the_client),
        cmocka_unit_test(binary_header_of_ipv6_names_the_client),
        cmocka_unit_test(binary_header_need_not_be_there_beyond_its_addresses),
        cmocka_unit_test(binary_header_that_speaks_for_no_client_names_nobody),
        cmocka_unit_test(binary_header_with_a_bad_byte_is_refused),
        cmocka_unit_test(binary_header_shorter_than_its_addresses_is_refused),
        cmocka_unit_test(anything_else_is_refused_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
