// The command that package managers install: a Node that the executable takes the place of.

import fs from 'node:fs'
import { join } from 'node:path'
import { bunPath, nodeOf } from '../scripts/nodes.mjs'
import {
  command,
  descriptors,
  environmentOf,
  exeOf,
  fullPipe,
  isRoot,
  nativeFile,
  place,
  proc,
  root,
  test,
  testIf,
  until,
  works,
} from './kit.mjs'

const platform = nativeFile.split('.')[1]
const { version } = JSON.parse(fs.readFileSync(join(root, 'package.json'), 'utf8'))

/** The package and the platform's own, as npm installs them. */
function installed(t) {
  const p = place(t)
  const at = join(p.dir, 'app/node_modules')
  for (const name of ['package.json', 'dist/bin.js']) {
    fs.cpSync(join(root, name), join(at, 'tsdaemonize', name))
  }
  const own = join(at, `tsdaemonize-${platform}`)
  p.write(`app/node_modules/tsdaemonize-${platform}/package.json`, JSON.stringify({ main: nativeFile }))
  for (const name of [nativeFile, 'tsdaemonize']) fs.cpSync(join(root, name), join(own, name))
  const shim = join(at, '.bin/tsdaemonize')
  fs.mkdirSync(join(at, '.bin'))
  fs.symlinkSync('../tsdaemonize/dist/bin.js', shim)
  return { ...p, shim, module: join(own, nativeFile), program: join(own, 'tsdaemonize') }
}

/** Starts a command line of a shell that prints into a pipe which nobody reads yet. Resolves when it runs `program`. */
async function stopped(t, p, program, line, env) {
  const pipe = fullPipe(t, p)
  const ended = command(p, 'sh', ['-c', line, 'sh'], { stdio: ['ignore', pipe.end, 'pipe'], env })
  // Its memory is there a moment later than its name.
  const stands = (pid) => exeOf(pid) === program && proc(pid)?.state === 'S'
  await until(() => stands(ended.pid), `${program} in the place of the shell`)
  return { pid: ended.pid, finish: () => pipe.finish(ended) }
}

/** What of a process's state survives an execve(2). */
function signalsOf(pid) {
  const { SigBlk, SigIgn } = proc(pid).status
  return { SigBlk: BigInt(`0x${SigBlk}`), SigIgn: BigInt(`0x${SigIgn}`) }
}

test('the executable takes the place of the Node, with all that this was given', async (t) => {
  const p = installed(t)
  const odd = '"$(printf "a\\377")"'
  const line = `ODD=${odd} exec ${p.shim} --version '' ${odd} 'b c'`
  const { pid, finish } = await stopped(t, p, p.program, line)
  const args = fs.readFileSync(`/proc/${pid}/cmdline`)
  const wanted = [Buffer.from('tsdaemonize\0--version\0\0a'), Buffer.from([0xff]), Buffer.from('\0b c\0')]
  t.deepEqual(args, Buffer.concat(wanted))
  t.true(fs.readFileSync(`/proc/${pid}/environ`).includes(Buffer.from([...Buffer.from('ODD=a'), 0xff, 0])))
  t.is(proc(pid).status.Threads, '1')
  const leads = Object.values(descriptors(pid))
  t.false(
    leads.some((to) => to.startsWith('anon_inode:')),
    "Node's own descriptors",
  )
  const { status, stdout, stderr } = await finish()
  t.deepEqual([status, stdout, stderr], [0, `tsdaemonize ${version}\n`, ''])
})

test('it gets the sockets that systemd has given to the Node, and no others', async (t) => {
  const p = installed(t)
  const line = `LISTEN_PID=$$ LISTEN_FDS=2 exec ${p.shim} --version 3</dev/zero 4</dev/full 5</dev/zero`
  const { pid, finish } = await stopped(t, p, p.program, line)
  t.like(descriptors(pid), { 3: '/dev/zero', 4: '/dev/full', 5: undefined })
  t.regex(environmentOf(pid), new RegExp(`(^|\\0)LISTEN_PID=${pid}\\0`))
  t.is((await finish()).status, 0)

  const stranger = `LISTEN_PID=1 LISTEN_FDS=2 exec ${p.shim} --version 3</dev/zero`
  const other = await stopped(t, p, p.program, stranger)
  t.is(descriptors(other.pid)[3], undefined)
  await other.finish()
})

for (const [what, file, flags] of [
  ['Node', process.execPath, ''],
  ['a Node that never opens its debugger', nodeOf('24'), '--disable-sigusr1'],
  ['Bun', bunPath, ''],
]) {
  testIf(fs.existsSync(file))(`no signal stays ignored or blocked as ${what} has it`, async (t) => {
    const p = place(t)
    const script = p.write(
      'a.cjs',
      `const native = { exports: {} }
       process.dlopen(native, ${JSON.stringify(join(root, nativeFile))})
       native.exports.execute('/bin/sleep', ['sleep', '1000'])`,
    )
    const { pid } = command(p, file, [script], { env: { NODE_OPTIONS: flags } })
    const sleep = fs.realpathSync('/bin/sleep')
    await until(() => exeOf(pid) === sleep && proc(pid)?.state === 'S', 'the program')
    t.deepEqual(signalsOf(pid), { SigBlk: 0n, SigIgn: 0n })
  })
}

/** How it fails: what is done before, a message, and the status that a shell would give. */
const FAILURES = [
  ['is missing', ({ program }) => fs.rmSync(program), /^There is no executable PROGRAM, beside the/, 127],
  [
    'is a directory',
    ({ program }) => {
      fs.rmSync(program)
      fs.mkdirSync(program)
    },
    /^The executable PROGRAM is not a file\. Install it anew: npm install /,
    126,
  ],
  [
    'may not be executed',
    ({ program }) => fs.chmodSync(program, 0o644),
    /^The executable PROGRAM cannot be executed: it lacks the permission\. Give it: chmod 755 PROGRAM$/,
    126,
  ],
  [
    'is for another machine',
    ({ program }) => fs.writeFileSync(program, '\x7fELF'),
    /^Cannot execute PROGRAM: ENOEXEC: exec format error, execve\. Install it anew: npm install /,
    126,
  ],
  [
    'has no native module beside it',
    ({ module }) => fs.rmSync(module),
    /^There is no native module for .* Install it: npm install /,
    127,
  ],
]
for (const [what, prepare, message, wanted] of FAILURES) {
  test(`an executable that ${what} is told in words, with the status of a shell`, async (t) => {
    const p = installed(t)
    prepare(p)
    const { status, stdout, stderr } = await command(p, p.shim, ['--version'])
    const said = stderr.replaceAll(p.program, 'PROGRAM')
    t.true(said.startsWith('tsdaemonize: ') && said.endsWith('\n'), said)
    t.regex(said.slice('tsdaemonize: '.length, -1), message)
    t.deepEqual([status, stdout], [wanted, ''])
  })
}

const canMount = isRoot && works('unshare', '--mount', 'true')
for (const [what, file, beginning] of [
  ['the executable', 'program', 'The executable FILE cannot be executed'],
  ['the native module', 'module', 'The native module FILE cannot be loaded'],
]) {
  testIf(canMount)(`where ${what} is on a file system without execution, the error names it`, async (t) => {
    const p = installed(t)
    // Another mount, whose name must be unescaped, and which must not be taken for this one.
    const mount = join(p.dir, 'app', 'a b')
    fs.mkdirSync(mount)
    const under = `mount -t tmpfs -o noexec tmpfs '${mount}'`
    const line = `${under} && mount --bind "$1" "$1" && mount -o remount,bind,noexec "$1" && exec "$2" --version`
    const args = ['--mount', 'sh', '-ec', line, 'sh', p[file], p.shim]
    const { stderr } = await command(p, 'unshare', args)
    const said = stderr.replaceAll(p[file], 'FILE')
    t.true(said.startsWith(`tsdaemonize: ${beginning}: `), said)
    t.regex(said, /FILE is mounted with `noexec`\. Install .* or allow it: mount -o remount,exec FILE\n$/)
  })
}
