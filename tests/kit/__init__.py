# SPDX-License-Identifier: Apache-2.0
"""What tests that run the real broker are written with. README.md in this folder is the reference."""

from .broker import Broker, PEER
from .client import Closed, RawClient, patience, unique
from .wire import (AUTH, CONNACK, CONNECT, DISCONNECT, PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBLISH,
                   PUBREC, PUBREL, SUBACK, SUBSCRIBE, UNSUBACK, UNSUBSCRIBE, V31, V311, V5, Packet,
                   Properties, Type, Will, WireError, auth, connect, disconnect, encode, pingreq,
                   puback, pubcomp, publish, pubrec, pubrel, subscribe, unsubscribe)

__all__ = [name for name in dir() if not name.startswith("_")]
