/** Elements with text. Text only: nothing out of a payload ever becomes markup. */
export function element<Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  className: string,
  content: string | readonly (Node | null)[] = '',
  attributes: Readonly<Record<string, string>> = {},
): HTMLElementTagNameMap[Tag] {
  const node = document.createElement(tag)
  if (className) node.className = className
  if (typeof content === 'string') node.textContent = content
  else node.append(...content.filter((child) => child !== null))
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value)
  return node
}
