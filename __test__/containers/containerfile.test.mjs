// The Containerfile that docs/containers.md gives, built and run. In place of its base image from a
// registry, an image of the root file system that the other tests use.

import assert from 'node:assert/strict'
import { copyFileSync, mkdtempSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { Box, podman, podmanCommand, until } from './box.mjs'
import { execute } from './host.mjs'
import { lay, recipe } from './recipes.mjs'
import { system, within } from './system.mjs'

const BASE = 'localhost/base'
const IMAGE = 'localhost/beacon'

const built = system({ name: "the Containerfile's image", image: 'bookworm' })

built(
  'podman build, podman run: an ordinary user, PID 1, ready, log, stop',
  async (_, { root, srv, packages }) => {
    await importBase(root)
    const context = mkdtempSync(join(packages, 'context-'))
    const tarballs = readdirSync(packages).filter((name) => name.endsWith('.tgz'))
    for (const name of tarballs) copyFileSync(join(packages, name), join(context, name))
    copyFileSync(join(srv, 'beacon.mjs'), join(context, 'beacon.mjs'))
    const dependencies = Object.fromEntries(
      tarballs.map((name) => [name.replace(/-\d.*/, ''), `file:${name}`]),
    )
    lay(context, {
      Containerfile: recipe('Containerfile'),
      'package.json': JSON.stringify({ private: true, type: 'module', dependencies }),
    })
    const how = ['--isolation=chroot', '--network=host', '--pull=never', '--from', BASE, '--tag', IMAGE]
    const made = await podman(['build', ...how, context], { timeout: 300_000 })
    assert(made.status === 0, `podman build: ${made.stdout}${made.stderr}`)

    await within(new Box({ image: IMAGE }), async (box) => {
      await until(async () => (await box.logs()).includes('The light is on'), 'the log')
      const user = await box.do('id -un; cat /proc/1/comm; node beacon.mjs status', { user: 'node' })
      assert(/^node\nbeacon\nbeacon is running: pid 1, user node/.test(user), user)
      await box.podman('stop', '--time', '60')
      assert((await box.logs()).includes('The light is off'), 'it says that it ends')
      const status = await box.podman('inspect', '--format', '{{.State.ExitCode}}')
      assert(status === '0', `exit status 0, not ${status}`)
    })
  },
)

/** With the user that Node's own images have. */
async function importBase(root) {
  const change = 'ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
  const [file, args] = podmanCommand(['import', '--change', change, '-', `${BASE}:bare`])
  const imported = await execute('sh', ['-c', 'tar -C "$0" -c . | "$@"', root, file, ...args])
  assert(imported.status === 0, `podman import: ${imported.stderr}`)
  const box = new Box({ image: `${BASE}:bare`, command: ['/usr/sbin/useradd', '--create-home', 'node'] })
  await within(box, async () => {
    await box.podman('wait')
    const { status, stderr } = await podman(['commit', '--quiet', box.name, BASE])
    assert(status === 0, `podman commit: ${stderr}`)
  })
}
