// @confluentinc/kafka-javascript, which is librdkafka, against a broker. See common.js.
//
// Its admin has no partitions, no configs and no offsets of groups to alter.

'use strict'

const { Kafka, CompressionTypes, PartitionAssigners, logLevel } = require('@confluentinc/kafka-javascript').KafkaJS
const { bootstrap, cases, shapes, plain, big, check, equal, same, until, shared, main } = require('./common')
const { RETENTION, message, administration, recordCases, timesOf, groupSteps } = require('./matrix')

const kafka = new Kafka({ kafkaJS: { brokers: [bootstrap], logLevel: logLevel.ERROR } })
const { withAdmin, create } = administration(kafka)
const CONSUMER = { 'group.protocol': 'consumer' }

/** Sends to partition 0 unless a row says otherwise; the first offset in each partition. */
async function produce(topic, rows, options = {}, settings = {}) {
  const producer = kafka.producer({ kafkaJS: options, 'linger.ms': 5, ...settings })
  await producer.connect()
  try {
    const sent = await producer.send({ topic, messages: rows.map(message) })
    return sent.map(({ baseOffset }) => baseOffset)
  } finally {
    await producer.disconnect()
  }
}

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

const codecs = {
  none: CompressionTypes.None,
  gzip: CompressionTypes.GZIP,
  snappy: CompressionTypes.SNAPPY,
  lz4: CompressionTypes.LZ4,
  zstd: CompressionTypes.ZSTD,
}
const room = { 'message.max.bytes': 10_500_000 }
const rows = recordCases({ create, codecs, room, produce, read })

cases['read-from-grpc'] = async () => {
  // Its consumer takes a header without a value for one with an empty value.
  const shown = ([key, value]) => [key, value ?? Buffer.alloc(0)]
  same(await rows('grpc-to-kafka', shapes.length), shapes.map((row) => ({ ...row, headers: row.headers.map(shown) })))
}

cases['too-large-message'] = async () => {
  const topic = await create('too-large-message')
  const error = await produce(topic, big(2_000_000), {}, room).then(() => null, (error) => error)
  equal(error?.type, 'ERR_MSG_SIZE_TOO_LARGE', `${error}`)
}

cases.idempotent = async () => {
  const topic = await create('idempotent')
  equal(await produce(topic, plain(2000), { idempotent: true }, { 'batch.num.messages': 50 }), ['0'], 'offset')
  same(await rows(topic, 2000), plain(2000))
}

cases['seek-and-times'] = async () => {
  const topic = await create('seek-and-times', 1, [RETENTION])
  await produce(topic, plain(100), {}, { 'batch.num.messages': 7 })
  await withAdmin(timesOf(topic))
  const found = await read(topic, 58, '42')
  equal(found.map(({ message }) => Number(message.offset)), Array.from({ length: 58 }, (_, at) => 42 + at))
}

/** A member of a group that commits what it has seen, up to so many records. */
async function join(topic, settings = {}, most = 100) {
  const protocol = settings['group.protocol'] ? {} : { heartbeatInterval: 300 }
  const { options, ...others } = settings
  const kafkaJS = { groupId: topic, fromBeginning: true, autoCommit: false, ...protocol, ...options }
  const consumer = kafka.consumer({ kafkaJS, ...others })
  const owned = () => consumer.assignment().map(({ partition }) => partition)
  const member = { seen: [], owned, leave: () => consumer.disconnect() }
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

const { fill, commitAndRestart, joinAndLeave } = groupSteps({ withAdmin, create, produce, join })

/** A static member that comes back within its session has its partitions again, and nobody else moved. */
async function staticMember(topic, settings) {
  await fill(topic)
  const named = (name) => join(topic, { ...settings, 'group.instance.id': name })
  const one = await named('one')
  const two = await named('two')
  let parts
  await until('both have some', () => {
    parts = [one.owned().sort(), two.owned().sort()]
    return shared(...parts)
  })
  await one.leave()
  const again = await named('one')
  const holds = (member, wanted) => member.owned().sort().join() === wanted.join()
  await until('it has its own again', () => holds(again, parts[0]) && holds(two, parts[1]))
  await again.leave()
  await two.leave()
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
    await member.leave()
    const listed = async () => (await admin.listGroups()).groups.some(({ groupId }) => groupId === group)
    check(await listed(), 'it is not listed')
    const [offsets] = await admin.fetchOffsets({ groupId: group, topics: [group] })
    equal(offsets.partitions.map(({ offset }) => Number(offset)), [25, 25, 25, 25])
    await admin.deleteGroups([group])
    check(!(await listed()), 'it is still listed')
  })
}

main()
