// The copies of this package in one process: a dependency may have brought its own, and a loader may read one
// file twice, as CommonJS and as a module. What belongs to the process (the hand-over, the signals, the logger)
// exists once. So the copy that is imported first does the work, and each later one exports what the first one does.
// scripts/rollup.config.mjs puts this before all other code, which `share` runs or leaves alone.

/** What the first copy shows to the others. Copies of other versions read it, too. */
interface Copy {
  /** The file of its code. */
  path: string
  version: string
  isDaemon: boolean
  /** Called when `isDaemon` has become true. */
  followers: (() => void)[]
  exported: object
}

declare const VERSION: string | undefined
/** The version of this package when it was bundled. Modules that are not bundled, as tests import them, have none. */
export const bundled: string = typeof VERSION === 'string' ? VERSION : ''

const FUNCTIONS = ['Daemon', 'DaemonError', 'daemonize', 'serviced']
const KEY = Symbol.for('tsdaemonize')
const realm = globalThis as { [KEY]?: unknown }

/** A bundle in CommonJS has no import.meta, and one in an executable has no file. */
const path = import.meta.filename ?? (typeof __filename === 'string' ? __filename : process.execPath)
const own: Copy = { path, version: bundled, isDaemon: false, followers: [], exported: {} }
const found = realm[KEY]
const first = isCopy(found) ? found : undefined

/** Why this copy cannot leave the work to the first one. */
export const conflict: string | undefined = found === undefined ? undefined : disagreement()

/**
 * Whether this process is a daemon, or is about to become one. For code before `start()`, which also runs in
 * the launcher.
 */
export let isDaemon: boolean = first?.isDaemon ?? false
first?.followers.push(() => {
  isDaemon = true
})

/** All copies say so from now on. */
export function beDaemon(): void {
  isDaemon = true
  own.isDaemon = true
  for (const follow of own.followers) follow()
}

/** What the package exports: the first copy's exports, or, where no copy will do, what `make` returns. */
export function share<E extends object>(make: () => E): E {
  if (first !== undefined && conflict === undefined) return first.exported as E
  const exported = make()
  if (found === undefined) Object.defineProperty(realm, KEY, { value: Object.assign(own, { exported }) })
  return exported
}

function isCopy(value: unknown): value is Copy {
  if (!isKeyed(value)) return false
  const { path, version, isDaemon, followers, exported } = value
  return (
    typeof path === 'string' &&
    typeof version === 'string' &&
    typeof isDaemon === 'boolean' &&
    Array.isArray(followers) &&
    isKeyed(exported) &&
    FUNCTIONS.every((name) => typeof exported[name] === 'function') &&
    isKeyed(exported.syslog)
  )
}

function isKeyed(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

function disagreement(): string | undefined {
  if (first === undefined) {
    return (
      "globalThis[Symbol.for('tsdaemonize')] is not what this package keeps there: other code has set it. " +
      'Find that code, and let it use another name'
    )
  }
  // Most often it is the same file; in a bundle two versions may be in one.
  if (first.path === path && first.version === bundled) return undefined
  const [theirs, ours] = [versionOf(first), versionOf(own)]
  if (serves(theirs, ours)) return undefined
  return (
    `Two copies of tsdaemonize in one process do not go together: version ${theirs} in ${first.path}, ` +
    `which was imported first, and version ${ours} in ${path}. Only the first one can make daemons here. ` +
    'Let the program and its dependencies use one version: see `npm explain tsdaemonize`, then `npm dedupe`'
  )
}

/** The version in a copy's package.json; a bundle has none. */
function versionOf(copy: Copy): string {
  const { dirname } = process.getBuiltinModule('node:path')
  const file = `${dirname(dirname(copy.path))}/package.json`
  try {
    const { name, version } = JSON.parse(process.getBuiltinModule('node:fs').readFileSync(file, 'utf8'))
    return name === 'tsdaemonize' && typeof version === 'string' ? version : copy.version
  } catch {
    return copy.version
  }
}

/** Whether version `given` has all that code for version `wanted` needs, as `^` of npm says. */
function serves(given: string, wanted: string): boolean {
  if (given === wanted) return true
  const [theirs, ours] = [given, wanted].map((version) => /^(\d+)\.(\d+)\.\d+$/.exec(version))
  if (!theirs || !ours || theirs[1] !== ours[1]) return false
  return theirs[1] === '0' ? theirs[2] === ours[2] : Number(theirs[2]) >= Number(ours[2])
}
