// What happens to output that cannot be written. On a full disk, only what does not fit is lost. When
// nobody reads any more, the daemon is told so.

import { fstatSync, isTerminal, writeSync } from '../runtime/index.js'
import { LOG_WARNING, syslog } from '../syslog/index.js'

const NEWLINE = 10

/** Writes these bytes from an offset on, or a part of them, and returns how many it has written. */
type Write = (fd: number, bytes: Uint8Array, from: number) => number

/** From now on Node's stream for this descriptor, 1 or 2, writes by `by`, and never fails. `target` is its name. */
export function printTo(number: number, target: string, by: Write = writeSync): void {
  const print = printer(number, target, by)
  whenMade(number, (stream) => {
    stream._write = (chunk: string | Uint8Array, encoding, done) => {
      print(typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk)
      done()
    }
    Object.defineProperty(stream, '_writev', { value: undefined })
  })
}

/** Watches a descriptor that stays as it is. A file may be full; where a reader has gone away, `gone` is told. */
export function watchReader(number: number, gone: (target: string, error: Error) => void): void {
  const target = number === 1 ? 'standard output' : 'standard error'
  if (isFile(number)) {
    printTo(number, target)
    return
  }
  whenMade(number, (stream) => {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      // This is no failed write, but a mistake of the program.
      if (error.errno === undefined && error.code !== 'EPIPE') throw error
      // The program may have a listener of its own.
      if (stream.listenerCount('error') === 1) gone(target, error)
    })
  })
}

/** Whether it is a file, or a device other than a terminal: neither has a reader that could go away. */
function isFile(number: number): boolean {
  try {
    const stat = fstatSync(number)
    return stat.isFile() || (stat.isCharacterDevice() && !isTerminal(number))
  } catch {
    return false
  }
}

/** Makes a function that writes bytes. Those that cannot be written are counted, in the log and in the file. */
function printer(number: number, target: string, by: Write): (bytes: Uint8Array) => void {
  let lost = 0
  let why = ''
  let last = NEWLINE
  const write = (bytes: Uint8Array) => {
    let written = 0
    try {
      while (written < bytes.length) written += by(number, bytes, written)
    } catch (error) {
      why = (error as Error).message
    }
    last = bytes[written - 1] ?? last
    return bytes.length - written
  }
  const tellLoss = () => syslog(LOG_WARNING, `${lost} bytes that were printed to ${target} were lost`)
  return (bytes) => {
    if (lost > 0) {
      const begin = last === NEWLINE ? '' : '\n'
      const text = `${lost} bytes are missing here: ${why}`
      if (write(Buffer.from(`${begin}${text}\n`)) > 0) {
        lost += bytes.length
        return
      }
      tellLoss()
      process.removeListener('exit', tellLoss)
    }
    lost = write(bytes)
    if (lost === 0) return
    syslog(
      LOG_WARNING,
      `Cannot write to ${target}: ${why}. What the daemon prints there is lost until there is room again`,
    )
    process.on('exit', tellLoss)
  }
}

/** The modules of which Node makes its streams for standard output and standard error. */
const MADE_OF = ['NativeModule tty', 'NativeModule net', 'NativeModule internal/fs/sync_write_stream']

/** Calls `use` with the stream when the program first uses it: making one takes milliseconds, and few programs do. */
function whenMade(number: number, use: (stream: NodeJS.WriteStream) => void): void {
  const name = number === 1 ? 'stdout' : 'stderr'
  const property = Object.getOwnPropertyDescriptor(process, name)
  const { moduleLoadList } = process as unknown as { moduleLoadList?: string[] }
  // It may have been made already without a trace here.
  const mayBeMade = moduleLoadList?.some((module) => MADE_OF.includes(module)) ?? true
  if (mayBeMade || property?.get === undefined || !property.configurable) {
    use(process[name])
    return
  }
  Object.defineProperty(process, name, {
    ...property,
    get() {
      Object.defineProperty(process, name, property)
      const stream = process[name]
      use(stream)
      return stream
    },
  })
}
