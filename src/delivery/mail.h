/* SPDX-License-Identifier: Apache-2.0 */
/* What one worker sends another. Kinds of mail differ only in who opens them. */
#ifndef DELIVERY_MAIL_H
#define DELIVERY_MAIL_H

#include "base/mailbox.h"

struct mail {
    struct letter letter; /* first */
    /* Called on the receiver's thread with its `struct mail_owner`; takes the mail. */
    void (*open)(struct mail *mail, void *receiver);
};

#endif
