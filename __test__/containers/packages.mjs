// The package as a user gets it: the tarball that `npm pack` makes, and this platform's own with the
// native module and the executable in it.

import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const PLATFORM = `${process.platform}-${process.arch}-gnu`
const MODULE = `tsdaemonize.${PLATFORM}.node`
const PROGRAM = 'tsdaemonize'

function pack(from, to) {
  const args = ['pack', '--silent', '--ignore-scripts', '--pack-destination', to]
  const { status, stdout, stderr } = spawnSync('npm', args, { cwd: from, encoding: 'utf8' })
  if (status !== 0) throw new Error(`npm pack: ${stderr}`)
  return stdout.trim().split('\n').at(-1)
}

/** Packs both into `to`; returns the names of the tarballs. */
export function packAll(to, module = MODULE) {
  mkdirSync(to, { recursive: true })
  const own = JSON.parse(readFileSync('package.json', 'utf8'))
  const platform = join(to, 'platform')
  mkdirSync(platform, { recursive: true })
  copyFileSync(module, join(platform, MODULE))
  copyFileSync(PROGRAM, join(platform, PROGRAM))
  // What `napi create-npm-dirs` writes.
  writeFileSync(
    join(platform, 'package.json'),
    JSON.stringify({
      name: `${own.napi.packageName}-${PLATFORM}`,
      version: own.version,
      os: [process.platform],
      cpu: [process.arch],
      libc: ['glibc'],
      main: MODULE,
      files: [MODULE, PROGRAM],
      license: own.license,
      engines: own.engines,
    }),
  )
  return [pack('.', to), pack(platform, to)]
}
