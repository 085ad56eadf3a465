// The Containerfile that docs/containers.md gives, built and run. In place of its base image from a
// registry, an image of the root file system that the other tests use.

import { spawn } from 'node:child_process'
import { copyFileSync, mkdtempSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { Box, check, podman, until } from './box.mjs'
import { lay } from './recipes.mjs'

const BASE = 'localhost/base'
const IMAGE = 'localhost/beacon'

export const containerfile = (text) => ({
  name: 'podman build, podman run: an ordinary user, PID 1, ready, log, stop',
  async body(_, { root, srv, packages }) {
    await importBase(root)
    const context = mkdtempSync(join(packages, 'context-'))
    const tarballs = readdirSync(packages).filter((name) => name.endsWith('.tgz'))
    for (const name of tarballs) copyFileSync(join(packages, name), join(context, name))
    copyFileSync(join(srv, 'beacon.mjs'), join(context, 'beacon.mjs'))
    const dependencies = Object.fromEntries(
      tarballs.map((name) => [name.replace(/-\d.*/, ''), `file:${name}`]),
    )
    lay(context, {
      Containerfile: text,
      'package.json': JSON.stringify({ private: true, type: 'module', dependencies }),
    })
    const args = [
      '--isolation=chroot',
      '--network=host',
      '--network=host',
      '--pull=never',
      '--from',
      BASE,
      '--tag',
      IMAGE,
      context,
    ]
    const built = await podman(['build', ...args], { timeout: 300_000 })
    check(built.status === 0, `podman build: ${built.stdout}${built.stderr}`)

    const box = await new Box({ image: IMAGE }).start()
    try {
      await until(async () => (await box.logs()).includes('The light is on'), 'the log')
      const user = await box.do('id -un; cat /proc/1/comm; node beacon.mjs status', { user: 'node' })
      check(/^node\nbeacon\nbeacon is running: pid 1, user node/.test(user), user)
      await box.podman('stop', '--time', '60')
      check((await box.logs()).includes('The light is off'), 'it says that it ends')
      const status = await box.podman('inspect', '--format', '{{.State.ExitCode}}')
      check(status === '0', `exit status 0, not ${status}`)
    } finally {
      await box.end()
    }
  },
})

/** With the user that Node's own images have. */
async function importBase(root) {
  const tar = spawn('tar', ['-C', root, '-c', '.'], { stdio: ['ignore', 'pipe', 'inherit'] })
  const args = ['--change', 'ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', '-', `${BASE}:bare`]
  const imported = await podman(['import', ...args], { input: tar.stdout })
  check(imported.status === 0, `podman import: ${imported.stderr}`)
  const box = new Box({ image: `${BASE}:bare`, command: ['/usr/sbin/useradd', '--create-home', 'node'] })
  await box.start()
  await box.podman('wait')
  const { status, stderr } = await podman(['commit', '--quiet', box.name, BASE])
  check(status === 0, `podman commit: ${stderr}`)
  await box.end()
}
