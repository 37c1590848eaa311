/* SPDX-License-Identifier: Apache-2.0 */
#include "net/proxy_header.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

/* ---- version 1: "PROXY TCP4 192.0.2.1 198.51.100.7 54321 1883\r\n"
 * ----------------------------------
 */

static const char v1_start[] = "PROXY ";

enum { V1_START = sizeof(v1_start) - 1 };

static enum proxy_result refuse(struct proxy_header *header, const char *fault)
{
    header->fault = fault;
    return PROXY_REFUSED;
}

/* The next word of a line, which one space or the end of the line follows. Its end becomes a NUL.
 */
static char *take_word(char **at)
{
    char *word = *at;
    size_t len = strcspn(word, " ");

    *at = word[len] == ' ' ? word + len + 1 : word + len;
    word[len] = '\0';
    return word;
}

/* 0 to 65535 in decimal, without zeros in front. */
static bool parse_port(const char *word, uint16_t *port)
{
    size_t len = strspn(word, "0123456789");
    uint32_t value = 0;

    if (len == 0 || len > 5 || word[len] != '\0' || (word[0] == '0' && len > 1))
        return false;
    for (size_t i = 0; i < len; i++)
        value = value * 10 + (uint32_t)(word[i] - '0');
    *port = (uint16_t)value;
    return value <= UINT16_MAX;
}

/* "SOURCE DESTINATION SOURCE_PORT DESTINATION_PORT". Both must be good; only the source is kept. */
static bool parse_addresses(char *line, int family, struct stream_peer *client)
{
    uint8_t other[sizeof(client->address)];
    uint16_t other_port;
    bool good;

    client->family = (uint8_t)family;
    good = inet_pton(family, take_word(&line), client->address) == 1;
    good &= inet_pton(family, take_word(&line), other) == 1;
    good &= parse_port(take_word(&line), &client->port);
    return good && parse_port(line, &other_port);
}

static enum proxy_result decode_line(char *line, struct proxy_header *header)
{
    char *protocol = take_word(&line);

    if (strcmp(protocol, "UNKNOWN") == 0)
        return PROXY_DONE; /* what follows is to be ignored */
    if (strcmp(protocol, "TCP4") == 0)
        return parse_addresses(line, AF_INET, &header->client)
                   ? PROXY_DONE
                   : refuse(header, "version 1: not two IPv4 addresses and ports");
    if (strcmp(protocol, "TCP6") == 0)
        return parse_addresses(line, AF_INET6, &header->client)
                   ? PROXY_DONE
                   : refuse(header, "version 1: not two IPv6 addresses and ports");
    return refuse(header, "version 1: neither TCP4 nor TCP6 nor UNKNOWN");
}

static enum proxy_result decode_v1(struct bytes in, struct proxy_header *header)
{
    size_t len = in.len < PROXY_V1_MAX ? in.len : PROXY_V1_MAX;
    const uint8_t *end = memchr(in.data, '\n', len);
    char line[PROXY_V1_MAX + 1];

    if (end == NULL)
        return len < PROXY_V1_MAX ? PROXY_MORE : refuse(header, "version 1: the line has no end");
    header->size = (size_t)(end - in.data) + 1;
    if (header->size < V1_START + 2 || end[-1] != '\r')
        return refuse(header, "version 1: the line does not end with CR LF");
    len = header->size - V1_START - 2;
    memcpy(line, in.data + V1_START, len);
    line[len] = '\0';
    if (strlen(line) != len)
        return refuse(header, "version 1: a NUL in the line");
    return decode_line(line, header);
}

/* ---- version 2 ---------------------------------------------------------------------------------
 *
 *     0       12             13                  14      16
 *     | start | 2 | command  | family | protocol | length | addresses | TLVs |
 */

static const uint8_t v2_start[] = "\r\n\r\n\0\r\nQUIT\n";

enum {
    V2_START = sizeof(v2_start) - 1,
    V2_HEAD = 16,
    V2_LOCAL = 0x20, /* version and command */
    V2_PROXY = 0x21,
    V2_FAMILY_UNIX = 3,
    V2_PROTOCOL_STREAM = 1,
    V2_PROTOCOL_DATAGRAM = 2,
};

/* Of each family: what its addresses take. Unspecified ones take nothing. */
static const struct {
    int family;      /* 0: nothing that we could show */
    uint8_t address; /* bytes of an address */
    uint8_t block;   /* of both, and of their ports */
} v2_families[] = {{0, 0, 0}, {AF_INET, 4, 12}, {AF_INET6, 16, 36}, {0, 108, 216}};

/* LOCAL speaks for the balancer itself, and its addresses are to be ignored, whatever they are. */
static enum proxy_result decode_v2_addresses(struct bytes in, struct proxy_header *header)
{
    uint8_t family = in.data[13] >> 4;
    uint8_t protocol = in.data[13] & 0x0f;
    size_t block = header->size - V2_HEAD;
    const uint8_t *addresses = in.data + V2_HEAD;

    if (family > V2_FAMILY_UNIX || protocol > V2_PROTOCOL_DATAGRAM)
        return refuse(header, "version 2: an unknown address family or protocol");
    if (block < v2_families[family].block)
        return refuse(header, "version 2: too short for its addresses");
    if (v2_families[family].family == 0 || protocol != V2_PROTOCOL_STREAM)
        return PROXY_DONE;
    if (in.len < V2_HEAD + (size_t)v2_families[family].block)
        return PROXY_MORE;
    const uint8_t *port = addresses + 2 * (size_t)v2_families[family].address;
    header->client.family = (uint8_t)v2_families[family].family;
    header->client.port = (uint16_t)(port[0] << 8 | port[1]);
    memcpy(header->client.address, addresses, v2_families[family].address);
    return PROXY_DONE;
}

static enum proxy_result decode_v2(struct bytes in, struct proxy_header *header)
{
    if (in.len > V2_START && in.data[V2_START] != V2_LOCAL && in.data[V2_START] != V2_PROXY)
        return refuse(header, in.data[V2_START] >> 4 == 2 ? "version 2: an unknown command"
                                                          : "neither version 1 nor version 2");
    if (in.len < V2_HEAD)
        return PROXY_MORE;
    header->size = V2_HEAD + (size_t)(in.data[14] << 8 | in.data[15]);
    return in.data[V2_START] == V2_LOCAL ? PROXY_DONE : decode_v2_addresses(in, header);
}

/* ---- both --------------------------------------------------------------------------------------
 */

static bool starts_like(struct bytes in, const void *start, size_t len)
{
    return memcmp(in.data, start, in.len < len ? in.len : len) == 0;
}

enum proxy_result proxy_header_decode(struct bytes in, struct proxy_header *header)
{
    *header = (struct proxy_header){.size = 0};
    if (in.len == 0)
        return PROXY_MORE;
    if (starts_like(in, v1_start, V1_START))
        return in.len <= V1_START ? PROXY_MORE : decode_v1(in, header);
    if (starts_like(in, v2_start, V2_START))
        return decode_v2(in, header);
    return refuse(header, "there is no header");
}
