// SPDX-License-Identifier: Apache-2.0
// A client of several brokers with MQTT.js 4: prints what comes on a topic, publishes its input there.
//
//     node failover.js CLIENT_ID TOPIC HOST:PORT [HOST:PORT ...] <lines-to-publish
'use strict'

const mqtt = require('mqtt')
const readline = require('readline')

const [clientId, topic, ...addresses] = process.argv.slice(2)
const servers = addresses.map((address) => {
  const [host, port] = address.split(':')
  return { host, port: Number(port), protocol: 'mqtt' }
})

const client = mqtt.connect({
  servers, // tried in turn, one each reconnectPeriod
  reconnectPeriod: 1000,
  connectTimeout: 5000,
  keepalive: 30,
  protocolVersion: 5,
  clientId,
  clean: false,
  properties: { sessionExpiryInterval: 3600 }, // seconds that a broker keeps the session while we are away
  resubscribe: false // done below, by what the broker says it has
})

client.on('connect', (connack) => {
  const { host, port } = client.options
  console.log('connected', `${host}:${port}`, connack.sessionPresent ? 'resumed' : 'new')
  if (!connack.sessionPresent) { // this broker has no session of ours, so no subscriptions
    client.subscribe(topic, { qos: 1 }, (error) => {
      if (!error) console.log('subscribed')
    })
  }
})
client.on('message', (_topic, payload) => console.log('message', payload.toString()))
client.on('error', (error) => console.error(error.message)) // refused: MQTT.js tries again

const input = readline.createInterface({ input: process.stdin })
input.on('line', (line) => client.publish(topic, line, { qos: 1 })) // kept until a broker has acknowledged it
input.on('close', () => client.end())
