// What is said where a binary of this platform is missing, or cannot be used. Both lie in one package: the native
// module, and the executable.

import { DaemonError } from '../errors/index.js'
import { accessSync, constants, readFileSync, realpathSync, statSync } from '../runtime/index.js'
import { bundled } from './copies.js'
import { libc, own, PROGRAM } from './locate.js'

/** The platforms that packages are published for. */
const PLATFORMS = ['x64', 'arm64'].flatMap((arch) => [
  `linux-${arch}-gnu`,
  `linux-${arch}-musl`,
  `darwin-${arch}`,
])

/** How long the executable may take to tell its version, in milliseconds. */
const LOOK_MS = 5000

/** There is no native module. */
export function missing(): string {
  const { platform, arch } = process
  const none = `There is no native module for ${platform} on ${arch}`
  if (!PLATFORMS.includes(needed())) return `${none}: a daemon can be made on ${PLATFORMS.join(', ')}`
  return (
    `${none}: the package tsdaemonize-${needed()} is not installed. It is an optional dependency, which ` +
    '--omit=optional leaves out, and so does a node_modules or a lock file that was made on another platform. ' +
    `Install it: ${install()}`
  )
}

/** There is a native module, and the system does not load it. */
export function unloadable(file: string, why: string): string {
  const text = `The native module ${file} cannot be loaded: ${why}`
  if (!file.includes(`.${needed()}.`)) {
    return `${text}. This Node needs tsdaemonize-${needed()}. Install it: ${install()}`
  }
  const mount = noexecMount(file)
  return mount === undefined ? text : `${text}. ${notFrom(mount)}`
}

/** The executable is not there, or the system does not execute it. */
export function unexecutable(file: string, error: DaemonError): DaemonError {
  const { errno, errnoCode, syscall, path, message } = error
  // Without a native module nothing was tried.
  if (errno === undefined || errnoCode === undefined || syscall === undefined) return error
  const details = { errno, errnoCode, syscall, path: path ?? file }
  return new DaemonError('ERR_DAEMON_UNSUPPORTED', whyNot(file) ?? `${message}. ${anew()}`, details)
}

/** Why the executable cannot stay beside a daemon. `reason`: of the system call that has failed, its own or its execve. */
export function unfit(file: string, reason: string): string {
  // One that has ended, or was killed, says nothing.
  const why = reason.startsWith('EPIPE') ? 'it has ended at once' : reason
  const hint = reason.startsWith('ENOEXEC') ? `. ${anew()}` : ''
  return (
    whyNot(file) ?? otherVersion(file) ?? `The executable ${file} cannot be its supervisor: ${why}${hint}`
  )
}

function otherVersion(file: string): string | undefined {
  const { spawnSync } = process.getBuiltinModule('node:child_process')
  const { stdout } = spawnSync(file, ['--version'], { encoding: 'utf8', timeout: LOOK_MS, env: {} })
  const theirs = stdout?.trim().replace(`${PROGRAM} `, '')
  if (!theirs || !bundled || theirs === bundled) return undefined
  return `The executable ${file} is of version ${theirs}, and this package of version ${bundled}. ${anew()}`
}

function whyNot(file: string): string | undefined {
  const found = statSync(file, { throwIfNoEntry: false })
  if (found === undefined) return `There is no executable ${file}, beside the native module. ${anew()}`
  if (!found.isFile()) return `The executable ${file} is not a file. ${anew()}`
  const cannot = `The executable ${file} cannot be executed`
  const mount = noexecMount(file)
  if (mount !== undefined) return `${cannot}: ${notFrom(mount)}`
  try {
    accessSync(file, constants.X_OK)
    return undefined
  } catch {
    return `${cannot}: it lacks the permission. Give it: chmod 755 ${file}`
  }
}

function notFrom(mount: string): string {
  return (
    `${mount} is mounted with \`noexec\`. Install the package elsewhere, ` +
    `or allow it: mount -o remount,exec ${mount}`
  )
}

/** Where the file system is mounted that this file is on, if nothing on it can be executed (proc_pid_mountinfo(5)). */
function noexecMount(file: string): string | undefined {
  let mount = { point: '', options: '' }
  try {
    const path = realpathSync(file)
    for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
      const [, , , , escaped = '', options = ''] = line.split(' ')
      const point = escaped.replace(/\\(\d{3})/g, (_, octal) =>
        String.fromCharCode(Number.parseInt(octal, 8)),
      )
      const covers = path.startsWith(point.endsWith('/') ? point : `${point}/`) || path === point
      // Of two with one path the later one covers the other.
      if (point !== '' && covers && point.length >= mount.point.length) mount = { point, options }
    }
  } catch {
    // It cannot be seen.
  }
  return mount.options.split(',').includes('noexec') ? mount.point : undefined
}

/** The platform of this very process, as `napi create-npm-dirs` names it. */
function needed(): string {
  const { platform, arch } = process
  return platform === 'linux' ? `linux-${arch}-${libc()}` : `${platform}-${arch}`
}

function anew(): string {
  return `Install it anew: ${install()}. For a bundle, copy it there from that package`
}

function install(): string {
  return `npm install --include=optional tsdaemonize-${needed()}${version()}`
}

/** The version of this package, in npm's notation; nothing in a bundle, where nobody knows it. */
function version(): string {
  try {
    const { name, version } = JSON.parse(readFileSync(`${own}/package.json`, 'utf8'))
    return name === 'tsdaemonize' ? `@${version}` : ''
  } catch {
    return ''
  }
}
