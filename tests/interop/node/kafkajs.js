// kafkajs, a client of its own in JavaScript, against a broker. See common.js.

'use strict'

const { Kafka, CompressionTypes, CompressionCodecs, PartitionAssigners, ConfigResourceTypes, logLevel } = require('kafkajs')
const { bootstrap, cases, shapes, plain, big, check, equal, pairs, same, until, shared, main } = require('./common')

// It comes with gzip alone; the only packages with lz4 have to be compiled.
CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')
const zstd = new Promise((resolve) => require('zstd-codec').ZstdCodec.run((codec) => resolve(new codec.Simple())))
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => Buffer.from((await zstd).compress(encoder.buffer)),
  decompress: async (bytes) => Buffer.from((await zstd).decompress(bytes)),
})

const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.ERROR, retry: { initialRetryTime: 50 } })
/** Its producer refuses a header without a value, and has those of one key follow each other. */
const grouped = (headers) => headers.filter(([key], at) => at === 0 || headers[at - 1][0] !== key).length === new Set(headers.map(([key]) => key)).size
const writable = shapes.filter((row) => row.headers.every(([, value]) => value !== null) && grouped(row.headers))
const RETENTION = { name: 'retention.ms', value: '-1' }

async function withAdmin(use) {
  const admin = kafka.admin()
  await admin.connect()
  try {
    return await use(admin)
  } finally {
    await admin.disconnect()
  }
}

async function create(topic, numPartitions = 1, configEntries = []) {
  await withAdmin(async (admin) => {
    check(await admin.createTopics({ topics: [{ topic, numPartitions, configEntries }] }), `${topic} is there already`)
    await until('the new topic is listed', async () => (await admin.listTopics()).includes(topic))
  })
  return topic
}

const end = (topic) => withAdmin(async (admin) => Number((await admin.fetchTopicOffsets(topic))[0].high))

async function produce(topic, rows, options = {}, producerOptions = {}) {
  const producer = kafka.producer({ retry: { retries: 2 }, ...producerOptions })
  await producer.connect()
  const messages = rows.map((row) => {
    const headers = {}
    for (const [key, value] of row.headers) headers[key] = key in headers ? [].concat(headers[key], [value]) : value
    return { key: row.key, value: row.value, partition: 0, timestamp: String(row.timestamp), headers }
  })
  try {
    const sent = await producer.send({ topic, messages, ...options })
    // Nobody answers: a client that goes right away may take its records along.
    if (options.acks === 0) await until(`${topic} has ${rows.length} records`, async () => (await end(topic)) === rows.length)
    return sent
  } finally {
    await producer.disconnect()
  }
}

const plainRow = ({ message }) => ({
  timestamp: Number(message.timestamp),
  key: message.key,
  value: message.value,
  headers: pairs(message.headers),
})

let groups = 0
/** It leaves a group only when the fetch on its way is answered; by itself it would have that wait for 5 s. */
const BRISK = { maxWaitTimeInMs: 200 }

/** Reads without a group that lasts: kafkajs has no consumer without one. */
async function read(topic, count, offset) {
  const consumer = kafka.consumer({ groupId: `${topic}-reader-${groups++}`, heartbeatInterval: 300, maxBytesPerPartition: 1_000_000, ...BRISK })
  const found = []
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({ eachMessage: async (message) => void found.push(message) })
  if (offset !== undefined) consumer.seek({ topic, partition: 0, offset })
  await until(`${topic} is read: ${count} records`, () => found.length >= count)
  await consumer.disconnect()
  return found
}

const rows = async (topic, count) => (await read(topic, count)).map(plainRow)

const codecs = { none: 'None', gzip: 'GZIP', snappy: 'Snappy', zstd: 'ZSTD' }
for (const [name, codec] of Object.entries(codecs)) {
  cases[`compressed-${name}`] = async () => {
    const topic = await create(`compressed-${name}`)
    await produce(topic, plain(300), { compression: CompressionTypes[codec] })
    same(await rows(topic, 300), plain(300))
  }
}

for (const [name, acks] of Object.entries({ 0: 0, 1: 1, all: -1 })) {
  cases[`acks-${name}`] = async () => {
    const topic = await create(`acks-${name}`)
    await produce(topic, plain(50), { acks })
    same(await rows(topic, 50), plain(50))
  }
}

cases['record-shapes'] = async () => {
  const topic = await create('record-shapes', 1, [RETENTION])
  await produce(topic, writable)
  same(await rows(topic, writable.length), writable)
}

cases['write-for-grpc'] = () => produce('kafka-to-grpc', writable)
cases['read-from-grpc'] = async () => same(await rows('grpc-to-kafka', shapes.length), shapes)

cases['large-message'] = async () => {
  const topic = await create('large-message', 1, [{ name: 'max.message.bytes', value: '11000000' }])
  await produce(topic, big(10_000_000))
  same(await rows(topic, 1), big(10_000_000))
}

cases['too-large-message'] = async () => {
  const topic = await create('too-large-message')
  const error = await produce(topic, big(2_000_000)).then(() => null, (error) => error)
  check(error?.type === 'MESSAGE_TOO_LARGE', `${error}`)
}

cases.idempotent = async () => {
  const topic = await create('idempotent')
  const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
  await producer.connect()
  for (let at = 0; at < 2000; at += 100) {
    const messages = plain(2000).slice(at, at + 100).map((row) => ({ value: row.value, partition: 0, timestamp: String(row.timestamp) }))
    const [answer] = await producer.send({ topic, messages })
    equal(answer.baseOffset, String(at), 'offset')
  }
  await producer.disconnect()
  same(await rows(topic, 2000), plain(2000))
}

cases['automatic-topic'] = async () => {
  await produce('automatic-topic', plain(1))
  same(await rows('automatic-topic', 1), plain(1))
}

cases['seek-and-times'] = async () => {
  const topic = await create('seek-and-times', 1, [RETENTION])
  await produce(topic, plain(100))
  await withAdmin(async (admin) => {
    for (const [at, offset] of [[0, '0'], [42, '42'], [100, '100']]) {
      // For a time after the last record it takes the end.
      const found = await admin.fetchTopicOffsetsByTimestamp(topic, 1_600_000_000_000 + at)
      equal(found, [{ partition: 0, offset }])
    }
    const [ends] = await admin.fetchTopicOffsets(topic)
    equal([ends.low, ends.high], ['0', '100'])
  })
  const found = await read(topic, 1, '42')
  equal(found.some(({ message }) => message.offset === '42'), true)
}

async function fill(topic) {
  await create(topic, 4)
  const producer = kafka.producer()
  await producer.connect()
  const messages = Array.from({ length: 100 }, (_, number) => ({ value: String(number), partition: number % 4 }))
  await producer.send({ topic, messages })
  await producer.disconnect()
}

/** A member of a group that says what it owns and what it has seen. */
async function join(topic, options = {}, most = 100) {
  const consumer = kafka.consumer({ groupId: topic, heartbeatInterval: 300, ...BRISK, ...options })
  const member = { consumer, owned: [], seen: [] }
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => (member.owned = payload.memberAssignment[topic] ?? []))
  consumer.on(consumer.events.REBALANCING, () => (member.owned = []))
  await consumer.connect()
  await consumer.subscribe({ topics: [topic], fromBeginning: true })
  await consumer.run({
    autoCommit: false,
    eachMessage: async ({ partition, message }) => {
      if (member.seen.length >= most) return
      member.seen.push(message.value.toString())
      await consumer.commitOffsets([{ topic, partition, offset: String(Number(message.offset) + 1) }])
    },
  })
  return member
}

cases['group-commit'] = async () => {
  const topic = 'group-commit'
  await fill(topic)
  const first = await join(topic, {}, 40)
  await until('40 records', () => first.seen.length === 40)
  await first.consumer.disconnect()
  const second = await join(topic)
  await until('the rest', () => second.seen.length === 60)
  equal(new Set([...first.seen, ...second.seen]).size, 100)
  await second.consumer.disconnect()
  await withAdmin(async (admin) => {
    const [found] = await admin.fetchOffsets({ groupId: topic, topics: [topic] })
    equal(found.partitions.map(({ offset }) => offset), ['25', '25', '25', '25'])
  })
}

cases['group-members'] = async () => {
  const topic = 'group-members'
  await fill(topic)
  const options = { partitionAssigners: [PartitionAssigners.roundRobin] }
  const first = await join(topic, options)
  await until('one member has all partitions', () => first.owned.length === 4)
  const second = await join(topic, options)
  await until('two members share them', () => shared(first.owned, second.owned))
  await first.consumer.disconnect()
  await until('the other has all of them', () => second.owned.length === 4)
  await second.consumer.disconnect()
}

cases['admin-topics'] = async () => {
  await create('admin-topics', 3)
  await withAdmin(async (admin) => {
    const { topics } = await admin.fetchTopicMetadata({ topics: ['admin-topics'] })
    equal(topics[0].partitions.length, 3)
    equal(await admin.createTopics({ topics: [{ topic: 'admin-topics' }] }), false)
    const cluster = await admin.describeCluster()
    equal(cluster.controller, cluster.brokers[0].nodeId)
    await admin.deleteTopics({ topics: ['admin-topics'] })
    await until('it is gone', async () => !(await admin.listTopics()).includes('admin-topics'))
  })
}

cases['admin-partitions'] = async () => {
  await create('admin-partitions', 2)
  await withAdmin(async (admin) => {
    await admin.createPartitions({ topicPartitions: [{ topic: 'admin-partitions', count: 5 }] })
    const count = async () => (await admin.fetchTopicMetadata({ topics: ['admin-partitions'] })).topics[0].partitions.length
    await until('five partitions', async () => (await count()) === 5)
  })
}

cases['admin-configs'] = async () => {
  const name = await create('admin-configs', 1, [{ name: 'retention.ms', value: '123000' }])
  await withAdmin(async (admin) => {
    const value = async () => {
      const asked = [{ type: ConfigResourceTypes.TOPIC, name, configNames: ['retention.ms'] }]
      const { resources } = await admin.describeConfigs({ resources: asked, includeSynonyms: true })
      return resources[0].configEntries.map((entry) => entry.configValue)
    }
    equal(await value(), ['123000'])
    const configEntries = [{ name: 'retention.ms', value: '456000' }]
    await admin.alterConfigs({ validateOnly: false, resources: [{ type: ConfigResourceTypes.TOPIC, name, configEntries }] })
    equal(await value(), ['456000'])
  })
}

cases['admin-delete-records'] = async () => {
  const topic = await create('admin-delete-records')
  await produce(topic, plain(20))
  await withAdmin(async (admin) => {
    // Deletes only where it has looked before.
    await admin.fetchTopicOffsets(topic)
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '15' }] })
    const [ends] = await admin.fetchTopicOffsets(topic)
    equal([ends.low, ends.high], ['15', '20'])
  })
}

cases['admin-groups'] = async () => {
  const group = 'admin-groups'
  await fill(group)
  const member = await join(group)
  await until('all records', () => member.seen.length === 100)
  await withAdmin(async (admin) => {
    const { groups: found } = await admin.describeGroups([group])
    equal([found[0].state, found[0].members.length], ['Stable', 1])
    await member.consumer.disconnect()
    const listed = async () => (await admin.listGroups()).groups.some(({ groupId }) => groupId === group)
    check(await listed(), 'it is not listed')
    await admin.setOffsets({ groupId: group, topic: group, partitions: [{ partition: 2, offset: '7' }] })
    const [offsets] = await admin.fetchOffsets({ groupId: group, topics: [group] })
    equal(offsets.partitions.find(({ partition }) => partition === 2).offset, '7')
    await admin.deleteGroups([group])
    check(!(await listed()), 'it is still listed')
  })
}

main()
