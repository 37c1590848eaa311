/* SPDX-License-Identifier: Apache-2.0 */
/* Packets of MQTT 3.1.1. */
#include "packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_packets(data, size, MQTT_V311);
    return 0;
}
