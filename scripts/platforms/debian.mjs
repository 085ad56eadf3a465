// Debian's packages, unpacked and not installed: what is built and tested for other platforms must not
// change this machine, and some of it conflicts with what is there (rustc-web with rustup).

import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { cache } from './targets.mjs'

const KEYS = '/usr/share/keyrings/debian-archive-keyring.gpg'

/** Runs a program to its end and returns what it printed; throws where it fails. */
export function run(file, args, options = {}) {
  const { status, stdout, stderr, error } = spawnSync(file, args, {
    encoding: 'utf8',
    maxBuffer: 1 << 30,
    ...options,
  })
  if (status === 0) return stdout
  const why = error?.message ?? `${stdout}${stderr}`.trim().split('\n').slice(-8).join('\n')
  throw new Error(`${file} ${args.slice(0, 4).join(' ')} failed: ${why}`)
}

/** An apt of its own: the packages of one release of Debian, for x64 and arm64. */
export class Release {
  #env

  constructor(name) {
    if (!existsSync(KEYS)) throw new Error(`Debian's keys are not here (${KEYS})`)
    const dir = `${cache}apt/${name}`
    for (const sub of ['etc/apt.conf.d', 'etc/preferences.d', 'lists/partial', 'cache/archives/partial']) {
      mkdirSync(`${dir}/${sub}`, { recursive: true })
    }
    const source = (path, suite) => `deb [signed-by=${KEYS}] http://deb.debian.org/${path} ${suite} main\n`
    writeFileSync(
      `${dir}/etc/sources.list`,
      source('debian', name) + source('debian-security', `${name}-security`),
    )
    writeFileSync(`${dir}/status`, '')
    writeFileSync(
      `${dir}/apt.conf`,
      [
        `Dir::State "${dir}"`,
        `Dir::State::status "${dir}/status"`,
        `Dir::Cache "${dir}/cache"`,
        `Dir::Etc "${dir}/etc"`,
        'APT::Architecture "amd64"',
        'APT::Architectures { "amd64"; "arm64"; }',
        'APT::Sandbox::User "root"',
        'Acquire::Languages "none"',
        '',
      ].join(';\n'),
    )
    this.#env = { ...process.env, APT_CONFIG: `${dir}/apt.conf` }
    run('apt-get', ['update'], { env: this.#env })
  }

  /** These packages and the libraries that they need, but not the C library and its like. */
  closure(names) {
    const all = new Set()
    for (let next = new Set(names); next.size > 0; ) {
      for (const name of next) all.add(name)
      const output = run('apt-cache', ['depends', '--important', ...next], { env: this.#env })
      const needed = [...output.matchAll(/^ +\|?Depends: ([a-z][^\s:]*)/gm)].map(([, name]) => name)
      next = new Set(needed.filter((name) => /^lib(?!c6|c-dev|gcc|stdc\+\+)/.test(name) && !all.has(name)))
    }
    return [...all]
  }

  /** Unpacks packages into a folder; of Rust's source, the standard library only. */
  unpack(names, into) {
    const debs = `${into}.debs`
    mkdirSync(debs, { recursive: true })
    mkdirSync(into, { recursive: true })
    run('apt-get', ['download', ...names], { env: this.#env, cwd: debs })
    // An asterisk is for one folder: every crate of the library has a `src` of its own.
    const script =
      'dpkg-deb --fsys-tarfile "$1" | ' +
      'tar -xC "$2" --no-wildcards-match-slash --exclude=./usr/src/*/src --exclude=./usr/src/*/compiler'
    for (const file of readdirSync(debs)) run('sh', ['-ec', script, '-', `${debs}/${file}`, into])
    rmSync(debs, { recursive: true })
  }
}
