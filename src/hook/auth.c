/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/auth.h"

#include "base/check.h"

void auth_register(struct auth_registry *registry, const struct auth_mechanism *mechanism)
{
    CHECK(registry->count < AUTH_MECHANISMS_MAX);
    registry->mechanisms[registry->count++] = mechanism;
}

const struct auth_mechanism *auth_find(const struct auth_registry *registry, struct bytes name)
{
    for (uint32_t i = 0; i < registry->count; i++)
        if (bytes_equal(bytes_of_str(registry->mechanisms[i]->name), name))
            return registry->mechanisms[i];
    return NULL;
}
