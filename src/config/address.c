/* SPDX-License-Identifier: Apache-2.0 */
/* HOST:PORT without asking the network: names are resolved when the broker starts, not here. */
#include "config/address.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define EXPECTED "expected HOST:PORT, such as 127.0.0.1:1883 or \"[::1]:1883\""

static bool parse_port(const char *text, uint16_t *port)
{
    size_t len = strlen(text);

    if (len == 0 || len > 5 || strspn(text, "0123456789") != len || (len > 1 && text[0] == '0'))
        return false;
    unsigned long value = strtoul(text, NULL, 10);
    *port = (uint16_t)value;
    return value <= UINT16_MAX;
}

/* An IPv6 address; a link-local one may name its interface: fe80::1%eth0. */
static bool ipv6_parse(const char *text, struct in6_addr *address)
{
    char bare[INET6_ADDRSTRLEN];
    size_t len = strcspn(text, "%");

    if (len >= sizeof(bare) || (text[len] == '%' && text[len + 1] == '\0'))
        return false;
    memcpy(bare, text, len);
    bare[len] = '\0';
    return inet_pton(AF_INET6, bare, address) == 1;
}

/* A host name of letters, digits, '-' and '.', or an IPv4 address when it has only digits and dots.
 */
bool address_is_name(const char *host)
{
    struct in_addr v4;
    size_t len = strlen(host);

    if (strspn(host, "0123456789.") == len)
        return inet_pton(AF_INET, host, &v4) == 1;
    return host[0] != '-' && host[0] != '.' &&
           strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") == len;
}

static const char *parse_bracketed(const char *text, char host[CONFIG_TEXT_MAX], uint16_t *port)
{
    struct in6_addr v6;
    const char *end = strchr(text, ']');
    size_t len = end != NULL ? (size_t)(end - text - 1) : 0;

    if (end == NULL || end[1] != ':' || len >= CONFIG_TEXT_MAX)
        return EXPECTED;
    memcpy(host, text + 1, len);
    host[len] = '\0';
    if (!ipv6_parse(host, &v6))
        return "expected an IPv6 address in the brackets, such as \"[::1]:1883\"";
    if (!parse_port(end + 2, port))
        return "expected a port from 0 to 65535 behind the last colon";
    return NULL;
}

const char *address_split(const char *text, char host[CONFIG_TEXT_MAX], uint16_t *port)
{
    const char *colon = strrchr(text, ':');
    size_t len = colon != NULL ? (size_t)(colon - text) : 0;

    if (text[0] == '[')
        return parse_bracketed(text, host, port);
    if (colon == NULL || len >= CONFIG_TEXT_MAX)
        return EXPECTED;
    if (len == 0)
        return "expected a host before the port; all addresses are 0.0.0.0 for IPv4 and \"[::]\" "
               "for "
               "IPv6";
    if (memchr(text, ':', len) != NULL)
        return "an IPv6 address goes in brackets and quotes, such as \"[::1]:1883\"";
    memcpy(host, text, len);
    host[len] = '\0';
    if (!address_is_name(host))
        return "expected a host name or an IP address before the port";
    if (!parse_port(colon + 1, port))
        return "expected a port from 0 to 65535 behind the last colon";
    return NULL;
}

const char *address_parse(const char *text, struct config_listener *listener)
{
    return address_split(text, listener->host, &listener->port);
}

/* Any numeric host as an IPv6 address, IPv4 ones mapped; false for names. */
static bool numeric(const char *host, struct in6_addr *address)
{
    char mapped[INET6_ADDRSTRLEN + 8];
    struct in_addr v4;

    if (inet_pton(AF_INET, host, &v4) == 1) {
        snprintf(mapped, sizeof(mapped), "::ffff:%s", host);
        return inet_pton(AF_INET6, mapped, address) == 1;
    }
    return ipv6_parse(host, address);
}

bool address_is_loopback(const char *host)
{
    struct in6_addr address;

    if (strcasecmp(host, "localhost") == 0)
        return true;
    if (!numeric(host, &address))
        return false;
    return IN6_IS_ADDR_LOOPBACK(&address) ||
           (IN6_IS_ADDR_V4MAPPED(&address) && address.s6_addr[12] == 127);
}

bool address_is_any(const char *host)
{
    return strcmp(host, "0.0.0.0") == 0 || strspn(host, "0:") == strlen(host);
}

/* 127.0.0.1 or ::1: what localhost may be. */
static bool host_may_be_localhost(const char *host)
{
    struct in6_addr address;
    static const struct in6_addr v4_loopback = {
        .s6_addr = {[10] = 0xff, [11] = 0xff, [12] = 127, [15] = 1}};

    return numeric(host, &address) &&
           (IN6_IS_ADDR_LOOPBACK(&address) || IN6_ARE_ADDR_EQUAL(&address, &v4_loopback));
}

static bool host_same(const char *a, const char *b)
{
    struct in6_addr a_address, b_address;

    if (strcasecmp(a, b) == 0)
        return true;
    if (strcasecmp(a, "localhost") == 0)
        return host_may_be_localhost(b);
    if (strcasecmp(b, "localhost") == 0)
        return host_may_be_localhost(a);
    if (strchr(a, '%') != NULL || strchr(b, '%') != NULL)
        return false;
    return numeric(a, &a_address) && numeric(b, &b_address) &&
           IN6_ARE_ADDR_EQUAL(&a_address, &b_address);
}

bool address_same(const struct config_listener *a, const struct config_listener *b)
{
    return a->port == b->port && a->port != 0 && host_same(a->host, b->host);
}

const char *address_format(const char *host, uint16_t port, char *out, size_t room)
{
    bool v6 = strchr(host, ':') != NULL;

    snprintf(out, room, "%s%s%s:%u", v6 ? "[" : "", host, v6 ? "]" : "", (unsigned)port);
    return out;
}
