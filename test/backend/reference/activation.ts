/** Activations of one element and their derivatives, in f64. */
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))

/** SwiGLU (arXiv 2002.05202). */
export function swiglu(gate: number, up: number): number {
  return gate * sigmoid(gate) * up
}
export function swigluBackward(dout: number, gate: number, up: number): { dgate: number; dup: number } {
  const s = sigmoid(gate)
  return { dgate: dout * up * (s + gate * s * sigmoid(-gate)), dup: dout * gate * s }
}

/** z of a sigmoid(z), which is a/2 (1 + tanh(z/2)): GELU in its tanh form (arXiv 1606.08415). */
export function geluArgument(a: number): number {
  return 2 * Math.sqrt(2 / Math.PI) * (a + 0.044715 * a ** 3)
}
export function gelu(a: number): number {
  return a * sigmoid(geluArgument(a))
}
/** The two terms of its derivative: sigmoid(z) and a sigmoid′(z) dz/da. */
export function geluDerivative(a: number): [number, number] {
  const z = geluArgument(a)
  return [sigmoid(z), a * sigmoid(z) * sigmoid(-z) * 2 * Math.sqrt(2 / Math.PI) * (1 + 3 * 0.044715 * a ** 2)]
}
