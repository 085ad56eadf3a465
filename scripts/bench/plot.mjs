// Bar charts as SVG, for the pages of measurements. Readable on light and dark backgrounds.

const BAR = 22
const GAP = 8
const LABEL = 210
const ROOM = 420
const VALUE = 130
const HEAD = 40

const escaped = (text) => text.replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`)

/** One horizontal bar for each `[label, value, text]`; those named in `ours` stand out. */
export function bars(title, rows, ours) {
  const most = Math.max(...rows.map(([, value]) => value))
  const height = HEAD + rows.length * (BAR + GAP)
  const width = LABEL + ROOM + VALUE
  const lines = rows.map(([label, value, text], index) => {
    const y = HEAD + index * (BAR + GAP)
    const long = Math.max(1, Math.round((value / most) * ROOM))
    const middle = y + BAR / 2 + 4
    const color = ours.includes(label) ? '#2f855a' : '#8a94a6'
    return [
      `  <text x="${LABEL - 10}" y="${middle}" text-anchor="end">${escaped(label)}</text>`,
      `  <rect x="${LABEL}" y="${y}" width="${long}" height="${BAR}" rx="3" fill="${color}"/>`,
      `  <text x="${LABEL + long + 8}" y="${middle}">${escaped(text)}</text>`,
    ].join('\n')
  })
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, sans-serif" font-size="13" fill="#6b7280" role="img" aria-label="${escaped(title)}">
  <text x="10" y="22" font-size="15" font-weight="600">${escaped(title)}</text>
${lines.join('\n')}
</svg>
`
}
