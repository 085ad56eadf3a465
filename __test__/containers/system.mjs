// The systems of the tests: the packed package in a root file system, installed there as a user would, and
// containers of it, whose PID 1 is a service manager, an init, or the daemon.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from '../kit.mjs'
import { options, unless } from '../suite.mjs'
import { Box } from './box.mjs'
import { dir, leave, missing } from './host.mjs'
import { prepare, rootOf, rustRoot } from './images.mjs'
import { buildModule } from './module.mjs'
import { packAll } from './packages.mjs'
import { layPrograms } from './programs.mjs'

/** What a test may take: five minutes are `podman build`'s. */
const TIMEOUT = 10 * 60_000

const lack = missing()
const images = new Map()

/** A root file system: why there is none, and how the package is installed in it, once. */
function imageOf(name, ownModule) {
  if (images.size === 0) test.after.always('the namespaces end', leave)
  if (images.has(name)) return images.get(name)
  const noRust =
    ownModule && rustRoot() === undefined
      ? 'its native module is built with Rust, which was not found'
      : undefined
  let installing
  const image = {
    lack: lack ?? noRust ?? prepare(name, options),
    installed: () => (installing ??= install(name, ownModule)),
  }
  images.set(name, image)
  unless(image.lack)(`${name} · npm install of the packed package, offline`, async (t) => {
    t.timeout(TIMEOUT)
    await image.installed()
    t.pass()
  })
  return image
}

/** The package as a user installs it: `npm install` of the tarballs, offline, in that very system. */
async function install(image, ownModule) {
  const srv = join(dir, image)
  const packages = `${srv}.packages`
  mkdirSync(dir, { recursive: true })
  const tarballs = packAll(packages, ownModule ? await buildModule(image) : undefined)
  mkdirSync(srv)
  layPrograms(srv)
  const npm = ['npm', 'install', '--offline', '--no-audit', '--no-fund']
  const box = new Box({
    root: rootOf(image),
    args: ['-v', `${srv}:/srv/beacon`, '-v', `${packages}:/packages:ro`, '-w', '/srv/beacon'],
    command: [...npm, ...tarballs.map((tarball) => `/packages/${tarball}`)],
  })
  const { status, stdout, stderr } = await box.run()
  if (status !== 0) throw new Error(`npm install: ${stdout}${stderr}`)
  return { srv, packages }
}

/** The system whose tests run now, and its container, which may have failed to start. */
let current = {}

/**
 * A system; returns what declares a test in it.
 *
 * @param system.ready waits until its container is; where there is none, a test makes its own
 * @param system.ownModule whether the native module must be built there
 */
export function system({ name, image: of, ownModule, ready, ...how }) {
  const image = imageOf(of, ownModule)
  const begin = async (make) => {
    const box = make(how)
    await box.start()
    await ready(box)
    return box
  }
  return (what, body, skipped) =>
    unless(image.lack ?? skipped)(`${name} · ${what}`, async (t) => {
      t.timeout(TIMEOUT)
      const { srv, packages } = await image.installed()
      const root = rootOf(of)
      const make = ({ args = [], ...more }) =>
        new Box({ root, ...more, args: ['-v', `${srv}:/srv/beacon:ro`, ...args] })
      if (current.name !== name) {
        await current.box?.then(
          (box) => box.end(),
          () => {},
        )
        current = { name, box: ready && begin(make) }
      }
      await body(await current.box, { make, root, srv, packages })
      t.pass()
    })
}

/** A box that ends with what is done in it. */
export async function within(box, body) {
  await box.start()
  try {
    return await body(box)
  } finally {
    await box.end()
  }
}
