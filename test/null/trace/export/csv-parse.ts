/** Reads CSV by the letter of RFC 4180, and refuses what it does not allow. */
export function parseCsv(text: string): Record<string, string>[] {
  const [header, ...lines] = records(text)
  if (!header) throw new Error('there is no header')
  return lines.map((cells, i) => {
    if (cells.length !== header.length) throw new Error(`record ${i} has ${cells.length} fields, the header ${header.length}`)
    return Object.fromEntries(header.map((name, c) => [name, cells[c] as string]))
  })
}

function records(text: string): string[][] {
  const all: string[][] = []
  let record: string[] = []
  let at = 0
  while (at < text.length) {
    const quoted = text[at] === '"'
    const match = quoted ? /"((?:[^"]|"")*)"/y : /[^",\r\n]*/y
    match.lastIndex = at
    const found = match.exec(text)
    if (!found) throw new Error(`a quote at ${at} does not end`)
    record.push(quoted ? (found[1] as string).replaceAll('""', '"') : found[0])
    at = match.lastIndex
    if (text[at] === ',') at++
    else if (text.startsWith('\r\n', at)) {
      all.push(record)
      record = []
      at += 2
    } else throw new Error(`after the field at ${at} stands neither a comma nor the end of a line`)
  }
  if (record.length > 0) throw new Error('the last line does not end')
  return all
}
