/* SPDX-License-Identifier: Apache-2.0 */
/* What the nats-server of a node is told. */
#include "managed/nats_config.h"

#include "base/check.h"

#include <inttypes.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <string.h>

enum { KEY_BYTES = 32 };

/* A server that does not answer for PINGS_MAX + 1 of them has its connection closed, and is dialled
 * again each second. What was under way when a network was cut would come back to life late: as
 * long after the cut as it had lasted (TCP doubles its pauses). */
enum { PING_S = 1, PINGS_MAX = 2 };

static void derive_one(const char *secret, const char *cluster, const char *purpose,
                       char out[MANAGED_PASSWORD_MAX])
{
    uint8_t key[KEY_BYTES];
    char info[MANAGED_NAME_MAX + 64], digest[] = "SHA256", salt[] = "skein engine credentials";
    OSSL_PARAM params[5];
    EVP_KDF *kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    EVP_KDF_CTX *context = EVP_KDF_CTX_new(kdf);

    CHECK(kdf != NULL && context != NULL);
    snprintf(info, sizeof(info), "%s/%s", cluster, purpose);
    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest, 0);
    params[1] =
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, (void *)secret, strlen(secret));
    params[2] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, salt, sizeof(salt) - 1);
    params[3] = OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, info, strlen(info));
    params[4] = OSSL_PARAM_construct_end();
    CHECK(EVP_KDF_derive(context, key, sizeof(key), params) == 1);
    for (int i = 0; i < KEY_BYTES; i++)
        snprintf(out + 2 * i, 3, "%02x", key[i]);
    explicit_bzero(key, sizeof(key));
    EVP_KDF_CTX_free(context);
    EVP_KDF_free(kdf);
}

void managed_derive(const char *secret, const char *cluster, struct managed_credentials *out)
{
    derive_one(secret, cluster, "user", out->user);
    derive_one(secret, cluster, "system", out->system);
    derive_one(secret, cluster, "route", out->route);
}

void managed_server_name(const struct managed_nats *nats,
                         char out[MANAGED_NAME_MAX + MANAGED_STORE_ID])
{
    snprintf(out, MANAGED_NAME_MAX + MANAGED_STORE_ID, "%s-%s", nats->node, nats->store_id);
}

/* Fit to stand between quotes. */
static bool plain(const char *text)
{
    for (; *text != '\0'; text++)
        if ((unsigned char)*text < 0x20 || *text == '"' || *text == '\\' || *text == 0x7f)
            return false;
    return true;
}

static void write_host(FILE *out, const struct managed_route *route)
{
    const char *form = strchr(route->host, ':') != NULL ? "[%s]:%u" : "%s:%u";
    fprintf(out, form, route->host, (unsigned)route->port);
}

static void write_cluster(const struct managed_nats *nats, FILE *out)
{
    fprintf(out, "\ncluster {\n  name: \"%s\"\n  no_advertise: true\n  listen: \"", nats->cluster);
    write_host(out, &nats->listen);
    fprintf(out,
            "\"\n  authorization { user: \"route\", password: \"%s\", timeout: 2 }\n"
            "  routes: [\n",
            nats->credentials.route);
    for (uint32_t i = 0; i < nats->route_count; i++) {
        fprintf(out, "    \"nats-route://route:%s@", nats->credentials.route);
        write_host(out, &nats->routes[i]);
        fputs("\"\n", out);
    }
    fputs("  ]\n}\n", out);
}

enum rc managed_write_config(const struct managed_nats *nats, FILE *out)
{
    char name[MANAGED_NAME_MAX + MANAGED_STORE_ID];

    managed_server_name(nats, name);
    bool good =
        plain(nats->folder) && plain(name) && plain(nats->cluster) && plain(nats->listen.host);
    for (uint32_t i = 0; i < nats->route_count; i++)
        good = good && plain(nats->routes[i].host);
    if (!good)
        return RC_INVALID;
    fprintf(out,
            "# Written by skein at each start; changes are lost.\n"
            "server_name: \"%s\"\n"
            "listen: \"127.0.0.1:%u\"\n"
            "max_payload: %d\n"
            "ping_interval: \"%ds\"\n"
            "ping_max: %d\n"
            "log_file: \"%s/engine.log\"\n"
            "pid_file: \"%s/nats.pid\"\n"
            "\n"
            "jetstream {\n"
            "  store_dir: \"%s/store\"\n"
            "  max_memory_store: 67108864\n"
            "  max_file_store: %" PRIu64 "\n"
            "}\n"
            "\n"
            "accounts {\n"
            "  SKEIN { jetstream: enabled, users: [{ user: \"" MANAGED_USER
            "\", password: \"%s\" }] }\n"
            "  SYSTEM { users: [{ user: \"" MANAGED_SYSTEM_USER "\", password: \"%s\" }] }\n"
            "}\n"
            "system_account: SYSTEM\n",
            name, (unsigned)nats->client_port, MANAGED_PAYLOAD_MAX, PING_S, PINGS_MAX, nats->folder,
            nats->folder, nats->folder, nats->store_bytes_max, nats->credentials.user,
            nats->credentials.system);
    if (nats->route_count > 0)
        write_cluster(nats, out);
    return RC_OK;
}
