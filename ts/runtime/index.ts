// What runs this program: Node, Bun or Deno, the modules that it brings, its flags and the environment. Imports
// nothing of this package.

export {
  accessSync,
  basename,
  constants,
  dirname,
  existsSync,
  fstatSync,
  getSystemErrorMap,
  inspect,
  isAbsolute,
  isTerminal,
  now,
  readFileSync,
  readlinkSync,
  realpathSync,
  resolve,
  statSync,
  writeSync,
} from './builtin.js'
export { quoted, variables, withoutLaunchersOwn } from './flags.js'
export { LARGEST_INT, LONGEST_SOCKET_PATH } from './limits.js'
export { print } from './print.js'
export { denoFlags, isBun, isDeno, isDenoExecutable, isSingleExecutable } from './runtime.js'
