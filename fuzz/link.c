/* SPDX-License-Identifier: Apache-2.0 */
/* What comes on a link between nodes: frames, the publications and the parts of tunnels in them,
 * and a handshake of either role that takes whatever they are. */
#include "base/check.h"
#include "link/copy.h"
#include "link/frame.h"
#include "link/handshake.h"
#include "link/tunnel.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct link_identity own = {.cluster = "c",
                                         .node = "n",
                                         .address = "a:1",
                                         .incarnation = 7,
                                         .workers = 1,
                                         .secret = {(void *)"s", 1}};
static const uint8_t nonce[LINK_NONCE];

static void check_inside(struct bytes part, struct bytes whole)
{
    CHECK(part.len == 0 ||
          (part.data >= whole.data && part.data + part.len <= whole.data + whole.len));
}

/* What was read can be written, and is the same then. */
static void check_publish(const struct link_frame *frame)
{
    static uint8_t again[LINK_PUBLISH_HEAD_MAX + (1 << 20)];
    struct link_publish publish;
    if (!link_publish_read(frame, 1000, &publish) || frame->body.len > 1 << 20)
        return;
    check_inside(publish.publication.topic, frame->body);
    check_inside(publish.publication.properties, frame->body);
    check_inside(publish.publication.payload, frame->body);
    size_t head = link_publish_write(&publish, 1000, again);
    CHECK(head + publish.publication.payload.len <= LINK_HEADER + frame->body.len);
}

static void check_tunnel(const struct link_frame *frame)
{
    struct tunnel_open open;
    uint8_t again[TUNNEL_OPEN_SIZE];
    struct bytes part;
    uint32_t id;
    uint64_t worked_off;
    enum tunnel_end why;
    if (tunnel_open_read(frame->body, &open)) {
        tunnel_open_write(&open, again);
        CHECK(bytes_equal(bytes_of(again, sizeof(again)), frame->body));
    }
    if (tunnel_credit_read(frame->body, &id, &worked_off)) {
        tunnel_credit_write(id, worked_off, again);
        CHECK(bytes_equal(bytes_of(again, TUNNEL_CREDIT_SIZE), frame->body));
    }
    if (tunnel_data_read(frame->body, &id, &part))
        check_inside(part, frame->body);
    struct registration_frame said;
    if (registration_read(frame->body, &said)) {
        check_inside(said.client_id, frame->body);
        check_inside(said.will, frame->body);
    }
    if (tunnel_end_read(frame, &id, &why))
        CHECK(why < TUNNEL_ENDS);
}

static void check_copy(const struct link_frame *frame)
{
    struct copy_ask ask;
    struct bytes records;
    uint8_t again[COPY_ASK_MAX];
    uint32_t number;
    uint64_t bytes;
    if (copy_ask_read(frame->body, &ask) && ask.format == COPY_FORMAT)
        CHECK(bytes_equal(bytes_of(again, copy_ask_write(&ask, again)), frame->body));
    if (copy_chunk_read(frame->body, &number, &records))
        check_inside(records, frame->body);
    if (copy_credit_read(frame->body, &number)) {
        copy_credit_write(number, again);
        CHECK(bytes_equal(bytes_of(again, COPY_CREDIT_SIZE), frame->body));
    }
    if (copy_end_read(frame->body, &number, &bytes)) {
        copy_end_write(number, bytes, again);
        CHECK(bytes_equal(bytes_of(again, COPY_END_SIZE), frame->body));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct handshake listener, dialer;
    struct handshake_output out;
    struct bytes in = bytes_of(data, size);
    struct link_frame frame;
    size_t used;
    handshake_listen(&listener, &own);
    handshake_dial(&dialer, &own, LINK_ROAD, 0, nonce, &out);
    while (link_frame_parse(in, LINK_BODY_MAX, &frame, &used) == LINK_PARSED) {
        check_inside(frame.body, in);
        CHECK(used == LINK_HEADER + frame.body.len);
        check_publish(&frame);
        check_tunnel(&frame);
        check_copy(&frame);
        if (listener.state != HANDSHAKE_FAILED && listener.state != HANDSHAKE_MET)
            handshake_step(&listener, &frame, nonce, &out);
        if (dialer.state != HANDSHAKE_FAILED && dialer.state != HANDSHAKE_MET)
            CHECK(handshake_step(&dialer, &frame, nonce, &out) != HANDSHAKE_MET);
        in = bytes_of(in.data + used, in.len - used);
    }
    return 0;
}
