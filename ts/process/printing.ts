// What the daemon prints where it cannot be written. A full disk loses what does not fit, and no more than
// that; when nobody reads any more, the daemon is told so.

import { fstatSync, isTerminal, writeSync } from '../runtime/index.js'
import { LOG_WARNING, syslog } from '../syslog/index.js'

const NEWLINE = 10

/** Writes what is behind a place in these bytes, or a part of it, and says how much. */
type Write = (fd: number, bytes: Uint8Array, from: number) => number

/** From now on Node's stream for this descriptor, 1 or 2, writes there itself, and never fails. */
export function printTo(number: number, place: string, by: Write = writeSync): void {
  const print = printer(number, place, by)
  whenMade(number, (stream) => {
    stream._write = (chunk: string | Uint8Array, encoding, done) => {
      print(typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk)
      done()
    }
    Object.defineProperty(stream, '_writev', { value: undefined })
  })
}

/** Leaves the descriptor as it is: a file may be full, and of another reader that is gone `gone` is told. */
export function watchReader(number: number, gone: (place: string, error: Error) => void): void {
  const place = number === 1 ? 'standard output' : 'standard error'
  if (isFile(number)) {
    printTo(number, place)
    return
  }
  whenMade(number, (stream) => {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      // No failed write, but a mistake of the program's.
      if (error.errno === undefined && error.code !== 'EPIPE') throw error
      // The program may have a listener of its own.
      if (stream.listenerCount('error') === 1) gone(place, error)
    })
  })
}

/** Or a device that is no terminal: of none is there a reader that could be gone. */
function isFile(number: number): boolean {
  try {
    const stat = fstatSync(number)
    return stat.isFile() || (stat.isCharacterDevice() && !isTerminal(number))
  } catch {
    return false
  }
}

/** Writes what it is given. What cannot be written is counted; the log says so, and so does the file. */
function printer(number: number, place: string, by: Write): (bytes: Uint8Array) => void {
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
  const tellLoss = () => syslog(LOG_WARNING, `${lost} bytes that were printed to ${place} were lost`)
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
      `Cannot write to ${place}: ${why}. What the daemon prints there is lost until there is room again`,
    )
    process.on('exit', tellLoss)
  }
}

/** Modules that Node's streams for standard output and standard error are made of, for what they lead to. */
const MADE_OF = ['NativeModule tty', 'NativeModule net', 'NativeModule internal/fs/sync_write_stream']

/** Calls with the stream, when the program first uses it: to make one takes milliseconds, and few do. */
function whenMade(number: number, use: (stream: NodeJS.WriteStream) => void): void {
  const name = number === 1 ? 'stdout' : 'stderr'
  const property = Object.getOwnPropertyDescriptor(process, name)
  const { moduleLoadList } = process as unknown as { moduleLoadList?: string[] }
  // It may be there already, where nobody sees it.
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
