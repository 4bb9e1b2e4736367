/** What the language server says of names and calls -> what front ends show: Markdown, which as plain text reads well too. */

export interface Hover {
  readonly contents?: { readonly value?: string }
}

export interface SignatureHelp {
  readonly signatures: readonly {
    readonly label: string
    readonly documentation?: Text
    readonly parameters?: readonly { readonly label: string | readonly [number, number]; readonly documentation?: Text }[]
    readonly activeParameter?: number
  }[]
  readonly activeSignature?: number
  readonly activeParameter?: number
}

type Text = string | { readonly value: string }

/** LSP's LocationLink. */
export interface Link {
  readonly targetUri: string
  readonly targetRange: { readonly start: { readonly line: number }; readonly end: { readonly line: number } }
}

/** Names of earlier cells reach a cell by imports of ours, which are not shown. */
export function reading(hover: Hover | null): string | undefined {
  const text = hover?.contents?.value
  return text === undefined
    ? undefined
    : withoutLinks(text)
        .replace(/^\(alias\) /gm, '')
        .replace(/^import [\p{ID_Continue}$]+\n?(?=```)/gmu, '')
}

/** The signature with a mark under the parameter that the cursor is at, what that one means, and what the function does. */
export function signatureText(help: SignatureHelp | null): string | undefined {
  const signature = help?.signatures[help.activeSignature ?? 0]
  if (help === null || signature === undefined) return undefined
  const { label, parameters = [], activeParameter = help.activeParameter ?? 0 } = signature
  const parameter = parameters[activeParameter]
  const more = help.signatures.length - 1
  return [
    `\`\`\`typescript\n${marked(label, parameter?.label)}\n\`\`\``,
    ...(more > 0 ? [`and ${more} more signature${more > 1 ? 's' : ''}`] : []),
    textOf(parameter?.documentation),
    textOf(signature.documentation),
  ]
    .filter((part) => part !== '')
    .join('\n\n')
}

function marked(label: string, part: string | readonly [number, number] | undefined): string {
  if (part === undefined) return label
  const [start, end] = typeof part === 'string' ? [label.indexOf(part), label.indexOf(part) + part.length] : part
  const lines = label.split('\n')
  let at = 0
  for (const [index, line] of lines.entries()) {
    if (start <= at + line.length) {
      const column = start - at
      lines.splice(index + 1, 0, ' '.repeat(column) + '^'.repeat(Math.max(1, Math.min(end - start, line.length - column))))
      break
    }
    at += line.length + 1
  }
  return lines.join('\n')
}

function textOf(text: Text = ''): string {
  return withoutLinks(typeof text === 'string' ? text : text.value)
}

/** The server links to places in files of this machine, where a notebook cannot go. */
function withoutLinks(markdown: string): string {
  return markdown.replace(/\[([^\]]*)\]\(file:[^)]*\)/g, '`$1`')
}
