// The documents, as their readers use them: their programs are written where they find the package, and their
// transcripts of terminals are typed line by line.

import fs from 'node:fs'
import { join } from 'node:path'
import { command, isAlive, root, until, userName } from './kit.mjs'

/** Other tests run the programs and transcripts of these documents. */
const ELSEWHERE = ['docs/containers.md', 'docs/testing.md']

export const documents = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  ...fs
    .readdirSync(join(root, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
]

/** The documents whose programs are run here. */
export const runnable = documents.filter((document) => !ELSEWHERE.includes(document))

export const read = (path) => fs.readFileSync(join(root, path), 'utf8')

/** A document without its blocks, and without code in which brackets look like a link. */
export const proseOf = (document) =>
  read(document)
    .replace(/^```.*?^```$/gms, '')
    .replace(/`[^`\n]*`/g, (code) => (code.includes('](') ? '' : code))

/** The fenced blocks of a document. A program has its name in its first line. */
export function blocksOf(document) {
  const blocks = read(document).matchAll(/^```(\S*)\n(.*?)^```$/gms)
  return [...blocks].map(([, language, code]) => {
    const name = language === 'ts' ? code.match(/^\/\/ (\S+\.ts)\n/)?.[1] : undefined
    return { language, code, name }
  })
}

/** The programs of a document, by name. */
export function programsOf(document) {
  const named = blocksOf(document).filter(({ name }) => name !== undefined)
  return Object.fromEntries(named.map(({ name, code }) => [name, code]))
}

/** The transcripts of a document, and the programs that they run. */
export function transcriptsOf(document) {
  return blocksOf(document)
    .filter(({ language }) => language === 'console')
    .map(({ code }) => ({
      code,
      programs: [...new Set([...code.matchAll(/^\$ .*\bnode (\S+\.ts)/gm)].map(([, name]) => name))],
      needsRoot: /^\$ sudo /m.test(code),
    }))
}

/** Node's flags for TypeScript: 22.18 and later run it as it is; with older ones, tsx does. */
export const execArgv = process.features.typescript
  ? ['--disable-warning=ExperimentalWarning']
  : ['--import', import.meta.resolve('tsx')]

/** Writes the programs of a document to a place where they find the package; `changes` are replaced in them. */
export function install(p, document, changes = {}, dir = '.') {
  const modules = join(p.dir, 'node_modules')
  if (!fs.existsSync(modules)) {
    p.write('package.json', '{ "type": "module" }')
    fs.mkdirSync(modules)
    fs.symlinkSync(root, join(modules, 'tsdaemonize'))
    for (const name of ['pino', 'winston'])
      fs.symlinkSync(join(root, 'node_modules', name), join(modules, name))
  }
  for (const [name, code] of Object.entries(programsOf(document))) {
    const changed = Object.entries(changes).reduce((text, [from, to]) => text.replaceAll(from, to), code)
    p.write(join(dir, name), changed)
  }
}

/** The executable `tsdaemonize`. */
export const executable = join(root, 'tsdaemonize')

/** Runs a line in a shell; `node` runs TypeScript there, and `sudo` only runs its command. */
export function shell(p, line, { before = [], status = 0 } = {}) {
  const bin = join(p.dir, 'bin')
  if (!fs.existsSync(join(bin, 'node'))) {
    p.write('bin/node', `#!/bin/sh\nexec '${process.execPath}' ${execArgv.join(' ')} "$@"\n`)
    p.write('bin/sudo', '#!/bin/sh\nexec "$@"\n')
    for (const name of ['node', 'sudo']) fs.chmodSync(join(bin, name), 0o755)
    fs.symlinkSync(executable, join(bin, 'tsdaemonize'))
  }
  // An ordinary user’s log files are in their home.
  const env = { RUNTIME_DIRECTORY: p.run, HOME: p.dir, PATH: `${bin}:${process.env.PATH}` }
  const [file, ...args] = [...before, 'sh', '-c', `(exit ${status}); ${line}`]
  return command(p, file, args, { env })
}

/** A text without what differs from run to run, and from place to place. */
function plain(p, text) {
  return text
    .replaceAll(p.run, '/run/user/1000')
    .replaceAll(p.dir, '/home/mina')
    .replaceAll(`user ${userName},`, 'user mina,')
    .replace(/\(looked for [^)]*\)/, '(looked for #)')
    .replace(/\d+(?:[-:.T]\d+)*Z?/g, '#')
}

/** An expected text as a regular expression, in which a line of three dots matches any lines. */
function expression(expected) {
  const lines = expected.split('\n').map((line) => {
    if (line === '...') return '[^]*?'
    return `${line.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')}`
  })
  return new RegExp(`^${lines.join('\n').replaceAll('[^]*?\n', '[^]*?')}$`)
}

/** Types what follows each `$`, and compares the output with the lines below it. */
export async function follow(t, p, transcript, before = []) {
  const pids = new Map()
  let status = 0
  for (const [, typed, expected] of transcript.matchAll(/^\$ (.*)\n((?:(?!\$ ).*\n)*)/gm)) {
    const line = typed.replace(/\b\d{4,}\b/g, (pid) => pids.get(pid) ?? pid)
    const result = await shell(p, line, { before, status })
    const told = result.stdout + result.stderr
    t.regex(plain(p, told), expression(plain(p, expected)), typed)
    status = result.status
    const theirs = [...expected.matchAll(/pid (\d+)/g)].map(([, pid]) => pid)
    const ours = [...told.matchAll(/pid (\d+)/g)].map(([, pid]) => pid)
    for (const [i, pid] of theirs.entries()) pids.set(pid, ours[i])
    const killed = line.match(/^(?:sudo )?kill (?:-9 |-KILL )?(\d+)$/)?.[1]
    if (killed) await until(() => !isAlive(Number(killed)), 'its end')
  }
}
