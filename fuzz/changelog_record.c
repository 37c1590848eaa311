/* SPDX-License-Identifier: Apache-2.0 */
/* Records of a changelog as another node, or a damaged engine, gives them: each by itself, and all
 * of them one behind the other. What is taken is the same when it is written again. Input: records,
 * each behind its length in two bytes; the length's top bit asks for the hash to be mended. */
#include "base/check.h"
#include "changelog/chain.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_record(struct bytes whole)
{
    struct changelog_record record;
    struct changelog_claim claim;
    uint8_t head[CHANGELOG_HEADER], body[CHANGELOG_CLAIM_MAX];

    if (!changelog_record_decode(whole, &record))
        return;
    CHECK(record.body.data == whole.data + CHANGELOG_HEADER);
    CHECK(record.body.len == whole.len - CHANGELOG_HEADER);
    changelog_record_head(&record, head);
    CHECK(memcmp(head, whole.data, sizeof(head)) == 0);
    if (record.kind != CHANGELOG_CLAIM)
        return;
    CHECK(changelog_claim_decode(record.body, &claim));
    CHECK(bytes_equal(bytes_of(body, changelog_claim_encode(&claim, body)), record.body));
}

static void check_chain(const struct chain *chain, const struct changelog_position *before,
                        bool complete)
{
    CHECK(chain->at.sequence == before->sequence + 1);
    CHECK(chain->at.epoch <= chain->at.sequence && chain->at.epoch > 0);
    CHECK(chain->whole.sequence <= chain->at.sequence);
    CHECK(complete == (chain->whole.sequence == chain->at.sequence));
    CHECK(complete || chain->part < chain->parts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct changelog_position beginning = {0};
    uint8_t whole[2048];
    struct chain chain;

    chain_init(&chain, 7, &beginning);
    while (size >= 2) {
        size_t len = (size_t)((data[0] & 0x7f) << 8 | data[1]);
        bool mend = (data[0] & 0x80) != 0;
        data += 2;
        size -= 2;
        len = len < size ? len : size;
        len = len < sizeof(whole) ? len : sizeof(whole);
        memcpy(whole, data, len);
        if (mend && len >= CHANGELOG_HEADER)
            memcpy(whole + 32, chain.at.hash.bytes, 16);
        check_record(bytes_of(whole, len));

        struct changelog_position before = chain.at;
        struct changelog_record record;
        struct bytes body;
        bool complete;
        if (chain_add(&chain, bytes_of(whole, len), &record, &complete, &body) == NULL)
            check_chain(&chain, &before, complete);
        else
            CHECK(chain.at.sequence == before.sequence);
        data += len;
        size -= len;
    }
    chain_deinit(&chain);
    return 0;
}
