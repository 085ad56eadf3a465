// JavaScript can change the environment at any time, in its main thread (setenv(3)). So no thread of ours may
// read it, or call a function that reads it.

import { spawnSync } from 'node:child_process'
import { environmentOf, pidIn, place, read, run, sample, test, testIf, works } from './kit.mjs'
import { logging, receive } from './receivers.mjs'

/**
 * Notes each call by which our module reads the environment in a thread other than the main one. It notes each
 * call of unsetenv(3) in any thread, because that may free what another thread still reads.
 */
const WATCH = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
static void look(const char *name, void *caller) {
  Dl_info info;
  if (syscall(SYS_gettid) == getpid() && strcmp(name, "unsetenv")) return;
  if (!dladdr(caller, &info) || !strstr(info.dli_fname, "tsdaemonize")) return;
  int fd = open(FILE_NAME, O_WRONLY | O_CREAT | O_APPEND, 0600);
  dprintf(fd, "%s\\n", name);
  close(fd);
}
#define WATCHED(result, name, parameters, arguments) \\
  result name parameters { \\
    static result (*next) parameters; \\
    if (!next) next = dlsym(RTLD_NEXT, #name); \\
    look(#name, __builtin_return_address(0)); \\
    return next arguments; \\
  }
WATCHED(char *, getenv, (const char *name), (name))
WATCHED(char *, secure_getenv, (const char *name), (name))
WATCHED(struct tm *, localtime_r, (const time_t *time, struct tm *tm), (time, tm))
WATCHED(struct tm *, localtime, (const time_t *time), (time))
WATCHED(int, unsetenv, (const char *name), (name))
WATCHED(time_t, mktime, (struct tm *tm), (tm))
`

const cc = testIf(works('cc', '--version') && process.platform === 'linux')

function watch(t, p) {
  const library = `${p.dir}/watch.so`
  const source = p.write('watch.c', WATCH)
  const flags = ['-shared', '-fPIC', `-DFILE_NAME="${p.dir}/calls"`, '-o', library, source, '-ldl']
  const built = spawnSync('cc', flags, { encoding: 'utf8' })
  t.is(built.status, 0, built.stderr)
  return library
}

for (const [what, type, kind] of [
  ['the local logger', 'local', 'datagram'],
  ['the journal', 'journal', 'datagram'],
  ['another host', 'tcp', 'tcp'],
]) {
  cc(`no thread that sends to ${what} reads the environment`, async (t) => {
    const p = place(t)
    const library = watch(t, p)
    const receiver = await receive(t, p, kind, kind === 'tcp' ? 0 : `${p.dir}/log`)
    const transport =
      kind === 'tcp' ? { type, host: '127.0.0.1', port: receiver.port } : { type, path: `${p.dir}/log` }
    const script = p.write(
      'a.mjs',
      logging(`
      syslog.openlog('a', syslog.LOG_PERROR, syslog.LOG_USER, transport)
      for (let i = 0; i < 3; i++) {
        syslog.syslog('number ' + i)
        await syslog.flush()
      }
      syslog.openlog('b', 0, syslog.LOG_USER, transport)
      syslog.syslog('number 3')`),
    )
    const env = { LD_PRELOAD: library, TRANSPORT: JSON.stringify(transport), TZ: 'Asia/Kolkata' }
    const { status, stderr } = await run(p, script, [], { env })
    t.is(status, 0, stderr)
    await receiver.stop()
    t.is(receiver.messages().length, 4)
    t.is(read(`${p.dir}/calls`), '')
  })
}

for (const [what, module] of [
  ['as the launcher gave it', ''],
  [
    'that a module has set once more',
    'process.env.TSDAEMONIZE_HANDOVER &&= process.env.TSDAEMONIZE_HANDOVER',
  ],
]) {
  cc(`the variable of the hand-over, ${what}, is taken without freeing it`, async (t) => {
    const p = place(t)
    const script = p.write('a.mjs', sample())
    const execArgv = ['--import', `data:text/javascript,${module}`]
    const { status, stderr } = await run(p, script, [], { execArgv, env: { LD_PRELOAD: watch(t, p) } })
    t.is(status, 0, stderr)
    if (module === '') t.notRegex(environmentOf(pidIn(p)), /HANDOVER/)
    t.is(read(`${p.dir}/calls`), '')
  })
}

test('a TZ that the program changes is that of its messages', async (t) => {
  const p = place(t)
  const receiver = await receive(t, p, 'datagram', `${p.dir}/log`)
  const transport = { type: 'local', path: `${p.dir}/log` }
  const script = p.write(
    'a.mjs',
    logging(`
    syslog.openlog('a', 0, syslog.LOG_USER, transport)
    for (const zone of ['Asia/Kolkata', 'Asia/Kathmandu', 'UTC']) {
      process.env.TZ = zone
      await new Promise((resolve) => setTimeout(resolve, 1000 - (Date.now() % 1000)))
      syslog.syslog(zone + ' ' + new Date().toTimeString().slice(0, 5))
    }`),
  )
  const { status, stderr } = await run(p, script, [], { env: { TRANSPORT: JSON.stringify(transport) } })
  t.is(status, 0, stderr)
  await receiver.stop()
  for (const message of receiver.messages()) {
    const [, stamp, now] = /^<14>\w+ +\d+ (\d\d:\d\d):\d\d a: \S+ (\S+)$/.exec(message) ?? []
    t.is(stamp, now, message)
  }
  t.is(receiver.messages().length, 3)
})
