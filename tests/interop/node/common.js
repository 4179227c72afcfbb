// What the Node programs share; ../python/common.py says how they are called and what they print.
//
//   node PROGRAM.js BOOTSTRAP RECORDS.JSON [CASE...]

'use strict'

const fs = require('fs')

// Generous, for a loaded machine: what goes well ends long before.
const CASE_MS = 180_000
const WAIT_MS = 150_000
const [bootstrap, recordsFile, ...wanted] = process.argv.slice(2)
const cases = {}

const decode = (text) => (text === null ? null : Buffer.from(text, 'base64'))

/** The records that every client must carry unharmed. */
const shapes = JSON.parse(fs.readFileSync(recordsFile)).map((row) => ({
  timestamp: row.timestamp,
  key: decode(row.key),
  value: decode(row.value),
  headers: row.headers.map(([key, value]) => [key, decode(value)]),
}))

const plain = (count) =>
  Array.from({ length: count }, (_, number) => ({
    timestamp: 1_600_000_000_000 + number,
    key: null,
    value: Buffer.from(Array.from({ length: 300 }, (_, at) => (number * 7 + at * at) % 64)),
    headers: [],
  }))

/** One record that does not compress well. */
const big = (size) => {
  const value = Buffer.alloc(size)
  for (let at = 0, state = 7; at < size; at++) value[at] = (state = (state * 1103515245 + 12345) & 0x7fffffff) >> 16
  return [{ timestamp: 1_600_000_000_000, key: Buffer.from('big'), value, headers: [] }]
}

function check(holds, what) {
  if (!holds) throw new Error(what)
}

function equal(found, wanted, what = '') {
  const [one, other] = [JSON.stringify(found), JSON.stringify(wanted)]
  check(one === other, `${what} found ${one.slice(0, 800)} but wanted ${other.slice(0, 800)}`)
}

/** Headers as these clients give them, { key: value or values }, to pairs ordered by key. */
function pairs(headers) {
  const all = Object.entries(headers ?? {}).flatMap(([key, value]) =>
    (Array.isArray(value) ? value : [value]).map((one) => [key, one === null || one === undefined ? null : Buffer.from(one)]),
  )
  return byKey(all)
}

/** A map of headers keeps the order of one key's values, not that of different keys. */
const byKey = (all) => all.sort(([one], [other]) => (one < other ? -1 : one > other ? 1 : 0))

function same(found, rows) {
  equal(found.length, rows.length, 'records')
  found.forEach((row, at) => equal(row, { ...rows[at], headers: byKey([...rows[at].headers]) }, `record ${at}`))
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

async function until(what, condition) {
  const end = Date.now() + WAIT_MS
  while (!(await condition())) {
    check(Date.now() < end, `waited ${WAIT_MS} ms in vain: ${what}`)
    await pause(20)
  }
}

/** Whether two members own all four partitions, each some, none both. */
function shared(one, other) {
  return one.length > 0 && other.length > 0 && one.length + other.length === 4 && new Set([...one, ...other]).size === 4
}

async function main() {
  for (const name of wanted.length ? wanted : Object.keys(cases)) {
    const line = { case: name, ok: true }
    const start = Date.now()
    let timer
    const limit = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`the case took more than ${CASE_MS} ms`)), CASE_MS)
    })
    try {
      await Promise.race([cases[name](), limit])
    } catch (error) {
      Object.assign(line, { ok: false, error: String(error.stack ?? error) })
    }
    clearTimeout(timer)
    console.log(JSON.stringify({ ...line, ms: Date.now() - start }))
  }
  process.exit(0)
}

module.exports = { bootstrap, cases, shapes, plain, big, check, equal, pairs, same, until, shared, main }
