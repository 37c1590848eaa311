/* SPDX-License-Identifier: Apache-2.0 */
/* The section `cluster`: what its keys mean together. */
#include "config/cluster.h"

#include "config/address.h"
#include "config/error.h"
#include "config/schema.h"
#include "config/value.h"

#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct config_place place_of(const struct config *config, const char *path)
{
    const struct config_key *key = config_key_find(path);
    CHECK(key != NULL);
    int line = config->origin.line[key - config_keys];
    const char *name = line > 0 ? config->origin.file : line < 0 ? "--set" : "built in";
    return (struct config_place){.name = name, .line = line > 0 ? line : 0, .path = path};
}

#define FAIL_KEY(config, error, path, ...)                                                         \
    config_error_set((error), place_of((config), (path)), __VA_ARGS__)

/* ---- what the keys mean ------------------------------------------------------------------------
 */

bool cluster_node(const struct config *config, char out[CONFIG_NAME_MAX])
{
    char host[CONFIG_TEXT_MAX] = "";

    if (config->cluster.node[0] != '\0') {
        memcpy(out, config->cluster.node, CONFIG_NAME_MAX);
        return true;
    }
    if (gethostname(host, sizeof(host) - 1) != 0)
        return false;
    host[strcspn(host, ".")] = '\0';
    if (host[0] == '\0' || !config_name_valid(host))
        return false;
    snprintf(out, CONFIG_NAME_MAX, "%.*s", CONFIG_NAME_MAX - 1, host);
    return true;
}

const struct config_address *cluster_advertised(const struct config *config)
{
    bool own = config->cluster.advertise.host[0] != '\0';
    return own ? &config->cluster.advertise : &config->cluster.listen;
}

uint16_t cluster_engine_port(const struct config *config)
{
    if (config->cluster.engine_port != 0)
        return config->cluster.engine_port;
    return (uint16_t)(config->cluster.listen.port + CLUSTER_ENGINE_OFFSET);
}

uint16_t cluster_route_port(const struct config *config, const struct config_address *address)
{
    if (config->cluster.engine_route_port != 0)
        return config->cluster.engine_route_port;
    return (uint16_t)(address->port + CLUSTER_ROUTE_OFFSET);
}

/* ---- the secret --------------------------------------------------------------------------------
 */

/* Bytes in the file, at most `room`; -1 with errno. EPERM: everybody may read it. */
static ssize_t read_secret(const char *path, char *out, size_t room)
{
    struct stat status;
    ssize_t got = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return -1;
    if (fstat(fd, &status) == 0 && (status.st_mode & (S_IROTH | S_IWOTH)) != 0)
        errno = EPERM;
    else
        got = read(fd, out, room);
    int saved = errno;
    close(fd);
    errno = saved;
    return got;
}

bool cluster_secret(const struct config *config, struct config_secret *out,
                    struct config_error *error)
{
    static const char prefix[] = "file:";
    const char *path = config->cluster.secret.hidden + sizeof(prefix) - 1;

    if (strncmp(config->cluster.secret.hidden, prefix, sizeof(prefix) - 1) != 0) {
        *out = config->cluster.secret;
        return true;
    }
    memset(out, 0, sizeof(*out));
    ssize_t len = read_secret(path, out->hidden, sizeof(out->hidden));
    if (len < 0)
        return FAIL_KEY(config, error, "cluster.secret", "%s cannot be used: %s", path,
                        errno == EPERM ? "everybody may read it; chmod o-rw" : strerror(errno));
    while (len > 0 && (out->hidden[len - 1] == '\n' || out->hidden[len - 1] == '\r'))
        out->hidden[--len] = '\0';
    if (len == sizeof(out->hidden))
        out->hidden[len - 1] = '\0';
    if (len < CLUSTER_SECRET_MIN || len >= (ssize_t)sizeof(out->hidden) ||
        strlen(out->hidden) != (size_t)len)
        return FAIL_KEY(config, error, "cluster.secret", "expected %d to %zu bytes of text in %s",
                        CLUSTER_SECRET_MIN, sizeof(out->hidden) - 1, path);
    return true;
}

/* ---- rules -------------------------------------------------------------------------------------
 */

bool cluster_url_valid(const char *url)
{
    struct config_address address;
    char whole[CONFIG_TEXT_MAX];
    const char *schemes[] = {"nats://", "tls://"};

    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t len = strlen(schemes[i]);
        if (strncmp(url, schemes[i], len) != 0)
            continue;
        const char *at = strrchr(url, '@');
        snprintf(whole, sizeof(whole), "%s", at != NULL ? at + 1 : url + len);
        return address_is_name(whole) ? whole[0] != '\0'
                                      : address_split(whole, address.host, &address.port) == NULL;
    }
    return false;
}

/* The first key with an address that other machines can reach; NULL when there is none. */
static const char *key_outside_loopback(const struct config *config)
{
    if (!address_is_loopback(config->cluster.listen.host))
        return "cluster.listen";
    if (!address_is_loopback(cluster_advertised(config)->host))
        return "cluster.advertise";
    for (uint32_t i = 0; i < config->cluster.address_count; i++)
        if (!address_is_loopback(config->cluster.addresses[i].host))
            return "cluster.addresses";
    return NULL;
}

static bool validate_secret(const struct config *config, struct config_error *error)
{
    struct config_secret secret;
    const char *outside = key_outside_loopback(config);

    if (!cluster_secret(config, &secret, error))
        return false;
    size_t len = strlen(secret.hidden);
    explicit_bzero(&secret, sizeof(secret));
    if (len == 0 && outside != NULL)
        return FAIL_KEY(config, error, outside,
                        "an address outside loopback needs a cluster.secret, which is not set");
    if (len > 0 && len < CLUSTER_SECRET_MIN)
        return FAIL_KEY(config, error, "cluster.secret", "expected at least %d bytes",
                        CLUSTER_SECRET_MIN);
    return true;
}

static bool validate_engine(const struct config *config, struct config_error *error)
{
    uint16_t link = config->cluster.listen.port;

    if (config->cluster.engine == CLUSTER_ENGINE_EXTERNAL)
        return config->cluster.engine_url_count > 0 ||
               FAIL_KEY(config, error, "cluster.engine", "external needs cluster.engine_urls");
    if (config->cluster.engine_url_count > 0)
        return FAIL_KEY(config, error, "cluster.engine_urls",
                        "expected none with engine: managed; set cluster.engine: external");
    if (config->cluster.engine_port == 0 && link + CLUSTER_ENGINE_OFFSET > UINT16_MAX)
        return FAIL_KEY(config, error, "cluster.listen",
                        "port %u leaves no port for the engine; set cluster.engine_port", link);
    if (config->cluster.engine_route_port == 0 && link + CLUSTER_ROUTE_OFFSET > UINT16_MAX)
        return FAIL_KEY(config, error, "cluster.listen",
                        "port %u leaves no port for the engine's routes; set "
                        "cluster.engine_route_port",
                        link);
    uint16_t engine = cluster_engine_port(config);
    uint16_t route = cluster_route_port(config, &config->cluster.listen);
    if (engine == route || engine == link)
        return FAIL_KEY(config, error, "cluster.engine_port", "port %u is used twice", engine);
    if (route == link)
        return FAIL_KEY(config, error, "cluster.engine_route_port", "port %u is used twice", route);
    return true;
}

bool cluster_validate(const struct config *config, struct config_error *error)
{
    char node[CONFIG_NAME_MAX];

    if (!cluster_configured(config))
        return true;
    if (!cluster_node(config, node))
        return FAIL_KEY(config, error, "cluster.node",
                        "the host's name cannot be a node's: at most %d letters, digits, '-' and "
                        "'_'; set cluster.node",
                        CONFIG_NAME_MAX - 1);
    if (address_is_any(cluster_advertised(config)->host))
        return FAIL_KEY(config, error, "cluster.listen",
                        "%s is no address that others can use; set cluster.advertise",
                        cluster_advertised(config)->host);
    return validate_secret(config, error) && validate_engine(config, error);
}
