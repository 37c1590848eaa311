# SPDX-License-Identifier: Apache-2.0
"""A real HAProxy in front of a real broker."""

import pytest

from kit import V5, RawClient, unique

FRONT = """
defaults
    mode tcp
    timeout connect 5s
    timeout client 1m
    timeout server 1m
listen mqtt
    bind 127.0.0.1:{0}
    server a 127.0.0.1:{2} check inter 100ms {option} check-send-proxy
listen ws
    bind 127.0.0.1:{1}
    server a 127.0.0.1:{3} {option}
"""


@pytest.mark.parametrize("option", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"],
                         ids=["v1", "v2", "v2_with_tlvs"])
def test_client_behind_haproxy_is_seen_with_its_own_address(own_broker, haproxy, ports, ctl, option):
    front, front_ws, back, back_ws = ports(4)
    broker = own_broker({"listeners": [
        {"address": f"127.0.0.1:{back}", "proxy_protocol": "required"},
        {"address": f"127.0.0.1:{back_ws}", "transport": "ws", "proxy_protocol": "required"}]})
    balancer = haproxy(FRONT.format(front, front_ws, back, back_ws, option=option), front, front_ws)
    for websocket in (False, True):
        for _ in range(4):
            client = RawClient(balancer, V5, websocket=websocket)
            client.connect(unique())
            client.barrier()
            address = "{}:{}".format(*client.socket.getsockname())
            assert ctl(broker, "client", client.client_id)["address"] == address
            client.close()
    assert ctl(broker, "metrics", "name=proxy_headers_refused")["metrics"]["proxy_headers_refused"] == 0


def test_haproxy_that_sends_no_header_is_refused_and_the_log_says_why(own_broker, haproxy, ports, ctl):
    front, front_ws, back, back_ws = ports(4)
    broker = own_broker({"listeners": [{"address": f"127.0.0.1:{back}", "proxy_protocol": "required"}]})
    text = FRONT.format(front, front_ws, back, back_ws, option="").replace("check-send-proxy", "")
    balancer = haproxy(text, front)
    client = RawClient(balancer, V5)
    client.send(b"\x10")
    client.expect_closed()
    broker.wait_for_log("net.proxy_header_refused")
    assert "there is no header" in broker.log
