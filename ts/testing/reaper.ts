// A process beside that of the tests. When that one is gone, because it was killed, ran out of time or ended
// without an `end()`, this one ends what is left in its places. It reads the places, `+` and `-`, from standard input.

import { clear } from './clear.js'

const places = new Set<string>()
let begun = ''

function note(line: string): void {
  const dir = line.slice(1)
  if (line.startsWith('+')) places.add(dir)
  else places.delete(dir)
}

process.stdin.setEncoding('utf8')
process.stdin.on('data', (chunk: string) => {
  const lines = (begun + chunk).split('\n')
  begun = lines.pop() ?? ''
  lines.forEach(note)
})
process.stdin.on('end', async () => {
  await Promise.allSettled([...places].map(clear))
})
