// Runs all tests, Rust's and TypeScript's, and closes with one line that counts them.
// Arguments go to ava: `npm test -- __test__/start.test.mjs`.

import { spawn } from 'node:child_process'

const total = { passed: 0, failed: 0, skipped: 0 }
const failures = []
const args = process.argv.slice(2)

/** Runs a command, shows what it prints, and returns it. */
function run(command, args) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const [from, to] of [
      [child.stdout, process.stdout],
      [child.stderr, process.stderr],
    ]) {
      from.on('data', (chunk) => {
        output += chunk
        to.write(chunk)
      })
    }
    child.on('error', reject)
    child.on('close', (status) => resolve({ status, output }))
  })
}

/** Counts the lines that a runner prints, one for each test. */
function add(runner, { status, output }, { passed, failed, skipped }) {
  const names = [...output.matchAll(failed)].map(([, name]) => name)
  // A runner that failed without a failed test has failed all the same.
  if (status !== 0 && names.length === 0) names.push(`${runner} ended with status ${status}`)
  failures.push(...names)
  total.passed += [...output.matchAll(passed)].length
  total.failed += names.length
  total.skipped += [...output.matchAll(skipped)].length
}

if (args.length === 0) {
  console.log('Rust tests')
  add('cargo test', await run('cargo', ['test', '--workspace', '--locked', '--no-fail-fast']), {
    passed: /^test .+ \.\.\. ok$/gm,
    failed: /^test (.+) \.\.\. FAILED$/gm,
    skipped: /^test .+ \.\.\. ignored/gm,
  })
}

console.log('TypeScript tests')
const uid = process.getuid()
if (uid !== 0) console.log('Not root: the privileged tests are skipped.')
// Not by npx, which needs a cache that can be written.
add('ava', await run(process.execPath, ['node_modules/ava/entrypoints/cli.mjs', ...args]), {
  passed: /^ {2}✔ .+/gm,
  failed: /^ {2}✘ (?:\[fail\]: )?(.+)/gm,
  skipped: /^ {2}- \[skip\] .+/gm,
})

// Last, for whoever sees only the end.
const who = uid === 0 ? '' : `, as the user ${uid}`
for (const name of failures) console.log(`FAILED: ${name}${who}`)

console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`)
process.exitCode = total.failed > 0 ? 1 : 0
