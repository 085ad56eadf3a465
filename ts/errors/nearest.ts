// The name that somebody has meant who misspelt it.

/** The known name that is most like `given`; `undefined` where none is like it. */
export function nearest(given: string, known: readonly string[]): string | undefined {
  const wanted = plain(given)
  let best: string | undefined
  // A third of the letters may be wrong, and two in a short name.
  let least = Math.max(2, Math.floor(wanted.length / 3)) + 1
  for (const name of known) {
    const distance = distanceOf(wanted, plain(name))
    if (distance < least && distance < wanted.length) [best, least] = [name, distance]
  }
  return best ?? (wanted.length > 2 ? known.find((name) => plain(name).includes(wanted)) : undefined)
}

/** Case, and the characters that join words, make no difference. */
function plain(name: string): string {
  return name.toLowerCase().replace(/[-_ ]/g, '')
}

/** How many letters must be inserted, removed, changed or swapped with their neighbour (Damerau, Levenshtein). */
function distanceOf(from: string, to: string): number {
  let before: number[] = []
  let last = Array.from({ length: to.length + 1 }, (_, i) => i)
  for (let i = 1; i <= from.length; i++) {
    const row = [i]
    for (let j = 1; j <= to.length; j++) {
      const change = from[i - 1] === to[j - 1] ? 0 : 1
      let least = Math.min(at(last, j) + 1, at(row, j - 1) + 1, at(last, j - 1) + change)
      const swapped = i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1]
      if (swapped) least = Math.min(least, at(before, j - 2) + 1)
      row.push(least)
    }
    before = last
    last = row
  }
  return at(last, to.length)
}

function at(row: readonly number[], index: number): number {
  return row[index] ?? 0
}
