// @confluentinc/kafka-javascript, which is librdkafka, against a broker. See common.js.
//
// Its admin has no partitions, no configs and no offsets of groups to alter.

'use strict'

const { Kafka, CompressionTypes, PartitionAssigners, logLevel } = require('@confluentinc/kafka-javascript').KafkaJS
const { bootstrap, cases, shapes, plain, big, check, equal, pairs, same, until, shared, main } = require('./common')

const kafka = new Kafka({ kafkaJS: { brokers: [bootstrap], logLevel: logLevel.ERROR } })
/** Its producer refuses a header without a value, and has those of one key follow each other. */
const grouped = (headers) => headers.filter(([key], at) => at === 0 || headers[at - 1][0] !== key).length === new Set(headers.map(([key]) => key)).size
const writable = shapes.filter((row) => row.headers.every(([, value]) => value !== null) && grouped(row.headers))
/** An empty buffer without memory behind it would be sent as none. */
const filled = (bytes) => (bytes?.length === 0 ? Buffer.alloc(1).subarray(0, 0) : bytes)
const RETENTION = { name: 'retention.ms', value: '-1' }
const CONSUMER = { 'group.protocol': 'consumer' }

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

/** Sends to partition 0 unless a row says otherwise; the first offset in each partition. */
async function produce(topic, rows, options = {}, settings = {}) {
  const producer = kafka.producer({ kafkaJS: options, 'linger.ms': 5, ...settings })
  await producer.connect()
  const messages = rows.map((row) => {
    const headers = {}
    for (const [key, value] of row.headers) headers[key] = key in headers ? [].concat(headers[key], [filled(value)]) : filled(value)
    return { key: filled(row.key), value: filled(row.value), partition: row.partition ?? 0, timestamp: String(row.timestamp), headers }
  })
  try {
    const sent = await producer.send({ topic, messages })
    return sent.map(({ baseOffset }) => baseOffset)
  } finally {
    await producer.disconnect()
  }
}

const plainRow = ({ message }) => ({
  timestamp: Number(message.timestamp),
  key: message.key ?? null,
  value: message.value,
  headers: pairs(message.headers),
})

let groups = 0

/** Reads with a group of its own: there is no consumer without one. */
async function read(topic, count, offset) {
  const options = { groupId: `${topic}-reader-${groups++}`, fromBeginning: true, autoCommit: false }
  const consumer = kafka.consumer({ kafkaJS: options, ...CONSUMER })
  const found = []
  await consumer.connect()
  await consumer.subscribe({ topics: [topic] })
  if (offset !== undefined) consumer.seek({ topic, partition: 0, offset })
  await consumer.run({ eachMessage: async (message) => void found.push(message) })
  await until(`${topic} is read: ${count} records`, () => found.length >= count)
  await consumer.disconnect()
  return found
}

const rows = async (topic, count) => (await read(topic, count)).map(plainRow)

const codecs = { none: 'None', gzip: 'GZIP', snappy: 'SNAPPY', lz4: 'LZ4', zstd: 'ZSTD' }
for (const [name, codec] of Object.entries(codecs)) {
  cases[`compressed-${name}`] = async () => {
    const topic = await create(`compressed-${name}`)
    equal(await produce(topic, plain(300), { compression: CompressionTypes[codec] }), ['0'], 'offset')
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
cases['read-from-grpc'] = async () => {
  // Its consumer takes a header without a value for one with an empty value.
  const shown = ([key, value]) => [key, value ?? Buffer.alloc(0)]
  same(await rows('grpc-to-kafka', shapes.length), shapes.map((row) => ({ ...row, headers: row.headers.map(shown) })))
}

const ROOM = { 'message.max.bytes': 10_500_000 }

cases['large-message'] = async () => {
  const topic = await create('large-message', 1, [{ name: 'max.message.bytes', value: '11000000' }])
  await produce(topic, big(10_000_000), {}, ROOM)
  same(await rows(topic, 1), big(10_000_000))
}

cases['too-large-message'] = async () => {
  const topic = await create('too-large-message')
  const error = await produce(topic, big(2_000_000), {}, ROOM).then(() => null, (error) => error)
  equal(error?.type, 'ERR_MSG_SIZE_TOO_LARGE', `${error}`)
}

cases.idempotent = async () => {
  const topic = await create('idempotent')
  equal(await produce(topic, plain(2000), { idempotent: true }, { 'batch.num.messages': 50 }), ['0'], 'offset')
  same(await rows(topic, 2000), plain(2000))
}

cases['automatic-topic'] = async () => {
  await produce('automatic-topic', plain(1))
  same(await rows('automatic-topic', 1), plain(1))
}

cases['seek-and-times'] = async () => {
  const topic = await create('seek-and-times', 1, [RETENTION])
  await produce(topic, plain(100), {}, { 'batch.num.messages': 7 })
  await withAdmin(async (admin) => {
    for (const [at, offset] of [[0, '0'], [42, '42'], [100, '100']]) {
      // For a time after the last record it takes the end.
      const found = await admin.fetchTopicOffsetsByTimestamp(topic, 1_600_000_000_000 + at)
      equal(found.map((one) => [one.partition, one.offset]), [[0, offset]])
    }
    const [ends] = await admin.fetchTopicOffsets(topic)
    equal([ends.low, ends.high], ['0', '100'])
  })
  const found = await read(topic, 58, '42')
  equal(found.map(({ message }) => Number(message.offset)), Array.from({ length: 58 }, (_, at) => 42 + at))
}

async function fill(topic) {
  await create(topic, 4)
  const row = (_, number) => ({ key: null, value: Buffer.from(String(number)), partition: number % 4, timestamp: 0, headers: [] })
  equal(await produce(topic, Array.from({ length: 100 }, row)), ['0', '0', '0', '0'], 'offsets')
}

/** A member of a group that commits what it has seen, up to so many records. */
async function join(topic, settings = {}, most = 100) {
  const protocol = settings['group.protocol'] ? {} : { heartbeatInterval: 300 }
  const { options, ...others } = settings
  const kafkaJS = { groupId: topic, fromBeginning: true, autoCommit: false, ...protocol, ...options }
  const consumer = kafka.consumer({ kafkaJS, ...others })
  const member = { consumer, seen: [], owned: () => consumer.assignment().map(({ partition }) => partition) }
  await consumer.connect()
  await consumer.subscribe({ topics: [topic] })
  await consumer.run({
    eachMessage: async ({ partition, message }) => {
      if (member.seen.length >= most) return
      member.seen.push(message.value.toString())
      await consumer.commitOffsets([{ topic, partition, offset: String(Number(message.offset) + 1) }])
    },
  })
  return member
}

async function commitAndRestart(topic, settings) {
  await fill(topic)
  const first = await join(topic, settings, 40)
  await until('40 records', () => first.seen.length === 40)
  await first.consumer.disconnect()
  const second = await join(topic, settings)
  await until('the rest', () => first.seen.length + second.seen.length >= 100)
  equal([...first.seen, ...second.seen].map(Number).sort((one, other) => one - other), Array.from({ length: 100 }, (_, at) => at))
  await until('the last commits', async () => {
    const found = await second.consumer.committed([0, 1, 2, 3].map((partition) => ({ topic, partition })), 5000)
    return found.every(({ offset }) => Number(offset) === 25)
  })
  await second.consumer.disconnect()
}

async function joinAndLeave(topic, settings) {
  await fill(topic)
  const first = await join(topic, settings)
  await until('one member has all partitions', () => first.owned().length === 4)
  const second = await join(topic, settings)
  await until('two members share them', () => shared(first.owned(), second.owned()))
  await first.consumer.disconnect()
  await until('the other has all of them', () => second.owned().length === 4)
  await second.consumer.disconnect()
}

/** A static member that comes back within its session has its partitions again, and nobody else moved. */
async function staticMember(topic, settings) {
  await fill(topic)
  const named = (name) => join(topic, { ...settings, 'group.instance.id': name })
  const one = await named('one')
  const two = await named('two')
  await until('both have some', () => shared(one.owned(), two.owned()))
  const [before, kept] = [one.owned(), two.owned()]
  await one.consumer.disconnect()
  const again = await named('one')
  await until('it has its own again', () => again.owned().length > 0)
  equal([again.owned().sort(), two.owned()], [before.sort(), kept])
  await again.consumer.disconnect()
  await two.consumer.disconnect()
}

cases['group-commit'] = () => commitAndRestart('group-commit')
cases['group-members'] = () => joinAndLeave('group-members')
cases['group-static'] = () => staticMember('group-static')
const cooperative = { options: { partitionAssigners: [PartitionAssigners.cooperativeSticky] } }
cases['group-cooperative'] = () => joinAndLeave('group-cooperative', cooperative)
cases['group-consumer-commit'] = () => commitAndRestart('group-consumer-commit', CONSUMER)
cases['group-consumer-members'] = () => joinAndLeave('group-consumer-members', CONSUMER)
cases['group-consumer-static'] = () => staticMember('group-consumer-static', CONSUMER)

cases['admin-topics'] = async () => {
  await create('admin-topics', 3)
  await withAdmin(async (admin) => {
    const [found] = await admin.fetchTopicMetadata({ topics: ['admin-topics'] })
    equal([found.name, found.partitions.length], ['admin-topics', 3])
    equal(await admin.createTopics({ topics: [{ topic: 'admin-topics' }] }), false)
    await admin.deleteTopics({ topics: ['admin-topics'] })
    await until('it is gone', async () => !(await admin.listTopics()).includes('admin-topics'))
  })
}

cases['admin-delete-records'] = async () => {
  const topic = await create('admin-delete-records', 1, [RETENTION])
  await produce(topic, plain(20))
  await withAdmin(async (admin) => {
    const [deleted] = await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '15' }] })
    equal(deleted.lowWatermark, 15)
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
    equal([found[0].groupId, found[0].members.length], [group, 1])
    await member.consumer.disconnect()
    const listed = async () => (await admin.listGroups()).groups.some(({ groupId }) => groupId === group)
    check(await listed(), 'it is not listed')
    const [offsets] = await admin.fetchOffsets({ groupId: group, topics: [group] })
    equal(offsets.partitions.map(({ offset }) => Number(offset)), [25, 25, 25, 25])
    await admin.deleteGroups([group])
    check(!(await listed()), 'it is still listed')
  })
}

main()
