// System calls that fail, and some that lie, while privileges are dropped: the action never runs.

import fs from 'node:fs'
import os from 'node:os'
import { publicPlace, withAccounts } from './credentials.mjs'
import { isRoot, processesOf, sample, test, until } from './kit.mjs'
import { withStrace } from './strace.mjs'

const traced = isRoot ? withStrace : test.skip

const body = "async action() { fs.writeFileSync(process.env.DIR + '/out/acted', '') }"
const options = '...JSON.parse(process.env.OPTIONS)'

/** Starts a daemon under strace(1), which follows all of its processes and threads, with a fault. */
function start(p, options_, fault, setpriv = []) {
  const script = p.write('a.mjs', sample({ body, options }))
  const [call] = fault.split(':')
  // This is faster, but it sets no_new_privs itself.
  const fast = call === 'prctl' ? [] : ['--seccomp-bpf']
  const strace = ['strace', '-f', '-qq', ...fast, '-o', `${p.dir}/trace`, '-e', `trace=${call}`]
  const caller = setpriv.length > 0 ? ['setpriv', ...setpriv] : []
  const args = [...caller, ...strace, '-e', `inject=${fault}`, process.execPath, script]
  return withAccounts(p, args, { env: { OPTIONS: JSON.stringify(options_) } })
}

/** Checks that the start has failed because of privileges, and that nothing is left. */
async function refused(t, p, { status, stderr }, words, what) {
  t.is(status, 1, what)
  t.regex(stderr, /code: 'ERR_DAEMON_PRIVILEGES'/, what)
  t.regex(stderr, words, what)
  t.false(fs.existsSync(`${p.dir}/out/acted`), `${what}: the action ran`)
  // When the daemon is attached, its new user cannot remove the pidfile, and empties it.
  const left = fs.readdirSync(p.run).filter((name) => fs.statSync(`${p.run}/${name}`).size > 0)
  t.deepEqual(left, [], what)
  await until(() => processesOf(p).length === 0, `${what}: the end of all processes`)
}

async function each(t, faults) {
  const left = [...faults]
  const work = async () => {
    for (let next = left.shift(); next; next = left.shift()) {
      const [fault, more, words, setpriv] = next
      const p = publicPlace(t)
      fs.mkdirSync(`${p.dir}/root`)
      if (more.chroot !== undefined) more.chroot = `${p.dir}/root`
      await refused(t, p, await start(p, { user: 'ada', ...more }, fault, setpriv), words, `${fault}`)
    }
  }
  await Promise.all([work(), work()])
}

const read = { landlock: { read: [] } }
const capable = ['--inh-caps', '+chown', '--securebits', '+no_setuid_fixup']
// A start in the background needs prctl(2) itself.
const attached = { detach: false }
const one = { capabilities: ['CAP_NET_BIND_SERVICE'] }

traced('each call that changes ids fails: the error names it, and the action never runs', (t) =>
  each(t, [
    ['setgroups:error=EPERM', {}, /syscall: 'setgroups'/],
    ['setresgid:error=EAGAIN', {}, /errno: -11,\s+errnoCode: 'EAGAIN',\s+syscall: 'setresgid'/],
    ['setresuid:error=EAGAIN', {}, /errno: -11,\s+errnoCode: 'EAGAIN',\s+syscall: 'setresuid'/],
  ]),
)

traced('each call that gives up the rest fails: the same', (t) =>
  each(t, [
    ['capset:error=EPERM', {}, /Cannot give up capabilities on thread \d+.*syscall: 'capset'/s],
    ['prctl:error=EINVAL', attached, /Cannot set no_new_privs.*syscall: 'prctl'/s],
    ['prctl:error=EPERM', { ...attached, ...one }, /syscall: 'prctl'/],
    ['landlock_create_ruleset:error=ENOMEM', read, /syscall: 'landlock_create_ruleset'/],
    ['landlock_add_rule:error=ENOMEM', { landlock: { read: ['/usr'] } }, /syscall: 'landlock_add_rule'/],
    ['landlock_restrict_self:error=E2BIG', read, /Landlock's rules on thread.*'landlock_restrict_self'/s],
    ['chroot:error=EPERM', { chroot: '' }, /syscall: 'chroot'/],
    ['fchdir:error=EACCES', { chroot: '' }, /syscall: 'fchdir'/],
    ['setpriority:error=EACCES', { nice: 5 }, /syscall: 'setpriority'/],
    ['tgkill:error=EAGAIN', {}, /Cannot reach every thread.*syscall: 'tgkill'/s],
  ]),
)

/** A nice value that differs from this process's, which the daemon inherits. */
const NICE = os.getPriority() + 1

traced('each call lies, and says it worked: the proof finds that it did not', (t) =>
  each(t, [
    ['setgroups:retval=0', {}, /did not reach thread \d+ .*it has the supplementary groups/],
    ['setresgid:retval=0', {}, /did not reach thread \d+ .*it has the group ids 0?/],
    ['setresuid:retval=0', {}, /did not reach thread \d+ .*it has the user ids/],
    ['capset:retval=0', {}, /it has the inheritable capabilities 0x1 instead of 0x0/, capable],
    ['prctl:retval=0', attached, /it has no no_new_privs/],
    ['landlock_restrict_self:retval=0', read, /prove that Landlock's rules hold/],
    ['chroot:retval=0', { chroot: '' }, /it has another root directory/],
    ['setpriority:retval=0', { nice: NICE }, new RegExp(`Cannot set the nice value to ${NICE}`)],
  ]),
)

traced('attached, it is the same: no action, and exit status 1', async (t) => {
  const p = publicPlace(t)
  const fault = 'setresuid:error=EAGAIN'
  const { status, stderr } = await start(p, { user: 'ada', detach: false }, fault)
  await refused(t, p, { status, stderr }, /syscall: 'setresuid'/, 'attached')
})

traced('a kernel without Landlock, or with an old one: refused, unless `bestEffort` allows it', async (t) => {
  const all = { read: ['/'], write: ['/'], execute: ['/'], connect: [] }
  const version = 'landlock_create_ruleset:when=1'
  for (const [fault, words] of [
    [`${version}:error=ENOSYS`, /this kernel has none \(Linux 5.13 and newer have\)/],
    [`${version}:error=EOPNOTSUPP`, /was not enabled at boot/],
    [`${version}:retval=2`, /`write` \(truncate\(2\)\) needs Linux 6.2, `bind` and `connect` need Linux 6.7/],
  ]) {
    const p = publicPlace(t)
    const result = await start(p, { user: 'ada', landlock: all }, fault)
    await refused(t, p, result, words, fault)
    t.regex(result.stderr, /syscall: 'landlock_create_ruleset'/)

    const lenient = {
      user: 'ada',
      landlock: { ...all, bestEffort: true },
      syslogOptions: 0x20,
      detach: false,
    }
    const { status, stderr } = await start(publicPlace(t), lenient, fault)
    t.is(status, 0, stderr)
    t.regex(stderr, words)
    t.regex(stderr, /Going on without/)
  }
})
