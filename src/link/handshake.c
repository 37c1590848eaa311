/* SPDX-License-Identifier: Apache-2.0 */
#include "link/handshake.h"

#include "base/check.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>

static const char magic[] = "skein link";

/* ---- what is said ------------------------------------------------------------------------------
 */

/* Makes what stands in the output's body a frame. */
static void say(struct handshake_output *out, enum link_kind kind, const uint8_t *end)
{
    size_t body = (size_t)(end - out->data) - LINK_HEADER;
    link_header_write(out->data, kind, 0, (uint32_t)body);
    out->len = LINK_HEADER + body;
}

static void remember(struct handshake *h, struct bytes body)
{
    CHECK(h->said_len + body.len <= sizeof(h->said));
    link_write_bytes(h->said + h->said_len, body);
    h->said_len += body.len;
}

static void make_proof(const struct handshake *h, const char *role, uint8_t proof[LINK_PROOF_SIZE])
{
    uint8_t text[sizeof(h->said) + 16];
    uint8_t *end = link_write_text(text, bytes_of_str(role));
    end = link_write_bytes(end, bytes_of(h->said, h->said_len));
    static const uint8_t none[1];
    struct bytes secret = h->own->secret;
    CHECK(HMAC(EVP_sha256(), secret.len == 0 ? none : secret.data, (int)secret.len, text,
               (size_t)(end - text), proof, NULL) != NULL);
}

static uint8_t *write_identity(uint8_t *at, const struct link_identity *own,
                               const uint8_t nonce[LINK_NONCE])
{
    at = link_write_text(at, bytes_of_str(own->cluster));
    at = link_write_text(at, bytes_of_str(own->node));
    at = link_write_text(at, bytes_of_str(own->address));
    at = link_write_u64(at, own->incarnation);
    at = link_write_u16(at, own->workers);
    return link_write_bytes(at, bytes_of(nonce, LINK_NONCE));
}

static enum handshake_state fail(struct handshake *h, enum handshake_refusal refusal,
                                 struct handshake_output *out)
{
    h->refusal = refusal;
    out->data[LINK_HEADER] = (uint8_t)refusal;
    say(out, LINK_REFUSED, out->data + LINK_HEADER + 1);
    return h->state = HANDSHAKE_FAILED;
}

/* ---- what is heard -----------------------------------------------------------------------------
 */

static void take_text(struct link_reader *reader, char *to, size_t max)
{
    struct bytes text = link_read_text(reader);
    if (text.len == 0 || text.len > max || memchr(text.data, 0, text.len) != NULL) {
        reader->failed = true;
        return;
    }
    memcpy(to, text.data, text.len);
    to[text.len] = '\0';
}

/* The other end's identity and nonce. */
static enum handshake_refusal read_identity(struct handshake *h, struct link_reader *reader)
{
    char cluster[LINK_NAME_MAX + 1] = "";
    take_text(reader, cluster, LINK_NAME_MAX);
    take_text(reader, h->peer.node, LINK_NAME_MAX);
    take_text(reader, h->peer.address, LINK_ADDRESS_MAX);
    h->peer.incarnation = link_read_u64(reader);
    h->peer.workers = link_read_u16(reader);
    link_read_bytes(reader, LINK_NONCE);
    if (reader->failed || h->peer.workers == 0)
        return HANDSHAKE_MALFORMED;
    if (strcmp(cluster, h->own->cluster) != 0)
        return HANDSHAKE_OTHER_CLUSTER;
    return h->peer.incarnation == h->own->incarnation ? HANDSHAKE_SELF : HANDSHAKE_FINE;
}

static bool proof_is_right(const struct handshake *h, const char *role, struct bytes proof)
{
    uint8_t wanted[LINK_PROOF_SIZE];
    make_proof(h, role, wanted);
    return proof.len == LINK_PROOF_SIZE && CRYPTO_memcmp(wanted, proof.data, LINK_PROOF_SIZE) == 0;
}

static uint16_t version_max(const struct handshake *h)
{
    return h->own->version_max != 0 ? h->own->version_max : LINK_VERSION_MAX;
}

/* ---- steps -------------------------------------------------------------------------------------
 */

void handshake_dial(struct handshake *h, const struct link_identity *own, enum link_purpose purpose,
                    uint16_t worker, const uint8_t nonce[LINK_NONCE], struct handshake_output *out)
{
    *h = (struct handshake){.own = own,
                            .state = HANDSHAKE_EXPECTS_ANSWER,
                            .peer = {.purpose = (uint8_t)purpose, .worker = worker}};
    uint8_t *body = out->data + LINK_HEADER;
    uint8_t *at = link_write_bytes(body, bytes_of(magic, sizeof(magic)));
    at = link_write_u16(at, LINK_VERSION_MIN);
    at = link_write_u16(at, version_max(h));
    *at++ = (uint8_t)purpose;
    at = link_write_u16(at, worker);
    at = write_identity(at, own, nonce);
    remember(h, bytes_of(body, (size_t)(at - body)));
    say(out, LINK_HELLO, at);
}

void handshake_listen(struct handshake *h, const struct link_identity *own)
{
    *h = (struct handshake){.own = own, .state = HANDSHAKE_EXPECTS_HELLO};
}

static enum handshake_refusal read_hello(struct handshake *h, struct bytes body)
{
    struct link_reader reader = link_reader_of(body);
    struct bytes said = link_read_bytes(&reader, sizeof(magic));
    uint16_t lowest = link_read_u16(&reader), highest = link_read_u16(&reader);
    h->peer.purpose = link_read_u8(&reader);
    h->peer.worker = link_read_u16(&reader);
    if (reader.failed || !bytes_equal(said, bytes_of(magic, sizeof(magic))) ||
        h->peer.purpose < LINK_CONTROL || h->peer.purpose > LINK_COPY)
        return HANDSHAKE_MALFORMED;
    if (lowest > version_max(h) || highest < LINK_VERSION_MIN)
        return HANDSHAKE_NO_COMMON_VERSION;
    h->peer.version = highest < version_max(h) ? highest : version_max(h);
    enum handshake_refusal refusal = read_identity(h, &reader);
    return refusal == HANDSHAKE_FINE && !link_reader_ok(&reader) ? HANDSHAKE_MALFORMED : refusal;
}

static enum handshake_state take_hello(struct handshake *h, struct bytes body,
                                       const uint8_t nonce[LINK_NONCE],
                                       struct handshake_output *out)
{
    enum handshake_refusal refusal = read_hello(h, body);
    if (refusal != HANDSHAKE_FINE)
        return fail(h, refusal, out);
    remember(h, body);
    uint8_t *answer = out->data + LINK_HEADER;
    uint8_t *at = link_write_u16(answer, h->peer.version);
    at = write_identity(at, h->own, nonce);
    remember(h, bytes_of(answer, (size_t)(at - answer)));
    make_proof(h, "listener", at);
    say(out, LINK_ANSWER, at + LINK_PROOF_SIZE);
    return h->state = HANDSHAKE_EXPECTS_PROOF;
}

static enum handshake_refusal read_answer(struct handshake *h, struct bytes body)
{
    if (body.len <= LINK_PROOF_SIZE)
        return HANDSHAKE_MALFORMED;
    struct bytes answer = bytes_of(body.data, body.len - LINK_PROOF_SIZE);
    struct link_reader reader = link_reader_of(answer);
    h->peer.version = link_read_u16(&reader);
    enum handshake_refusal refusal = read_identity(h, &reader);
    if (refusal != HANDSHAKE_FINE)
        return refusal;
    if (!link_reader_ok(&reader))
        return HANDSHAKE_MALFORMED;
    if (h->peer.version < LINK_VERSION_MIN || h->peer.version > version_max(h))
        return HANDSHAKE_NO_COMMON_VERSION;
    remember(h, answer);
    struct bytes proof = bytes_of(answer.data + answer.len, LINK_PROOF_SIZE);
    return proof_is_right(h, "listener", proof) ? HANDSHAKE_FINE : HANDSHAKE_WRONG_SECRET;
}

static enum handshake_state take_answer(struct handshake *h, struct bytes body,
                                        struct handshake_output *out)
{
    enum handshake_refusal refusal = read_answer(h, body);
    if (refusal != HANDSHAKE_FINE)
        return fail(h, refusal, out);
    make_proof(h, "dialer", out->data + LINK_HEADER);
    say(out, LINK_PROOF, out->data + LINK_HEADER + LINK_PROOF_SIZE);
    return h->state = HANDSHAKE_EXPECTS_WELCOME;
}

static enum handshake_state take_proof(struct handshake *h, struct bytes body,
                                       struct handshake_output *out)
{
    if (!proof_is_right(h, "dialer", body))
        return fail(h, HANDSHAKE_WRONG_SECRET, out);
    say(out, LINK_WELCOME, out->data + LINK_HEADER);
    return h->state = HANDSHAKE_MET;
}

static enum handshake_state take_refusal(struct handshake *h, struct bytes body)
{
    uint8_t said = body.len == 1 ? body.data[0] : 0;
    h->refused_by_peer = true;
    h->refusal = said > HANDSHAKE_FINE && said <= HANDSHAKE_SELF ? (enum handshake_refusal)said
                                                                 : HANDSHAKE_MALFORMED;
    return h->state = HANDSHAKE_FAILED;
}

enum handshake_state handshake_step(struct handshake *h, const struct link_frame *frame,
                                    const uint8_t nonce[LINK_NONCE], struct handshake_output *out)
{
    out->len = 0;
    if (frame->body.len > LINK_GREETING_MAX)
        return fail(h, HANDSHAKE_MALFORMED, out);
    if (frame->kind == LINK_REFUSED && h->state != HANDSHAKE_EXPECTS_HELLO)
        return take_refusal(h, frame->body);
    if (h->state == HANDSHAKE_EXPECTS_HELLO && frame->kind == LINK_HELLO)
        return take_hello(h, frame->body, nonce, out);
    if (h->state == HANDSHAKE_EXPECTS_ANSWER && frame->kind == LINK_ANSWER)
        return take_answer(h, frame->body, out);
    if (h->state == HANDSHAKE_EXPECTS_PROOF && frame->kind == LINK_PROOF)
        return take_proof(h, frame->body, out);
    if (h->state == HANDSHAKE_EXPECTS_WELCOME && frame->kind == LINK_WELCOME)
        return h->state = HANDSHAKE_MET;
    return fail(h, HANDSHAKE_MALFORMED, out);
}

const char *handshake_refusal_text(enum handshake_refusal refusal)
{
    switch (refusal) {
    case HANDSHAKE_FINE:
        return "none";
    case HANDSHAKE_MALFORMED:
        return "what came was not from a node of Skein";
    case HANDSHAKE_NO_COMMON_VERSION:
        return "the nodes have no protocol version in common";
    case HANDSHAKE_OTHER_CLUSTER:
        return "the node is of another cluster";
    case HANDSHAKE_WRONG_SECRET:
        return "the nodes have different secrets";
    case HANDSHAKE_SELF:
        return "the address leads back to this node";
    }
    return "unknown";
}
