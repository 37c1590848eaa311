// SPDX-License-Identifier: Apache-2.0
// MQTT.js over WebSocket: a client with a will loses its connection, another one hears of it.
// Arguments: the URL, the version (4 or 5), a topic. Exit code 0: all well.
'use strict'

const assert = require('assert')
const mqtt = require('mqtt')

const [url, version, topic] = process.argv.slice(2)
const options = { protocolVersion: Number(version), reconnectPeriod: 0, connectTimeout: 10000 }

const bob = mqtt.connect(url, options)
bob.on('message', (name, payload) => {
  assert.strictEqual(payload.toString(), 'gone')
  bob.end(false, () => process.exit(0))
})
bob.on('connect', () => bob.subscribe(topic, { qos: 1 }, (error) => {
  assert.ifError(error)
  const alice = mqtt.connect(url, { ...options, will: { topic, payload: 'gone', qos: 1 } })
  alice.on('connect', () => alice.stream.destroy())
  alice.on('error', () => {})
}))

setTimeout(() => { throw new Error('the will did not come') }, 15000).unref()
