// kafkajs, a client of its own in JavaScript, against a broker. See common.js.

'use strict'

const { Kafka, CompressionTypes, CompressionCodecs, PartitionAssigners, ConfigResourceTypes, logLevel } = require('kafkajs')
const { bootstrap, cases, shapes, plain, big, check, equal, same, until, main } = require('./common')
const { RETENTION, message, administration, recordCases, timesOf, groupSteps } = require('./matrix')

// It comes with gzip alone; the only packages with lz4 have to be compiled.
CompressionCodecs[CompressionTypes.Snappy] = require('kafkajs-snappy')
const zstd = new Promise((resolve) => require('zstd-codec').ZstdCodec.run((codec) => resolve(new codec.Simple())))
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async (encoder) => Buffer.from((await zstd).compress(encoder.buffer)),
  decompress: async (bytes) => Buffer.from((await zstd).decompress(bytes)),
})

const kafka = new Kafka({ brokers: [bootstrap], logLevel: logLevel.ERROR, retry: { initialRetryTime: 50 } })
const { withAdmin, create } = administration(kafka)

const end = (topic) => withAdmin(async (admin) => Number((await admin.fetchTopicOffsets(topic))[0].high))

/** Sends to partition 0 unless a row says otherwise; the first offset in each partition. */
async function produce(topic, rows, options = {}) {
  const producer = kafka.producer({ retry: { retries: 2 } })
  await producer.connect()
  try {
    const sent = await producer.send({ topic, messages: rows.map(message), ...options })
    // Nobody answers: a client that goes right away may take its records along.
    if (options.acks === 0) await until(`${topic} has ${rows.length} records`, async () => (await end(topic)) === rows.length)
    return sent.map(({ baseOffset }) => baseOffset)
  } finally {
    await producer.disconnect()
  }
}

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

const codecs = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.Snappy,
  zstd: CompressionTypes.ZSTD,
}
const rows = recordCases({ create, codecs, room: {}, produce, read })

cases['read-from-grpc'] = async () => same(await rows('grpc-to-kafka', shapes.length), shapes)

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

cases['seek-and-times'] = async () => {
  const topic = await create('seek-and-times', 1, [RETENTION])
  await produce(topic, plain(100))
  await withAdmin(timesOf(topic))
  const found = await read(topic, 1, '42')
  equal(found.some(({ message }) => message.offset === '42'), true)
}

/** A member of a group that says what it owns and what it has seen. */
async function join(topic, options = {}, most = 100) {
  const consumer = kafka.consumer({ groupId: topic, heartbeatInterval: 300, ...BRISK, ...options })
  let owned = []
  const member = { seen: [], owned: () => owned, leave: () => consumer.disconnect() }
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => (owned = payload.memberAssignment[topic] ?? []))
  consumer.on(consumer.events.REBALANCING, () => (owned = []))
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

const { fill, commitAndRestart, joinAndLeave } = groupSteps({ withAdmin, create, produce, join })

cases['group-commit'] = () => commitAndRestart('group-commit')
cases['group-members'] = () => joinAndLeave('group-members', { partitionAssigners: [PartitionAssigners.roundRobin] })

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
    await member.leave()
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
