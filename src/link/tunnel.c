/* SPDX-License-Identifier: Apache-2.0 */
#include "link/tunnel.h"

#include "base/check.h"
#include "net/stream.h"

void tunnel_open_write(const struct tunnel_open *open, uint8_t out[TUNNEL_OPEN_SIZE])
{
    uint8_t *at = link_write_u32(out, open->id);
    at = link_write_u32(at, open->hash);
    *at++ = open->transport;
    *at++ = open->durability;
    *at++ = open->listener;
    *at++ = open->family;
    at = link_write_bytes(at, bytes_of(open->address, TUNNEL_ADDRESS));
    at = link_write_u16(at, open->port);
    CHECK(at - out == TUNNEL_OPEN_SIZE);
}

bool tunnel_open_read(struct bytes body, struct tunnel_open *open)
{
    struct link_reader reader = link_reader_of(body);
    open->id = link_read_u32(&reader);
    open->hash = link_read_u32(&reader);
    open->transport = link_read_u8(&reader);
    open->durability = link_read_u8(&reader);
    open->listener = link_read_u8(&reader);
    open->family = link_read_u8(&reader);
    struct bytes address = link_read_bytes(&reader, TUNNEL_ADDRESS);
    open->port = link_read_u16(&reader);
    if (!link_reader_ok(&reader) || open->transport > TRANSPORT_WEBSOCKET)
        return false;
    memcpy(open->address, address.data, TUNNEL_ADDRESS);
    return true;
}

void tunnel_credit_write(uint32_t id, uint64_t worked_off, uint8_t out[TUNNEL_CREDIT_SIZE])
{
    link_write_u64(link_write_u32(out, id), worked_off);
}

bool tunnel_credit_read(struct bytes body, uint32_t *id, uint64_t *worked_off)
{
    struct link_reader reader = link_reader_of(body);
    *id = link_read_u32(&reader);
    *worked_off = link_read_u64(&reader);
    return link_reader_ok(&reader);
}

bool tunnel_data_read(struct bytes body, uint32_t *id, struct bytes *data)
{
    struct link_reader reader = link_reader_of(body);
    *id = link_read_u32(&reader);
    if (reader.failed || reader.at == reader.end || reader.end - reader.at > TUNNEL_PIECE)
        return false;
    *data = bytes_of(reader.at, (size_t)(reader.end - reader.at));
    return true;
}

bool tunnel_end_read(const struct link_frame *frame, uint32_t *id, enum tunnel_end *why)
{
    struct link_reader reader = link_reader_of(frame->body);
    *id = link_read_u32(&reader);
    *why = (enum tunnel_end)frame->flags;
    return link_reader_ok(&reader) && frame->flags < TUNNEL_ENDS;
}

size_t registration_write(uint64_t number, struct bytes client_id, uint8_t out[REGISTRATION_MAX])
{
    return (size_t)(link_write_text(link_write_u64(out, number), client_id) - out);
}

bool registration_read(struct bytes body, struct registration_frame *out)
{
    struct link_reader reader = link_reader_of(body);
    out->number = link_read_u64(&reader);
    out->client_id = link_read_text(&reader);
    if (reader.failed || out->client_id.len == 0)
        return false;
    out->will = bytes_of(reader.at, (size_t)(reader.end - reader.at));
    return true;
}
