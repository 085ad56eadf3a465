// A logger that is restarted while a program logs, by any transport.

import { printed, run, until } from './kit.mjs'
import { assertAll, logging, numbers, receive } from './receivers.mjs'

/** Logs 100,000 numbered messages, fewer at a time than the queue holds, and says how far it is. */
const stream = logging(`
syslog.openlog('stream', 0, syslog.LOG_USER, transport)
for (let n = 0; n < 100_000; n++) {
  syslog.syslog('number ' + n)
  if (n % 1000 === 999) { say(String(n)); await sleep(1) }
}
const done = await syslog.flush(40_000)
say(JSON.stringify({ done, ...syslog.stats() }))
`)

/** Runs `stream` while its receiver is restarted twice. The second time the receiver is gone for a while. */
export async function restartedDuring(t, p, kind, address, transport) {
  let receiver = await receive(t, p, kind, address)
  const port = receiver.port || address
  const running = run(p, p.write('stream.mjs', stream), [], {
    env: { TRANSPORT: JSON.stringify({ port: receiver.port, ...transport }) },
  })
  const output = printed(running.child)
  for (const at of ['\n19999\n', '\n59999\n']) {
    await until(() => output().includes(at), at)
    await receiver.stop()
    if (at.includes('59')) await until(() => output().includes('\n69999\n'), 'ten thousand more')
    receiver = await receive(t, p, kind, port)
  }
  const { status, stdout, stderr } = await running
  t.is(status, 0, stderr)
  const stats = JSON.parse(stdout.trimEnd().split('\n').at(-1))
  await receiver.stop()
  assertAll(t, numbers(receiver.messages()), 100_000)
  t.like(stats, { done: true, connected: true, queued: 0, queuedBytes: 0, dropped: 0, sent: 100_000 })
}
