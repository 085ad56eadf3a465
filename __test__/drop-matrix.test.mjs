// Every pair of a caller and a target user: the ids are checked on every thread, and the daemon tries to get back.

import fs from 'node:fs'
import { ADA, CREW, daemonOf, publicPlace, threads, withAccounts } from './credentials.mjs'
import { asRoot, sample, until } from './kit.mjs'

const NOBODY_AT_ALL = 123456
const NO_GROUP_AT_ALL = 654321

const targets = {
  'user and group': { options: { user: 'ada', group: 'crew' }, ids: [ADA, CREW, [4801, 4802, CREW]] },
  'user only, with supplementary groups': { options: { user: 'ada' }, ids: [ADA, ADA, [ADA, 4801, 4802]] },
  'user only, without': { options: { user: 'games' }, ids: [5, 60, [60]] },
  'group only': { options: { group: 'crew' }, ids: [1, CREW, [CREW]] },
  'names that do not exist': { options: { user: 'no-such', group: 'no-such' }, ids: [1, 1, [1]] },
  'numbers without entries': {
    options: { user: NOBODY_AT_ALL, group: NO_GROUP_AT_ALL },
    ids: [NOBODY_AT_ALL, NO_GROUP_AT_ALL, []],
  },
  'a number with an entry': { options: { user: ADA }, ids: [ADA, ADA, [ADA, 4801, 4802]] },
  'uid 0': { options: { user: 0 }, ids: [0, 0, [0]] },
}
const all = Object.keys(targets)
const like = (uid, gid) => ['--reuid', `${uid}`, '--regid', `${gid}`]
const nobody = [...like(NOBODY_AT_ALL, NO_GROUP_AT_ALL), '--clear-groups']

// `to` are the targets that this caller can become; for all others the start is refused.
const callers = {
  'root with the groups 0, 4, 24 and 42': { setpriv: ['--groups', '0,4,24,42'], to: all },
  'root without groups': { setpriv: ['--clear-groups'], to: all },
  'root whose securebits keep capabilities, which are inheritable too': {
    setpriv: ['--clear-groups', '--inh-caps', '+chown,+sys_admin', '--securebits', '+no_setuid_fixup'],
    to: all,
  },
  'an ordinary user': {
    uid: ADA,
    setpriv: [...like(ADA, ADA), '--init-groups'],
    to: ['user only, with supplementary groups', 'a number with an entry'],
  },
  'a user without an entry': { uid: NOBODY_AT_ALL, setpriv: nobody, to: ['numbers without entries'] },
  'one with CAP_SETUID alone': {
    uid: NOBODY_AT_ALL,
    setpriv: [...nobody, '--inh-caps', '+setuid', '--ambient-caps', '+setuid'],
    to: ['numbers without entries'],
  },
  'one with CAP_SETGID alone': {
    uid: NOBODY_AT_ALL,
    setpriv: [...nobody, '--inh-caps', '+setgid', '--ambient-caps', '+setgid'],
    to: ['numbers without entries'],
  },
  'one with CAP_SETUID and CAP_SETGID, and CAP_CHOWN to lose': {
    uid: NOBODY_AT_ALL,
    setpriv: [...nobody, '--inh-caps', '+setuid,+setgid,+chown', '--ambient-caps', '+setuid,+setgid,+chown'],
    to: all,
  },
}

// The action tries to get back, by every call there is, and by a thread of the pool.
const body = `async action(signal) {
  const attempts = {
    setuid: () => process.setuid(0),
    seteuid: () => process.seteuid(0),
    setgid: () => process.setgid(0),
    setegid: () => process.setegid(0),
    setgroups: () => process.setgroups([0]),
    shadow: () => fs.promises.readFile('/etc/shadow'),
  }
  const got = {}
  for (const [name, attempt] of Object.entries(attempts)) {
    try { await attempt(); got[name] = 'done' } catch (error) { got[name] = error.code }
  }
  const file = process.env.DIR + '/out/' + this.name
  fs.writeFileSync(file + '.new', JSON.stringify(got))
  fs.renameSync(file + '.new', file)
  await once(signal, 'abort')
}`
const REFUSED = {
  setuid: 'EPERM',
  seteuid: 'EPERM',
  setgid: 'EPERM',
  setegid: 'EPERM',
  setgroups: 'EPERM',
  shadow: 'EACCES',
}

for (const [caller, { uid = 0, setpriv, to }] of Object.entries(callers)) {
  asRoot(`${caller}: becomes ${to.length === all.length ? 'anyone' : 'nobody but itself'}`, async (t) => {
    const p = publicPlace(t)
    fs.chownSync(p.run, uid, uid)
    const options = '...JSON.parse(process.env.OPTIONS)'
    const script = p.write('a.mjs', sample({ body, options }))
    const attempt = async (target, name) => {
      const { options, ids } = targets[target]
      const env = { OPTIONS: JSON.stringify({ ...options, name }) }
      const args = ['setpriv', ...setpriv, process.execPath, script]
      const { status, stderr } = await withAccounts(p, args, { env })
      if (!to.includes(target)) {
        t.is(status, 1, target)
        t.regex(stderr, /ERR_DAEMON_PRIVILEGES/, target)
        t.regex(stderr, /Not permitted to drop privileges to/, target)
        t.false(fs.existsSync(`${p.dir}/out/${name}`), `${target}: the action ran`)
        t.false(fs.existsSync(p.pidFile(name)), target)
        return
      }
      t.is(status, 0, `${target}: ${stderr}`)
      const pid = daemonOf(t, p, name)
      await until(() => fs.existsSync(`${p.dir}/out/${name}`), 'the action')
      const [user, group, groups] = ids
      const found = threads(pid)
      t.true(found.length > 5)
      for (const thread of found) {
        const where = `${target}, thread ${thread.name}`
        t.deepEqual(thread.uids, [user, user, user, user], where)
        t.deepEqual(thread.gids, [group, group, group, group], where)
        t.deepEqual(thread.groups, groups, where)
        if (user === 0) continue
        t.deepEqual(thread.capabilities, [0n, 0n, 0n, 0n], where)
        t.true(thread.noNewPrivileges, where)
      }
      const got = JSON.parse(fs.readFileSync(`${p.dir}/out/${name}`, 'utf8'))
      if (user !== 0) t.deepEqual(got, REFUSED, target)
    }
    // Two run at a time, because many machines have two cores.
    const left = all.map((target, index) => [target, `d${index}`])
    const work = async () => {
      for (let next = left.shift(); next; next = left.shift()) await attempt(...next)
    }
    await Promise.all([work(), work()])
  })
}
