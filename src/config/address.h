/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of listeners as they are written: 127.0.0.1:1883, [::1]:1883, localhost:1883. Pure. */
#ifndef CONFIG_ADDRESS_H
#define CONFIG_ADDRESS_H

#include "config/config.h"

/* HOST:PORT into its parts; NULL when all is well, else what is wrong with `text`, for a person. */
const char *address_split(const char *text, char host[CONFIG_TEXT_MAX], uint16_t *port);

/* Is it the name of a host, or an IPv4 address? */
bool address_is_name(const char *text);

/* Fills host and port of *listener; NULL when all is well, else what is wrong with `text`, for a
 * person. */
const char *address_parse(const char *text, struct config_listener *listener);

/* Can only this machine reach it? Names other than localhost count as no. */
bool address_is_loopback(const char *host);

/* Is it no address to dial, but all that a machine has? */
bool address_is_any(const char *host);

/* Would both take the same port of the same address, however they are written? Port 0 never does.
 */
bool address_same(const struct config_listener *a, const struct config_listener *b);

/* "127.0.0.1:1883", "[::1]:1883". Gives out; CONFIG_TEXT_MAX + 8 bytes are always enough. */
const char *address_format(const char *host, uint16_t port, char *out, size_t room);

#endif
