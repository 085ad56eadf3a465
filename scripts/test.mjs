// Runs all tests, Rust's and TypeScript's, and closes with one line that counts them.
// Arguments go to ava: `npm test -- __test__/start.test.mjs`.

import { spawn } from 'node:child_process'

const total = { passed: 0, failed: 0, skipped: 0 }
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

function count(output, expression) {
  let sum = 0
  for (const [, number] of output.matchAll(expression)) sum += Number(number)
  return sum
}

/** A runner that failed without counting a failed test has failed all the same. */
function add({ status, output }, { passed, failed, skipped }) {
  const failures = count(output, failed)
  total.passed += count(output, passed)
  total.failed += status === 0 ? failures : Math.max(failures, 1)
  total.skipped += count(output, skipped)
}

if (args.length === 0) {
  console.log('Rust tests')
  add(await run('cargo', ['test', '--workspace', '--locked']), {
    passed: /test result: \w+\. (\d+) passed/g,
    failed: /test result: \w+\. \d+ passed; (\d+) failed/g,
    skipped: /(\d+) ignored;/g,
  })
}

console.log('TypeScript tests')
if (process.getuid() !== 0) console.log('Not root: the privileged tests are skipped.')
add(await run('npx', ['--no-install', 'ava', ...args]), {
  passed: /^ {2}(\d+) tests? passed/gm,
  failed: /^ {2}(\d+) (?:tests? failed|uncaught exceptions?|unhandled rejections?)/gm,
  skipped: /^ {2}(\d+) tests? skipped/gm,
})

console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`)
process.exitCode = total.failed > 0 ? 1 : 0
