// Runs the tests, and closes with one line that counts them. `npm test` runs Rust's tests and those of
// __test__/; `npm test -- containers` runs another suite (the table below), `npm test -- all` every suite that
// CI runs, and `npm test -- __test__/start.test.mjs` a file. `--match` selects tests by their names.
// --full, --ci, --registry and --jobs go to the suites' files (__test__/suite.mjs).
// With --ci a test that has failed is run once more, alone: a busy machine fails a test now and then, a fault twice.
// The end names each of them.

import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { parsed, refuse } from './arguments.mjs'
import { LINES, nodeOf } from './nodes.mjs'
import { filesThatAsk, missingUsers, users } from './users.mjs'

const OURS = '__test__/*.test.mjs'

/**
 * The suites, in the order in which CI runs them: which files (those of its folder by default), how many of
 * them at a time, how long ava waits for the next result, what must be done before, and in which ways they run.
 */
const SUITES = {
  containers: { concurrency: 1, timeout: '20m' },
  faults: { concurrency: 1, timeout: '20m' },
  runtimes: {},
  platforms: { timeout: '40m' },
  users: { files: filesThatAsk, missing: missingUsers, ways: users },
  nodes: { files: () => [OURS], ways: nodes, isInCi: false },
  tests: { files: () => [OURS], before: cargo },
}

const { values, positionals } = parsed({
  allowPositionals: true,
  options: {
    match: { type: 'string', short: 'm', multiple: true, default: [] },
    full: { type: 'boolean' },
    ci: { type: 'boolean' },
    registry: { type: 'boolean' },
    jobs: { type: 'string' },
  },
})
const { match, ...forFiles } = values
const selected = match.map((pattern) => `--match=${pattern}`)
const more = Object.entries(forFiles).map(([name, value]) =>
  value === true ? `--${name}` : `--${name}=${value}`,
)

/** More failures than these are no accident. */
const FEW = 5
const total = { passed: 0, failed: 0, skipped: 0 }
const failures = []
/** Tests that failed, and passed when they were run again. */
const unsteady = []

/** Runs a command, shows what it prints, and returns it. */
function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const [from, to] of [
      [child.stdout, process.stdout],
      [child.stderr, process.stderr],
    ]) {
      from.setEncoding('utf8').on('data', (text) => {
        output += text
        to.write(text)
      })
    }
    child.on('error', reject)
    child.on('close', (status) => resolve({ status, output }))
  })
}

/** What a runner has printed that it has failed. */
function failedIn(runner, { status, output }, { failed }) {
  const names = [...output.matchAll(failed)].map(([, name]) => name)
  // A runner that failed without a failed test has failed all the same.
  if (status !== 0 && names.length === 0) names.push(`${runner} ended with status ${status}`)
  return names
}

/** Counts the lines that a runner prints, one for each test, and what has failed for good. */
function add({ output }, { passed, skipped, late }, names, who = '') {
  const count = (pattern) => [...output.matchAll(pattern)].length
  failures.push(...names.map((name) => `${name}${who}`))
  total.passed += count(passed) - count(late)
  total.failed += names.length
  total.skipped += count(skipped) + count(late)
}

function skip(name, why) {
  console.log(`  - [skip] ${name}: ${why}`)
  total.skipped++
}

async function cargo() {
  if (match.length > 0) return
  console.log('Rust tests')
  const result = await run('cargo', ['test', '--workspace', '--locked', '--no-fail-fast'])
  const patterns = {
    passed: /^test .+ \.\.\. ok$/gm,
    failed: /^test (.+) \.\.\. FAILED$/gm,
    skipped: /^test .+ \.\.\. ignored/gm,
    late: /$^/g,
  }
  add(result, patterns, failedIn('cargo test', result, patterns))
}

/** The title of a test, which ava prints alone in a line once more; in the line that says that it failed, there may be
 * a message behind it, and the file's name is before it where there are several files. */
function titleOf(name, { output }) {
  const lines = [...output.matchAll(/^ {2}(\S.*)$/gm)].map(([, line]) => line)
  const titles = lines.filter((line) => name === line || name.startsWith(`${line} `))
  return titles.sort((a, b) => b.length - a.length)[0] ?? name
}

/** All tests on every line of Node. */
function* nodes() {
  for (const line of LINES) {
    const node = nodeOf(line)
    yield { what: `on Node ${line}`, node, missing: existsSync(node) ? undefined : 'it is not installed' }
  }
}

/** Runs files by ava, in one of the ways. */
async function ava(
  files,
  { concurrency, timeout },
  { what, node = process.execPath, how = {}, missing } = {},
) {
  if (what !== undefined) console.log(`\nThe tests ${what}`)
  if (missing !== undefined) return skip(`the tests ${what}`, missing)
  const uid = how.uid ?? process.getuid()
  if (uid !== 0) console.log('Not root: the privileged tests are skipped.')
  const limits = Object.entries({ concurrency, timeout }).flatMap(([name, value]) =>
    value ? [`--${name}=${value}`] : [],
  )
  // Not by npx, which needs a cache that can be written.
  const tests = (options) =>
    run(node, ['node_modules/ava/entrypoints/cli.mjs', ...files, ...options, '--', ...more], how)
  const patterns = {
    passed: /^ {2}[✔√] .+/gm,
    failed: /^ {2}[✘×] (?:\[fail\]: )?(.+)/gm,
    skipped: /^ {2}- \[skip\] .+/gm,
    // A test that finds out only in its course that it must be skipped (`skip` of __test__/suite.mjs).
    late: /^ {4}[ℹi] skipped: /gm,
  }
  const who = what === undefined ? (uid === 0 ? '' : `, as the user ${uid}`) : `, ${what}`
  const result = await tests([...limits, ...selected])
  let names = failedIn('ava', result, patterns)
  if (values.ci && names.length > 0 && names.length <= FEW) {
    console.log('\nWhat failed is run again, alone.')
    const titles = names.map((name) => `--match=${titleOf(name, result).replace(/^\S+ › /, '')}`)
    const again = await tests([...limits, '--concurrency=1', '--serial', ...titles])
    const passed = [...again.output.matchAll(patterns.passed)].map(([line]) => line.slice(4))
    const isSteady = (name) => {
      const title = titleOf(name, result)
      return !passed.some((line) => line === title || line.startsWith(`${title} (`))
    }
    unsteady.push(...names.filter((name) => !isSteady(name)).map((name) => `${name}${who}`))
    total.passed += names.filter((name) => !isSteady(name)).length
    names = names.filter(isSteady)
  }
  add(result, patterns, names, who)
}

async function suite(name) {
  const { files = () => [`__test__/${name}/*.test.mjs`], missing, before, ways, ...limits } = SUITES[name]
  console.log(`\nSuite: ${name}`)
  const lack = missing?.()
  if (lack !== undefined) return skip(`the suite ${name}`, lack)
  await before?.()
  for (const way of ways?.() ?? [undefined]) await ava(files(), limits, way)
}

const isSuite = (name) => name === 'all' || Object.hasOwn(SUITES, name)
const files = positionals.filter((name) => !isSuite(name))
for (const name of files) {
  const [, path] = /^(.+\.test\.mjs)(?::|$)/.exec(name) ?? []
  if (path === undefined)
    refuse(`No such suite: ${name}. There are ${Object.keys(SUITES).join(', ')}, and all of CI's: all.`)
  // ava takes patterns too.
  if (!/[*?{[]/.test(path) && !existsSync(path)) refuse(`No such file: ${path}`)
}
const isChosen = (name) =>
  positionals.includes(name) || (positionals.includes('all') && SUITES[name].isInCi !== false)
const chosen = positionals.length === 0 ? ['tests'] : Object.keys(SUITES).filter(isChosen)
for (const name of chosen) await suite(name)
if (files.length > 0) await ava(files, {})

// Last, for whoever sees only the end.
console.log()
for (const name of unsteady) console.log(`UNSTEADY: ${name}: it failed, and passed when it was run again`)
for (const failure of failures) console.log(`FAILED: ${failure}`)
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`)
process.exitCode = total.failed > 0 ? 1 : 0
