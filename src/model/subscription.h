/* SPDX-License-Identifier: Apache-2.0 */
/* What a client asks for with one topic filter (section 3.8.3.1). */
#ifndef MODEL_SUBSCRIPTION_H
#define MODEL_SUBSCRIPTION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum retain_handling {
    RETAIN_SEND = 0,        /* send retained messages at every subscribe */
    RETAIN_SEND_IF_NEW = 1, /* only when the subscription did not exist */
    RETAIN_DO_NOT_SEND = 2,
};

struct subscription_options {
    uint8_t qos; /* maximum QoS, 0..2 */
    bool no_local;
    bool retain_as_published;
    uint8_t retain_handling; /* enum retain_handling */
    uint32_t identifier;     /* 1..268435455, 0: none */
};

/*
 * What a publisher's worker has to know of a member of a shared subscription to choose one. Written
 * by any thread, relaxed: a choice by a stale figure is still a legal choice.
 */
struct share_member {
    _Atomic uint32_t load; /* messages given to this member and not finished */
    _Atomic bool online;
};

#endif
