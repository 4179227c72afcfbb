// The cases that kafkajs and @confluentinc/kafka-javascript, which has kafkajs's interface, run in the same way.

'use strict'

const { cases, shapes, plain, big, check, equal, pairs, same, until, shared } = require('./common')

/** Their producers refuse a header without a value, and have those of one key follow each other. */
const grouped = (headers) => headers.filter(([key], at) => at === 0 || headers[at - 1][0] !== key).length === new Set(headers.map(([key]) => key)).size
const writable = shapes.filter((row) => row.headers.every(([, value]) => value !== null) && grouped(row.headers))
/** librdkafka would send an empty buffer without memory behind it as none. */
const filled = (bytes) => (bytes?.length === 0 ? Buffer.alloc(1).subarray(0, 0) : bytes)
const RETENTION = { name: 'retention.ms', value: '-1' }

/** A row as it is sent: to partition 0 unless it says otherwise. */
function message(row) {
  const headers = {}
  for (const [key, value] of row.headers) headers[key] = key in headers ? [].concat(headers[key], [filled(value)]) : filled(value)
  return { key: filled(row.key), value: filled(row.value), partition: row.partition ?? 0, timestamp: String(row.timestamp), headers }
}

const plainRow = ({ message }) => ({
  timestamp: Number(message.timestamp),
  key: message.key ?? null,
  value: message.value,
  headers: pairs(message.headers),
})

/** What asks a client's admin. */
function administration(kafka) {
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

  return { withAdmin, create }
}

/**
 * Adds the cases of records; the answer reads rows. A client is { create, codecs, room, produce, read }: `produce(topic, rows,
 * options, settings)` gives the first offset in each partition, `read(topic, count)` what comes first in partition 0,
 * and `room` are the settings with which large messages are sent.
 */
function recordCases({ create, codecs, room, produce, read }) {
  const rows = async (topic, count) => (await read(topic, count)).map(plainRow)

  for (const [name, compression] of Object.entries(codecs)) {
    cases[`compressed-${name}`] = async () => {
      const topic = await create(`compressed-${name}`)
      equal(await produce(topic, plain(300), { compression }), ['0'], 'offset')
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
  cases['large-message'] = async () => {
    const topic = await create('large-message', 1, [{ name: 'max.message.bytes', value: '11000000' }])
    await produce(topic, big(10_000_000), {}, room)
    same(await rows(topic, 1), big(10_000_000))
  }
  cases['automatic-topic'] = async () => {
    await produce('automatic-topic', plain(1))
    same(await rows('automatic-topic', 1), plain(1))
  }
  return rows
}

/** The offsets of a topic's times and ends, with the records of `plain(100)` in it. */
const timesOf = (topic) => async (admin) => {
  for (const [at, offset] of [[0, '0'], [42, '42'], [100, '100']]) {
    // For a time after the last record they take the end.
    const found = await admin.fetchTopicOffsetsByTimestamp(topic, 1_600_000_000_000 + at)
    equal(found.map((one) => [one.partition, one.offset]), [[0, offset]])
  }
  const [ends] = await admin.fetchTopicOffsets(topic)
  equal([ends.low, ends.high], ['0', '100'])
}

/**
 * What the cases of groups are made of. A client is { withAdmin, create, produce, join }: `join(topic, settings, most)`
 * makes a member, polled by itself, that commits what it has seen, up to so many records: { seen, owned(), leave() }.
 */
function groupSteps({ withAdmin, create, produce, join }) {
  async function fill(topic) {
    await create(topic, 4)
    const row = (_, number) => ({ key: null, value: Buffer.from(String(number)), partition: number % 4, timestamp: 0, headers: [] })
    equal(await produce(topic, Array.from({ length: 100 }, row)), ['0', '0', '0', '0'], 'offsets')
  }

  async function commitAndRestart(topic, settings) {
    await fill(topic)
    const first = await join(topic, settings, 40)
    await until('40 records', () => first.seen.length === 40)
    await first.leave()
    const second = await join(topic, settings)
    await until('the rest', () => first.seen.length + second.seen.length >= 100)
    equal([...first.seen, ...second.seen].map(Number).sort((one, other) => one - other), Array.from({ length: 100 }, (_, at) => at))
    await withAdmin((admin) =>
      until('the last commits', async () => {
        const [{ partitions }] = await admin.fetchOffsets({ groupId: topic, topics: [topic] })
        return partitions.length === 4 && partitions.every(({ offset }) => Number(offset) === 25)
      }),
    )
    await second.leave()
  }

  async function joinAndLeave(topic, settings) {
    await fill(topic)
    const first = await join(topic, settings)
    await until('one member has all partitions', () => first.owned().length === 4)
    const second = await join(topic, settings)
    await until('two members share them', () => shared(first.owned(), second.owned()))
    await first.leave()
    await until('the other has all of them', () => second.owned().length === 4)
    await second.leave()
  }

  return { fill, commitAndRestart, joinAndLeave }
}

module.exports = { RETENTION, message, plainRow, administration, recordCases, timesOf, groupSteps }
