/* SPDX-License-Identifier: Apache-2.0 */
/* Protocol versions, by the level byte of CONNECT. */
#ifndef MODEL_VERSION_H
#define MODEL_VERSION_H

enum mqtt_version {
    MQTT_V31 = 3,  /* protocol name "MQIsdp" */
    MQTT_V311 = 4, /* "MQTT" */
    MQTT_V5 = 5,
};

#endif
