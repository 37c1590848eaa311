# SPDX-License-Identifier: Apache-2.0
"""What tests that run the real broker are written with: README.md here is the reference."""

from . import wire, ws
from .broker import PEER, Broker
from .client import Closed, RawClient, connect_again, patience, unique
from .wire import (AUTH, CONNACK, CONNECT, DISCONNECT, PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBLISH,
                   PUBREC, PUBREL, SUBACK, SUBSCRIBE, UNSUBACK, UNSUBSCRIBE, V31, V311, V5, Packet,
                   Will, WireError, auth, disconnect, encode, pingreq, puback, pubcomp, publish,
                   pubrec, pubrel, subscribe, unsubscribe)

__all__ = [
    "AUTH", "CONNACK", "CONNECT", "DISCONNECT", "PEER", "PINGREQ", "PINGRESP", "PUBACK", "PUBCOMP",
    "PUBLISH", "PUBREC", "PUBREL", "SUBACK", "SUBSCRIBE", "UNSUBACK", "UNSUBSCRIBE", "V31", "V311",
    "V5", "Broker", "Closed", "Packet", "RawClient", "Will", "WireError", "auth", "connect_again",
    "disconnect", "encode", "patience", "pingreq", "puback", "pubcomp", "publish", "pubrec",
    "pubrel", "subscribe", "unique", "unsubscribe", "wire", "ws",
]
