// What a full run of the sweep has found, for docs/hostile.md.

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import os from 'node:os'
import { table } from '../suite.mjs'

const ROLES = {
  'start launcher/main': 'launcher, from the pidfile to "go"',
  'start child 1/main': 'child 1, the guardian',
  'start child 2/main': 'child 2, from the fork to its exec',
  'start daemon/boot': "daemon, Node's boot",
  'start daemon/main': 'daemon, from the take-over to "ready"',
  'drop daemon/main': 'daemon that drops its privileges, from the take-over to "ready"',
  'start daemon/sent': 'daemon, after "ready" (the boundary)',
  'start launcher/sent': 'launcher, after "go" (the boundary)',
  'command launcher/main': '`tsdaemonize start` of a script, from the pidfile to "go"',
  'command launcher/sent': '`tsdaemonize start` of a script, after "go" (the boundary)',
  'foreign launcher/main': '`tsdaemonize start` of any program, from the pidfile to "go"',
  'foreign launcher/sent': '`tsdaemonize start` of any program, after "go" (the boundary)',
  'foreign child 1/main': 'child 1 there, until it is the supervisor',
  'foreign child 2/main': 'child 2 there, from the fork to its exec',
  'foreign stage/boot': 'child 2 there, which executes `tsdaemonize`',
  'foreign stage/main': 'child 2 there, from the take-over to the exec of the program',
  'foreign supervisor/main': 'the supervisor, until it stands',
  'foreign supervisor/sent': 'the supervisor, from then on (the boundary)',
  'stop stop/main': '`stop`, from the pidfile to its end',
  'leave daemon/main': 'daemon, from SIGTERM to its end',
}

/** Counts over the results of the sweep, by role and by kind. */
function counts(results, keyOf) {
  const rows = new Map()
  for (const result of results) {
    const key = keyOf(result)
    const row = rows.get(key) ?? { tried: 0, missed: 0, wrong: 0 }
    if (result.wrong.length > 0) row.wrong++
    if (result.reached) row.tried++
    else row.missed++
    rows.set(key, row)
  }
  return rows
}

function machine() {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8'))
  const release = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : ''
  const system = /^PRETTY_NAME="?([^"\n]*)/m.exec(release)?.[1] ?? os.type()
  const memory = (os.totalmem() / 2 ** 30).toFixed(0)
  const rust = spawnSync('rustc', ['--version'], { encoding: 'utf8' }).stdout?.split(' ')[1] ?? ''
  const { header } = process.report.getReport()
  return [
    ['Machine', `${os.arch()}, ${os.cpus().length} × ${os.cpus()[0]?.model.trim()}, ${memory} GiB`],
    ['System', `${system}, Linux ${os.release()}, glibc ${header.glibcVersionRuntime}`],
    ['Versions', `tsdaemonize ${version}, Node ${process.versions.node}, Rust ${rust}`],
    ['User', process.getuid() === 0 ? 'root' : 'an ordinary user'],
    ['Date', new Date().toISOString().slice(0, 10)],
  ]
}

/** The report, as Markdown. */
export function summary({ calls, results, minutes }) {
  const wrong = results.filter((r) => r.wrong.length > 0)
  const tried = results.filter((r) => r.reached).length
  const byRole = counts(results, ({ point }) => `${point.sweep} ${point.role}/${point.phase}`)
  const byKind = counts(results, ({ point }) => point.fault)
  const cells = ({ tried, missed, wrong }) => [tried, missed, wrong]
  return [
    table(['The last full run', ''], machine()),
    `${calls.length} system calls, ${results.length} points, ${tried} of them reached; ${minutes.toFixed(0)} ` +
      `minutes. **Violations: ${wrong.length === 0 ? 'none' : wrong.length}.**`,
    table(
      ['process', 'points tried', 'not reached', 'violations'],
      Object.entries(ROLES)
        .filter(([key]) => byRole.has(key))
        .map(([key, name]) => [name, ...cells(byRole.get(key))]),
    ),
    table(
      ['fault', 'points tried', 'not reached', 'violations'],
      [...byKind].sort(([, a], [, b]) => b.tried - a.tried).map(([kind, row]) => [kind, ...cells(row)]),
    ),
    ...wrong.map(({ name, wrong }) => `- ${name}: ${wrong.join('; ')}`),
  ].join('\n\n')
}
