// SPDX-License-Identifier: Apache-2.0
// MQTT.js over WebSocket, as in a browser: subscribes, publishes at each QoS, then retained, and
// gets each message back. Arguments: the URL, the version (4 or 5), a topic. Exit code 0: all well.
'use strict'

const assert = require('assert')
const mqtt = require('mqtt')

const [url, version, topic] = process.argv.slice(2)
const five = version === '5'

const client = mqtt.connect(url, {
  protocolVersion: Number(version),
  reconnectPeriod: 0,
  connectTimeout: 10000
})

const expected = []
for (const qos of [0, 1, 2]) {
  expected.push({ topic: `${topic}/${qos}`, payload: `hello ${qos} \u00e4\u20ac`, qos, retain: false })
}

function onMessage (name, payload, packet) {
  const want = expected.shift()
  assert.deepStrictEqual(
    { topic: name, payload: payload.toString(), qos: packet.qos, retain: packet.retain }, want)
  if (five) assert.deepStrictEqual({ ...packet.properties.userProperties }, { from: 'MQTT.js' })
  if (expected.length === 0) client.end(false, () => process.exit(0))
}

client.on('message', onMessage)
client.on('error', (error) => { throw error })
client.on('connect', (connack) => {
  assert.strictEqual(connack.sessionPresent, false)
  client.subscribe(`${topic}/#`, { qos: 2 }, (error, granted) => {
    assert.ifError(error)
    assert.strictEqual(granted[0].qos, 2)
    for (const each of expected.slice()) {
      client.publish(each.topic, each.payload, {
        qos: each.qos,
        properties: five ? { userProperties: { from: 'MQTT.js' } } : undefined
      })
    }
  })
})

setTimeout(() => { throw new Error(`still waiting for ${JSON.stringify(expected)}`) }, 15000).unref()
