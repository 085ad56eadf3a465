// Node's own modules, without what their `import` costs: importing `node:fs` or `node:util` makes
// every export, streams and parsers included, which is half of what this package adds to a boot.

/** node:util */
export const { getSystemErrorMap, inspect } = process.getBuiltinModule('node:util')
/** node:fs */
export const {
  accessSync,
  constants,
  existsSync,
  fstatSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  statSync,
  writeSync,
} = process.getBuiltinModule('node:fs')
/** node:path */
export const { basename, dirname, isAbsolute, resolve } = process.getBuiltinModule('node:path')
/** Milliseconds on a clock that is never set. `performance` would load all of node:perf_hooks. */
export const now = () => process.uptime() * 1000
/** Whether a descriptor leads to a terminal. node:tty is not loaded before somebody asks. */
export const isTerminal = (fd: number): boolean => process.getBuiltinModule('node:tty').isatty(fd)
